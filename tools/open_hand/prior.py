"""The pose prior: joint-limited poses with the fingers' natural synergies, and their principal components."""

from typing import NamedTuple

import numpy as np

from aih_builder.geometry import FloatArray, rotation_matrix, rotation_vector
from aih_builder.hands.conventions import N_JOINTS
from tools.open_hand.shape import fixed_signs

_FINGERS = (1, 4, 7, 10)  # index, middle, little, ring
_SPREAD = (1.0, 0.1, -1.3, -0.6)  # how far each takes part in spreading, positive towards the thumb
_THUMB = 13


class PosePrior(NamedTuple):
    """Mean and components of finger poses as axis-angle values, MANO's way."""

    mean_rad: FloatArray  # (45,)
    components: FloatArray  # (45, 45), rows by falling variance
    cumulative_variance: FloatArray  # (45,)


def random_angles_rad(rng: np.random.Generator, limits_rad: FloatArray) -> FloatArray:
    """(16, 3): flexion, abduction, twist of a plausible pose.

    One grip value closes all fingers; each may leave it. Closing takes the spread away. The far joint follows the
    middle one. The thumb comes in front of the palm as the fingers close.
    """
    degrees = np.zeros((N_JOINTS, 3))
    grip, spread = rng.beta(0.8, 1.1), rng.normal(0, 6)
    for first, share in zip(_FINGERS, _SPREAD, strict=True):
        own = rng.random() > 0.8
        closed = rng.random() if own else np.clip(grip + rng.normal(0, 0.18), 0, 1)
        middle = 2 + 95 * closed + rng.normal(0, 12)
        side = (share * (spread + 2 - 6 * closed) + rng.normal(0, 2)) * (1 - 0.8 * closed)
        degrees[first, :2] = -8 + 85 * closed + rng.normal(0, 8), side
        degrees[first + 1, 0] = middle
        degrees[first + 2, 0] = 0.6 * middle + rng.normal(0, 6)
    opposed = rng.beta(1.2, 1.2)
    degrees[_THUMB] = (
        rng.normal(4 + 16 * opposed, 9),
        rng.normal(-6 + 20 * opposed * (0.4 + 0.6 * grip), 8),
        rng.normal(-8 * opposed, 6),
    )
    degrees[_THUMB + 1, 0] = rng.normal(24 * opposed, 12)
    degrees[_THUMB + 2, 0] = rng.normal(32 * opposed, 16)
    return np.clip(np.radians(degrees), limits_rad[..., 0], limits_rad[..., 1])


def local_rotations(angles_rad: FloatArray, axes: FloatArray) -> FloatArray:
    """(16, 3, 3): R(flexion) R(abduction) R(twist) of each joint; the identity for the wrist."""
    rotations = np.tile(np.eye(3), (N_JOINTS, 1, 1))
    for j in range(1, N_JOINTS):
        for k in range(3):
            rotations[j] = rotations[j] @ rotation_matrix(axes[j, k] * angles_rad[j, k])
    return rotations


def pose_prior(rng: np.random.Generator, axes: FloatArray, limits_rad: FloatArray, count: int) -> PosePrior:
    """Mean and principal components of `count` random poses."""
    poses = np.empty((count, 3 * (N_JOINTS - 1)))
    for row in poses:
        rotations = local_rotations(random_angles_rad(rng, limits_rad), axes)
        row[:] = np.concatenate([rotation_vector(matrix) for matrix in rotations[1:]])
    mean_rad = poses.mean(axis=0)
    _, singular, components = np.linalg.svd(poses - mean_rad, full_matrices=False)
    variance = singular**2
    return PosePrior(mean_rad, fixed_signs(components), np.cumsum(variance) / variance.sum())
