"""Choosing a view: cheap looks at each candidate, compiled, since most candidates are refused."""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.synth.renderers.rasterize import project_to_grid, rasterize

ROUGH_PX = 64  # side of the picture that is good enough to judge an occlusion rate


def nearest_m(cam_points_m: FloatArray) -> float:
    """The least z of points (N, 3)."""
    return _nearest(cam_points_m)


def along_forearm(cam_vertices_m: FloatArray, rim: np.ndarray) -> float:
    """Cosine of the angle between the forearm of a hand (V, 3) and the ray from its cut to the camera.

    The forearm is taken to run from the middle of the vertices to that of the cut, whose vertices `rim` (N,) numbers.
    """
    return _along_forearm(cam_vertices_m, rim)


class RoughLook:
    """Measures occlusion at 64 px, one sample per pixel. Keeps its buffers."""

    def __init__(self) -> None:
        self._near = np.empty((2, ROUGH_PX, ROUGH_PX), np.float32)
        self._triangle = np.empty((ROUGH_PX, ROUGH_PX), np.int32)

    def occlusion_rate(
        self,
        target_m: FloatArray,
        target_faces: np.ndarray,
        other_m: FloatArray,
        other_faces: np.ndarray,
        K_px: FloatArray,
    ) -> float:
        """Share of the target (V, 3) hidden by the other hand, inside a frame of ROUGH_PX that K_px describes."""
        return _rate(target_m, target_faces, other_m, other_faces, K_px, self._near[0], self._near[1], self._triangle)


@compiled
def _nearest(points):
    least = np.inf
    for i in range(points.shape[0]):
        least = min(least, points[i, 2])
    return least


@compiled
def _mean(points, rows):
    """Mean (3,) of some of the points (N, 3)."""
    x, y, z = 0.0, 0.0, 0.0
    for row in rows:
        x += points[row, 0]
        y += points[row, 1]
        z += points[row, 2]
    n = len(rows)
    return x / n, y / n, z / n


@compiled
def _along_forearm(points, rim):
    rim_x, rim_y, rim_z = _mean(points, rim)
    x, y, z = _mean(points, range(points.shape[0]))
    x, y, z = rim_x - x, rim_y - y, rim_z - z
    dot = x * rim_x + y * rim_y + z * rim_z
    return -dot / np.sqrt((x * x + y * y + z * z) * (rim_x * rim_x + rim_y * rim_y + rim_z * rim_z))


@compiled
def _rate(target_m, target_faces, other_m, other_faces, K_px, near_target, near_other, triangle):
    grid_xy, inverse_z = project_to_grid(target_m, K_px, 1)
    rasterize(grid_xy, inverse_z, target_faces, near_target, triangle)
    grid_xy, inverse_z = project_to_grid(other_m, K_px, 1)
    rasterize(grid_xy, inverse_z, other_faces, near_other, triangle)
    whole, hidden = 0, 0
    for y in range(near_target.shape[0]):
        for x in range(near_target.shape[1]):
            if near_target[y, x] > 0.0:
                whole += 1
                if near_other[y, x] > near_target[y, x]:
                    hidden += 1
    return hidden / max(whole, 1)
