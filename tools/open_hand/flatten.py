"""Flattens a disk-shaped piece of surface with little distortion: first conformal, then as rigid as possible."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from aih_builder.geometry import FloatArray

_ROUNDS = 60
_REPAIRS = 8


def flatten(vertices_m: FloatArray, faces: np.ndarray) -> FloatArray:
    """(V, 2) in metres, orientation kept. faces must use all vertices and form a disk."""
    local = _local_triangles(vertices_m, faces)
    flat = _conformal(vertices_m, faces, local)
    stiffness = np.ones(len(faces))
    for _ in range(_REPAIRS):
        flat = _as_rigid_as_possible(flat, faces, local, stiffness)
        squeezed = signed_areas(flat, faces) < 0.2 * signed_areas_local(local)
        if not squeezed.any():
            break
        stiffness[squeezed] *= 4  # a small face that its neighbours fold over shall resist
    return flat


def signed_areas(points: FloatArray, faces: np.ndarray) -> FloatArray:
    """(F,): areas in the plane, negative where a face is turned over."""
    return signed_areas_local(points[faces])


def signed_areas_local(corners: FloatArray) -> FloatArray:
    """(F,): signed areas of triangles given by their corners (F, 3, 2)."""
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]) / 2


def _local_triangles(vertices_m: FloatArray, faces: np.ndarray) -> FloatArray:
    """(F, 3, 2): each face laid into its own plane, first corner at 0, second on the x axis."""
    a, b, c = (vertices_m[faces[:, k]] for k in range(3))
    first = b - a
    length = np.linalg.norm(first, axis=1)
    normal = np.cross(first, c - a)
    along = ((c - a) * first).sum(axis=1) / length
    aside = np.linalg.norm(normal, axis=1) / length
    zero = np.zeros(len(faces))
    return np.stack([np.stack(pair, axis=1) for pair in ((zero, zero), (length, zero), (along, aside))], axis=1)


def _conformal(vertices_m: FloatArray, faces: np.ndarray, local: FloatArray) -> FloatArray:
    """Least-squares conformal map (Levy et al. 2002) with the two most distant of all vertices pinned."""
    n_faces, n = len(faces), len(vertices_m)
    spread = np.ptp(vertices_m, axis=0).argmax()
    pins = np.array([vertices_m[:, spread].argmin(), vertices_m[:, spread].argmax()])
    pinned = np.zeros((2, 2))
    pinned[1, 0] = np.linalg.norm(vertices_m[pins[1]] - vertices_m[pins[0]])
    twice_area = local[:, 1, 0] * local[:, 2, 1]
    # One complex equation per face: sum_k w_k u_k = 0.
    edges = np.stack([local[:, 2] - local[:, 1], local[:, 0] - local[:, 2], local[:, 1] - local[:, 0]], axis=1)
    weights = (edges[..., 0] + 1j * edges[..., 1]) / np.sqrt(twice_area)[:, None]
    rows = np.repeat(np.arange(n_faces), 3)
    system = sp.csr_matrix((weights.ravel(), (rows, faces.ravel())), (n_faces, n))
    free = np.setdiff1d(np.arange(n), pins)
    right = -system[:, pins] @ (pinned[:, 0] + 1j * pinned[:, 1])
    unknown = system[:, free]
    adjoint = unknown.conj().T
    solution = np.zeros(n, complex)
    solution[pins] = pinned[:, 0] + 1j * pinned[:, 1]
    solution[free] = splu(sp.csc_matrix(adjoint @ unknown)).solve(adjoint @ right)
    return np.stack([np.real(solution), np.imag(solution)], axis=1)


def _as_rigid_as_possible(start: FloatArray, faces: np.ndarray, local: FloatArray, stiffness: FloatArray) -> FloatArray:
    """Local-global iteration (Liu et al. 2008): best rotation of each face, then the best fit to all."""
    n = len(start)
    i, j = faces[:, [1, 2, 0]].ravel(), faces[:, [2, 0, 1]].ravel()
    sides = local[:, [1, 2, 0]] - local[:, [2, 0, 1]]  # (F, 3, 2), opposite to each corner
    to_next, to_last = local[:, [1, 2, 0]] - local, local[:, [2, 0, 1]] - local
    cross = to_next[..., 0] * to_last[..., 1] - to_next[..., 1] * to_last[..., 0]
    cotangent = np.maximum((to_next * to_last).sum(axis=-1) / cross, 0.05)
    cotangent *= stiffness[:, None]  # (F, 3)
    w = cotangent.ravel()
    laplacian = sp.csc_matrix(
        (np.concatenate([w, w, -w, -w]), (np.concatenate([i, j, i, j]), np.concatenate([i, j, j, i]))), (n, n)
    )
    solver = splu(sp.csc_matrix(laplacian + sp.identity(n) * 1e-9))
    flat = start
    for _ in range(_ROUNDS):
        now = flat[faces[:, [1, 2, 0]]] - flat[faces[:, [2, 0, 1]]]
        cosine = (cotangent * (now * sides).sum(axis=-1)).sum(axis=1)
        sine = (cotangent * (now[..., 1] * sides[..., 0] - now[..., 0] * sides[..., 1])).sum(axis=1)
        angle = np.arctan2(sine, cosine)[:, None]
        turned = np.stack(
            [
                np.cos(angle) * sides[..., 0] - np.sin(angle) * sides[..., 1],
                np.sin(angle) * sides[..., 0] + np.cos(angle) * sides[..., 1],
            ],
            axis=-1,
        )
        pull = (cotangent[..., None] * turned).reshape(-1, 2)
        right = np.zeros((n, 2))
        np.add.at(right, i, pull)
        np.add.at(right, j, -pull)
        flat = solver.solve(right)
    return flat
