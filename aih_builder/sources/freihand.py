"""FreiHAND's training set: single right hands before a green screen, and the same with other backgrounds.

    training_K.json      per sample: K, 3 x 3, pixels
    training_xyz.json    per sample: 21 joints, metres, camera frame, in the order of our keypoints
    training_mano.json   per sample: 61 numbers in a row of its own: pose 48, betas 10, and a root and a scale that are
                         not needed here (the joints say where the hand is); smplx's MANO with flat_hand_mean False
    training/mask/NNNNNNNN.jpg    of each sample: the foreground, which is the hand with its arm
    training/rgb/NNNNNNNN.jpg     sample + count x version: the versions of VERSIONS, in this order

Versions of a sample share mask and annotation, so they share a split: a hash of the sample's number.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import FloatArray, project
from aih_builder.identity import Split
from aih_builder.sources.pools import split_of

FREIHAND_LICENCE = "LicenseRef-FreiHAND"  # for research, not for commerce
VERSIONS = ("gs", "hom", "sample", "auto")  # green screen, and three ways to another background
_FARTHEST_M = 10.0
_LEAST_SPAN_M, _MOST_SPAN_M = 0.02, 0.5  # of a hand's joints
_WRIST, _KNUCKLE = 0, 9  # keypoints
# Keypoints that a bone leads to, and where it comes from.
_TIPS = np.arange(1, 21)
_ROOTS = np.array([0 if joint % 4 == 1 else joint - 1 for joint in _TIPS])
_HAND_BEYOND_WRIST = 0.4  # of the way from the wrist to the knuckle: so far a mesh such as MANO goes on towards the arm


class FreihandSample(NamedTuple):
    """One annotated sample."""

    number: int
    K_px: FloatArray  # (3, 3)
    joints_m: FloatArray  # (21, 3)
    pose_rad: FloatArray | None  # (48,), None where the fits were not asked for
    betas: FloatArray | None  # (10,)

    @property
    def split(self) -> Split:
        """That of all its versions."""
        return split_of(f"freihand-{self.number:08d}")


def read_freihand(root: Path, *, fits: bool) -> list[FreihandSample]:
    """The annotations of all training samples; with fits, those of MANO, too.

    Raises ConfigError where root is no folder, AssetError where a file is missing, no JSON, of another layout or unit.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: is not a folder. Name the folder that holds FreiHAND's training_K.json.")
    joints_m = _read(root, "xyz", (21, 3))
    K_px = _read(root, "K", (3, 3))
    mano = _read(root, "mano", (1, 61)) if fits else None
    for name, array in (("K", K_px), ("mano", mano)):
        if array is not None and len(array) != len(joints_m):
            raise AssetError(
                f"{_path(root, name)}: holds {len(array)} samples, training_xyz.json {len(joints_m)}. They must be of "
                "one release: fetch both again."
            )
    _check(root, joints_m, K_px)
    return [
        FreihandSample(
            number, K_px[number], joints_m[number],
            None if mano is None else mano[number, 0, :48], None if mano is None else mano[number, 0, 48:58],
        )
        for number in range(len(joints_m))
    ]  # fmt: skip


def image_path(root: Path, number: int, version: str, count: int) -> Path:
    """The picture of a sample in one of VERSIONS; count is the number of samples."""
    return root / "training" / "rgb" / f"{number + count * VERSIONS.index(version):08d}.jpg"


def mask_path(root: Path, number: int) -> Path:
    """The mask that all versions of a sample share."""
    return root / "training" / "mask" / f"{number:08d}.jpg"


def beyond_wrist(joints_px: FloatArray, size_hw: tuple[int, int]) -> np.ndarray:
    """Which pixels (H, W) belong to the arm rather than to a hand with joints at (21, 2).

    Those that lie nearer to a ray than to every bone; it goes from a little below the wrist away from the middle
    finger's knuckle. A hand whose fingers hang before its arm keeps them.
    """
    wrist, knuckle = joints_px[_WRIST], joints_px[_KNUCKLE]
    away = wrist - knuckle
    begin = wrist + _HAND_BEYOND_WRIST * away
    length = np.sqrt((away**2).sum())
    far = begin + away / max(length, 1e-6) * sum(size_hw)
    y, x = np.mgrid[: size_hw[0], : size_hw[1]].astype(np.float32)
    nearest = np.full(size_hw, np.inf, np.float32)
    for start, end in zip(joints_px[_ROOTS], joints_px[_TIPS], strict=True):
        np.minimum(nearest, _distance(x, y, start, end), out=nearest)
    np.minimum(nearest, _distance(x, y, wrist, begin), out=nearest)
    return _distance(x, y, begin, far) < nearest


def _distance(x: np.ndarray, y: np.ndarray, start: FloatArray, end: FloatArray) -> np.ndarray:
    """Squared distance of points to a segment."""
    dx, dy = (float(value) for value in end - start)
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / max(dx * dx + dy * dy, 1e-6), 0, 1)
    return (x - start[0] - along * dx) ** 2 + (y - start[1] - along * dy) ** 2


def _path(root: Path, name: str) -> Path:
    return root / f"training_{name}.json"


def _read(root: Path, name: str, shape: tuple[int, ...]) -> FloatArray:
    path = _path(root, name)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise AssetError(
            f"{path}: cannot be read ({error.strerror or error}). Name the folder of FreiHAND's training_K.json."
        ) from error
    except (ValueError, RecursionError) as error:
        raise AssetError(f"{path}: is not JSON ({error}). Fetch it again: a download may have been cut off.") from error
    if not isinstance(content, list) or not content:
        raise AssetError(f"{path}: expected a list with an entry for each sample, got {type(content).__name__}.")
    return np.stack([_entry(path, number, entry, shape) for number, entry in enumerate(content)])


def _entry(path: Path, number: int, content: Any, shape: tuple[int, ...]) -> FloatArray:
    wanted = " x ".join(map(str, shape))
    try:
        array = np.asarray(content, np.float64)
    except (OverflowError, TypeError, ValueError) as error:
        raise AssetError(f"{path}: sample {number} is not {wanted} numbers ({error}).") from error
    if array.shape != shape or not np.isfinite(array).all():
        raise AssetError(f"{path}: sample {number} has shape {array.shape}, expected {wanted} finite numbers.")
    return array


def _check(root: Path, joints_m: FloatArray, K_px: FloatArray) -> None:
    spans_m = np.ptp(joints_m, axis=1).max(axis=1)
    middle = float(np.median(spans_m))
    if not _LEAST_SPAN_M <= middle <= _MOST_SPAN_M or np.median(joints_m[..., 2]) > _FARTHEST_M:
        raise AssetError(
            f"{_path(root, 'xyz')}: the joints of a hand span {middle:.3g}, expected {_LEAST_SPAN_M} to "
            f"{_MOST_SPAN_M}. They are metres in FreiHAND's annotations: divide millimetres by 1000."
        )
    behind = np.flatnonzero((joints_m[..., 2] <= 0).any(axis=1))
    if len(behind):
        raise AssetError(f"{_path(root, 'xyz')}: a joint of sample {behind[0]} lies behind the camera.")
    good = (K_px[:, 0, 0] > 0) & (K_px[:, 1, 1] > 0) & (K_px[:, 1, 0] == 0) & (K_px[:, 2] == [0, 0, 1]).all(axis=1)
    if not good.all():
        raise AssetError(
            f"{_path(root, 'K')}: sample {np.flatnonzero(~good)[0]} is no camera. Expected "
            "[[fx, s, cx], [0, fy, cy], [0, 0, 1]] with positive fx and fy."
        )


def joints_px(sample: FreihandSample) -> FloatArray:
    """Its joints (21, 2) in pixels."""
    return project(sample.joints_m, sample.K_px)
