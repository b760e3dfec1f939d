"""Choosing a view: a cheap look at how much of the target hand each candidate hides."""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.synth.renderers.rasterize import project_to_grid, rasterize

ROUGH_PX = 64  # side of the picture that is good enough to judge an occlusion rate


@compiled
def _rate(near_target, near_other):
    whole, hidden = 0, 0
    for y in range(near_target.shape[0]):
        for x in range(near_target.shape[1]):
            if near_target[y, x] > 0.0:
                whole += 1
                if near_other[y, x] > near_target[y, x]:
                    hidden += 1
    return hidden / max(whole, 1)


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
        for i, (points_m, faces) in enumerate(((target_m, target_faces), (other_m, other_faces))):
            grid_xy, inverse_z = project_to_grid(points_m, K_px, 1)
            rasterize(grid_xy, inverse_z, faces, self._near[i], self._triangle)
        return float(_rate(self._near[0], self._near[1]))
