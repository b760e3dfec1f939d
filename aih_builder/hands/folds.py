"""How bending the fingers changes the skin's folds: wrinkles on a joint's back are pulled smooth, creases on its palm
side deepen.

A texture holds its creases as they are on the flat hand. Here each point of the drawn surface gets a gain by which
they are deeper (above 1) or shallower (below 1) in a pose: one plus a sum over joints of flexion times influence.
"""

from dataclasses import dataclass

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.hands.anatomy import FLEXION, angles_from_pose
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS, N_JOINTS
from aih_builder.hands.landmarks import Anatomy, anatomy
from aih_builder.hands.surface import HandSurface

MOST_GAIN = 2.5
_SMOOTH_AT_RAD = np.deg2rad(60.0)  # flexion at which a knuckle's wrinkles are gone
_DEEPER_BY, _DEEP_AT_RAD = 1.2, np.deg2rad(70.0)  # a crease's gain less 1, and the flexion that gives it
# How far along a finger a joint's flexion is felt, mm from the joint: back, palm side; base, middle and end joint.
_REACH_MM = ((11.0, 24.0), (10.0, 9.0), (8.0, 7.0))
_NEGLIGIBLE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Which joints act on which points of a surface. R render vertices, S surface vertices, K pairs in all."""

    arrays: HandArrays
    of_render: np.ndarray  # (R,) int64
    starts: np.ndarray  # (S + 1,) int64: the pairs of each surface vertex
    joints: np.ndarray  # (K,) int64
    influence: FloatArray  # (K,) gain per radian of flexion

    def gain(self, pose_rad: FloatArray) -> FloatArray:
        """The gain (R,) of creases, 0 to 2.5 and 1 for a flat hand, in a pose (48,) as models take it."""
        flexion_rad = np.ascontiguousarray(angles_from_pose(self.arrays, pose_rad[3:])[:, FLEXION])
        return _gain(self.of_render, self.starts, self.joints, self.influence, flexion_rad, MOST_GAIN)


def build_folds(arrays: HandArrays, surface: HandSurface) -> Folds:
    """Prepare the folds of a hand of either side, and of its drawn surface."""
    marks = anatomy(arrays)
    weights, points_m, normals = _at_rest(arrays, surface)
    points = np.einsum("ij,nj->ni", marks.to_palm, points_m - marks.wrist_m)
    normals = np.einsum("ij,nj->ni", marks.to_palm, normals)
    table = _influence(marks, points, normals, weights)
    vertex, joint = np.nonzero(np.abs(table) > _NEGLIGIBLE)
    starts = np.concatenate([[0], np.cumsum(np.bincount(vertex, minlength=len(table)))])
    return Folds(arrays, surface.of_render, starts.astype(np.int64), joint.astype(np.int64), table[vertex, joint])


def _at_rest(arrays: HandArrays, surface: HandSurface) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weights (S, 16), points (S, 3) and normals (S, 3) of the surface of the rest hand."""
    posed = surface.pose(arrays.v_template)
    count = len(surface.rows) - 1
    render = np.zeros(count, np.int64)
    render[surface.of_render[: surface.cap_from]] = np.arange(surface.cap_from)
    owner = np.repeat(np.arange(count), np.diff(surface.rows.astype(np.int64)))
    weights = np.zeros((count, N_JOINTS))
    np.add.at(weights, owner, surface.weights[:, None] * arrays.weights[surface.columns])
    return weights, posed.positions_m[render], posed.normals[render]


def _influence(marks: Anatomy, points: FloatArray, normals: FloatArray, weights: FloatArray) -> FloatArray:
    """Gain per radian (S, 16) of each joint's flexion. Points and normals in the palm frame, mm."""
    up = np.einsum("nj,jc->nc", weights, marks.dorsal)
    facing = (normals * up).sum(axis=1) / np.maximum(np.sqrt((normals**2).sum(axis=1) * (up**2).sum(axis=1)), 1e-9)
    back, inner = np.clip(1.6 * facing, 0.0, 1.0), np.clip(-1.6 * facing, 0.0, 1.0)
    table = np.zeros((len(points), N_JOINTS))
    for first in FINGERS.values():
        mine = weights[:, first : first + 3].sum(axis=1)
        for k, (back_mm, inner_mm) in enumerate(_REACH_MM):
            joint = first + k
            offset = points - marks.joints[joint]
            along = np.einsum("nc,c->n", offset, marks.bones[joint])
            across = np.einsum("nc,c->n", offset, marks.lateral[joint])
            # A base joint folds the palm too, where its finger's weight is small: there the place across decides.
            share = np.clip(mine / 0.5, 0.0, 1.0) if k else np.maximum(mine, np.exp(-((across / 9.0) ** 2)))
            smoother = -back * np.exp(-((along / back_mm) ** 2)) / _SMOOTH_AT_RAD
            deeper = inner * np.exp(-((along / inner_mm) ** 2)) * _DEEPER_BY / _DEEP_AT_RAD
            table[:, joint] = share * (smoother + deeper)
    return table


@compiled
def _gain(of_render, starts, joints, influence, flexion_rad, most):
    smooth = np.empty(starts.shape[0] - 1)
    for s in range(smooth.shape[0]):
        gain = 1.0
        for k in range(starts[s], starts[s + 1]):
            gain += influence[k] * flexion_rad[joints[k]]
        smooth[s] = min(max(gain, 0.0), most)
    gains = np.empty(of_render.shape[0])
    for r in range(gains.shape[0]):
        gains[r] = smooth[of_render[r]]
    return gains
