"""InterHand2.6M's annotations: MANO fits, joints, cameras and images of a split; what is wrong is left out and counted.

interhand_parts.py says how the files are laid out. Translations of fits are metres, in the world frame of the capture.
Fits are smplx's MANO with flat_hand_mean False on a left hand whose shapedirs are fixed. Each file is read whole, with
several times its size in memory; those of the training split take some gigabytes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import N_BETAS, N_JOINTS
from aih_builder.hands.model import HandModel
from aih_builder.identity import Split
from aih_builder.imaging import jpeg_size_hw
from aih_builder.sources.interhand_parts import (
    BAD_CAMERAS,
    Camera,
    array_of,
    cameras_of,
    check_millimetres,
    check_skeleton,
    human_ids,
    joints_of,
    read_parts,
)

HAND_TYPES = ("right", "left", "interacting")
FARTHEST_M = 20.0  # of a hand from the world's origin: beyond, a translation is in millimetres
_SIDES = ("right", "left")
_SIDES_PX = range(1, 8193)  # of an image


class Fit(NamedTuple):
    """MANO parameters of one hand, world frame."""

    pose_rad: FloatArray  # (48,)
    betas: FloatArray  # (10,)
    trans_m: FloatArray  # (3,)


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
    subject: str = ""
    hand_type: str = ""  # "" where no annotation tells, or none that is valid
    annotation: str = ""  # human, machine, or "" where no list tells


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


def read_capture(root: Path, split: Split, *, check_images: bool = False, lists: Path | None = None) -> Capture:
    """Read one split's annotations; with check_images, image files are opened and those of another size left out.

    lists is the folder of the lists of annotations made by people, where they do not lie beside the annotations.
    Raises AssetError where a file is missing, no JSON, not laid out as it should be, or in other units.
    """
    check_skeleton(root / "annotations" / "skeleton.txt")
    parts = read_parts(root, split, ("data", "camera", "joint_3d", "MANO_NeuralAnnot"))
    dropped: Counter[str] = Counter()
    cameras = dict(cameras_of(parts["camera"], dropped))
    human = human_ids(root, split, lists)
    images, sequences, ids = _images(parts["data"], cameras, human, dropped)
    if check_images:
        images = [image for image in images if _has_its_size(root / "images" / split, image, dropped)]
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


def image_entry(item: Any, dropped: Counter[str]) -> tuple[int, Image] | None:
    """Id and image of an entry of data.json's images; None and counted where it is malformed."""
    try:
        image = Image(
            str(item["file_name"]), str(int(item["capture"])), str(item["camera"]), str(int(item["frame_idx"])),
            _side_px(item["width"]), _side_px(item["height"]), str(item.get("subject", "")),
        )  # fmt: skip
        return int(item["id"]), image
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        dropped["image: malformed"] += 1
        return None


def _side_px(stated: Any) -> int:
    side = int(stated)
    if side not in _SIDES_PX:
        raise ValueError(f"{side} px are no side of an image")
    return side


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
    content: dict[str, Any], cameras: dict[tuple[str, str], Camera], human: set[int] | None, dropped: Counter[str]
) -> tuple[list[Image], dict[tuple[str, str], str], dict[tuple[str, str], list[int]]]:
    """Usable images; sequence and annotation ids of every frame that has an image, usable or not."""
    told = _annotations(content["annotations"], dropped)
    images, sequences = [], {}
    ids: dict[tuple[str, str], list[int]] = {}
    for item in content["images"]:
        entry = image_entry(item, dropped)
        if entry is None:
            continue
        number, image = entry
        key = image.capture, image.frame
        sequences[key] = str(item.get("seq_name", ""))
        if number in told:
            hand_type, annotation = told[number]
            by = "" if human is None else "human" if annotation in human else "machine"
            image = image._replace(hand_type=hand_type, annotation=by)
            ids.setdefault(key, []).append(annotation)
        if is_usable(image, cameras, dropped):
            images.append(image)
    return images, sequences, ids


def _annotations(content: list[Any], dropped: Counter[str]) -> dict[int, tuple[str, int]]:
    """Hand type and id of each image's annotation, by the image's id."""
    told: dict[int, tuple[str, int]] = {}
    for item in content:
        try:
            image, number, kind = int(item["image_id"]), int(item["id"]), item.get("hand_type", "")
            valid = bool(item.get("hand_type_valid", 1))
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            dropped["annotation: malformed"] += 1
            continue
        known = next((name for name in HAND_TYPES if valid and kind == name), "")
        told[image] = known, number
    return told


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
            array_of(content["pose"], (3 * N_JOINTS,)),
            array_of(content["shape"], (N_BETAS,)),
            array_of(content["trans"], (3,)),
        )
    except (KeyError, TypeError, ValueError):
        dropped["fit: malformed"] += 1
        return None
    if np.abs(fit.trans_m).max() > FARTHEST_M:
        dropped["fit: beyond 20 m"] += 1
        return None
    return fit


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
