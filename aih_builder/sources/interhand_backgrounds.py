"""Backgrounds from InterHand2.6M: of some images the largest square beside the hands and their forearms.

Where the hands are is told by the annotated joints, so no hand model is needed. An image of two hands with a joint that
is not annotated is left out: its hand may be anywhere. What remains is the studio: lights, clothing, black borders.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.files import write_whole
from aih_builder.geometry import FloatArray, project
from aih_builder.identity import SPLITS, Split
from aih_builder.imaging import encode_jpeg, read_image, spread
from aih_builder.sample import SIDES
from aih_builder.sources.interhand import Capture, Image, read_capture

log = logging.getLogger(__name__)

LEAST_PX = 128  # side of a crop: a smaller one is blurred when it fills an image of 256
_CELL_PX = 8
_CLEAR_M = 0.035  # from the nearest bone: flesh, and some room
_ARM_M, _ARM_CLEAR_M = 0.35, 0.06  # length of a forearm, and from its axis
_STEPS = 8  # points along a bone
_ARM_STEPS = 24
_EVEN = 2.0  # spread of a crop that shows nothing, in levels
_ROOTS = np.array([0 if joint % 4 == 1 else joint - 1 for joint in range(1, 21)])
_WRIST, _KNUCKLE = 0, 9


def extract_backgrounds(
    root: Path,
    out: Path,
    *,
    every: int = 1,
    most: int = 1000,
    skip_bad: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Counter[str], Counter[str]]:
    """Write out/SPLIT/NAME.jpg of every n-th image, evenly spread to at most `most` a split.

    Returns the number of crops by split, and of what was left out by reason. Raises ConfigError where root holds no
    annotations or out is not empty, AssetError where an image is missing or damaged (without skip_bad), or no crop is
    left.
    """
    there: list[Split] = [split for split in SPLITS if (root / "annotations" / split).is_dir()]
    if not there:
        raise ConfigError(f"{root}: holds no annotations/train, val or test. Name the root of InterHand2.6M.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is there and is no empty folder. It was left untouched. Choose another name.")
    made, left_out = Counter[str](), Counter[str]()
    names: set[str] = set()
    for split in there:
        capture = read_capture(root, split)
        images = capture.images[::every]
        images = images[:: max(1, -(-len(images) // most))]
        for done, image in enumerate(images, 1):
            if on_progress is not None:
                on_progress(done, len(images))
            crop = _crop_of(root, split, capture, image, skip_bad)
            if isinstance(crop, str):
                left_out[crop] += 1
                continue
            data = encode_jpeg(crop)
            if (name := hashlib.sha256(data).hexdigest()[:16]) in names:
                left_out["the same crop again"] += 1
                continue
            names.add(name)
            write_whole(out / split / f"ih-{name}.jpg", data)
            made[split] += 1
    if not made:
        why = ", ".join(f"{reason} ({n})" for reason, n in left_out.most_common()) or "there is no image"
        raise AssetError(f"{root}: no background is left. Left out: {why}.")
    return made, left_out


def _crop_of(root: Path, split: Split, capture: Capture, image: Image, skip_bad: bool) -> np.ndarray | str:
    """The square beside the hands of an image, or why there is none."""
    frame, camera = capture.frames[image.capture, image.frame], capture.cameras[image.capture, image.camera]
    if not image.hand_type:
        return "which hands it shows is not told"
    sides = [side for side, name in enumerate(SIDES) if image.hand_type in (name, "interacting")]
    if frame.joints_mm is None or not frame.joints_valid[sides].all():
        return "a hand whose joints are not all annotated"
    cam_m = (frame.joints_mm[sides] - camera.position_mm) @ camera.rotation.T / 1000.0
    if cam_m[..., 2].min() < 0.1:
        return "a hand behind the camera"
    place = _largest_square(np.logical_or.reduce(list(_cells(cam_m, camera.K_px, image))))
    if place is None:
        return f"no square of {LEAST_PX} px beside the hands"
    path = root / "images" / split / image.file_name
    try:
        rgb = read_image(path)
    except AssetError as error:
        if skip_bad:
            log.warning("skipped: %s", error)
            return "a file that is missing or damaged"
        raise AssetError(f"{error} Or leave such files out, counted, with --skip-bad.") from error
    if rgb.shape[:2] != (image.height, image.width):
        return "a file of another size"
    top, left, side = place
    crop = np.ascontiguousarray(rgb[top : top + side, left : left + side])
    return "nothing but one level" if spread(crop) < _EVEN else crop


def _cells(cam_joints_m: FloatArray, K_px: FloatArray, image: Image) -> Iterator[np.ndarray]:
    """Which cells of _CELL_PX each hand (21, 3) and its forearm touch: (rows, columns) bool."""
    rows, columns = image.height // _CELL_PX, image.width // _CELL_PX
    y, x = (np.mgrid[:rows, :columns] + 0.5) * _CELL_PX - 0.5
    for joints_m in cam_joints_m:
        along = np.linspace(0, 1, _STEPS)[:, None, None]
        bones_m = (joints_m[_ROOTS] + along * (joints_m[1:] - joints_m[_ROOTS])).reshape(-1, 3)
        away_m = joints_m[_WRIST] - joints_m[_KNUCKLE]
        arm = np.linspace(0, 1, _ARM_STEPS)[:, None] * _ARM_M
        arm_m = joints_m[_WRIST] + arm * away_m / max(float(np.sqrt((away_m**2).sum())), 1e-6)
        for points_m, clear_m in ((bones_m, _CLEAR_M), (arm_m, _ARM_CLEAR_M)):
            points_m = points_m[points_m[:, 2] > 0.1]
            flat = project(points_m, K_px)
            clear_px = clear_m * max(K_px[0, 0], K_px[1, 1]) / points_m[:, 2] + _CELL_PX
            taken = np.zeros((rows, columns), bool)
            for (u, v), limit_px in zip(flat, clear_px, strict=True):
                taken |= (x - u) ** 2 + (y - v) ** 2 < limit_px**2
            yield taken


def _largest_square(taken: np.ndarray) -> tuple[int, int, int] | None:
    """Top, left and side in pixels of the largest square of free cells, of those the first; None where it is small."""
    best, place = 0, (0, 0)
    above = [0] * (taken.shape[1] + 1)  # side of the largest square that ends at each cell of the row above
    for row, line in enumerate(taken.tolist()):
        here = [0]
        for column, full in enumerate(line):
            here.append(0 if full else 1 + min(above[column], above[column + 1], here[column]))
            if here[-1] > best:
                best, place = here[-1], (row + 1, column + 1)
        above = here
    if best * _CELL_PX < LEAST_PX:
        return None
    return (place[0] - best) * _CELL_PX, (place[1] - best) * _CELL_PX, best * _CELL_PX
