"""Rotations, rigid motions, pinhole projection and square crops. Pure functions, float64.

Camera axes: x right, y down, z forward. The centre of pixel (0, 0) lies at (0, 0).
"""

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled

FloatArray = NDArray[np.floating]

_SMALL_ANGLE = 1e-8


@compiled
def smooth01(x: float) -> float:
    """0 up to x = 0, 1 from x = 1, and between them a cubic that is level at both ends."""
    t = min(max(x, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


@compiled
def rotation_matrix(rotvec: FloatArray) -> FloatArray:
    """Rotation matrix (3, 3) of an axis-angle vector (3,), by Rodrigues' formula."""
    angle = np.sqrt(rotvec[0] ** 2 + rotvec[1] ** 2 + rotvec[2] ** 2)
    matrix = np.eye(3)
    if angle < _SMALL_ANGLE:  # the first-order term is all that a float64 holds
        matrix[0, 1], matrix[0, 2], matrix[1, 2] = -rotvec[2], rotvec[1], -rotvec[0]
        matrix[1, 0], matrix[2, 0], matrix[2, 1] = rotvec[2], -rotvec[1], rotvec[0]
        return matrix
    x, y, z = rotvec[0] / angle, rotvec[1] / angle, rotvec[2] / angle
    s, c = np.sin(angle), np.cos(angle)
    t = 1.0 - c
    matrix[0, 0], matrix[0, 1], matrix[0, 2] = t * x * x + c, t * x * y - s * z, t * x * z + s * y
    matrix[1, 0], matrix[1, 1], matrix[1, 2] = t * x * y + s * z, t * y * y + c, t * y * z - s * x
    matrix[2, 0], matrix[2, 1], matrix[2, 2] = t * x * z - s * y, t * y * z + s * x, t * z * z + c
    return matrix


def rotation_vector(matrix: FloatArray) -> FloatArray:
    """Axis-angle vector (3,) of a rotation matrix (3, 3); inverse of rotation_matrix.

    Goes through the unit quaternion with the largest component first, so it is accurate near 0 and pi.
    """
    m = np.asarray(matrix, dtype=np.float64)
    # The four candidates 4 q_i^2, for w, x, y, z.
    squares = np.array(
        [
            1 + m[0, 0] + m[1, 1] + m[2, 2],
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
        ]
    )
    a, b, c = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    d, e, f = m[1, 0] + m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2]
    rows = np.array(
        [
            [squares[0], a, b, c],
            [a, squares[1], d, e],
            [b, d, squares[2], f],
            [c, e, f, squares[3]],
        ]
    )
    quaternion = rows[int(np.argmax(squares))]
    quaternion = quaternion / np.sqrt((quaternion**2).sum())
    if quaternion[0] < 0:
        quaternion = -quaternion
    sine = np.sqrt((quaternion[1:] ** 2).sum())
    if sine < _SMALL_ANGLE:
        return 2.0 * quaternion[1:]
    return quaternion[1:] / sine * (2.0 * np.arctan2(sine, quaternion[0]))


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """A rotation matrix (3, 3), uniform over all rotations."""
    w, x, y, z = rng.normal(size=4)
    n = 2.0 / (w * w + x * x + y * y + z * z)
    return np.array(
        [
            [1 - n * (y * y + z * z), n * (x * y - z * w), n * (x * z + y * w)],
            [n * (x * y + z * w), 1 - n * (x * x + z * z), n * (y * z - x * w)],
            [n * (x * z - y * w), n * (y * z + x * w), 1 - n * (x * x + y * y)],
        ]
    )


def transform(points_m: FloatArray, rotation: FloatArray, translation_m: FloatArray) -> FloatArray:
    """rotation @ p + translation for points (..., 3), in a fixed order of operations."""
    rows = np.ascontiguousarray(points_m, np.float64).reshape(-1, 3)
    r, t = np.ascontiguousarray(rotation, np.float64), np.ascontiguousarray(translation_m, np.float64)
    return _transformed(rows, r, t).reshape(np.shape(points_m))


@compiled
def _transformed(points, r, t):
    out = np.empty_like(points)
    for p in range(points.shape[0]):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        for i in range(3):
            out[p, i] = r[i, 0] * x + r[i, 1] * y + r[i, 2] * z + t[i]
    return out


def project(cam_points_m: FloatArray, K_px: FloatArray) -> FloatArray:
    """Pixel coordinates (..., 2) of camera-frame points (..., 3), z > 0."""
    x, y, z = cam_points_m[..., 0], cam_points_m[..., 1], cam_points_m[..., 2]
    u = (K_px[0, 0] * x + K_px[0, 1] * y) / z + K_px[0, 2]
    v = K_px[1, 1] * y / z + K_px[1, 2]
    return np.stack([u, v], axis=-1)


def inplane_motion(affine_px: FloatArray, K_px: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What an affine (2, 3) of the image plane, det > 0, does to a camera (3, 3) and the points before it.

    Returns (rotation, K): with p' = affine(project(x, K_px)), p' = project(rotation @ x, K) for every x. The rotation
    (3, 3) is about the optical axis; scale, shift and what is left as skew go into K. Exact, by an RQ decomposition.
    """
    m = affine_px[:, :2] @ K_px[:2, :2]
    length = np.sqrt(m[1, 0] ** 2 + m[1, 1] ** 2)
    sine, cosine = m[1, 0] / length, m[1, 1] / length
    rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    K = np.eye(3)
    K[0, 0] = m[0, 0] * cosine - m[0, 1] * sine
    K[0, 1] = m[0, 0] * sine + m[0, 1] * cosine
    K[1, 1] = length
    K[:2, 2] = affine_px[:, :2] @ K_px[:2, 2] + affine_px[:, 2]
    return rotation, K
