"""Which keypoints are seen."""

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.hands.model import HandModel
from aih_builder.hands.surface import HandSurface
from aih_builder.pixels import near_mask
from aih_builder.sample import Mask

_DEPTH_FACTOR = 1.5  # a joint counts as near the front surface within this much of its depth in the flesh at rest,
_LEAST_DEPTH_M = 0.012  # or within this


def depth_in_flesh_m(model: HandModel, surface: HandSurface) -> FloatArray:
    """How deep each keypoint (21,) lies under the skin of the mean hand, flat.

    Measured to the nearest vertex of the drawn surface.
    """
    arrays = model.arrays
    flat = np.concatenate([np.zeros(3), -arrays.hands_mean])
    rest = model.pose(flat, np.zeros(arrays.shapedirs.shape[2]), np.zeros(3))
    skin = surface.pose(rest.vertices_m).positions_m
    return np.sqrt(((rest.joints_m[:, None] - skin[None]) ** 2).sum(axis=2)).min(axis=1)


def visible_joints(
    joints_px: FloatArray,
    joints_z_m: FloatArray,
    visible_mask: Mask,
    layer_depth_m: NDArray[np.float32],
    in_flesh_m: FloatArray,
) -> Mask:
    """Which keypoints (21,) are seen.

    The pixel lies within 1 px of the hand's visible mask, and the gap from the hand's own front surface there to the
    joint is at most max(1.5 x its depth in the flesh at rest, 12 mm).
    layer_depth_m (H, W) is the front surface of this hand alone, 0 where it is not.
    """
    seen = near_mask(joints_px, visible_mask)
    allowed_m = np.maximum(_DEPTH_FACTOR * in_flesh_m, _LEAST_DEPTH_M)
    _drop_deep(seen, joints_px, joints_z_m, layer_depth_m, allowed_m)
    return seen


@compiled
def _drop_deep(seen, joints_px, joints_z_m, layer_depth_m, allowed_m):
    """Clear what is seen, but lies deeper under the front surface than allowed."""
    for joint in range(seen.shape[0]):
        if not seen[joint]:
            continue
        x = int(np.floor(np.float64(joints_px[joint, 0]) + 0.5))
        y = int(np.floor(np.float64(joints_px[joint, 1]) + 0.5))
        front_m = layer_depth_m[y, x]
        if front_m <= 0:
            front_m = layer_depth_m[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].max()
        seen[joint] = joints_z_m[joint] - front_m <= allowed_m[joint]
