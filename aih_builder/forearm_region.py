"""Where in a picture a hand's own forearm may be: what is hidden of it leaves no mask.

A forearm runs on from the wrist, away from the hand: within a cone about the line from the knuckles through the
wrist that holds every sleeve and every bend that `look.forearms` allows.
"""

from itertools import pairwise

import cv2
import numpy as np

from aih_builder.geometry import FloatArray, project
from aih_builder.sample import Mask, Sample

_KNUCKLES = (5, 9, 13, 17)
# Along the line, from the wrist joint, and how wide a forearm may lie there: a cuff's edge, the wrist, the elbow.
_RINGS_M = ((-0.005, 0.05), (0.05, 0.06), (0.36, 0.38))
_AROUND = 16
_NEAREST_M = 0.03  # what is nearer to the camera is left out


def forearm_region(sample: Sample, hand: int) -> Mask:
    """Where the forearm of a hand may be, bool (H, W), but for soft edges; everywhere where its joints are unknown."""
    region = np.zeros(sample.image_rgb.shape[:2], np.uint8)
    if not sample.joint3d_valid[hand].all() or not sample.K_px[hand].any():
        return np.ones_like(region, np.bool_)
    joints_m, K_px = sample.cam_joints_m[hand].astype(np.float64), sample.K_px[hand].astype(np.float64)
    along = _unit(joints_m[0] - joints_m[list(_KNUCKLES)].mean(axis=0))
    aside = _unit(np.cross(along, np.eye(3)[np.abs(along).argmin()]))
    turns = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)[:, None]
    outward = np.cos(turns) * aside + np.sin(turns) * np.cross(along, aside)
    rings_m = [joints_m[0] + s * along + radius * outward for s, radius in _RINGS_M]
    for near_m, far_m in pairwise(rings_m):
        outline_px = project(np.concatenate(_before_the_camera(near_m, far_m)), K_px)
        hull_px = cv2.convexHull(np.clip(np.round(outline_px), -(10**6), 10**6).astype(np.int32))
        cv2.fillConvexPoly(region, hull_px, (1,))
    return region.view(np.bool_)


def _unit(vector: FloatArray) -> FloatArray:
    return vector / max(float(np.sqrt((vector**2).sum())), 1e-9)


def _before_the_camera(near_m: FloatArray, far_m: FloatArray) -> list[FloatArray]:
    """Both ends of lines (N, 3), the parts behind _NEAREST_M cut off; a line of which nothing is left is a point."""
    cut = []
    for end_m, other_m in ((near_m, far_m), (far_m, near_m)):
        behind = end_m[:, 2] < _NEAREST_M
        rise_m = np.where(behind, np.maximum(other_m[:, 2] - end_m[:, 2], 1e-9), 1.0)
        share = np.where(behind, np.clip((_NEAREST_M - end_m[:, 2]) / rise_m, 0, 1), 0.0)[:, None]
        moved_m = end_m + share * (other_m - end_m)
        moved_m[:, 2] = np.maximum(moved_m[:, 2], _NEAREST_M)
        cut.append(moved_m)
    return cut
