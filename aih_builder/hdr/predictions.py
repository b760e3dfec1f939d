"""What HDR makes of an image, as files: masks, single-hand pictures, an overlay, and the figures as JSON.

Numpy; no torch. A folder for each image:

    right_amodal.png, right_visible.png, left_amodal.png, left_visible.png    0 or 255, of the image's size
    right_alone.png, left_alone.png    crops with that hand alone, as the image shows it (left is not mirrored)
    overlay.png                        masks and joints over the image, and the single-hand pictures, to look at
    hands.json                         presence, boxes, joints, scores, crops; conventions stated inside
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aih_builder.drawing import HAND_COLOURS, draw_masks, draw_skeleton, write_text
from aih_builder.files import remove, write_json, write_whole
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import KEYPOINT_NAMES
from aih_builder.imaging import ImageU8, box_of, encode_png, resize
from aih_builder.sample import SIDES, Mask

if TYPE_CHECKING:
    from aih_builder.hdr.pipeline import Prediction

FORMAT, HANDS_FILE, OVERLAY_FILE = "aih-hands 1", "hands.json", "overlay.png"
_CONVENTIONS = {
    "sample": "only of a dataset's sample: its index, the attempt that it was drawn at, and its dataset's plan_hash",
    "axes": "camera axes: x right, y down, z forward; the centre of pixel (0, 0) lies at (0, 0)",
    "box_px": "x0, y0, x1, y1: first and last pixel of the hand's amodal mask",
    "visible_share": "visible pixels / amodal pixels",
    "joints_px": "x, y in pixels of the image, in the order of keypoints",
    "joints_bone": "x, y, z from the wrist, in lengths of the bone from wrist to middle1",
    "joints_mm": "joints_bone times mean_bone_mm, the mean length of that bone in SHPE's training data: the hand's own "
    "size is not measured; empty where SHPE's checkpoint does not tell it",
    "score": "height of each joint's peak in its heat map, 0 to 1",
    "crop_affine_px": "2 x 3: image pixels (x, y, 1) to pixels of the square crop that HDRM and SHPE saw; the left "
    "hand's crop is mirrored, left_alone.png is mirrored back",
    "absent": "a hand that was not found has present false and empty lists",
}
_LONG_PX, _SHORT_PX = 960, 640  # what an overlay's image is made to fit between, on its longer side
_SINGLE_PX = (160, 480)
_BAR_PX, _GAP_PX = 22, 6
_DARK, _PALE = (24, 24, 24), (225, 225, 225)


@dataclass(frozen=True, slots=True)
class SampleId:
    """Which sample of a dataset a prediction is of."""

    index: int
    attempt: int  # another attempt is another picture
    plan_hash: str  # as dataset.json states it


def write_prediction(
    prediction: "Prediction", image_rgb: ImageU8, folder: Path, name: str, mean_bone_mm: float | None,
    *, pictures: bool = True, source: str | None = None, sample: SampleId | None = None,
) -> Path:  # fmt: skip
    """Write what was found in an image (H, W, 3) to folder/name, each file whole, hands.json last; returns that folder.

    Without `pictures` only hands.json. Files of ours that an earlier run left there and that no longer apply are
    deleted. `source` is what hands.json calls the image, `sample` which sample of a dataset it is of. Raises ShardError
    where a file cannot be written.
    """
    place = folder / name
    made = _pictures(prediction, image_rgb) if pictures else {}
    for file in (*mask_files(), *single_files(), OVERLAY_FILE):
        if file in made:
            write_whole(place / file, encode_png(made[file]))
        else:
            remove(place / file)
    source = source if source is not None else name
    write_json(place / HANDS_FILE, hands_json(prediction, mean_bone_mm, source, sample))
    return place


def hands_json(
    prediction: "Prediction", mean_bone_mm: float | None, source: str, sample: SampleId | None = None
) -> dict[str, Any]:
    """The figures of an image's hands in plain JSON types; `conventions` in it says what each is."""
    height, width = prediction.masks.amodal.shape[1:]
    return {
        "format": FORMAT,
        "image": source,
        **({} if sample is None else {"sample": asdict(sample)}),
        "image_size_hw": [height, width],
        "crop_size_px": prediction.single_rgb.shape[1],
        "mean_bone_mm": mean_bone_mm,
        "conventions": _CONVENTIONS,
        "keypoints": list(KEYPOINT_NAMES),
        "hands": {side: _hand_json(prediction, hand, mean_bone_mm) for hand, side in enumerate(SIDES)},
    }


def folder_names(images: Sequence[Path]) -> list[str]:
    """A folder name for each image: its stem. Where several share one, PARENT_STEM; then _2, _3 in the order given.

    Names differ in more than case.
    """
    shared = Counter(path.stem.casefold() for path in images)
    used = {path.stem.casefold() for path in images if shared[path.stem.casefold()] == 1}
    names = []
    for path in images:
        name = path.stem
        if shared[name.casefold()] > 1:
            parent = path.resolve().parent.name
            base = name = f"{parent}_{name}" if parent else name
            number = 1
            while name.casefold() in used:
                number += 1
                name = f"{base}_{number}"
            used.add(name.casefold())
        names.append(name)
    return names


def overlay(prediction: "Prediction", image_rgb: ImageU8) -> ImageU8:
    """Masks and joints over the image, made about 640 to 960 px long; beside it the single-hand pictures.

    Joints on the hand's visible mask are filled, others hollow.
    """
    longer = max(image_rgb.shape[:2])
    amodal, visible = prediction.masks.amodal, prediction.masks.visible
    scale = np.ones(2)
    if longer > _LONG_PX:
        height, width = (max(1, round(side * _LONG_PX / longer)) for side in image_rgb.shape[:2])
        size_hw = height, width
        scale = np.array(size_hw[::-1]) / image_rgb.shape[1::-1]
        image_rgb = resize(image_rgb, size_hw)
        amodal, visible = (_resized_masks(masks, size_hw) for masks in (amodal, visible))
    zoom = max(1, _SHORT_PX // longer)
    tile = draw_masks(image_rgb, amodal, visible, zoom)
    for hand in np.flatnonzero(prediction.present).tolist():
        joints_px = (prediction.joints_px[hand] + 0.5) * scale - 0.5
        draw_skeleton(tile, joints_px, np.ones(21, bool), _under(visible[hand], joints_px), hand, zoom)
    side = int(np.clip((tile.shape[0] - _GAP_PX - _BAR_PX) // 2, *_SINGLE_PX))
    column = [_single_tile(prediction, hand, side) for hand in (0, 1)]
    gap = np.full((_GAP_PX, side, 3), _DARK, np.uint8)
    return _beside([_captioned(tile, "masks and joints", _PALE), np.concatenate([column[0], gap, column[1]])])


def _pictures(prediction: "Prediction", image_rgb: ImageU8) -> dict[str, ImageU8]:
    stacks = prediction.masks.amodal, prediction.masks.visible
    masks = [mask.astype(np.uint8) * 255 for pair in zip(*stacks, strict=True) for mask in pair]
    made = dict(zip(mask_files(), masks, strict=True))
    for hand, file in enumerate(single_files()):
        if prediction.present[hand]:
            made[file] = _single(prediction, hand)
    return made | {OVERLAY_FILE: overlay(prediction, image_rgb)}


def mask_files() -> list[str]:
    """Names of the masks' files: amodal and visible of the right hand, then of the left one."""
    return [f"{side}_{kind}.png" for side in SIDES for kind in ("amodal", "visible")]


def single_files() -> list[str]:
    """Names of the single-hand pictures' files, right and left."""
    return [f"{side}_alone.png" for side in SIDES]


def _single(prediction: "Prediction", hand: int) -> ImageU8:
    """A hand alone, as the image shows it."""
    return prediction.single_rgb[hand][:, :: 1 - 2 * hand]


def _hand_json(prediction: "Prediction", hand: int, mean_bone_mm: float | None) -> dict[str, Any]:
    lists = ("box_px", "joints_px", "joints_mm", "joints_bone", "score", "crop_affine_px")
    if not prediction.present[hand]:
        return {"present": False, "visible_share": None, **{key: [] for key in lists}}
    amodal, visible = prediction.masks.amodal[hand], prediction.masks.visible[hand]
    top, bottom, left, right = box_of(np.ascontiguousarray(amodal).view(np.uint8))
    joints_bone = prediction.joints_bone[hand]
    return {
        "present": True,
        "visible_share": round(np.count_nonzero(visible) / np.count_nonzero(amodal), 4),
        "box_px": [left, top, right - 1, bottom - 1],
        "joints_px": _rounded(prediction.joints_px[hand], 3),
        "joints_mm": [] if mean_bone_mm is None else _rounded(joints_bone * mean_bone_mm, 3),
        "joints_bone": _rounded(joints_bone, 5),
        "score": _rounded(prediction.score[hand], 4),
        "crop_affine_px": _rounded(prediction.affine_px[hand], 6),
    }


def _rounded(values: np.ndarray, digits: int) -> list[Any]:
    return np.round(np.asarray(values, np.float64), digits).tolist()


def _under(mask: Mask, points_px: FloatArray) -> Mask:
    """What a mask (H, W) is at points (N, 2); False outside."""
    inside = np.all((points_px > -0.5) & (points_px < np.array(mask.shape[::-1]) - 0.5), axis=1)
    x, y = np.where(inside[:, None], np.rint(points_px), 0).astype(int).T
    return inside & mask[y, x]


def _resized_masks(masks: Mask, size_hw: tuple[int, int]) -> Mask:
    return np.stack([resize(mask.astype(np.uint8) * 255, size_hw) >= 128 for mask in masks])


def _single_tile(prediction: "Prediction", hand: int, side_px: int) -> ImageU8:
    if not prediction.present[hand]:
        blank = np.full((side_px, side_px, 3), 48, np.uint8)
        return _captioned(blank, f"{SIDES[hand]}: not found", HAND_COLOURS[hand])
    single = resize(np.ascontiguousarray(_single(prediction, hand)), (side_px, side_px))
    return _captioned(single, f"{SIDES[hand]} alone", HAND_COLOURS[hand])


def _captioned(tile: ImageU8, text: str, colour: tuple[int, int, int]) -> ImageU8:
    bar = np.full((_BAR_PX, max(tile.shape[1], 130), 3), _DARK, np.uint8)
    write_text(bar, text, (4, _BAR_PX - 7), colour)
    return np.concatenate([bar, _on_dark(tile, tile.shape[0], bar.shape[1])])


def _beside(tiles: list[ImageU8]) -> ImageU8:
    height = max(tile.shape[0] for tile in tiles)
    first, *others = [_on_dark(tile, height, tile.shape[1]) for tile in tiles]
    gap = np.full((height, _GAP_PX, 3), _DARK, np.uint8)
    return np.concatenate([first, *(part for tile in others for part in (gap, tile))], axis=1)


def _on_dark(tile: ImageU8, height: int, width: int) -> ImageU8:
    canvas = np.full((height, width, 3), _DARK, np.uint8)
    canvas[: tile.shape[0], : tile.shape[1]] = tile
    return canvas
