"""What the CPU does for OpenGL: packing vertices for it, and resolving its samples to pixels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.synth.renderers.base import HandDraw
from aih_builder.synth.renderers.samples import is_creased

VERTEX_FLOATS = 18  # position 3, normal 3, tangent 4, uv 2, gain of folds and openness: 2 + 4, the last of them unused
NOTHING, CENTRE, EVERY = 0, 1, 2  # which samples of a pixel are shaded

_NEAREST_M = 1e-3  # what is nearer to the camera's plane is not drawn
_PLANE_MARGIN = 1e-3  # of the hand's extent in depth
_DEPTH_SLACK = np.float32(1e-6)  # of the hand's extent: a surface drawn again may differ by a rounding


class Frustum(NamedTuple):
    """The part of space that holds a hand."""

    near_m: float
    far_m: float
    box_px: tuple[int, int, int, int]  # x, y, width, height of the pixels that it may touch


def pack_vertices(hand: HandDraw, out: NDArray[np.float32]) -> None:
    """Interleave a hand's vertices into out (R, VERTEX_FLOATS)."""
    out[:, 0:3] = hand.positions_m
    out[:, 3:6] = hand.normals
    out[:, 6:10] = hand.tangents
    out[:, 10:12] = hand.uv
    out[:, 12] = hand.fold_gain_of_all()
    out[:, 13:17] = hand.openness_of_all()
    out[:, 17] = 0.0


def frustum(positions_m: FloatArray, K_px: FloatArray, size_px: int) -> Frustum | None:
    """Where a hand lies; None where no pixel can show it."""
    z = positions_m[:, 2]
    lowest, highest = float(z.min()), float(z.max())
    if highest <= _NEAREST_M:
        return None
    margin = (highest - lowest) * _PLANE_MARGIN + 1e-5
    near_m, far_m = max(lowest - margin, _NEAREST_M), highest + margin
    if lowest < _NEAREST_M:  # parts of it lie behind the camera: no corner bounds it
        return Frustum(near_m, far_m, (0, 0, size_px, size_px))
    u = (K_px[0, 0] * positions_m[:, 0] + K_px[0, 1] * positions_m[:, 1]) / z + K_px[0, 2]
    v = K_px[1, 1] * positions_m[:, 1] / z + K_px[1, 2]
    # A pixel reaches half a pixel to both sides of its centre.
    x0, x1 = max(0, int(np.floor(u.min()))), min(size_px, int(np.ceil(u.max())) + 1)
    y0, y1 = max(0, int(np.floor(v.min()))), min(size_px, int(np.ceil(v.max())) + 1)
    return Frustum(near_m, far_m, (x0, y0, x1 - x0, y1 - y0)) if x0 < x1 and y0 < y1 else None


def clip_matrix(K_px: FloatArray, size_px: int, per_pixel: int, near_m: float, far_m: float) -> FloatArray:
    """Matrix (4, 4) from the camera frame to clip space, image row 0 at the bottom.

    Sample (i, j) of a grid with per_pixel (odd) samples along a pixel's side lies where project_to_grid puts it.
    """
    middle = (per_pixel - 1) // 2
    scale = 2.0 / (size_px * per_pixel)
    centre = per_pixel * K_px[:2, 2] + middle + 0.5  # OpenGL samples at the middle of its pixels
    matrix = np.zeros((4, 4))
    matrix[0, :2] = scale * per_pixel * K_px[0, :2]
    matrix[1, 1] = scale * per_pixel * K_px[1, 1]
    matrix[:2, 2] = scale * centre - 1.0
    matrix[2, 2:] = (far_m + near_m) / (far_m - near_m), -2.0 * far_m * near_m / (far_m - near_m)
    matrix[3, 2] = 1.0
    return matrix


@compiled
def classify(depth, near_m, far_m, centre_rgba, near, kinds):
    """Decide which samples of each pixel are shaded; returns whether any pixel needs every one.

    depth (S h, S w) is OpenGL's, 1 where nothing is; it becomes the greatest depth at which a sample is still to be
    shaded, 0 where it is not. centre_rgba (h, w, 4) is the colour at pixel centres. Fills near (S h, S w) with 1/z, 0
    where nothing is, and kinds (h, w).
    """
    height, width = kinds.shape
    step = depth.shape[0] // height
    nearest, fall = 1.0 / near_m, 1.0 / near_m - 1.0 / far_m
    for i in range(depth.shape[0]):
        for j in range(depth.shape[1]):
            near[i, j] = np.float32(nearest - depth[i, j] * fall) if depth[i, j] < 1.0 else np.float32(0.0)
    found = False
    for y in range(height):
        for x in range(width):
            covered = 0
            for i in range(y * step, (y + 1) * step):
                for j in range(x * step, (x + 1) * step):
                    covered += near[i, j] > 0.0
            if covered == 0:
                kinds[y, x] = NOTHING
            elif step == 1 or (
                covered == step * step and centre_rgba[y, x, 3] > 0 and not is_creased(near, y * step + 1, x * step + 1)
            ):
                kinds[y, x] = CENTRE
            else:
                kinds[y, x] = EVERY
                found = True
            for i in range(y * step, (y + 1) * step):
                for j in range(x * step, (x + 1) * step):
                    depth[i, j] = depth[i, j] + _DEPTH_SLACK if kinds[y, x] == EVERY and near[i, j] > 0.0 else 0.0
    return found


@compiled
def resolve(near, kinds, centre_rgba, sample_rgba, order, left, top, rgba, depth_m):
    """Write the box at (left, top) of rgba (H, W, 4), premultiplied, and of depth_m (H, W).

    near (S h, S w) is 1/z; centre_rgba (h, w, 4) is the colour at pixel centres; sample_rgba (S h, S w, 4) that of all
    samples, where kinds (h, w) asks for them; order (S * S, 2) lists a pixel's samples from its centre outwards.
    """
    height, width = kinds.shape
    step = near.shape[0] // height
    per_pixel = order.shape[0]
    total = np.empty(3)
    for y in range(height):
        for x in range(width):
            if kinds[y, x] == NOTHING:
                continue
            covered, shaded = 0, 0
            total[:] = 0.0
            for k in range(per_pixel):
                gy, gx = y * step + order[k, 0], x * step + order[k, 1]
                if near[gy, gx] <= 0.0:
                    continue
                if covered == 0:
                    depth_m[top + y, left + x] = np.float32(1.0 / near[gy, gx])
                covered += 1
                if kinds[y, x] == EVERY and sample_rgba[gy, gx, 3] > 0:
                    shaded += 1
                    for c in range(3):
                        total[c] += sample_rgba[gy, gx, c]
            share = covered / per_pixel
            for c in range(3):
                level = total[c] / shaded if shaded > 0 else float(centre_rgba[y, x, c])
                rgba[top + y, left + x, c] = np.uint8(np.floor(level * share + 0.5))
            rgba[top + y, left + x, 3] = np.uint8(np.floor(255.0 * share + 0.5))


@compiled
def resolve_normals(near, kinds, centre, samples, order, left, top, normal):
    """Write the box at (left, top) of normal (H, W, 3) i8 from normals + 128, laid out as resolve()'s colours."""
    height, width = kinds.shape
    step = near.shape[0] // height
    for y in range(height):
        for x in range(width):
            if kinds[y, x] == CENTRE:
                for c in range(3):
                    normal[top + y, left + x, c] = np.int8(np.int16(centre[y, x, c]) - 128)
            elif kinds[y, x] == EVERY:
                for k in range(order.shape[0]):
                    gy, gx = y * step + order[k, 0], x * step + order[k, 1]
                    if near[gy, gx] > 0.0:
                        for c in range(3):
                            normal[top + y, left + x, c] = np.int8(np.int16(samples[gy, gx, c]) - 128)
                        break
