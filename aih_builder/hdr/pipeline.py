"""HDR from end to end: HASM, a crop of each hand, HDRM, SHPE. Batched, with the time of each stage.

Source: HDR (ECCV 2022), section 3 and the released demo, without its errors: masks are made consistent, joints come
back in the image's pixels, left hands are mirrored back.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hdr.crops import (
    Box,
    Square,
    crop_affine,
    cropped,
    cropped_masks,
    inverse_affine,
    moved_points,
    square_of_box,
    square_of_mask,
)
from aih_builder.hdr.settings import ModuleName
from aih_builder.imaging import ImageU8, warped
from aih_builder.sample import MIN_HAND_PIXELS, Mask

if TYPE_CHECKING:
    from aih_builder.hdr.checkpoint import Checkpoint

_GROWN = 4 / 256  # of the crop's side: how far holes are dilated, as in the released demo
Stage = Literal["hasm", "crops", "hdrm", "shpe"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Switches(NamedTuple):
    """Which parts of HDR are used. Without both, SHPE sees the crop as it is."""

    deocclusion: bool = True
    removal: bool = True


FULL, SHPE_ALONE = Switches(), Switches(False, False)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class HandMasks:
    """What HASM finds in an image. Visible masks are disjoint and lie inside amodal ones."""

    amodal: Mask  # (2, H, W)
    visible: Mask  # (2, H, W)

    @property
    def present(self) -> Mask:
        """Whether a hand was found (2,): 16 amodal pixels at least."""
        return np.array([np.count_nonzero(mask) >= MIN_HAND_PIXELS for mask in self.amodal])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Prediction:
    """What HDR makes of an image; hand axis 0 right, 1 left. Rows of a hand that is not present mean nothing.

    Crops show a right hand: a left hand's are mirrored.
    """

    masks: HandMasks
    present: Mask  # (2,) bool
    affine_px: FloatArray  # (2, 2, 3): image to crop pixels
    crop_rgb: ImageU8  # (2, S, S, 3)
    single_rgb: ImageU8  # (2, S, S, 3): the hand alone, de-occluded, the other removed
    joints_px: FloatArray  # (2, 21, 2), of the image
    joints_bone: FloatArray  # (2, 21, 3), from the wrist, camera axes, in lengths of the bone wrist to middle base
    score: FloatArray  # (2, 21): height of each joint's peak, 0 to 1


class HdrPipeline:
    """The three trained modules. Images are u8 RGB (H, W, 3) of any size."""

    def __init__(
        self, hasm: Path | None, hdrm: Path | None, shpe: Path, *, device: str = "auto", batch: int = 16
    ) -> None:  # fmt: skip
        """Checkpoints or their folders. Without hasm only `hands` can be called, without hdrm only with SHPE_ALONE.

        Raises ConfigError where one is missing or of another module, or the device is; TrainingError where it is
        damaged.
        """
        from aih_builder.hdr.networks.stages import Stages

        if batch < 1:
            raise ConfigError(f"batch {batch}: expected 1 at least.")
        self.stages, self.batch = Stages(hasm, hdrm, shpe, device), batch
        crops = {(c.training.input_px, c.training.crop_factor) for c in self.checkpoints.values() if c.module != "hasm"}
        if len(crops) > 1:
            found = " and ".join(f"{side} px, crop_factor {factor:g}" for side, factor in sorted(crops))
            raise ConfigError(f"HDRM and SHPE take different crops: {found}. Train both with the same ones.")
        self.crop_px, self.crop_factor = crops.pop()
        self.forget_times()

    @property
    def checkpoints(self) -> "dict[ModuleName, Checkpoint]":
        """What the networks were loaded from."""
        return self.stages.checkpoints

    @property
    def device(self) -> str:
        """Where the networks run."""
        return str(self.stages.device)

    @classmethod
    def from_folder(cls, folder: Path | str, **options: Any) -> "HdrPipeline":
        """From a folder that holds hasm, hdrm and shpe, as `aih train` wrote them."""
        return cls(Path(folder) / "hasm", Path(folder) / "hdrm", Path(folder) / "shpe", **options)

    def __call__(
        self,
        images: Sequence[ImageU8],
        boxes: Sequence[Box | FloatArray] | None = None,
        switches: Switches = FULL,
    ) -> list[Prediction]:
        """Masks, single-hand pictures and joints of each image.

        boxes: x0, y0, x1, y1 in pixels around both hands, one for each image; without, HASM looks for them itself:
        first in the whole image, then around what it found.
        """
        return self.hands(images, self.segment(images, boxes), switches)

    def segment(self, images: Sequence[ImageU8], boxes: Sequence[Box | FloatArray] | None = None) -> list[HandMasks]:
        """HASM's masks in the images' pixels. boxes: of both hands; None for itself to find them.

        Raises ConfigError where no HASM was given.
        """
        if "hasm" not in self.checkpoints:
            raise ConfigError("no HASM was given: name its checkpoint, or give masks to `hands`.")
        for image in images:
            _require_picture(image)
        factor = self.checkpoints["hasm"].training.crop_factor
        if boxes is not None:
            return self._segment(images, [square_of_box(box, factor) for box in boxes])
        coarse = self._segment(images, [_whole(image) for image in images])
        found = [square_of_mask(masks.amodal[0] | masks.amodal[1], factor) for masks in coarse]
        again = [i for i, square in enumerate(found) if square is not None]
        finer = self._segment([images[i] for i in again], [found[i] for i in again])  # pyright: ignore
        for i, masks in zip(again, finer, strict=True):
            coarse[i] = masks
        return coarse

    def hands(
        self, images: Sequence[ImageU8], masks: Sequence[HandMasks], switches: Switches = FULL
    ) -> list[Prediction]:
        """HDRM and SHPE on each hand of each image, from given masks. A hand without mask is sought in the middle."""
        with self._timed("crops"):
            crops = [
                _hand_crop(image, of_image, hand, self.crop_px, self.crop_factor)
                for image, of_image in zip(images, masks, strict=True)
                for hand in (0, 1)
            ]
        singles, joints = [], []
        for part in _parts(crops, self.batch):
            pictures, holes = np.stack([crop.rgb for crop in part]), np.stack([crop.masks for crop in part])
            with self._timed("hdrm"):
                alone = self.stages.alone(
                    pictures, holes, deocclusion=switches.deocclusion, removal=switches.removal,
                    grown_px=max(1, round(_GROWN * self.crop_px)),
                )  # fmt: skip
            with self._timed("shpe"):
                joints.append(self.stages.pose(alone))
            singles.append(self.stages.pictures(alone))
        self.images += len(images)
        single = np.concatenate(singles) if singles else np.empty((0, self.crop_px, self.crop_px, 3), np.uint8)
        crop_px, location, score = (np.concatenate(part) for part in zip(*joints, strict=True)) if joints else [[]] * 3
        made = []
        for i in range(len(images)):
            both = slice(2 * i, 2 * i + 2)
            made.append(_prediction(masks[i], crops[both], single[both], crop_px[both], location[both], score[both]))
        return made

    def forget_times(self) -> None:
        """Let timing_ms begin anew."""
        self.seconds, self.images = dict.fromkeys(STAGES, 0.0), 0

    def timing_ms(self) -> dict[Stage, float]:
        """Milliseconds per image by stage, so far: each call of `segment` should have had one of `hands`."""
        return {stage: 1000 * seconds / max(self.images, 1) for stage, seconds in self.seconds.items()}

    def _segment(self, images: Sequence[ImageU8], squares: Sequence[Square]) -> list[HandMasks]:
        if not images:
            return []
        size_px = self.checkpoints["hasm"].training.input_px
        affines = [crop_affine(square, size_px, mirror=False) for square in squares]
        found: list[HandMasks] = []
        for part in _parts(range(len(images)), self.batch):
            with self._timed("crops"):
                crops = np.stack([cropped(images[i], affines[i], size_px) for i in part])
            with self._timed("hasm"):
                share = self.stages.masks(crops)
            with self._timed("crops"):
                found += [_masks_in(images[i], affines[i], share[k]) for k, i in enumerate(part)]
        return found

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.stages.wait()
        self.seconds[stage] += time.perf_counter() - started


class _Crop(NamedTuple):
    """One hand's crop, mirrored if left."""

    affine_px: FloatArray
    rgb: ImageU8
    masks: Mask  # (4, S, S): M_D, M_R, M_rv, M_bv


def consistent(amodal: Mask, visible: Mask) -> HandMasks:
    """Masks (2, H, W) as they can be: a hand is hidden only where it and the other hand are, and not both at once."""
    both = amodal[0] & amodal[1]
    right = visible[0] | ~visible[1]  # where both are, the right one is seen, unless only the left one is said to be
    return HandMasks(amodal=amodal, visible=np.stack([amodal[0] & (~both | right), amodal[1] & (~both | ~right)]))


def _masks_in(image: ImageU8, affine_px: FloatArray, share: np.ndarray) -> HandMasks:
    """HASM's shares (2 hands, 2 kinds, S, S) as masks in an image's pixels."""
    levels = np.rint(255 * share.reshape(4, *share.shape[2:])).astype(np.uint8)
    to_image = inverse_affine(affine_px)
    # Only where the crop lies: were the whole image drawn, a crop of a few pixels would take a grid without bounds.
    corners = moved_points(np.array([[-2.0, -2.0], [share.shape[3] + 1.0, share.shape[2] + 1.0]]), to_image)
    left, top = np.clip(np.floor(corners[0]), 0, image.shape[1::-1]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners[1]) + 1, 0, image.shape[1::-1]).astype(int).tolist()
    amodal, ahead = np.zeros((2, *image.shape[:2]), bool), np.ones(image.shape[:2], bool)
    if right > left and bottom > top:
        to_image[:, 2] -= left, top
        levels = np.ascontiguousarray(np.moveaxis(levels, 0, -1))
        back = np.moveaxis(warped(levels, to_image, (bottom - top, right - left)), -1, 0)
        amodal[:, top:bottom, left:right] = back[[0, 2]] >= 128
        ahead[top:bottom, left:right] = back[1] >= back[3]  # the likelier one, where both hands are
    return consistent(amodal, np.stack([ahead, ~ahead]))


def _hand_crop(image: ImageU8, masks: HandMasks, hand: int, size_px: int, factor: float) -> _Crop:
    square = square_of_mask(masks.amodal[hand], factor) if masks.present[hand] else None
    square = square or _whole(image)
    affine = crop_affine(square, size_px, mirror=hand == 1)
    own, other = masks.amodal[hand], 1 - hand
    M_D = own & ~masks.visible[hand]
    M_R = ~own & masks.visible[other]
    holes = cropped_masks(np.stack([M_D, M_R, masks.visible[hand]]), affine, size_px)
    return _Crop(affine, cropped(image, affine, size_px), np.concatenate([holes, ~holes.any(axis=0, keepdims=True)]))


def _prediction(
    masks: HandMasks, crops: Sequence[_Crop], single: np.ndarray, crop_px: Any, location: Any, score: Any
) -> Prediction:
    back = [moved_points(crop_px[hand], inverse_affine(crops[hand].affine_px)) for hand in (0, 1)]
    return Prediction(
        masks=masks, present=masks.present, affine_px=np.stack([crop.affine_px for crop in crops]),
        crop_rgb=np.stack([crop.rgb for crop in crops]), single_rgb=single, joints_px=np.stack(back),
        joints_bone=np.stack([location[0], location[1] * [-1.0, 1.0, 1.0]]).astype(np.float64), score=score,
    )  # fmt: skip


def _whole(image: ImageU8) -> Square:
    """The square around an image, whose middle half is where hands are sought."""
    height, width = image.shape[:2]
    return Square((width - 1) / 2, (height - 1) / 2, float(max(height, width)))


def _require_picture(image: ImageU8) -> None:
    shape = image.shape
    if image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or not 0 < min(shape[:2]) <= max(shape[:2]) < 2**15:
        raise ConfigError(
            f"image: expected uint8 RGB (H, W, 3), sides 1 to 32767 px, got {image.dtype} {shape}. Convert it, or make "
            "it smaller."
        )


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
