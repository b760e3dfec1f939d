"""InterHand2.6M's annotations: MANO fits, joints, cameras and images of a split; what is wrong is left out and counted.

`annotations/{split}/InterHand2.6M_{split}_{data,camera,joint_3d,MANO_NeuralAnnot}.json` as release 1.0 has them. Joints
and camera positions are millimetres, translations of fits metres, both in one world frame per capture:
cam = R (world - campos). Fits are smplx's MANO with flat_hand_mean False on a left hand whose shapedirs are fixed. Each
file is read whole, with several times its size in memory; those of the training split take some gigabytes.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import FINGERS, KEYPOINT_NAMES, N_BETAS, N_JOINTS
from aih_builder.hands.model import HandModel
from aih_builder.identity import Split
from aih_builder.imaging import jpeg_size_hw

# A hand's 21 joints in InterHand2.6M's order (thumb tip to base, ..., little finger, wrist), as our keypoints.
IH_KEYPOINTS = np.array(
    [*(KEYPOINT_NAMES.index(f"{finger}{joint}") for finger in FINGERS for joint in (4, 3, 2, 1)), 0]
)
BAD_CAMERAS = {"400412"}  # swapped, distorted images; its intrinsics are doubtful
FARTHEST_M = 20.0  # of a hand from the world's origin: beyond, a translation is in millimetres
_LEAST_AWAY_MM, _LEAST_SPAN_MM = 20.0, 5.0  # of the farthest camera, of a frame's joints: below, they are in metres
_SIDES = ("right", "left")


class Fit(NamedTuple):
    """MANO parameters of one hand, world frame."""

    pose_rad: FloatArray  # (48,)
    betas: FloatArray  # (10,)
    trans_m: FloatArray  # (3,)


class Camera(NamedTuple):
    """cam = rotation @ (world - position), OpenCV's axes, no distortion."""

    rotation: FloatArray  # (3, 3)
    position_mm: FloatArray  # (3,)
    K_px: FloatArray  # (3, 3)


class Frame(NamedTuple):
    """One time step of a capture."""

    capture: str
    frame: str
    sequence: str  # "" where no image tells
    annotation: str  # human, machine, or "" where no list tells
    fits: tuple[Fit | None, Fit | None]  # right, left
    joints_mm: FloatArray | None  # (2, 21, 3) as keypoints, world
    joints_valid: np.ndarray  # (2, 21) bool


class Image(NamedTuple):
    """One picture of a frame."""

    file_name: str  # below images/{split}
    capture: str
    camera: str
    frame: str
    width: int
    height: int


class CameraView(NamedTuple):
    """Hands before a camera; rows of a missing hand are zero."""

    present: np.ndarray  # (2,) bool
    pose_rad: FloatArray  # (2, 48)
    betas: FloatArray  # (2, 10)
    trans_m: FloatArray  # (2, 3)
    K_px: FloatArray  # (3, 3)


@dataclass(frozen=True, slots=True)
class Capture:
    """What a split holds after what is bad is left out."""

    split: Split
    frames: dict[tuple[str, str], Frame]  # by capture and frame
    cameras: dict[tuple[str, str], Camera]  # by capture and camera
    images: list[Image]
    dropped: Counter[str] = field(default_factory=Counter)  # by reason


def read_capture(root: Path, split: Split, *, check_images: bool = False) -> Capture:
    """Read one split's annotations; with check_images, image files are opened and those of another size left out.

    Raises AssetError where a file is missing, no JSON, not laid out as it should be, or in other units.
    """
    check_skeleton(root / "annotations" / "skeleton.txt")
    parts = read_parts(root, split, ("data", "camera", "joint_3d", "MANO_NeuralAnnot"))
    dropped: Counter[str] = Counter()
    cameras = dict(cameras_of(parts["camera"], dropped))
    images, sequences, ids = _images(parts["data"], cameras, dropped)
    if check_images:
        images = [image for image in images if _has_its_size(root / "images" / split, image, dropped)]
    human = human_ids(root, split)
    frames = dict(_frames(parts["MANO_NeuralAnnot"], parts["joint_3d"], sequences, ids, human, dropped))
    stated = {(str(c), str(f)) for c, given in parts["MANO_NeuralAnnot"].items() for f in given}
    dropped["frame: no fit of either hand"] += len(sequences.keys() - frames.keys() - stated)
    if frames and not frames.keys() & sequences.keys():
        raise AssetError(f"{root}: no image of {split} belongs to a frame that has a fit. Fetch its data.json again.")
    if dropped["fit: beyond 20 m"] > len(frames):
        raise AssetError(
            f"{root}: most fits of {split} lie more than {FARTHEST_M:.0f} m from the origin. Translations are metres "
            "in InterHand2.6M's annotations, these look like millimetres: divide them by 1000."
        )
    joints = [(f.joints_mm, f.joints_valid) for f in frames.values() if f.joints_mm is not None]
    check_millimetres(root, split, cameras, joints)
    return Capture(split, frames, cameras, [i for i in images if (i.capture, i.frame) in frames], +dropped)


def camera_view(hands: tuple[HandModel, HandModel], frame: Frame, camera: Camera) -> CameraView:
    """A frame's fits in a camera's frame, exactly: as parameters, so that they can be stored and posed again."""
    pose_rad, betas, trans_m = np.zeros((2, 3 * N_JOINTS)), np.zeros((2, N_BETAS)), np.zeros((2, 3))
    shift_m = -camera.rotation @ camera.position_mm / 1000.0
    for side, fit in enumerate(frame.fits):
        if fit is not None:
            pose_rad[side], trans_m[side] = hands[side].moved(
                fit.pose_rad, fit.betas, fit.trans_m, camera.rotation, shift_m
            )
            betas[side] = fit.betas
    present = np.array([fit is not None for fit in frame.fits])
    return CameraView(present, pose_rad, betas, trans_m, camera.K_px)


def fit_error_mm(hand: HandModel, frame: Frame, side: int) -> float | None:
    """Mean distance of a fit's joints from the annotated ones, over valid joints; None where none is valid.

    The fit's are the hand model's own 21 keypoints. InterHand2.6M's are closer to those of its own regressor, so a good
    fit shows some 5 mm here.
    """
    fit = frame.fits[side]
    if fit is None or frame.joints_mm is None or not frame.joints_valid[side].any():
        return None
    away_mm = 1000.0 * hand.pose(*fit).joints_m - frame.joints_mm[side]
    return float(np.sqrt((away_mm**2).sum(axis=1))[frame.joints_valid[side]].mean())


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
        for name in parts.get("campos") or {}:
            if name in BAD_CAMERAS:
                dropped["camera: 400412"] += 1
                continue
            try:
                camera = Camera(
                    _array(parts["camrot"][name], (3, 3)),
                    _array(parts["campos"][name], (3,)),
                    _intrinsics(_array(parts["focal"][name], (2,)), _array(parts["princpt"][name], (2,))),
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


def image_entry(item: Any, dropped: Counter[str]) -> tuple[int, Image] | None:
    """Id and image of an entry of data.json's images; None and counted where it is malformed."""
    try:
        image = Image(
            str(item["file_name"]), str(int(item["capture"])), str(item["camera"]), str(int(item["frame_idx"])),
            int(item["width"]), int(item["height"]),
        )  # fmt: skip
        return int(item["id"]), image
    except (KeyError, OverflowError, TypeError, ValueError):
        dropped["image: malformed"] += 1
        return None


def is_usable(image: Image, cameras: dict[tuple[str, str], Camera], dropped: Counter[str]) -> bool:
    """Whether an image is upright and of a good camera; counted where not."""
    if image.camera in BAD_CAMERAS:
        dropped["image: camera 400412"] += 1
    elif image.width >= image.height:
        dropped["image: landscape"] += 1
    elif (image.capture, image.camera) not in cameras:
        dropped["image: camera unknown"] += 1
    else:
        return True
    return False


def _images(
    content: dict[str, Any], cameras: dict[tuple[str, str], Camera], dropped: Counter[str]
) -> tuple[list[Image], dict[tuple[str, str], str], dict[tuple[str, str], list[int]]]:
    """Usable images; sequence and annotation ids of every frame that has an image, usable or not."""
    images, sequences = [], {}
    of_image: dict[int, tuple[str, str]] = {}
    for item in content["images"]:
        entry = image_entry(item, dropped)
        if entry is None:
            continue
        number, image = entry
        of_image[number] = image.capture, image.frame
        sequences[image.capture, image.frame] = str(item.get("seq_name", ""))
        if is_usable(image, cameras, dropped):
            images.append(image)
    ids: dict[tuple[str, str], list[int]] = {}
    for item in content["annotations"]:
        try:
            if (key := of_image.get(int(item["image_id"]))) is not None:
                ids.setdefault(key, []).append(int(item["id"]))
        except (KeyError, OverflowError, TypeError, ValueError):
            dropped["annotation: malformed"] += 1
    return images, sequences, ids


def human_ids(root: Path, split: Split) -> set[int] | None:
    """Ids of annotations made by people; None where the list is not there. Raises AssetError."""
    path = root / "annotations" / split / f"aid_human_annot_{split}.txt"
    if not path.is_file():
        return None
    try:
        return {int(line) for line in path.read_text(encoding="utf-8").split()}
    except ValueError as error:
        raise AssetError(f"{path}: expected one annotation id per line ({error}).") from error


def _frames(
    fits: dict[str, Any],
    joints: dict[str, Any],
    sequences: dict[tuple[str, str], str],
    ids: dict[tuple[str, str], list[int]],
    human: set[int] | None,
    dropped: Counter[str],
) -> Iterator[tuple[tuple[str, str], Frame]]:
    for capture, frames in fits.items():
        for name, sides in frames.items():
            key = str(capture), str(name)
            given = sides if isinstance(sides, dict) else {}
            both = tuple(_fit(given.get(side), side, dropped) for side in _SIDES)
            if both == (None, None):
                dropped["frame: no fit of either hand"] += 1
                continue
            joints_mm, valid = joints_of(joints.get(capture, {}).get(name))
            if joints_mm is None:
                dropped["joints: missing or malformed"] += 1
            annotation = ""
            if human is not None and key in ids:
                annotation = "human" if human.intersection(ids[key]) else "machine"
            yield key, Frame(*key, sequences.get(key, ""), annotation, (both[0], both[1]), joints_mm, valid)


def _fit(content: Any, side: str, dropped: Counter[str]) -> Fit | None:
    if content is None:
        dropped[f"fit: no {side} hand"] += 1
        return None
    try:
        fit = Fit(
            _array(content["pose"], (3 * N_JOINTS,)),
            _array(content["shape"], (N_BETAS,)),
            _array(content["trans"], (3,)),
        )
    except (KeyError, TypeError, ValueError):
        dropped["fit: malformed"] += 1
        return None
    if np.abs(fit.trans_m).max() > FARTHEST_M:
        dropped["fit: beyond 20 m"] += 1
        return None
    return fit


def joints_of(content: Any) -> tuple[FloatArray | None, np.ndarray]:
    """Joints (2, 21, 3) as keypoints and their validity, of either layout: release 1.0's, or the bare list of 0.0.

    None where they are missing or malformed.
    """
    nothing = np.zeros((2, 21), bool)
    try:
        if isinstance(content, dict):
            world = _array(content["world_coord"], (42, 3))
            valid = np.asarray(content["joint_valid"], np.float64).reshape(42) > 0
        else:
            world, valid = _array(content, (42, 3)), np.ones(42, bool)
    except (KeyError, TypeError, ValueError):
        return None, nothing
    joints_mm, known = np.zeros((2, 21, 3)), nothing
    for side in range(2):
        joints_mm[side, IH_KEYPOINTS] = world[21 * side : 21 * side + 21]
        known[side, IH_KEYPOINTS] = valid[21 * side : 21 * side + 21]
    return joints_mm, known


def _array(content: Any, shape: tuple[int, ...]) -> FloatArray:
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


def _has_its_size(folder: Path, image: Image, dropped: Counter[str]) -> bool:
    """Whether an image's file is there and as large as is annotated; counted where not."""
    try:
        height, width = jpeg_size_hw(folder / image.file_name)
    except AssetError:
        dropped["image: file missing or damaged"] += 1
        return False
    if (width, height) != (image.width, image.height):
        dropped["image: file of another size"] += 1
        return False
    return True
