"""Samples as HDR's modules take them: crops, masks and targets, augmented; or as they are.

Numpy alone: torch's DataLoader takes an AihDataset, and an AihSampler as its batch_sampler, as they are.
"""

from itertools import accumulate
from os import PathLike
from typing import Any, Literal

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import KEYPOINT_PARENTS, MIRROR
from aih_builder.hdr.augment import draw_jitter, draw_look, looked_at
from aih_builder.hdr.crops import (
    NO_JITTER,
    Jitter,
    crop_affine,
    cropped,
    cropped_masks,
    moved_points,
    moved_square,
    square_of_mask,
    turned_joints,
)
from aih_builder.hdr.sampler import Key
from aih_builder.hdr.settings import Augment, ModuleName
from aih_builder.identity import Split
from aih_builder.rng import Purpose, sample_rng
from aih_builder.sample import SPECS, Array, Sample, amodal_known, hdr_masks
from aih_builder.shards.reader import Dataset, open_dataset

REFERENCE_BONE = 9  # the middle finger's base; the bone starts at the wrist
MIN_JOINTS_IN_FRAME = 16  # of 21: a hand that the frame cuts more is neither de-occluded nor posed
Item = tuple[int, int]  # a sample and its hand, -1 for both
ViewName = ModuleName | Literal["sample"]


class AihDataset:
    """Items of one of HDR's modules, or samples as they are, as dicts of arrays; a DataLoader collates them.

    With S = input_px:
    hasm: a sample each, unless an import could not know an amodal mask. image (S, S, 3) u8, masks (2, 2, S, S) bool
    (right, left; amodal, visible), inside (S, S) bool.
    hdrm: a hand each, mirrored if left. image and target (S, S, 3) u8; masks (4, S, S) bool: M_D, M_R, M_rv, M_bv.
    shpe: a hand each, mirrored if left. picture (S, S, 3) u8, joints_px (21, 2) of the crop, location and delta
    (21, 3), valid (21,) bool, bone_mm.
    sample: a sample each, whole, neither cropped nor augmented: the record's fields by name, numbers as arrays, texts
    as they are; optional ones if all samples of these engines hold them.

    Samples that were flagged bad when it was opened are not among them; `samples.left_out` names these.

    [i] gives item i as it is, [Key(i, n)] its n-th augmentation. Pickles without open files; a process opens its own.
    """

    def __init__(
        self, path: str | PathLike[str], module: ViewName, *, split: Split | None,
        engines: tuple[str, ...] = ("render", "sync"), input_px: int = 256, crop_factor: float = 2.0,
        augment: Augment | None = None, seed: int = 0, two_hand_share: float = 0.0,
    ) -> None:  # fmt: skip
        """path is a dataset folder. Raises ConfigError where it is none or holds no item of that kind."""
        self.samples: Dataset = open_dataset(path, split=split)
        self.items: list[Item] = _items(self.samples, module, engines)
        if not self.items:
            flagged = f" ({len(self.samples.left_out)} flagged ones are left out)" if self.samples.left_out else ""
            raise ConfigError(
                f"{path}: split {split or 'any'} holds no sample that {module} can take, of engine "
                f"{' or '.join(engines)}{flagged}. Generate some, or name another split."
            )
        self.module: ViewName = module
        self.fields = _common_fields(self.samples, engines) if module == "sample" else ()
        self.input_px, self.crop_factor, self.augment, self.seed = input_px, crop_factor, augment, seed
        self.two_hand_share = two_hand_share

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: "int | Key") -> dict[str, Any]:
        item, draw = key if isinstance(key, tuple) else (key, None)
        index, hand = self.items[item]
        rng = None
        if draw is not None and self.augment is not None:
            rng = sample_rng(self.seed, item, draw + 1, Purpose.LOADER)
        return _VIEWS[self.module](self, self.samples[index], hand, rng)

    def jitter(self, rng: np.random.Generator | None) -> Jitter:
        """A draw of the crop's jitter; none without a stream."""
        return NO_JITTER if rng is None or self.augment is None else draw_jitter(self.augment, rng)

    def look(self, pictures: list[Array], rng: np.random.Generator | None) -> list[Array]:
        """Pictures of one sample under one draw of light and capture."""
        if rng is None or self.augment is None:
            return pictures
        look = draw_look(self.augment, self.input_px, rng)
        return [looked_at(picture, look) for picture in pictures]


def pose_statistics(data: AihDataset) -> dict[str, Any]:
    """What SHPE's readers need of its training hands, as right ones: the mean length of the reference bone in mm, and
    the mean location (21, 3), the pose to guess without looking.
    """
    locations, bones = [], []
    chosen = np.zeros((len(data.samples), 2), bool)
    chosen[tuple(np.array(data.items).T)] = True
    at = 0
    for arrays in data.samples.small_arrays():
        joints = arrays["cam_joints_m"]
        for i, hand in np.argwhere(chosen[at : at + len(joints)]):
            location, bone_m = scale_free(joints[i, hand].astype(np.float64) * (MIRROR if hand == 1 else 1.0))
            locations.append(location)
            bones.append(1000.0 * bone_m)
        at += len(joints)
    return {"mean_bone_mm": float(np.mean(bones)), "mean_location": np.mean(locations, axis=0).tolist()}


def _items(samples: Dataset, module: ViewName, engines: tuple[str, ...]) -> list[Item]:
    found: list[Item] = []
    at = 0
    for shard, arrays in zip(samples.shards, samples.small_arrays(), strict=True):
        count = shard["samples"]
        if count and shard["engine"] in engines:
            if module == "sample":
                found += [(at + i, -1) for i in range(count)]
            elif module == "hasm":
                known = amodal_known(shard["engine"], arrays["hand_present"], arrays["target_valid"])
                found += [(at + int(i), -1) for i in np.flatnonzero(known.all(axis=1))]
            else:
                fits = usable_hands(arrays, samples[at].image_rgb.shape[0])
                if module == "hdrm":
                    fits &= arrays["hand_present"].all(axis=1, keepdims=True)
                else:
                    fits &= (arrays["joint3d_valid"] & arrays["joint2d_valid"]).all(axis=2)
                found += [(at + int(i), int(hand)) for i, hand in np.argwhere(fits)]
        at += count
    return found


def _common_fields(samples: Dataset, engines: tuple[str, ...]) -> tuple[str, ...]:
    """Fields that all samples hold, so that a batch of any of them has all; those of one shard hold the same."""
    starts = accumulate((shard["samples"] for shard in samples.shards), initial=0)
    some = [shard["samples"] > 0 and shard["engine"] in engines for shard in samples.shards]
    firsts = [start for start, wanted in zip(starts, some, strict=False) if wanted]
    missing = {name for sample in map(samples.__getitem__, firsts) for name in SPECS if getattr(sample, name) is None}
    return tuple(name for name in SPECS if name not in missing)


def usable_hands(arrays: dict[str, Array], size_px: int) -> Array:
    """Hands (S, 2) bool that are there, whose target is known and that the frame hardly cuts."""
    joints = arrays["joints_px"]
    inside = ((joints > -0.5) & (joints < size_px - 0.5)).all(axis=-1) | ~arrays["joint2d_valid"]
    whole = inside.sum(axis=2) >= MIN_JOINTS_IN_FRAME
    return arrays["hand_present"] & arrays["target_valid"] & whole


def _hasm_view(data: AihDataset, sample: Sample, _: int, rng: np.random.Generator | None) -> dict[str, Array]:
    square = square_of_mask(sample.amodal_mask[0] | sample.amodal_mask[1], data.crop_factor)
    assert square is not None, "a sample shows at least one hand"
    size_px = data.input_px
    flip = rng is not None and data.augment is not None and rng.random() < data.augment.flip_share
    affine = crop_affine(moved_square(square, data.jitter(rng)), size_px, mirror=flip)
    (image,) = data.look([cropped(sample.image_rgb, affine, size_px)], rng)
    masks = cropped_masks(np.concatenate([sample.amodal_mask, sample.visible_mask]), affine, size_px)
    masks = masks.reshape(2, 2, size_px, size_px).swapaxes(0, 1)  # (kind, hand) -> (hand, kind)
    inside = cropped_masks(np.ones((1, *sample.image_rgb.shape[:2]), bool), affine, size_px)[0]
    return {"image": image, "masks": masks[::-1].copy() if flip else masks.copy(), "inside": inside}


def _hdrm_view(data: AihDataset, sample: Sample, hand: int, rng: np.random.Generator | None) -> dict[str, Array]:
    size_px, affine, _ = _hand_crop(data, sample, hand, rng)
    pictures = [cropped(picture, affine, size_px) for picture in (sample.image_rgb, sample.target_rgb[hand])]
    image, target = data.look(pictures, rng)
    M_D, M_R, M_rv, M_bv = cropped_masks(np.stack(hdr_masks(sample, hand)), affine, size_px)
    M_bv |= ~(M_D | M_R | M_rv | M_bv)  # outside the image, and where no mask covers half a pixel
    masks = np.stack([M_D, M_R & ~M_D, M_rv & ~(M_D | M_R), M_bv & ~(M_D | M_R | M_rv)])
    return {"image": image, "target": target, "masks": masks}


def _shpe_view(data: AihDataset, sample: Sample, hand: int, rng: np.random.Generator | None) -> dict[str, Array]:
    size_px, affine, jitter = _hand_crop(data, sample, hand, rng)
    whole = rng is not None and rng.random() < data.two_hand_share
    picture = cropped(sample.image_rgb if whole else sample.target_rgb[hand], affine, size_px)
    (picture,) = data.look([picture], rng)
    joints_m = sample.cam_joints_m[hand].astype(np.float64)
    location, bone_m = scale_free(turned_joints(joints_m - joints_m[:1], jitter.angle_rad, mirror=hand == 1))
    return {
        "picture": picture,
        "joints_px": moved_points(sample.joints_px[hand].astype(np.float64), affine).astype(np.float32),
        "location": location.astype(np.float32),
        "delta": parent_directions(location).astype(np.float32),
        "valid": sample.joint3d_valid[hand] & sample.joint2d_valid[hand],
        "bone_mm": np.array(1000.0 * bone_m, np.float32),
    }


def _sample_view(data: AihDataset, sample: Sample, _: int, __: np.random.Generator | None) -> dict[str, Any]:
    values = {name: getattr(sample, name) for name in data.fields}
    return {
        name: value if isinstance(value, np.ndarray | str) else np.array(value, SPECS[name].dtype)
        for name, value in values.items()
    }


_VIEWS = {"hasm": _hasm_view, "hdrm": _hdrm_view, "shpe": _shpe_view, "sample": _sample_view}


def _hand_crop(
    data: AihDataset, sample: Sample, hand: int, rng: np.random.Generator | None
) -> tuple[int, FloatArray, Jitter]:
    square = square_of_mask(sample.amodal_mask[hand], data.crop_factor)
    assert square is not None, "items are hands that are there"
    jitter = data.jitter(rng)
    return data.input_px, crop_affine(moved_square(square, jitter), data.input_px, mirror=hand == 1), jitter


def scale_free(joints: FloatArray) -> tuple[FloatArray, float]:
    """Joints (21, 3) relative to the wrist, in lengths of the reference bone; and that length."""
    relative = joints - joints[:1]
    bone = float(np.linalg.norm(relative[REFERENCE_BONE])) + 1e-9
    return relative / bone, bone


def parent_directions(location: FloatArray) -> FloatArray:
    """Unit vector (21, 3) to each joint from its parent; 0 for the wrist."""
    steps = location[1:] - location[KEYPOINT_PARENTS[1:]]
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    return np.concatenate([np.zeros((1, 3)), steps / np.maximum(lengths, 1e-9)])
