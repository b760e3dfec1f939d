"""Lends a foreign hand what MANO's files lack: texture coordinates, axes and limits of the joints, from the open hand.

Both hands have the same 16 joints, so the open hand can be bent and scaled, bone by bone, onto the foreign one's. Then
each foreign vertex lies near the open hand's skin, and takes over the texture coordinates of the nearest point. Where a
face falls over a seam of the atlas all its corners stay in one chart, so no face is torn.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS, N_JOINTS

_CANDIDATES = 48  # triangles around a point among which the nearest is sought; all are some mm wide


class Lent(NamedTuple):
    """A hand with what it was lent, and how far its skin lies from the lender's, bent onto it."""

    arrays: HandArrays
    mean_mm: float
    greatest_mm: float


class _Bones(NamedTuple):
    """How each joint's surroundings move from the lender to the borrower."""

    rotations: FloatArray  # (16, 3, 3)
    scales: FloatArray  # (16,)


def lend(lender: HandArrays, borrower: HandArrays) -> Lent:
    """The borrower with texture coordinates, axes and limits of the lender. Both are hands of one side."""
    theirs, mine = (hand.J_regressor @ hand.v_template for hand in (lender, borrower))
    bones = _bones(lender, theirs, borrower, mine)
    skin = _bent(lender, bones, theirs, mine)
    chart_of_face = charts_of(lender.uv_faces, len(lender.uv))
    corners = skin[lender.faces]

    centres = borrower.v_template[borrower.faces].mean(axis=1)
    charts = chart_of_face[closest_on_triangles(centres, corners)[0]]
    pairs, corner = np.unique(
        np.stack([borrower.faces.ravel(), np.repeat(charts, 3)], axis=1), axis=0, return_inverse=True
    )
    uv = np.empty((len(pairs), 2))
    for chart in np.unique(charts):
        of_chart = np.flatnonzero(chart_of_face == chart)
        mine_here = pairs[:, 1] == chart
        face, shares, _ = closest_on_triangles(borrower.v_template[pairs[mine_here, 0]], corners[of_chart])
        uv[mine_here] = np.einsum("nk,nkc->nc", shares, lender.uv[lender.uv_faces[of_chart[face]]])

    away_m = closest_on_triangles(borrower.v_template, corners)[2]
    arrays = replace(
        borrower,
        uv=uv,
        uv_faces=corner.reshape(-1, 3).astype(np.int64),
        dof_axes=np.einsum("jab,jkb->jka", bones.rotations, lender.dof_axes),
        dof_limits_rad=lender.dof_limits_rad.copy(),
    )
    return Lent(arrays, 1e3 * float(away_m.mean()), 1e3 * float(away_m.max()))


def _bones(lender: HandArrays, theirs: FloatArray, borrower: HandArrays, mine: FloatArray) -> _Bones:
    rotations, scales = np.empty((N_JOINTS, 3, 3)), np.empty(N_JOINTS)
    palm = [0, *FINGERS.values()]
    rotations[0], scales[0] = _similarity(theirs[palm], mine[palm])
    for joint, before, after in _ends(lender, theirs, borrower, mine):
        before, after = rotations[0] @ (before - theirs[joint]), after - mine[joint]
        rotations[joint] = _shortest_turn(before, after) @ rotations[0]
        scales[joint] = np.linalg.norm(after) / np.linalg.norm(before)
    return _Bones(rotations, scales)


def _ends(
    lender: HandArrays, theirs: FloatArray, borrower: HandArrays, mine: FloatArray
) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """Each finger joint with where its bone ends, on both hands: at the next joint, or at the fingertip."""
    for finger, base in enumerate(FINGERS.values()):
        for joint in (base, base + 1):
            yield joint, theirs[joint + 1], mine[joint + 1]
        tips = lender.v_template[lender.tip_vertices[finger]], borrower.v_template[borrower.tip_vertices[finger]]
        yield base + 2, *tips


def _bent(lender: HandArrays, bones: _Bones, theirs: FloatArray, mine: FloatArray) -> FloatArray:
    """The lender's vertices (V, 3) on the borrower's bones."""
    local = lender.v_template[:, None] - theirs  # (V, 16, 3)
    moved = mine + bones.scales[:, None] * np.einsum("jab,vjb->vja", bones.rotations, local)
    return np.einsum("vj,vja->va", lender.weights, moved)


def _similarity(a: FloatArray, b: FloatArray) -> tuple[FloatArray, float]:
    """Rotation (3, 3) and scale that bring the points a (N, 3) nearest to b, both about their means."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    u, _, v = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    return v.T @ flip @ u.T, float(np.linalg.norm(b) / np.linalg.norm(a))


def _shortest_turn(a: FloatArray, b: FloatArray) -> FloatArray:
    """The rotation (3, 3) about the common normal that turns direction a to b. They must not be opposite."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    x, y, z = np.cross(a, b)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + cross + cross @ cross / max(1.0 + float(a @ b), 1e-9)


def charts_of(uv_faces: NDArray, count: int) -> NDArray[np.int32]:
    """The chart of each face: faces that share texture vertices lie in one."""
    ends = np.concatenate([uv_faces[:, [0, 1]], uv_faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(ends)), ends.T), (count, count))
    return connected_components(graph, directed=False)[1][uv_faces[:, 0]]


def closest_on_triangles(points: FloatArray, corners: FloatArray) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
    """Of each point (N, 3) the nearest of the triangles (F, 3, 3), its shares of the corners (N, 3), the distance."""
    tree = KDTree(corners.mean(axis=1))
    near = np.asarray(tree.query(points, k=min(_CANDIDATES, len(corners)))[1])  # (N, K)
    shares = _shares(points, corners[near])
    reached = np.einsum("nkc,nkcx->nkx", shares, corners[near])
    away = np.linalg.norm(reached - points[:, None], axis=2)
    rows, best = np.arange(len(points)), away.argmin(axis=1)
    return near[rows, best], shares[rows, best], away[rows, best]


def _shares(points: FloatArray, corners: FloatArray) -> FloatArray:
    """Shares (N, K, 3) of the corners, at the point of each triangle (N, K, 3, 3) nearest to its point (N, 3)."""
    a = corners[:, :, 0]
    ab, ac, ap = corners[:, :, 1] - a, corners[:, :, 2] - a, points[:, None] - a
    bb, bc, cc, to_b, to_c = ((p * q).sum(axis=2) for p, q in ((ab, ab), (ab, ac), (ac, ac), (ap, ab), (ap, ac)))
    flat = np.maximum(bb * cc - bc * bc, 1e-30)
    v, w = (cc * to_b - bc * to_c) / flat, (bb * to_c - bc * to_b) / flat
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    # Else the nearest point lies on an edge: the best of the three.
    on_ab, on_ac = np.clip(to_b / bb, 0, 1), np.clip(to_c / cc, 0, 1)
    on_bc = np.clip((to_c - to_b + bb - bc) / (bb - 2 * bc + cc), 0, 1)
    zero = np.zeros_like(on_ab)
    options = [(v, w), (on_ab, zero), (zero, on_ac), (1 - on_bc, on_bc)]
    costs = [p * (p * bb - 2 * to_b) + q * (q * cc - 2 * to_c) + 2 * p * q * bc for p, q in options]
    costs[0] = np.where(inside, costs[0], np.inf)
    best = np.argmin(costs, axis=0)
    p, q = (np.choose(best, [option[k] for option in options]) for k in range(2))
    return np.stack([1 - p - q, p, q], axis=2)
