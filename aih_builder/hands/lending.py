"""Lends a foreign hand what MANO's files lack: axes and limits of the joints, from the open hand, and the way between
the two skins.

Both hands have the same 16 joints, so the open hand can be bent and scaled, bone by bone, onto the foreign one's. Then
each foreign point lies near the open hand's skin.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS, N_JOINTS

_CANDIDATES = 24  # triangles around a point among which the nearest is sought; all are some mm wide
_AT_ONCE = 4096  # points


class Lent(NamedTuple):
    """A hand with what it was lent, and how far its skin lies from the lender's, bent onto it."""

    arrays: HandArrays
    mean_mm: float
    greatest_mm: float


class Nearest(NamedTuple):
    """Points of a surface, one for each point asked about: face, shares of its corners, distance."""

    face: NDArray[np.int64]  # (N,)
    shares: FloatArray  # (N, 3)
    away_m: FloatArray  # (N,)

    def blend(self, values: FloatArray, faces: NDArray) -> FloatArray:
        """Values (N, C) at the points, of values (V, C) at the corners of faces (F, 3)."""
        return np.einsum("nk,nkc->nc", self.shares, values[faces[self.face]])


class _Bones(NamedTuple):
    """How each joint's surroundings move from the lender to the borrower."""

    rotations: FloatArray  # (16, 3, 3)
    scales: FloatArray  # (16,)


def lend(lender: HandArrays, borrower: HandArrays) -> Lent:
    """The borrower with axes and limits of the lender. Both are hands of one side."""
    bones, skin = _bent_onto(lender, borrower)
    away_m = nearest(borrower.v_template, skin[lender.faces]).away_m
    arrays = replace(
        borrower,
        dof_axes=np.einsum("jab,jkb->jka", bones.rotations, lender.dof_axes),
        dof_limits_rad=lender.dof_limits_rad.copy(),
    )
    return Lent(arrays, 1e3 * float(away_m.mean()), 1e3 * float(away_m.max()))


def bent_onto(lender: HandArrays, borrower: HandArrays) -> FloatArray:
    """The lender's vertices (V, 3) on the borrower's bones. Both are hands of one side."""
    return _bent_onto(lender, borrower)[1]


def _bent_onto(lender: HandArrays, borrower: HandArrays) -> tuple[_Bones, FloatArray]:
    theirs, mine = (hand.J_regressor @ hand.v_template for hand in (lender, borrower))
    bones = _bones(lender, theirs, borrower, mine)
    return bones, _bent(lender, bones, theirs, mine)


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


def nearest(points: FloatArray, corners: FloatArray) -> Nearest:
    """The points of triangles (F, 3, 3) that are nearest to points (N, 3)."""
    tree, count = KDTree(corners.mean(axis=1)), min(_CANDIDATES, len(corners))
    found = []
    for start in range(0, len(points), _AT_ONCE):
        some = points[start : start + _AT_ONCE]
        near = np.asarray(tree.query(some, k=count)[1])  # (N, K)
        shares = _shares(some, corners[near])
        reached = np.einsum("nkc,nkcx->nkx", shares, corners[near])
        away = np.linalg.norm(reached - some[:, None], axis=2)
        rows, best = np.arange(len(some)), away.argmin(axis=1)
        found.append(Nearest(near[rows, best], shares[rows, best], away[rows, best]))
    return Nearest(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


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
