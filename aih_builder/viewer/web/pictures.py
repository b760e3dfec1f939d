"""A sample's pictures for the page: the image, what lies over it or beside it, and thumbnails, each by a name."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from aih_builder.drawing import HAND_COLOURS, draw_comparison, draw_two_skeletons, write_text
from aih_builder.errors import ConfigError, ShardError
from aih_builder.hdr.read_predictions import Predicted
from aih_builder.imaging import ImageU8, decode_image, encode_jpeg, encode_png, resize
from aih_builder.sample import SIDES, Mask, Sample, hdr_masks
from aih_builder.viewer.sheet import joints_tile, masks_tile, target_tile

THUMB_PX = 224
THUMBS: dict[str, Callable[[Sample], ImageU8]] = {
    "image": lambda sample: sample.image_rgb,
    "masks": masks_tile,
    "joints": joints_tile,
    "right alone": lambda sample: target_tile(sample, 0),
    "left alone": lambda sample: target_tile(sample, 1),
}
PREDICTED_KINDS = ("amodal", "visible", "joints", "alone")
PREDICTED = tuple(f"predicted {side} {kind}" for kind in PREDICTED_KINDS for side in SIDES)
_MASK_COLOURS = {"M_D": (230, 70, 160), "M_R": (60, 200, 120), "M_bv": (120, 120, 140), "changed": (250, 220, 70)}
_ZOOM_TOWARDS_PX = 512  # pictures with lines on them

Drawn = Callable[[], ImageU8]


def thumbnail(sample: Sample, show: str, predicted: Predicted | None = None) -> bytes:
    """A JPEG of at most THUMB_PX: one of THUMBS or PREDICTED; of what was not predicted, a dim image that says so.

    Raises ConfigError for another name.
    """
    if show in THUMBS:
        tile = THUMBS[show](sample)
    elif show in PREDICTED:
        drawn = prediction_pictures(sample, predicted) if predicted else {}
        tile = drawn[show]() if show in drawn else _nothing(sample)
    else:
        raise ConfigError(f"thumbnail {show!r}: expected one of {', '.join([*THUMBS, *PREDICTED])}.")
    tile = np.ascontiguousarray(tile)
    return encode_jpeg(tile if tile.shape[1] <= THUMB_PX else resize(tile, (THUMB_PX, THUMB_PX)))


def pictures_of(sample: Sample) -> dict[str, Drawn]:
    """What may be shown beside the image, drawn when asked, (H, W, 3) u8: targets, and optional pictures stored."""
    shown: dict[str, Drawn] = {
        f"{side} alone": lambda i=i: sample.target_rgb[i] for i, side in enumerate(SIDES) if sample.target_valid[i]
    }
    if (background := sample.background_rgb) is not None:
        shown["background"] = lambda: background
    if (depth := sample.depth) is not None:
        shown["depth"] = lambda: _depth_rgb(depth)
    if (normal := sample.normal) is not None:
        shown["normals"] = lambda: (normal.astype(np.int16) + 128).clip(0, 255).astype(np.uint8)
    return shown


def prediction_pictures(sample: Sample, predicted: Predicted) -> dict[str, Drawn]:
    """What a prediction may be shown as, drawn when asked: each hand alone, its masks and its joints against the truth.

    Masks and joints are magnified towards 512 px.
    """
    image = sample.image_rgb
    zoom = max(1, _ZOOM_TOWARDS_PX // image.shape[1])
    shown: dict[str, Drawn] = {}
    for hand, side in enumerate(SIDES):
        for kind, true, found in (
            ("amodal", sample.amodal_mask, predicted.amodal),
            ("visible", sample.visible_mask, predicted.visible),
        ):
            if found is not None:
                shown[f"predicted {side} {kind}"] = lambda true=true, found=found, hand=hand: draw_comparison(
                    image, true, found, hand, zoom
                )
        if sample.hand_present[hand] and predicted.present[hand]:
            shown[f"predicted {side} joints"] = lambda hand=hand: draw_two_skeletons(
                image, sample.joints_px[hand], predicted.joints_px[hand], sample.joint2d_valid[hand],
                np.ones(21, bool), zoom,
            )  # fmt: skip
        if (alone := predicted.alone[hand]) is not None:
            shown[f"predicted {side} alone"] = lambda alone=alone: _read(alone)
    return shown


def masks_of(sample: Sample) -> dict[str, tuple[Mask, tuple[int, int, int]]]:
    """Masks (H, W) by name, with the colour that each is shown in."""
    shown: dict[str, tuple[Mask, tuple[int, int, int]]] = {}
    for kind, masks in (("amodal", sample.amodal_mask), ("visible", sample.visible_mask)):
        for i in np.flatnonzero(sample.hand_present).tolist():
            shown[f"{SIDES[i]} {kind}"] = masks[i], HAND_COLOURS[i]
    if sample.hand_present.all():
        for i, side in enumerate(SIDES):
            of_target = hdr_masks(sample, i)
            shown |= {
                f"{name}, {side}": (getattr(of_target, name), _MASK_COLOURS[name]) for name in ("M_D", "M_R", "M_bv")
            }
    for i in np.flatnonzero(sample.target_valid).tolist():
        shown[f"changed, {SIDES[i]}"] = sample.changed_mask[i], _MASK_COLOURS["changed"]
    if sample.forearm_mask is not None:
        shown |= {f"{side} forearm": (sample.forearm_mask[i], HAND_COLOURS[i]) for i, side in enumerate(SIDES)}
    return shown


def _nothing(sample: Sample) -> ImageU8:
    tile = resize(sample.image_rgb // 3, (THUMB_PX, THUMB_PX))
    write_text(tile, "not predicted", (64, 116), (235, 235, 235))
    return tile


def picture(sample: Sample, name: str, predicted: Predicted | None = None) -> bytes:
    """A PNG: `image`, one of pictures_of or prediction_pictures, or one of masks_of in its colour, clear where unset.

    Raises ConfigError for any other name, ShardError where a prediction's file cannot be read.
    """
    masks = masks_of(sample)
    if name in masks:
        mask, colour = masks[name]
        bgra = np.zeros((*mask.shape, 4), np.uint8)
        bgra[mask] = (*colour[::-1], 255)
        return cv2.imencode(".png", bgra)[1].tobytes()
    drawn: dict[str, Drawn] = {"image": lambda: sample.image_rgb} | pictures_of(sample)
    drawn |= prediction_pictures(sample, predicted) if predicted else {}
    return encode_png(np.ascontiguousarray(_chosen(drawn, name, sample)()))


def _chosen(drawn: dict[str, Drawn], name: str, sample: Sample) -> Drawn:
    if name not in drawn:
        raise ConfigError(f"picture {name!r} of sample {sample.index}: there are {', '.join(drawn) or 'none'}.")
    return drawn[name]


def _read(path: Path) -> ImageU8:
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise ShardError(f"{path}: cannot be read ({error.strerror or error}). Run `aih predict` again.") from error


def _depth_rgb(depth: np.ndarray) -> ImageU8:
    """Near yellow, far violet, nothing black."""
    there = depth > 0
    low, high = (int(depth[there].min()), int(depth[there].max())) if there.any() else (0, 1)
    near = (255 - (depth.astype(np.float64) - low) * 215 / max(high - low, 1)).clip(0, 255).astype(np.uint8)
    coloured = cv2.applyColorMap(near, cv2.COLORMAP_VIRIDIS)[..., ::-1].astype(np.uint8)
    coloured[~there] = 0
    return coloured
