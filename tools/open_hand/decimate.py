"""Brings the hand to MANO's counts: 778 vertices, 1538 faces, an open wrist of 16 edges."""

from typing import Any, NamedTuple

import fast_simplification
import numpy as np
import scipy.sparse as sp

from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import N_FACES, N_VERTICES
from tools.open_hand.meshes import (
    boundary_edges,
    closest_points,
    compacted,
    edge_counts,
    vertex_normals,
)

WRIST_EDGES = 16
_AGGRESSIVENESS = (2.0, 3.0, 1.0, 5.0, 7.0)


class Decimated(NamedTuple):
    """The coarse mesh as points on the fine one."""

    faces: np.ndarray  # (1538, 3)
    from_fine: sp.csr_matrix  # (778, V): barycentric rows; moves any per-vertex data


def decimate(vertices_m: FloatArray, faces: np.ndarray) -> Decimated:
    """Simplify by quadric errors until the counts are MANO's exactly. Raises AssetError if they never are."""
    coarse_m, coarse_faces = _simplified(vertices_m, faces)
    face_of, barycentric, _ = closest_points(coarse_m, vertices_m, faces)
    rows = np.repeat(np.arange(N_VERTICES), 3)
    from_fine = sp.csr_matrix((barycentric.ravel(), (rows, faces[face_of].ravel())), (N_VERTICES, len(vertices_m)))
    moved_m = from_fine @ vertices_m
    outward = np.einsum(
        "vc,vc->v", vertex_normals(moved_m, coarse_faces), from_fine @ vertex_normals(vertices_m, faces)
    )
    if outward.min() <= 0:
        raise AssetError("the decimated hand has a vertex whose normal is turned over.")
    return Decimated(coarse_faces, from_fine)


def _simplified(vertices_m: FloatArray, faces: np.ndarray) -> tuple[FloatArray, np.ndarray]:
    collapses = len(boundary_edges(faces)) - WRIST_EDGES
    opened_m, opened_faces = _with_shorter_boundary(vertices_m, faces, collapses)
    points: Any = opened_m.astype(np.float32)  # the library takes both precisions, its annotation one
    for aggressiveness in _AGGRESSIVENESS:
        for target in (N_FACES, *range(N_FACES - 8, N_FACES + 10)):
            out_m, out_faces, *_ = fast_simplification.simplify(
                points, opened_faces.astype(np.int32), target_count=target, agg=aggressiveness
            )
            used, out_faces = compacted(out_faces.astype(np.int64))
            counts = edge_counts(out_faces)[1]
            if (
                (len(used), len(out_faces)) == (N_VERTICES, N_FACES)
                and counts.max() <= 2
                and (counts == 1).sum() == WRIST_EDGES
            ):
                return out_m[used].astype(np.float64), out_faces
    raise AssetError(
        f"no decimation gave {N_VERTICES} vertices, {N_FACES} faces and {WRIST_EDGES} open edges. "
        "Use fast-simplification 0.1.9 or later and anny 0.6.2."
    )


def _with_shorter_boundary(vertices_m: FloatArray, faces: np.ndarray, collapses: int) -> tuple[FloatArray, np.ndarray]:
    """Collapse the shortest edges of the wrist's boundary, one by one."""
    faces = faces.copy()
    for _ in range(collapses):
        edges = boundary_edges(faces)
        lengths = np.linalg.norm(vertices_m[edges[:, 0]] - vertices_m[edges[:, 1]], axis=1)
        kept, gone = edges[lengths.argmin()]
        faces[faces == gone] = kept
        a, b, c = faces.T
        faces = faces[(a != b) & (b != c) & (c != a)]
    used, faces = compacted(faces)
    return vertices_m[used], faces
