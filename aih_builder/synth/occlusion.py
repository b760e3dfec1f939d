"""Ambient occlusion: how much of its surroundings a point of skin sees past its own hand and the other one.

A hand is taken as some 200 small discs, each a patch of its mesh. A disc hides the share of a point's hemisphere that
its form factor says, A cos cos / (pi d^2 + A), faded to exactly 0 with distance; discs that face away hide nothing, so
a patch of a closed skin does not hide what lies on it. No skin is darkened by a hand that is REACH_M away or more.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays

REACH_M = 0.06  # skin so far from another hand gets nothing of its shade
# Where a disc's share ends: points lie under their skin, discs' middles too, and between vertices shade is a mean.
_DISC_REACH_M = REACH_M - 0.015
_DISCS = 192
_STRENGTH = np.float32(2.0)  # openness is exp(-_STRENGTH * hidden share): many discs stand behind one another
_DEPTH_M = 0.005  # points look out from this far under the skin: what touches them is still before them
_TURN_M = 0.012  # a face whose normal stands square to a patch's counts as this much farther away

Float32Array = NDArray[np.float32]


class Patches(NamedTuple):
    """The fixed part: which disc each face of a hand belongs to."""

    faces: NDArray[np.int64]  # (F, 3)
    disc_of: NDArray[np.int64]  # (F,)
    discs: int


class Solid(NamedTuple):
    """A posed hand as a receiver and as a blocker. V model vertices, D discs; camera frame, metres."""

    points: Float32Array  # (6, V) position, unit normal
    discs: Float32Array  # (7, D) centre, unit normal, area
    low_m: FloatArray  # (3,) corner of the box around it
    high_m: FloatArray  # (3,)


def patches(arrays: HandArrays) -> Patches:
    """Divide a hand's faces among discs: seeds far from one another, faces to the nearest of like direction."""
    corners = arrays.v_template[arrays.faces]
    centres = corners.mean(axis=1)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.sqrt((normals**2).sum(axis=1, keepdims=True)), 1e-12)
    placed = np.concatenate([centres, _TURN_M * normals], axis=1)
    count = min(_DISCS, len(placed))
    away = ((placed - placed[0]) ** 2).sum(axis=1)
    disc_of = np.zeros(len(placed), np.int64)
    for disc in range(1, count):
        seed = int(away.argmax())
        near = ((placed - placed[seed]) ** 2).sum(axis=1)
        disc_of[near < away] = disc
        away = np.minimum(away, near)
    return Patches(arrays.faces.astype(np.int64), disc_of, count)


def solid(cam_vertices_m: FloatArray, fixed: Patches) -> Solid:
    """A hand (V, 3) in its pose."""
    points = np.zeros((6, len(cam_vertices_m)), np.float32)
    discs = np.zeros((7, fixed.discs), np.float32)
    _solid(np.ascontiguousarray(cam_vertices_m, np.float64), fixed.faces, fixed.disc_of, points, discs)
    return Solid(points, discs, cam_vertices_m.min(axis=0), cam_vertices_m.max(axis=0))


def apart_m(one: Solid, other: Solid) -> float:
    """Distance between the boxes around two hands: their skins lie no nearer."""
    gap = np.maximum(np.maximum(one.low_m - other.high_m, other.low_m - one.high_m), 0.0)
    return float(np.sqrt((gap**2).sum()))


def openness(receiver: Solid, other: Solid | None) -> tuple[Float32Array, Float32Array]:
    """What the receiver's vertices (V,) see of their surroundings, 0 to 1: alone, and beside the other hand.

    Where the other hand hides nothing, both are equal to the bit.
    """
    hidden = np.zeros(receiver.points.shape[1], np.float32)
    _hide(receiver.points, receiver.discs, hidden)
    alone = np.exp(-_STRENGTH * hidden)
    if other is None or apart_m(receiver, other) >= REACH_M:
        return alone, alone
    _hide(receiver.points, other.discs, hidden)
    return alone, np.exp(-_STRENGTH * hidden)


def openness_of(
    cam_points_m: FloatArray, normals: FloatArray, own: Solid, other: Solid | None
) -> tuple[Float32Array, Float32Array]:
    """As openness(), of points (N, 3) with unit normals that belong to a hand, such as its forearm's."""
    points = np.empty((6, len(normals)), np.float32)
    points[:3], points[3:] = (cam_points_m - _DEPTH_M * normals).T, normals.T
    hidden = np.zeros(points.shape[1], np.float32)
    _hide_near(points, own.discs, hidden)
    alone = np.exp(-_STRENGTH * hidden)
    if other is None or not _hide_near(points, other.discs, hidden):
        return alone, alone
    return alone, np.exp(-_STRENGTH * hidden)


@compiled
def _solid(vertices, faces, disc_of, points, discs):
    normals, centres, turns = np.zeros_like(vertices), np.zeros((discs.shape[1], 3)), np.zeros((discs.shape[1], 3))
    areas = np.zeros(discs.shape[1])
    for f in range(faces.shape[0]):
        a, b, c = np.uintp(faces[f, 0]), np.uintp(faces[f, 1]), np.uintp(faces[f, 2])
        x1, y1, z1 = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        x2, y2, z2 = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        n = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        area = 0.5 * np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
        disc = np.uintp(disc_of[f])
        areas[disc] += area
        for k in range(3):
            for corner in (a, b, c):
                normals[corner, k] += n[k]
            turns[disc, k] += n[k]
            centres[disc, k] += area * (vertices[a, k] + vertices[b, k] + vertices[c, k]) / 3.0
    for i in range(vertices.shape[0]):
        length = max(np.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2), 1e-20)
        for k in range(3):
            points[k, i] = np.float32(vertices[i, k] - _DEPTH_M * normals[i, k] / length)
            points[3 + k, i] = np.float32(normals[i, k] / length)
    for d in range(discs.shape[1]):
        length = max(np.sqrt(turns[d, 0] ** 2 + turns[d, 1] ** 2 + turns[d, 2] ** 2), 1e-20)
        for k in range(3):
            discs[k, d] = np.float32(centres[d, k] / max(areas[d], 1e-20))
            discs[3 + k, d] = np.float32(turns[d, k] / length)
        discs[6, d] = np.float32(0.5 * length)  # what a bent patch shows of itself


@compiled
def _hide(points, discs, hidden):
    """Add the share of the hemisphere that discs hide from each point. The inner loop becomes vector instructions."""
    x, y, z = points[0], points[1], points[2]
    nx, ny, nz = points[3], points[4], points[5]
    nothing, one, pi = np.float32(0.0), np.float32(1.0), np.float32(np.pi)
    least, per_reach = np.float32(1e-7), np.float32(1.0 / (_DISC_REACH_M * _DISC_REACH_M))
    for d in range(discs.shape[1]):
        cx, cy, cz, mx, my, mz, area = (
            discs[0, d], discs[1, d], discs[2, d], discs[3, d], discs[4, d], discs[5, d], discs[6, d],
        )  # fmt: skip
        for i in range(np.uintp(hidden.shape[0])):
            vx, vy, vz = cx - x[i], cy - y[i], cz - z[i]
            squared = max(vx * vx + vy * vy + vz * vz, least)
            towards = max(nx[i] * vx + ny[i] * vy + nz[i] * vz, nothing)
            back = max(-(mx * vx + my * vy + mz * vz), nothing)
            fade = max(one - squared * per_reach, nothing)
            hidden[i] += np.divide(area * towards * back * fade, squared * (pi * squared + area))


@compiled
def _hide_near(points, discs, hidden):
    """As _hide(), of the points and the discs that are in reach of the box around the others. Whether there are any."""
    near_discs = np.ascontiguousarray(discs[:, _in_reach(discs, points)])
    near = _in_reach(points, near_discs)
    if near.shape[0] == 0:
        return False
    of_near = hidden[near]
    _hide(np.ascontiguousarray(points[:, near]), near_discs, of_near)
    hidden[near] = of_near
    return True


@compiled
def _in_reach(some, others):
    """Which of some points (>= 3, N) lie within REACH_M of the box around others (>= 3, M): their indices."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for k in range(3):
        for i in range(others.shape[1]):
            low[k], high[k] = min(low[k], others[k, i] - REACH_M), max(high[k], others[k, i] + REACH_M)
    found, count = np.empty(some.shape[1], np.int64), 0
    for i in range(some.shape[1]):
        if low[0] <= some[0, i] <= high[0] and low[1] <= some[1, i] <= high[1] and low[2] <= some[2, i] <= high[2]:
            found[count] = i
            count += 1
    return found[:count]
