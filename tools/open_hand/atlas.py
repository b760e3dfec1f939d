"""Texture coordinates: the hand is cut along its mid-lateral lines into a back and a palm, each laid flat.

Two charts, each with all five fingers, waste less space in gutters than many small ones; the seam runs along the
sides of the fingers, and no nail or crease is cut.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import N_JOINTS
from tools.open_hand.flatten import flatten, signed_areas
from tools.open_hand.meshes import compacted, edge_counts, face_neighbours, face_normals
from tools.open_hand.pack import packed_pair
from tools.open_hand.prior import local_rotations
from tools.open_hand.skinning import skin

_SEAM = -0.08  # cosine between a face and the back of its bone at which the palm begins
_SMOOTHING_PASSES = 3
# The skin between the fingers is saddle-shaped: laid flat as it is, neighbouring fingers would overlap.
_SPREAD_RAD = np.zeros((N_JOINTS, 3))
_SPREAD_RAD[[1, 7, 10], 1] = np.radians([12, -24, -12])  # abduction of index, little, ring


class Atlas(NamedTuple):
    """Texture coordinates of the hand."""

    uv: FloatArray  # (U, 2), v up, in [0, 1]
    uv_faces: np.ndarray  # (F, 3)
    coverage: float  # share of the unit square that lies in charts


def cut_atlas(
    vertices_m: FloatArray,
    faces: np.ndarray,
    weights: FloatArray,
    joints_m: FloatArray,
    axes: FloatArray,
) -> Atlas:
    """Cut, flatten and pack. Raises AssetError where a half is no disk or folds over when laid flat."""
    on_back = _back_faces(vertices_m, faces, weights, axes)
    spread_m = skin(vertices_m, joints_m, local_rotations(_SPREAD_RAD, axes), weights).vertices
    charts, chart_faces = [], []
    for name, half in (("back", on_back), ("palm", ~on_back)):
        used, half_faces = compacted(faces[half])
        edges = edge_counts(half_faces)[0]
        if len(used) - len(edges) + len(half_faces) != 1:
            raise AssetError(f"the {name} of the hand is not a disk; move the seam in atlas.py.")
        flat_m = flatten(spread_m[used], half_faces)
        if signed_areas(flat_m, half_faces).min() <= 0:
            raise AssetError(f"the {name} of the hand folds over when laid flat; move the seam in atlas.py.")
        charts.append(flat_m)
        chart_faces.append(half_faces)
    uv = packed_pair(charts, chart_faces)
    uv_faces = np.empty_like(faces)
    uv_faces[on_back], uv_faces[~on_back] = chart_faces[0], chart_faces[1] + len(charts[0])
    return Atlas(uv, uv_faces, float(signed_areas(uv, uv_faces).sum()))


def _back_faces(vertices_m: FloatArray, faces: np.ndarray, weights: FloatArray, axes: FloatArray) -> np.ndarray:
    """Mask (F,) of the faces that look to the back of the bone that they belong to."""
    back_of_bone = axes[:, 1].copy()
    back_of_bone[0] = [0.0, 1.0, 0.0]
    back = (weights @ back_of_bone)[faces].mean(axis=1)
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    score = np.clip((face_normals(vertices_m, faces) * back).sum(axis=1) - _SEAM, -0.6, 0.6)
    neighbours = face_neighbours(faces)
    degree = np.asarray(neighbours.sum(axis=1)).ravel()
    for _ in range(_SMOOTHING_PASSES):
        score = 0.5 * score + 0.5 * (neighbours @ score) / degree
    return _without_spikes(score > 0, neighbours, degree)


def _without_spikes(on_back: np.ndarray, neighbours: sp.csr_matrix, degree: np.ndarray) -> np.ndarray:
    """Give faces that have one neighbour or none of their own half to the other half."""
    for _ in range(20):
        agreeing = np.where(on_back, neighbours @ on_back, neighbours @ ~on_back)
        alone = agreeing <= degree - 2
        if not alone.any():
            break
        on_back = on_back ^ alone
    return on_back
