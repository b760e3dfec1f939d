"""Triangle rasterization on the CPU: which triangle is in front at each point of a square grid.

Vertices are snapped to 1/256 of a grid step and edges are evaluated in integers with a top-left rule, so neighbouring
triangles neither overlap nor leave a gap.
"""

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8, to_u8

_SUB = 256  # snapping steps per grid step
_LIMIT = 1 << 20  # grid steps: products of edges must fit 64 bits


@compiled
def rasterize(
    grid_xy: FloatArray,
    inverse_z: FloatArray,
    faces: np.ndarray,
    near: np.ndarray,
    triangle: np.ndarray,
) -> tuple[int, int, int, int]:
    """Fill near (H, W) float32 with the greatest 1/z and triangle (H, W) int32 with its face, -1 where none.

    grid_xy (N, 2) are grid coordinates, sample (i, j) lying at x = j, y = i; y points down; faces that turn away from
    the camera are skipped. Returns the box of touched samples: first and last row, first and last column.
    """
    clear(near, triangle, (0, near.shape[0] - 1, 0, near.shape[1] - 1))
    return rasterize_on_clear(grid_xy, inverse_z, faces, near, triangle)


@compiled
def rasterize_on_clear(
    grid_xy: FloatArray,
    inverse_z: FloatArray,
    faces: np.ndarray,
    near: np.ndarray,
    triangle: np.ndarray,
) -> tuple[int, int, int, int]:
    """As rasterize, on buffers that hold nothing: clear() of the last box makes them so, and is less work."""
    height, width = near.shape
    n = grid_xy.shape[0]
    sx = np.empty(n, np.int64)
    sy = np.empty(n, np.int64)
    for i in range(n):
        sx[i] = np.int64(np.floor(min(max(grid_xy[i, 0], -_LIMIT), _LIMIT) * _SUB + 0.5))
        sy[i] = np.int64(np.floor(min(max(grid_xy[i, 1], -_LIMIT), _LIMIT) * _SUB + 0.5))
    top, bottom, left, right = height, -1, width, -1
    for t in range(faces.shape[0]):
        # In the image y points down, so a face towards the camera runs clockwise: swap two corners.
        a, b, c = faces[t, 0], faces[t, 2], faces[t, 1]
        ax, ay, bx, by, cx, cy = sx[a], sy[a], sx[b], sy[b], sx[c], sy[c]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area <= 0:
            continue
        x0 = max(0, -((-min(ax, bx, cx)) // _SUB))
        x1 = min(width - 1, max(ax, bx, cx) // _SUB)
        y0 = max(0, -((-min(ay, by, cy)) // _SUB))
        y1 = min(height - 1, max(ay, by, cy) // _SUB)
        if x0 > x1 or y0 > y1:
            continue
        e0x, e0y, e1x, e1y, e2x, e2y = cx - bx, cy - by, ax - cx, ay - cy, bx - ax, by - ay
        # A point on an edge belongs to the triangle only if the edge is a top or a left one.
        bias0 = 0 if e0y < 0 or (e0y == 0 and e0x > 0) else -1
        bias1 = 0 if e1y < 0 or (e1y == 0 and e1x > 0) else -1
        bias2 = 0 if e2y < 0 or (e2y == 0 and e2x > 0) else -1
        scale = 1.0 / area
        za, zb, zc = inverse_z[a] * scale, inverse_z[b] * scale, inverse_z[c] * scale
        right0, right1, right2 = e0y * _SUB, e1y * _SUB, e2y * _SUB
        touched = False
        for y in range(np.uintp(y0), np.uintp(y1 + 1)):  # unsigned: no index that counts from the end
            py, px = np.int64(y) * _SUB, x0 * _SUB
            w0 = e0x * (py - by) - e0y * (px - bx) + bias0
            w1 = e1x * (py - cy) - e1y * (px - cx) + bias1
            w2 = e2x * (py - ay) - e2y * (px - ax) + bias2
            for x in range(np.uintp(x0), np.uintp(x1 + 1)):
                # No branch: where a row enters and leaves a triangle cannot be foreseen, and a wrong guess costs more
                # than the few samples beside it.
                inside = (w0 | w1 | w2) >= 0  # none is negative
                z = np.float32((w0 - bias0) * za + (w1 - bias1) * zb + (w2 - bias2) * zc)
                nearer = inside & (z > near[y, x])
                near[y, x] = z if nearer else near[y, x]
                triangle[y, x] = t if nearer else triangle[y, x]
                touched |= inside
                w0 -= right0
                w1 -= right1
                w2 -= right2
        if touched:
            top, bottom, left, right = min(top, y0), max(bottom, y1), min(left, x0), max(right, x1)
    return top, bottom, left, right


@compiled
def clear(near: np.ndarray, triangle: np.ndarray, box: tuple[int, int, int, int]) -> None:
    """Empty a box of samples: first and last row, first and last column."""
    near[box[0] : box[1] + 1, box[2] : box[3] + 1] = 0.0
    triangle[box[0] : box[1] + 1, box[2] : box[3] + 1] = -1


@compiled
def project_to_grid(points_m: FloatArray, K_px: FloatArray, per_pixel: int) -> tuple[FloatArray, FloatArray]:
    """Grid coordinates (N, 2) with per_pixel (odd) samples along a pixel's side, and 1/z (N,)."""
    grid_xy, inverse_z = np.empty((points_m.shape[0], 2)), np.empty(points_m.shape[0])
    middle = (per_pixel - 1) // 2
    for i in range(points_m.shape[0]):
        # By np.divide: `/` would raise where a point lies in the plane of the camera.
        inverse_z[i] = np.divide(1.0, points_m[i, 2])
        u = (K_px[0, 0] * points_m[i, 0] + K_px[0, 1] * points_m[i, 1]) * inverse_z[i] + K_px[0, 2]
        v = K_px[1, 1] * points_m[i, 1] * inverse_z[i] + K_px[1, 2]
        grid_xy[i, 0], grid_xy[i, 1] = u * per_pixel + middle, v * per_pixel + middle
    return grid_xy, inverse_z


def silhouette(
    points_m: FloatArray, faces: np.ndarray, K_px: FloatArray, size_px: int, per_pixel: int = 3
) -> np.ndarray:
    """Amodal mask (size, size) bool of a closed mesh: coverage >= 0.5 on an odd grid."""
    return 2 * _samples(points_m, faces, K_px, size_px, per_pixel)[0] >= per_pixel**2


def coverage(
    points_m: FloatArray, faces: np.ndarray, K_px: FloatArray, size_px: int, per_pixel: int = 3
) -> tuple[ImageU8, NDArray[np.float32]]:
    """Coverage (size, size) of a closed mesh, 0 to 255, and the depth of its front surface in metres, 0 where none is.

    Coverage is at least 128 exactly where silhouette() is set.
    """
    covered, near = _samples(points_m, faces, K_px, size_px, per_pixel)
    alpha = to_u8(covered * (255.0 / per_pixel**2))
    depth_m = np.divide(1.0, near, out=np.zeros_like(near), where=near > 0)
    return alpha, depth_m


def _samples(
    points_m: FloatArray, faces: np.ndarray, K_px: FloatArray, size_px: int, per_pixel: int
) -> tuple[np.ndarray, NDArray[np.float32]]:
    """How many samples of each pixel a mesh covers, and the greatest 1/z of them: (size, size) each."""
    side = size_px * per_pixel
    near, triangle = np.empty((side, side), np.float32), np.empty((side, side), np.int32)
    grid_xy, inverse_z = project_to_grid(points_m, K_px, per_pixel)
    rasterize(grid_xy, inverse_z, faces, near, triangle)
    return _resolve(near, size_px, per_pixel)


@compiled
def _resolve(near, size, per_pixel):
    covered, front = np.zeros((size, size), np.int64), np.zeros((size, size), np.float32)
    for y in range(size):
        for x in range(size):
            for v in range(y * per_pixel, (y + 1) * per_pixel):
                for u in range(x * per_pixel, (x + 1) * per_pixel):
                    if near[v, u] > 0.0:
                        covered[y, x] += 1
                        front[y, x] = max(front[y, x], near[v, u])
    return covered, front
