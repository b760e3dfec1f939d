"""InterHand2.6M's annotation files as they lie there: what each holds, its layout and its units checked.

`annotations/{split}/InterHand2.6M_{split}_{data,camera,joint_3d,MANO_NeuralAnnot}.json` as release 1.0 has them. Joints
and camera positions are millimetres, in one world frame per capture: cam = R (world - campos).
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import FINGERS, KEYPOINT_NAMES
from aih_builder.identity import Split

# A hand's 21 joints in InterHand2.6M's order (thumb tip to base, ..., little finger, wrist), as our keypoints.
IH_KEYPOINTS = np.array(
    [*(KEYPOINT_NAMES.index(f"{finger}{joint}") for finger in FINGERS for joint in (4, 3, 2, 1)), 0]
)
BAD_CAMERAS = {"400412"}  # swapped, distorted images; its intrinsics are doubtful
_LEAST_AWAY_MM, _LEAST_SPAN_MM = 20.0, 5.0  # of the farthest camera, of a frame's joints: below, they are in metres


class Camera(NamedTuple):
    """cam = rotation @ (world - position), OpenCV's axes, no distortion."""

    rotation: FloatArray  # (3, 3)
    position_mm: FloatArray  # (3,)
    K_px: FloatArray  # (3, 3)


def read_parts(root: Path, split: Split, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Named annotation files of a split, their outermost layout checked. Raises AssetError."""
    parts = {name: _read(root / "annotations" / split / f"InterHand2.6M_{split}_{name}.json") for name in names}
    for name in (name for name in names if name != "data"):
        if odd := [capture for capture, content in parts[name].items() if not isinstance(content, dict)]:
            raise AssetError(f"{root}: {split}'s {name} of capture {odd[0]} is no mapping. Fetch the file again.")
    data = parts.get("data", {"images": [], "annotations": []})
    if not all(isinstance(data.get(name), list) for name in ("images", "annotations")):
        raise AssetError(f"{root}: {split}'s data lacks the lists images and annotations. Fetch release 1.0's again.")
    return parts


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise AssetError(
            f"{path}: cannot be read ({error.strerror or error}). Name the folder that holds InterHand2.6M's "
            "annotations/ and, for pictures, images/."
        ) from error
    except (ValueError, RecursionError) as error:
        raise AssetError(f"{path}: is not JSON ({error}). Fetch it again: a download may have been cut off.") from error
    if not isinstance(content, dict):
        raise AssetError(f"{path}: expected a JSON object, got {type(content).__name__}.")
    return content


def cameras_of(content: dict[str, Any], dropped: Counter[str]) -> Iterator[tuple[tuple[str, str], Camera]]:
    """Usable cameras of camera.json by capture and name; others are counted."""
    for capture, parts in content.items():
        places = parts.get("campos")
        for name in places if isinstance(places, dict) else {}:
            if name in BAD_CAMERAS:
                dropped["camera: 400412"] += 1
                continue
            try:
                camera = Camera(
                    array_of(parts["camrot"][name], (3, 3)),
                    array_of(parts["campos"][name], (3,)),
                    _intrinsics(array_of(parts["focal"][name], (2,)), array_of(parts["princpt"][name], (2,))),
                )
            except (KeyError, TypeError, ValueError):
                dropped["camera: malformed"] += 1
                continue
            turns = np.abs(camera.rotation @ camera.rotation.T - np.eye(3)).max() < 1e-3
            if not turns or np.linalg.det(camera.rotation) < 0 or min(camera.K_px[0, 0], camera.K_px[1, 1]) <= 0:
                dropped["camera: no rotation or focal length"] += 1
                continue
            yield (str(capture), str(name)), camera


def _intrinsics(focal: FloatArray, centre: FloatArray) -> FloatArray:
    return np.array([[focal[0], 0.0, centre[0]], [0.0, focal[1], centre[1]], [0.0, 0.0, 1.0]])


def human_ids(root: Path, split: Split, lists: Path | None = None) -> set[int] | None:
    """Ids of annotations made by people; None where nothing tells.

    The list is `aid_human_annot_{split}.txt` beside the annotations, or in the folder `lists`. A folder that has lists
    has one for each split but val, which machines annotated. Raises ConfigError for a folder without the list,
    AssetError for a damaged one.
    """
    path = (root / "annotations" / split if lists is None else lists) / f"aid_human_annot_{split}.txt"
    if not path.is_file():
        if lists is None:
            return None
        if split == "val" and lists.is_dir():
            return set()
        raise ConfigError(f"{path}: is not there. Name the folder of aid_human_annot_train.txt and ..._test.txt.")
    try:
        return {int(line) for line in path.read_text(encoding="utf-8").split()}
    except (OSError, ValueError) as error:
        raise AssetError(f"{path}: expected one annotation id per line ({error}).") from error


def joints_of(content: Any) -> tuple[FloatArray | None, np.ndarray]:
    """Joints (2, 21, 3) as keypoints and their validity, of either layout: release 1.0's, or the bare list of 0.0.

    None where they are missing or malformed.
    """
    nothing = np.zeros((2, 21), bool)
    try:
        if isinstance(content, dict):
            world = array_of(content["world_coord"], (42, 3))
            valid = np.asarray(content["joint_valid"], np.float64).reshape(42) > 0
        else:
            world, valid = array_of(content, (42, 3)), np.ones(42, bool)
    except (KeyError, TypeError, ValueError):
        return None, nothing
    joints_mm, known = np.zeros((2, 21, 3)), nothing
    for side in range(2):
        joints_mm[side, IH_KEYPOINTS] = world[21 * side : 21 * side + 21]
        known[side, IH_KEYPOINTS] = valid[21 * side : 21 * side + 21]
    return joints_mm, known


def array_of(content: Any, shape: tuple[int, ...]) -> FloatArray:
    """Finite numbers of this shape. Raises TypeError or ValueError."""
    try:
        array = np.asarray(content, np.float64)
    except OverflowError as error:  # a whole number of hundreds of digits
        raise ValueError("a number that no float can hold") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"expected {shape} finite numbers")
    return array


def check_millimetres(
    root: Path,
    split: Split,
    cameras: dict[tuple[str, str], Camera],
    joints: Iterable[tuple[FloatArray, np.ndarray]],
) -> None:
    """Cameras and the joints (2, 21, 3) of frames, with their validity, must be in millimetres. Raises AssetError."""
    away_mm = [float(np.abs(camera.position_mm).max()) for camera in cameras.values()]
    if away_mm and max(away_mm) < _LEAST_AWAY_MM:
        raise AssetError(
            f"{root}: no camera of {split} is farther than {max(away_mm):.3g} from the origin. campos is millimetres "
            "in InterHand2.6M's annotations, these look like metres: multiply them by 1000."
        )
    spans_mm = [float(np.ptp(given_mm[valid], axis=0).max()) for given_mm, valid in joints if valid.sum() > 1]
    if spans_mm and np.median(spans_mm) < _LEAST_SPAN_MM:
        raise AssetError(
            f"{root}: the joints of a frame of {split} span {np.median(spans_mm):.3g}. world_coord is millimetres in "
            "InterHand2.6M's annotations, these look like metres: multiply them by 1000."
        )


def check_skeleton(path: Path) -> None:
    """Where skeleton.txt lies there, it must name the joints in the order that is read here. Raises AssetError."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if line.lstrip().startswith("#") or len(words) != 3 or not words[1].isdigit():
            continue
        keypoint = KEYPOINT_NAMES[IH_KEYPOINTS[int(words[1]) % 21]].replace("little", "pinky")
        if not words[0].lower().replace("little", "pinky").startswith(keypoint):
            raise AssetError(
                f"{path}: joint {words[1]} is '{words[0]}', expected '{keypoint}'. Only InterHand2.6M's order can be "
                "read: each finger from tip to base, thumb to little finger, then the wrist; the right hand first."
            )
