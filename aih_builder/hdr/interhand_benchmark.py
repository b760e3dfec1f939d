"""InterHand2.6M's test set, and its table of errors as the official evaluation averages them.

Reads data.json, camera.json and joint_3d.json of release 1.0, and aid_human_annot_{split}.txt where it is there. MANO
fits are not needed: the truth are the annotated joints.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.errors import AssetError, ConfigError, SampleError
from aih_builder.geometry import FloatArray
from aih_builder.hdr.benchmarks import HAND_TYPES, BenchmarkImage, HandType, tight_box_px
from aih_builder.hdr.metrics import REFERENCE, ROOT, PoseScore
from aih_builder.identity import Split
from aih_builder.sources.interhand import Image, image_entry, is_usable
from aih_builder.sources.interhand_parts import (
    IH_KEYPOINTS,
    Camera,
    cameras_of,
    check_millimetres,
    check_skeleton,
    human_ids,
    joints_of,
    read_parts,
)

log = logging.getLogger(__name__)

InterhandResult = tuple[BenchmarkImage, FloatArray, NDArray[np.bool_]]  # errors_mm (2, 21), valid (2, 21)
_Frames = dict[tuple[str, str], tuple[FloatArray, NDArray[np.bool_]]]  # (2, 21, 3) mm and whether annotated


class _Annotation(NamedTuple):
    """What data.json says of the hands in one image."""

    number: int
    image: Image
    hand_type: HandType
    valid: NDArray[np.bool_]  # (2, 21), as keypoints; no joint of a hand without wrist


class InterhandRow(NamedTuple):
    """One column of InterHand2.6M's published tables."""

    official_mm: float  # mean over images per joint, then over the 42 joints; the wrists' zeros count
    pooled_mm: float  # mean over all valid joints, wrists included
    auc: float  # of the pooled PCK over 0 to 50 mm, normalised
    images: int
    joints: int


def read_interhand(root: Path, split: Split, every: int = 1) -> list[BenchmarkImage]:
    """Annotated images of a split in data.json's order; every = n takes each n-th of the upright ones of a good camera.

    root holds annotations/ and images/. A joint counts where data.json's joint_valid says so, in 2D and in 3D (it
    means: annotated and inside the image); a hand whose wrist does not count is dropped entirely. cam_joints_mm also
    has joints outside the image where joint_3d.json has them. Camera 400412, landscape images, and images without a
    hand are left out and counted in the log. Raises AssetError where a file is missing, malformed or in other units.
    """
    if every < 1:
        raise ConfigError(f"every: expected 1 or more, got {every}. 10 takes each tenth image.")
    check_skeleton(root / "annotations" / "skeleton.txt")
    parts = read_parts(root, split, ("data", "camera", "joint_3d"))
    human = human_ids(root, split)
    dropped: Counter[str] = Counter()
    cameras = dict(cameras_of(parts["camera"], dropped))
    annotations = list(_annotations(parts["data"], cameras, dropped))[::every]
    frames = dict(_frames(parts["joint_3d"], {(a.image.capture, a.image.frame) for a in annotations}))
    found = []
    for annotation in annotations:
        image = annotation.image
        if (frame := frames.get((image.capture, image.frame))) is None:
            dropped["joints: missing or malformed"] += 1
            continue
        by = "" if human is None else "human" if annotation.number in human else "machine"
        record = _record(root / "images" / split, annotation, frame, cameras[image.capture, image.camera], by)
        if record is None:
            dropped["image: no hand with a valid wrist"] += 1
        else:
            found.append(record)
    check_millimetres(root, split, cameras, ((r.cam_joints_mm, r.joint3d_valid) for r in found))
    left_out = ", ".join(f"{reason} ({count})" for reason, count in sorted((+dropped).items())) or "nothing"
    log.info("%s: %d images of %s; left out: %s.", root, len(found), split, left_out)
    if not found:
        raise AssetError(
            f"{root}: {split} holds no image that can be scored. Left out: {left_out}. Fetch its annotations again."
        )
    return found


def interhand_table(results: Iterable[InterhandResult]) -> dict[str, InterhandRow]:
    """Rows SH (one hand), IH (interacting) and ALL, of errors (2, 21) in mm with their validity (2, 21) per image.

    Averaged as the official evaluation does: over images for each of the 42 joints, then over joints. It brings every
    hand's wrist to the true one, so wrists contribute zeros; so do those of hands that with_true_scale aligned.
    The branches H and M are tables of the results whose annotation is human or machine. A row without a valid joint is
    left out. Raises SampleError for other shapes, for errors that are not finite, and where there is no result.
    """
    scores = {name: PoseScore(42) for name in ("SH", "IH", "ALL")}
    for image, errors_mm, valid in results:
        if errors_mm.shape != (2, 21) or valid.shape != (2, 21):
            raise SampleError(
                f"{image.path}: errors {errors_mm.shape}, validity {valid.shape}; expected (2, 21), right hand first."
            )
        for name in ("IH" if image.hand_type == "interacting" else "SH", "ALL"):
            scores[name].add(errors_mm.reshape(42), valid.reshape(42))
    rows = {
        name: InterhandRow(score.official_mm(), score.pooled_mm(), score.auc(), score.samples, score.valid_joints)
        for name, score in scores.items()
        if score.valid_joints
    }
    if not rows:
        raise SampleError("InterHand2.6M's table: no result has a valid joint. Score at least one image.")
    return rows


def _annotations(
    content: dict[str, Any], cameras: dict[tuple[str, str], Camera], dropped: Counter[str]
) -> Iterator[_Annotation]:
    """Annotations of usable images, in data.json's order."""
    entries = (image_entry(item, dropped) for item in content["images"])
    images = {entry[0]: entry[1] for entry in entries if entry is not None and is_usable(entry[1], cameras, dropped)}
    for item in content["annotations"]:
        try:
            image, number, hand_type = images.get(int(item["image_id"])), int(item["id"]), item["hand_type"]
            stated = np.asarray(item["joint_valid"], np.float64).reshape(2, 21) > 0
        except (KeyError, OverflowError, TypeError, ValueError):
            dropped["annotation: malformed"] += 1
            continue
        if image is None:
            continue  # left out above
        if hand_type not in HAND_TYPES:
            dropped["annotation: unknown hand_type"] += 1
            continue
        valid = np.zeros((2, 21), bool)
        valid[:, IH_KEYPOINTS] = stated
        yield _Annotation(number, image, hand_type, valid & valid[:, :1])


def _frames(
    content: dict[str, Any], wanted: set[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], tuple[FloatArray, NDArray[np.bool_]]]]:
    """World joints of the wanted frames and whether each is annotated. The bare list does not tell: none is."""
    for capture, frame in sorted(wanted):
        given = content.get(capture, {}).get(frame)
        joints_mm, known = joints_of(given)
        if joints_mm is not None:
            yield (capture, frame), (joints_mm, known if isinstance(given, dict) else np.zeros_like(known))


def _record(
    folder: Path, given: _Annotation, frame: tuple[FloatArray, NDArray[np.bool_]], camera: Camera, by: str
) -> BenchmarkImage | None:
    """One image; None where no hand has a valid wrist before the camera."""
    world_mm, annotated = frame
    present = given.valid[:, :1]
    known = (annotated | given.valid) & present
    cam_mm = np.where(known[..., None], (world_mm - camera.position_mm) @ camera.rotation.T, 0.0)
    in_front = known & (cam_mm[..., 2] > 0)
    depth_mm = np.where(in_front, cam_mm[..., 2], 1.0)
    focal, centre = camera.K_px[[0, 1], [0, 1]], camera.K_px[:2, 2]
    joints_px = np.where(in_front[..., None], cam_mm[..., :2] / depth_mm[..., None] * focal + centre, 0.0)
    valid2d = given.valid & in_front
    if not valid2d.any():
        return None
    return BenchmarkImage(
        path=folder / given.image.file_name,
        box_px=tight_box_px(joints_px, valid2d),
        hand_type=given.hand_type,
        annotation=by,
        joints_px=joints_px,
        joint2d_valid=valid2d,
        cam_joints_mm=cam_mm,
        joint3d_valid=given.valid,
        bone_valid=known[:, ROOT] & known[:, REFERENCE],
    )
