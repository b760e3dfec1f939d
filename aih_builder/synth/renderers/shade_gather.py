"""What a sample shows, before light falls on it: its place on its triangle, and there texture, normal and tangent.

The tables are flat and indices unsigned: so nothing is asked about indices that count from the end.
"""

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.imaging import DISPLAY_GAMMA, ImageU8
from aih_builder.synth.renderers.shade_light import (
    BLUE,
    GREEN,
    HANDEDNESS,
    MAP_X,
    MAP_Y,
    NORMAL_X,
    NORMAL_Y,
    NORMAL_Z,
    RED,
    ROUGHNESS,
    TANGENT_X,
    TANGENT_Y,
    TANGENT_Z,
    VIEW_X,
    VIEW_Y,
    U,
    V,
)

# Of a corner's record: grid x, y, 1/z, handedness; then normal, tangent and texture coordinates, all over z.
_X, _Y, _INVERSE_Z, _HANDEDNESS, _NORMAL, _TANGENT, _UV = (np.uintp(k) for k in (0, 1, 2, 3, 4, 7, 10))
CORNER = np.uintp(12)
_1, _2 = np.uintp(1), np.uintp(2)

TO_LINEAR = ((np.arange(256) / 255.0) ** DISPLAY_GAMMA).astype(np.float32)
_LINEAR = TO_LINEAR.astype(np.float64)
_LEVEL = np.arange(256.0)  # looking a number up is faster than converting it
_ALBEDO_BITS = (np.uint64(0), np.uint64(8), np.uint64(16))
_MAP_X_BITS, _MAP_Y_BITS, _ROUGHNESS_BITS = np.uint64(24), np.uint64(32), np.uint64(40)
_BYTE = np.uint64(255)


def packed_texels(pyramid: ImageU8) -> NDArray[np.uint64]:
    """A pyramid's texels (N, 6), each as one number that one load fetches; the first channel is the lowest byte."""
    packed = np.zeros(len(pyramid), np.uint64)
    for channel in range(6):
        packed |= pyramid[:, channel].astype(np.uint64) << np.uint64(8 * channel)
    return packed


@compiled
def corner_records(grid_xy, inverse_z, normals, tangents, uv):
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
    return records.ravel()


def rays(K_px: FloatArray, per_pixel: int) -> tuple[float, float, float, float, float]:
    """Of a grid point (x, y), the ray from the camera at depth 1: (r[0] x + r[1] y + r[2], r[3] y + r[4])."""
    (fx, skew, cx), (_, fy, cy), _ = K_px.tolist()
    middle = (per_pixel - 1) // 2
    along_y, y_at_0 = 1 / (per_pixel * fy), -(middle / per_pixel + cy) / fy
    return 1 / (per_pixel * fx), -skew * along_y / fx, -(middle / per_pixel + cx + skew * y_at_0) / fx, along_y, y_at_0


@compiled
def place(i, x, y, triangle, faces, records, ray, b):
    """Put what is known of a sample at grid point (x, y) of a triangle into place i of the chunk b; returns z."""
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
    b[VIEW_X + i] = ray[0] * x + ray[1] * y + ray[2]
    b[VIEW_Y + i] = ray[3] * y + ray[4]
    return z


@compiled
def fetch(b, n, texture):
    """Filter the texture for the first n samples of a chunk.

    texture: the texels, start and side of a level, start and side of the next coarser one, and the latter's share.
    """
    texels, start, side, coarser, coarser_side, share = texture
    for i in range(n):
        found = _filtered(texels, start, side, b[U + i], b[V + i], 1.0 - share)
        b[RED + i], b[GREEN + i], b[BLUE + i] = found[0], found[1], found[2]
        b[MAP_X + i], b[MAP_Y + i], b[ROUGHNESS + i] = found[3], found[4], found[5]
    if share > 0.0:
        for i in range(n):
            found = _filtered(texels, coarser, coarser_side, b[U + i], b[V + i], share)
            b[RED + i] += found[0]
            b[GREEN + i] += found[1]
            b[BLUE + i] += found[2]
            b[MAP_X + i] += found[3]
            b[MAP_Y + i] += found[4]
            b[ROUGHNESS + i] += found[5]


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


@compiled
def _filtered(texels, start, side, u, v, weight):
    """Weight times the bilinear lookup of all channels at (u, v) of a level: side (float) texels a side from start."""
    last = side - 1.0
    x, y = min(max(0.0, u * side - 0.5), last), min(max(0.0, (1.0 - v) * side - 0.5), last)
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    # By way of signed numbers, which every CPU can convert to.
    left, right = np.uintp(np.int64(x0)), np.uintp(np.int64(min(x0 + 1.0, last)))
    above = start + np.uintp(np.int64(y0 * side))
    below = start + np.uintp(np.int64(min(y0 + 1.0, last) * side))
    four = texels[above + left], texels[above + right], texels[below + left], texels[below + right]
    top, bottom = (1.0 - fy) * weight, fy * weight
    weights = (1.0 - fx) * top, fx * top, (1.0 - fx) * bottom, fx * bottom
    return (
        _channel(four, weights, _ALBEDO_BITS[0], _LINEAR),
        _channel(four, weights, _ALBEDO_BITS[1], _LINEAR),
        _channel(four, weights, _ALBEDO_BITS[2], _LINEAR),
        _channel(four, weights, _MAP_X_BITS, _LEVEL),
        _channel(four, weights, _MAP_Y_BITS, _LEVEL),
        _channel(four, weights, _ROUGHNESS_BITS, _LEVEL),
    )


@compiled
def _channel(four, weights, bits, table):
    """The byte at `bits` of four texels, each looked up in a table, weighted."""
    return (
        weights[0] * table[(four[0] >> bits) & _BYTE]
        + weights[1] * table[(four[1] >> bits) & _BYTE]
        + weights[2] * table[(four[2] >> bits) & _BYTE]
        + weights[3] * table[(four[3] >> bits) & _BYTE]
    )
