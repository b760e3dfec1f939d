"""Pose blend shapes: what linear blending gets wrong, learned from a smoother deformation (delta mush).

Delta mush smooths the posed surface, then puts back the detail that the same smoothing takes from the rest surface,
in a frame that turns with the skin. It keeps volume at bent joints and irons folds out. It is not linear in the pose
feature R - I, so the corrections are fitted by ridge regression, each vertex on the joints near it.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import N_JOINTS
from tools.open_hand.meshes import directed_edges, neighbour_mean, vertex_normals
from tools.open_hand.prior import local_rotations, random_angles_rad
from tools.open_hand.skinning import skin

_N_POSES = 360
_SMOOTHING_PASSES = 8
_RIDGE = 0.6
_INFLUENCE = 0.01  # a joint shapes a vertex where its weight, spread over three rings, is above this
_ISOLATED = 4  # joints bent in every third pose, so that their effects separate


class FineHand(NamedTuple):
    """The hand before decimation."""

    template_m: FloatArray  # (V, 3)
    faces: np.ndarray
    weights: FloatArray  # (V, 16)


class CoarseHand(NamedTuple):
    """The hand after it, and the map that leads there."""

    weights: FloatArray  # (778, 16)
    from_fine: sp.csr_matrix  # (778, V)


class PoseBlend(NamedTuple):
    """Blend shapes and how well they fit, in metres RMS, without and with them."""

    posedirs_m: FloatArray  # (778, 3, 135)
    residual_before_m: float
    residual_after_m: float


def fit_posedirs(
    rng: np.random.Generator,
    fine: FineHand,
    coarse: CoarseHand,
    joints_m: FloatArray,
    axes: FloatArray,
    limits_rad: FloatArray,
) -> PoseBlend:
    """Learn the corrections of the coarse hand from delta mush on the fine one."""
    mush = _DeltaMush(fine.template_m, fine.faces)
    rest_m = coarse.from_fine @ fine.template_m
    features, corrections = [], []
    for k in range(_N_POSES):
        angles_rad = random_angles_rad(rng, limits_rad)
        if k % 3 == 0:
            bent = rng.choice(np.arange(1, N_JOINTS), _ISOLATED, replace=False)
            angles_rad[np.setdiff1d(np.arange(N_JOINTS), bent)] = 0.0
        rotations = local_rotations(angles_rad, axes)
        wanted = coarse.from_fine @ mush(skin(fine.template_m, joints_m, rotations, fine.weights)[0])
        posed = skin(rest_m, joints_m, rotations, coarse.weights)
        back = np.linalg.inv(posed.vertex_transforms[:, :3, :3])
        features.append((rotations[1:] - np.eye(3)).ravel())
        corrections.append(np.einsum("vab,vb->va", back, wanted - posed.vertices))
    return _regressed(np.array(features), np.array(corrections), _influence(fine, coarse))


class _DeltaMush:
    """Smoothing that returns the rest surface's detail."""

    def __init__(self, rest_m: FloatArray, faces: np.ndarray) -> None:
        self._faces = faces
        self._mean = neighbour_mean(faces, len(rest_m))
        edges = directed_edges(faces)
        self._neighbour = np.zeros(len(rest_m), np.int64)
        self._neighbour[edges[::-1, 0]] = edges[::-1, 1]
        smooth_m = self._smooth(rest_m)
        self._detail = np.einsum("vba,vb->va", self._frames(smooth_m), rest_m - smooth_m)

    def __call__(self, posed_m: FloatArray) -> FloatArray:
        smooth_m = self._smooth(posed_m)
        return smooth_m + np.einsum("vab,vb->va", self._frames(smooth_m), self._detail)

    def _smooth(self, points: FloatArray) -> FloatArray:
        for _ in range(_SMOOTHING_PASSES):
            points = 0.5 * points + 0.5 * (self._mean @ points)
        return points

    def _frames(self, vertices: FloatArray) -> FloatArray:
        """(V, 3, 3): columns normal, direction to one fixed neighbour, and their cross product."""
        normal = vertex_normals(vertices, self._faces)
        tangent = vertices[self._neighbour] - vertices
        tangent -= normal * (tangent * normal).sum(axis=1, keepdims=True)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-12
        return np.stack([normal, tangent, np.cross(normal, tangent)], axis=2)


def _influence(fine: FineHand, coarse: CoarseHand) -> np.ndarray:
    """(778, 15) bool: which joints may correct a vertex."""
    mean = neighbour_mean(fine.faces, len(fine.weights))
    spread = mean @ (mean @ (mean @ fine.weights))
    return (coarse.from_fine @ spread)[:, 1:] > _INFLUENCE


def _regressed(features: FloatArray, corrections: FloatArray, influence: np.ndarray) -> PoseBlend:
    n_vertices, n_features = corrections.shape[1], features.shape[1]
    posedirs = np.zeros((n_vertices, 3, n_features))
    patterns, pattern_of = np.unique(influence, axis=0, return_inverse=True)
    for i, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        vertices = np.flatnonzero(pattern_of.ravel() == i)
        columns = np.flatnonzero(np.repeat(pattern, 9))
        known = features[:, columns]
        gram = known.T @ known + _RIDGE * np.eye(len(columns))
        wanted = corrections[:, vertices].reshape(len(features), -1)
        found = np.linalg.solve(gram, known.T @ wanted)
        posedirs[np.ix_(vertices, np.arange(3), columns)] = found.reshape(len(columns), len(vertices), 3).transpose(
            1, 2, 0
        )
    left = corrections - np.einsum("vcf,nf->nvc", posedirs, features, optimize=True)
    return PoseBlend(posedirs, _rms(corrections), _rms(left))


def _rms(offsets: FloatArray) -> float:
    return float(np.sqrt((offsets**2).sum(axis=-1).mean()))
