"""HDR from end to end: HASM, a crop of each hand, HDRM, SHPE. Batched, with the time of each stage.

Source: HDR (ECCV 2022), section 3 and the released demo, without its errors: masks are made consistent, joints come
back in the image's pixels, left hands are mirrored back.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from aih_builder.errors import ConfigError, TrainingError
from aih_builder.geometry import FloatArray
from aih_builder.hdr.checkpoint import Checkpoint, load
from aih_builder.hdr.crops import (
    Square,
    crop_affine,
    cropped,
    cropped_masks,
    inverse_affine,
    moved_points,
    square_of_box,
    square_of_mask,
)
from aih_builder.hdr.networks.hasm import Hasm
from aih_builder.hdr.networks.hdrm import Generator, HdrmInput, composite
from aih_builder.hdr.networks.shpe import Shpe, read_out
from aih_builder.hdr.networks.tensors import as_input, as_pictures
from aih_builder.imaging import ImageU8, warped
from aih_builder.sample import MIN_HAND_PIXELS, Mask

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
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"device {device}: torch finds no CUDA device here. Take cpu or auto.")
        if batch < 1:
            raise ConfigError(f"batch {batch}: expected 1 at least.")
        self.device, self.batch = torch.device(device), batch
        self.checkpoints: dict[str, Checkpoint] = {}
        self.hasm = self._network(hasm, "hasm", "hasm", lambda c: Hasm(_without_weights(c)))
        self.hdrm = self._network(hdrm, "hdrm", "generator", lambda c: Generator(c.training.hdrm))
        self.shpe = self._network(shpe, "shpe", "shpe", lambda c: Shpe(c.training.shpe))
        sides = {c.training.input_px for c in self.checkpoints.values() if c.module != "hasm"}
        if len(sides) > 1:
            raise ConfigError(f"HDRM and SHPE take crops of different sides, {sorted(sides)} px. Train both with one.")
        self.crop_px = sides.pop()
        self.seconds: dict[Stage, float] = dict.fromkeys(STAGES, 0.0)
        self.images = 0

    @classmethod
    def from_folder(cls, folder: Path | str, **options: Any) -> "HdrPipeline":
        """From a folder that holds hasm, hdrm and shpe, as `aih train` wrote them."""
        return cls(Path(folder) / "hasm", Path(folder) / "hdrm", Path(folder) / "shpe", **options)

    def __call__(
        self, images: Sequence[ImageU8], boxes: Sequence[Any] | None = None, switches: Switches = FULL
    ) -> list[Prediction]:
        """Masks, single-hand pictures and joints of each image.

        boxes: x0, y0, x1, y1 in pixels around both hands, one for each image; without, HASM looks for them itself:
        first in the whole image, then around what it found.
        """
        squares = None if boxes is None else self.squares(boxes)
        return self.hands(images, self.segment(images, squares), switches)

    @staticmethod
    def squares(boxes: Sequence[Any]) -> list[Square]:
        """Where HASM looks for boxes x0, y0, x1, y1 around both hands."""
        return [square_of_box(box) for box in boxes]

    def segment(self, images: Sequence[ImageU8], squares: Sequence[Square] | None = None) -> list[HandMasks]:
        """HASM's masks in the images' pixels. squares: where to look; None for itself to find out."""
        for image in images:
            _require_picture(image)
        if squares is not None:
            return self._segment(images, squares)
        coarse = self._segment(images, [_whole(image) for image in images])
        found = [square_of_mask(masks.amodal[0] | masks.amodal[1]) for masks in coarse]
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
            crops = [_hand_crop(image, m, hand, self.crop_px) for image, m in zip(images, masks, strict=True)
                     for hand in (0, 1)]  # fmt: skip
        singles, joints = [], []
        for part in _parts(crops, self.batch):
            given = self._hdrm_input(part, switches)
            with self._timed("hdrm"):
                picture = self._filled(given, switches)
            with self._timed("shpe"), torch.inference_mode():
                joints.append([x.float().cpu().numpy() for x in read_out(self.shpe(picture))])  # pyright: ignore
            singles.append(as_pictures(picture).cpu().numpy())
        self.images += len(images)
        single = np.concatenate(singles) if singles else np.empty((0, self.crop_px, self.crop_px, 3), np.uint8)
        crop_px, location, score = (np.concatenate(part) for part in zip(*joints, strict=True)) if joints else [[]] * 3
        made = []
        for i in range(len(images)):
            both = slice(2 * i, 2 * i + 2)
            made.append(_prediction(masks[i], crops[both], single[both], crop_px[both], location[both], score[both]))
        return made

    def timing_ms(self) -> dict[Stage, float]:
        """Milliseconds per image by stage, so far."""
        return {stage: 1000 * seconds / max(self.images, 1) for stage, seconds in self.seconds.items()}

    def _segment(self, images: Sequence[ImageU8], squares: Sequence[Square]) -> list[HandMasks]:
        if self.hasm is None:
            raise ConfigError("no HASM was given: name its checkpoint, or give masks to `hands`.")
        size_px = self.checkpoints["hasm"].training.input_px
        affines = [crop_affine(square, size_px, mirror=False) for square in squares]
        found: list[HandMasks] = []
        for part in _parts(range(len(images)), self.batch):
            with self._timed("hasm"), torch.inference_mode():
                crops = np.stack([cropped(images[i], affines[i], size_px) for i in part])
                share = torch.sigmoid(self.hasm(as_input(self._tensor(crops)))).float().cpu().numpy()
            with self._timed("crops"):
                found += [_masks_in(images[i], affines[i], share[k]) for k, i in enumerate(part)]
        return found

    def _hdrm_input(self, crops: Sequence["_Crop"], switches: Switches) -> HdrmInput:
        image = as_input(self._tensor(np.stack([crop.rgb for crop in crops])))
        masks = self._tensor(np.stack([crop.masks for crop in crops])).float()
        M_D, M_R, M_rv, M_bv = (masks[:, k : k + 1] for k in range(4))
        if not switches.deocclusion:
            M_D = torch.zeros_like(M_D)
        if not switches.removal:
            M_R = torch.zeros_like(M_R)
        return HdrmInput(image, M_D, M_R, M_rv, M_bv)

    def _filled(self, given: HdrmInput, switches: Switches) -> Tensor:
        if not (switches.deocclusion or switches.removal):
            return given.image
        if self.hdrm is None:
            raise ConfigError("no HDRM was given: name its checkpoint, or switch de-occlusion and removal off.")
        with torch.inference_mode():
            output = self.hdrm(given).float()
            return composite(given, output, grown_px=max(1, round(_GROWN * self.crop_px)))

    def _network(self, path: Path | None, module: Any, name: str, build: Any) -> Any:
        if path is None:
            return None
        checkpoint = load(path, module)
        network = build(checkpoint)
        try:
            network.load_state_dict(checkpoint.networks[name])
        except (KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(
                f"{path}: its weights are not those of the {name} that it describes ({reason}). Train again."
            ) from error
        self.checkpoints[module] = checkpoint
        return network.to(self.device).to(memory_format=torch.channels_last).eval()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    @contextmanager
    def _timed(self, stage: Stage) -> Iterator[None]:
        started = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
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


def _hand_crop(image: ImageU8, masks: HandMasks, hand: int, size_px: int) -> _Crop:
    square = square_of_mask(masks.amodal[hand]) or _whole(image)
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


def _without_weights(checkpoint: Checkpoint) -> Any:
    return checkpoint.training.hasm.model_copy(update={"weights": "none"})


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
