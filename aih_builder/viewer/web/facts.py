"""What the page tells of a sample: every field with its unit, joints and boxes to draw, and how to make it again."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.drawing import FINGER_COLOURS, HAND_COLOURS
from aih_builder.hands.conventions import KEYPOINT_NAMES, KEYPOINT_PARENTS
from aih_builder.imaging import box_of
from aih_builder.invariants import violations
from aih_builder.sample import SIDES, SPECS, Sample
from aih_builder.viewer.web.pictures import masks_of, pictures_of


def facts(sample: Sample, folder: Path) -> dict[str, Any]:
    """Plain JSON types. Boxes are [left, top, width, height] in pixels, of a mask's outermost pixels."""
    height, width = sample.image_rgb.shape[:2]
    with np.errstate(all="ignore"):  # damaged numbers may overflow; what comes of it is told
        broken = violations(sample)
    return {
        "index": sample.index,
        "title": f"{sample.engine} / {sample.split} / {sample.pose_family}",
        "size_hw": [height, width],
        "pictures": list(pictures_of(sample)),
        "masks": {name: _css(colour) for name, (_, colour) in masks_of(sample).items()},
        "hands": [_hand(sample, hand) for hand in (0, 1) if sample.hand_present[hand]],
        "posed": bool((sample.hand_present & sample.pose_valid).any()),
        "bones": [[int(parent), joint] for joint, parent in enumerate(KEYPOINT_PARENTS) if parent >= 0],
        "fields": [_field(sample, name) for name in SPECS],
        "broken": broken,
        "command": f"aih regenerate {shlex.quote(str(folder))} --index {sample.index}",
    }


def _hand(sample: Sample, hand: int) -> dict[str, Any]:
    colours = [HAND_COLOURS[hand], *(FINGER_COLOURS[name.rstrip("1234")] for name in KEYPOINT_NAMES[1:])]
    boxes = {}
    for kind, mask in (("amodal", sample.amodal_mask[hand]), ("visible", sample.visible_mask[hand])):
        top, bottom, left, right = box_of(np.ascontiguousarray(mask).view(np.uint8))
        if bottom > top:
            boxes[kind] = [left, top, right - left, bottom - top]
    return {
        "side": SIDES[hand],
        "colour": _css(HAND_COLOURS[hand]),
        "boxes": boxes,
        "joints": [
            {
                "name": name,
                "x": round(float(x), 2),
                "y": round(float(y), 2),
                "known": bool(sample.joint2d_valid[hand, k]),
                "seen": bool(sample.joint_visible[hand, k]) if sample.joint_visible_valid[hand] else None,
                "colour": _css(colours[k]),
            }
            for k, (name, (x, y)) in enumerate(zip(KEYPOINT_NAMES, sample.joints_px[hand], strict=True))
        ],
    }


def _field(sample: Sample, name: str) -> dict[str, str]:
    spec, value = SPECS[name], getattr(sample, name)
    if value is None:
        shown = "not stored"
    elif spec.is_image:
        shown = f"{spec.dtype} {' x '.join(map(str, value.shape))}"
    elif isinstance(value, np.ndarray):
        shown = np.array2string(
            value, precision=4, suppress_small=True, separator=", ", threshold=400, max_line_width=76
        )
    else:
        shown = f"{value:.6g}" if isinstance(value, float) else str(value)
    return {"name": name, "value": shown, "about": spec.about}


def _css(colour: tuple[int, int, int]) -> str:
    return f"rgb({colour[0]} {colour[1]} {colour[2]})"
