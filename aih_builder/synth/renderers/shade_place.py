"""Where a sample lies on its triangle, and normal, tangent and texture coordinates there.

Records are flat and indices unsigned, so that nothing is asked about indices that count from the end.
"""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.synth.renderers.shade_chunk import (
    GAIN,
    HANDEDNESS,
    LIT,
    LIT_BESIDE,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    OPEN,
    OPEN_BESIDE,
    TANGENT_X,
    TANGENT_Y,
    TANGENT_Z,
    VIEW_X,
    VIEW_Y,
    U,
    V,
)

# Of a corner's record: grid x, y, 1/z, handedness; then normal, tangent, texture coordinates, the gain of folds and the
# four kinds of openness, all over z.
_X, _Y, _INVERSE_Z, _HANDEDNESS, _NORMAL, _TANGENT, _UV, _GAIN, _OPEN = (
    np.uintp(k) for k in (0, 1, 2, 3, 4, 7, 10, 12, 13)
)
CORNER = np.uintp(17)
_1, _2, _3 = np.uintp(1), np.uintp(2), np.uintp(3)


@compiled
def corner_records(grid_xy, inverse_z, normals, tangents, uv, fold_gain, openness):
    """All that samples need of R vertices, (R * CORNER,). What is divided by z is linear in the image."""
    records = np.empty((inverse_z.shape[0], CORNER))
    for r in range(inverse_z.shape[0]):
        over_z = inverse_z[r]
        records[r, _X], records[r, _Y] = grid_xy[r, 0], grid_xy[r, 1]
        records[r, _INVERSE_Z], records[r, _HANDEDNESS] = over_z, tangents[r, 3]
        for k in range(3):
            records[r, _NORMAL + np.uintp(k)] = normals[r, k] * over_z
            records[r, _TANGENT + np.uintp(k)] = tangents[r, k] * over_z
        records[r, _UV], records[r, _UV + _1] = uv[r, 0] * over_z, uv[r, 1] * over_z
        records[r, _GAIN] = fold_gain[r] * over_z
        for k in range(4):
            records[r, _OPEN + np.uintp(k)] = openness[r, k] * over_z
    return records.ravel()


def rays(K_px: FloatArray, per_pixel: int) -> tuple[float, float, float, float, float]:
    """Of a grid point (x, y), the ray from the camera at depth 1: (r[0] x + r[1] y + r[2], r[3] y + r[4])."""
    (fx, skew, cx), (_, fy, cy), _ = K_px.tolist()
    middle = (per_pixel - 1) // 2
    along_y, y_at_0 = 1 / (per_pixel * fy), -(middle / per_pixel + cy) / fy
    return 1 / (per_pixel * fx), -skew * along_y / fx, -(middle / per_pixel + cx + skew * y_at_0) / fx, along_y, y_at_0


@compiled
def place(i, x, y, triangle, faces, records, ray, b, pictures):
    """Put what is known of a sample at grid point (x, y) of a triangle into place i of the chunk b; returns z.

    pictures is a tuple of length 1, or 2 where the sample is lit beside the other hand, too.
    """
    corners = (
        np.uintp(faces[triangle, 0]) * CORNER,
        np.uintp(faces[triangle, 1]) * CORNER,
        np.uintp(faces[triangle, 2]) * CORNER,
    )
    weights = _weights(x, y, corners, records)
    z = 1.0 / _mixed(corners, weights, _INVERSE_Z, records)
    b[U + i] = z * _mixed(corners, weights, _UV, records)
    b[V + i] = z * _mixed(corners, weights, _UV + _1, records)
    b[NORMAL_X + i] = _mixed(corners, weights, _NORMAL, records)
    b[NORMAL_Y + i] = _mixed(corners, weights, _NORMAL + _1, records)
    b[NORMAL_Z + i] = _mixed(corners, weights, _NORMAL + _2, records)
    b[TANGENT_X + i] = _mixed(corners, weights, _TANGENT, records)
    b[TANGENT_Y + i] = _mixed(corners, weights, _TANGENT + _1, records)
    b[TANGENT_Z + i] = _mixed(corners, weights, _TANGENT + _2, records)
    b[HANDEDNESS + i] = records[corners[0] + _HANDEDNESS]
    b[GAIN + i] = z * _mixed(corners, weights, _GAIN, records)
    b[OPEN + i] = z * _mixed(corners, weights, _OPEN, records)
    b[LIT + i] = z * _mixed(corners, weights, _OPEN + _1, records)
    if len(pictures) == 2:
        b[OPEN_BESIDE + i] = z * _mixed(corners, weights, _OPEN + _2, records)
        b[LIT_BESIDE + i] = z * _mixed(corners, weights, _OPEN + _3, records)
    b[VIEW_X + i] = ray[0] * x + ray[1] * y + ray[2]
    b[VIEW_Y + i] = ray[3] * y + ray[4]
    return z


@compiled
def _mixed(corners, weights, k, records):
    """Entry k of three corners' records, weighted."""
    return (
        weights[0] * records[corners[0] + k]
        + weights[1] * records[corners[1] + k]
        + weights[2] * records[corners[2] + k]
    )


@compiled
def _weights(x, y, corners, records):
    """Weights of a triangle's corners at grid point (x, y), in the image."""
    a, b, c = corners
    ax, ay, bx, by, cx, cy = records[a], records[a + _Y], records[b], records[b + _Y], records[c], records[c + _Y]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0.0:
        area = 1e-12
    wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
    wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
    # Snapping lets a sample lie a hair outside: stay on the triangle.
    wa = min(max(wa, 0.0), 1.0)
    wb = min(max(wb, 0.0), 1.0 - wa)
    return wa, wb, 1.0 - wa - wb
