"""Test sequences of Tzionas et al., "Capturing Hands in Action" (IJCV 2016): two hands, 2D joints labelled by people.

Layout: {sequence}/1/rgb/{frame:03d}.png and {sequence}/1/joints_2D_GT/{frame:03d}.txt, of every fifth frame. A text
file has 28 lines "index x y" in pixels of the original image: 14 joints of the right hand, then of the left one. No
wrist, tip or thumb base is labelled. 0 0 and negative numbers mean: not labelled.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aih_builder.errors import AssetError, SampleError
from aih_builder.geometry import FloatArray
from aih_builder.hdr.benchmarks import BenchmarkImage, tight_box_px

log = logging.getLogger(__name__)

SEQUENCES = ("01", "02", "03", "04", "05", "06", "07")  # hand with hand, as RenderIH takes them
# A hand's 14 labelled joints as our keypoints: little, ring, middle and index finger from base to tip, then the thumb.
LABELLED = np.array([17, 18, 19, 13, 14, 15, 9, 10, 11, 5, 6, 7, 2, 3])


def read_tzionas(root: Path, sequences: Sequence[str] = SEQUENCES) -> list[BenchmarkImage]:
    """Labelled frames, by sequence and frame. There is no 3D truth: cam_joints_mm is 0 and nowhere valid.

    Frames without a label are left out and counted in the log. Raises AssetError where a folder or an image is missing
    or a text file is malformed.
    """
    found, empty = [], 0
    for sequence in sequences:
        folder = root / sequence / "1" / "joints_2D_GT"
        files = sorted(folder.glob("[0-9]*.txt"))
        if not files:
            raise AssetError(
                f"{folder}: holds no text files of joints, or is not there. Unpack sequence {sequence} such that "
                f"{root.name}/{sequence}/1/ has the folders rgb and joints_2D_GT, or name the sequences that there are."
            )
        for file in files:
            picture = root / sequence / "1" / "rgb" / f"{file.stem}.png"
            if not picture.is_file():
                raise AssetError(f"{picture}: is not there, but {file.name} labels it. Unpack the sequence again.")
            joints_px, valid = _labels(file)
            if valid.any():
                found.append(_record(picture, joints_px, valid))
            else:
                empty += 1
    log.info("%s: %d frames of %d sequences; left out: %d without a label.", root, len(found), len(sequences), empty)
    if not found:
        raise AssetError(f"{root}: none of {empty} frames has a label. Unpack the sequences again.")
    return found


def tzionas_epe_px(results: Iterable[tuple[BenchmarkImage, FloatArray]]) -> float:
    """Mean distance in pixels of the original image, over all labelled joints of all images together.

    results are images with the keypoints (2, 21, 2) that were found. Raises SampleError for other shapes, for labelled
    joints that were found at NaN or infinity, and where there is no result.
    """
    total, count = 0.0, 0
    for image, found_px in results:
        if found_px.shape != (2, 21, 2):
            raise SampleError(f"{image.path}: found joints {found_px.shape}, expected (2, 21, 2), right hand first.")
        away = np.linalg.norm((found_px - image.joints_px)[image.joint2d_valid], axis=-1)
        if not np.isfinite(away).all():
            raise SampleError(f"{image.path}: a labelled joint was found at NaN or infinity.")
        total, count = total + float(away.sum()), count + len(away)
    if count == 0:
        raise SampleError("Tzionas' EPE: no result has a labelled joint. Score at least one image.")
    return total / count


def _labels(path: Path) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Joints (2, 21, 2) and whether they are labelled (2, 21), of a text file."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        given = {int(index): (float(x), float(y)) for index, x, y in lines}
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror}). Fix its permissions.") from error
    except ValueError as error:
        raise AssetError(f'{path}: expected 28 lines "index x y" ({error}). Unpack the sequence again.') from error
    rows = np.array([given.get(index, (np.nan, np.nan)) for index in range(28)])
    if len(lines) != 28 or not np.isfinite(rows).all():
        raise AssetError(
            f'{path}: {len(lines)} lines; expected 28 lines "index x y" with indices 0 to 27 and finite numbers. '
            "Unpack the sequence again."
        )
    labelled = np.all(rows >= 0, axis=1) & np.any(rows > 0, axis=1)
    joints_px, valid = np.zeros((2, 21, 2)), np.zeros((2, 21), bool)
    joints_px[:, LABELLED] = np.where(labelled[:, None], rows, 0.0).reshape(2, 14, 2)
    valid[:, LABELLED] = labelled.reshape(2, 14)
    return joints_px, valid


def _record(picture: Path, joints_px: FloatArray, valid: NDArray[np.bool_]) -> BenchmarkImage:
    right, left = (bool(side.any()) for side in valid)
    return BenchmarkImage(
        path=picture,
        box_px=tight_box_px(joints_px, valid),
        hand_type="interacting" if right and left else "right" if right else "left",
        annotation="human",
        joints_px=joints_px,
        joint2d_valid=valid,
        cam_joints_mm=np.zeros((2, 21, 3)),
        joint3d_valid=np.zeros((2, 21), bool),
        bone_valid=np.zeros(2, bool),
    )
