"""Anatomical joint angles and the finger pose that a model stores, both ways.

Angles (16, 3) are flexion, abduction and twist of each MANO joint about HandArrays.dof_axes; row 0,
the wrist, is zero. A joint turns by R(axis_flex * f) @ R(axis_abd * a) @ R(axis_twist * t).
Positive flexion curls a finger to the palm, positive abduction of the thumb lifts it off the palm.
The stored finger pose (45,) is each joint's axis-angle less hands_mean (smplx, flat_hand_mean=False).
"""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray, rotation_matrix
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import N_JOINTS

FLEXION, ABDUCTION, TWIST = 0, 1, 2  # second axis of angles and limits

_SMALL = 1e-12


def pose_from_angles(arrays: HandArrays, angles_rad: FloatArray) -> FloatArray:
    """Finger pose (45,) of anatomical angles (16, 3); row 0 is not read."""
    rotvecs = _compose(arrays.dof_axes, np.ascontiguousarray(angles_rad, np.float64))
    return rotvecs.reshape(-1) - arrays.hands_mean


def angles_from_pose(arrays: HandArrays, finger_pose_rad: FloatArray) -> FloatArray:
    """Anatomical angles (16, 3) of a finger pose (45,), abduction in [-pi/2, pi/2].

    The inverse of pose_from_angles. Each joint's axes must be orthonormal and right-handed.
    """
    rotvecs = (np.asarray(finger_pose_rad, np.float64) + arrays.hands_mean).reshape(-1, 3)
    return _decompose(arrays.dof_axes, np.ascontiguousarray(rotvecs))


def angles_of_poses(arrays: HandArrays, finger_pose_rad: FloatArray) -> FloatArray:
    """angles_from_pose of many: (N, 16, 3) of finger poses (N, 45)."""
    rotvecs = (np.asarray(finger_pose_rad, np.float64) + arrays.hands_mean).reshape(-1, N_JOINTS - 1, 3)
    return _decompose_all(arrays.dof_axes, np.ascontiguousarray(rotvecs))


def within_limits(arrays: HandArrays, angles_rad: FloatArray, tolerance_rad: float = 1e-6) -> np.bool_:
    """Whether every angle of (..., 16, 3) lies inside dof_limits_rad, to a tolerance."""
    low, high = arrays.dof_limits_rad[..., 0], arrays.dof_limits_rad[..., 1]
    fingers = np.asarray(angles_rad)[..., 1:, :]
    inside = (fingers >= low[1:] - tolerance_rad) & (fingers <= high[1:] + tolerance_rad)
    return inside.all()


@compiled
def _multiply(p, q):
    """Product of two quaternions (w, x, y, z)."""
    return np.array(
        [
            p[0] * q[0] - p[1] * q[1] - p[2] * q[2] - p[3] * q[3],
            p[0] * q[1] + p[1] * q[0] + p[2] * q[3] - p[3] * q[2],
            p[0] * q[2] - p[1] * q[3] + p[2] * q[0] + p[3] * q[1],
            p[0] * q[3] + p[1] * q[2] - p[2] * q[1] + p[3] * q[0],
        ]
    )


@compiled
def _about(axis, angle):
    """Unit quaternion of a turn about a unit axis."""
    c, s = np.cos(0.5 * angle), np.sin(0.5 * angle)
    return np.array([c, s * axis[0], s * axis[1], s * axis[2]])


@compiled
def _compose(axes, angles):
    """Rotation vectors (15, 3) of the joints 1..15. Quaternions: no branch near a half turn."""
    rotvecs = np.zeros((N_JOINTS - 1, 3))
    for j in range(1, N_JOINTS):
        q = _about(axes[j, 0], angles[j, 0])
        q = _multiply(q, _about(axes[j, 1], angles[j, 1]))
        q = _multiply(q, _about(axes[j, 2], angles[j, 2]))
        sign = -1.0 if q[0] < 0.0 else 1.0
        sine = np.sqrt(q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
        # angle / sin(angle / 2) tends to 2 for a small turn.
        scale = 2.0 if sine < _SMALL else 2.0 * np.arctan2(sine, sign * q[0]) / sine
        for c in range(3):
            rotvecs[j - 1, c] = sign * scale * q[c + 1]
    return rotvecs


@compiled
def _decompose(axes, rotvecs):
    """Angles (16, 3) of rotation vectors (15, 3): Euler angles in the basis of each joint's axes."""
    angles = np.zeros((N_JOINTS, 3))
    local = np.empty((3, 3))
    for j in range(1, N_JOINTS):
        turn = rotation_matrix(rotvecs[j - 1])
        for a in range(3):
            for b in range(3):
                value = 0.0
                for r in range(3):
                    for s in range(3):
                        value += axes[j, a, r] * turn[r, s] * axes[j, b, s]
                local[a, b] = value
        angles[j, 0] = np.arctan2(-local[1, 2], local[2, 2])
        angles[j, 1] = np.arcsin(min(1.0, max(-1.0, local[0, 2])))
        angles[j, 2] = np.arctan2(-local[0, 1], local[0, 0])
    return angles


@compiled
def _decompose_all(axes, rotvecs):
    angles = np.empty((len(rotvecs), N_JOINTS, 3))
    for k in range(len(rotvecs)):
        angles[k] = _decompose(axes, rotvecs[k])
    return angles
