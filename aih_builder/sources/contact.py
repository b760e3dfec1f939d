"""Measured interaction: how deep two hands, or parts of one, lie in one another; how much they touch.

A hand's surface is its skin, closed at the wrist. Its inside is where that winds about a point at
least once, so a fold that overlaps itself is inside like the rest.
"""

from typing import NamedTuple

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.mesh_queries import (
    bin_shadows,
    distance_to_faces,
    face_spheres,
    winding_number,
)

CONTACT_M = 0.002  # what is nearer than this touches


class Contact(NamedTuple):
    """What was measured between two hands."""

    penetration_mm: float  # largest distance to the other hand's surface, over vertices inside it
    contact_fraction: float  # vertices of both hands inside the other or within 2 mm, over all


def close(faces: np.ndarray) -> np.ndarray:
    """Faces (F, 3) and, after them, fans of triangles that close each boundary loop; no new vertex.

    Raises AssetError where two faces run through an edge in the same direction.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {(int(a), int(b)) for a, b in edges}
    if len(directed) != len(edges):
        raise AssetError(
            "a hand's faces run through one edge twice in the same direction: the surface has no inside. "
            "Expected a manifold mesh with consistent winding; repair the model."
        )
    # Run against the open edges, so that the fan's faces look outward too.
    following: dict[int, list[int]] = {}
    for a, b in sorted(directed):
        if (b, a) not in directed:
            following.setdefault(b, []).append(a)
    fans: list[tuple[int, int, int]] = []
    while following:
        start = min(following)
        loop = [start]
        while (step := _take(following, loop[-1])) != start:
            loop.append(step)
        fans += [(start, loop[k], loop[k + 1]) for k in range(1, len(loop) - 1)]
    caps = np.array(fans, dtype=np.int64).reshape(-1, 3)
    return np.concatenate([np.asarray(faces, np.int64), caps])


def _take(following: dict[int, list[int]], vertex: int) -> int:
    steps = following[vertex]
    step = steps.pop()
    if not steps:
        del following[vertex]
    return step


def measure_contact(
    first_m: FloatArray, second_m: FloatArray, first_faces: np.ndarray, second_faces: np.ndarray
) -> Contact:
    """Penetration and contact of two posed hands, vertices (V, 3) and closed faces of each, in one frame."""
    one = _against(first_m, second_m, second_faces)
    two = _against(second_m, first_m, first_faces)
    fraction = (one[1] + two[1]) / (len(first_m) + len(second_m))
    return Contact(1000.0 * max(one[0], two[0]), fraction)


class SelfPenetration:
    """Depth of the fingers of one hand in one another and in the palm.

    Measured over the vertices of each finger's two outer phalanges, against the skin of all of the hand
    but that finger, closed where the finger left. The inner phalanx is not tested: it joins its
    neighbours at the web, where a flexed hand folds.
    """

    def __init__(self, arrays: HandArrays) -> None:
        part = arrays.weights.argmax(axis=1)
        tested, removed, caps = [], [], []
        for base in FINGERS.values():
            tested.append(np.flatnonzero((part == base + 1) | (part == base + 2)))
            removed.append(((part >= base) & (part <= base + 2))[arrays.faces].any(axis=1))
            rest = arrays.faces[~removed[-1]]
            caps.append(close(rest)[len(rest) :])
        # One list of faces, so that they are binned once; each finger uses some of them.
        self._faces = np.concatenate([arrays.faces, *caps])
        owner = np.repeat(np.arange(len(caps)), [len(cap) for cap in caps])
        self._fingers = {
            finger: (
                tested[k],
                np.concatenate([~removed[k], owner == k]),
                arrays.faces[~removed[k]],
            )
            for k, finger in enumerate(FINGERS)
        }

    def by_finger_mm(self, vertices_m: FloatArray) -> dict[str, float]:
        """The largest depth of each finger, mm, for the posed vertices (V, 3) of the hand."""
        bins = bin_shadows(vertices_m, self._faces)
        return {
            finger: 1000.0 * _depth(vertices_m[tested], vertices_m, self._faces, used, bins, skin)
            for finger, (tested, used, skin) in self._fingers.items()
        }

    def measure_mm(self, vertices_m: FloatArray) -> float:
        """The largest depth of any finger, mm."""
        return max(self.by_finger_mm(vertices_m).values())


@compiled
def _depth(queries, points, faces, used, bins, skin):
    """Largest distance to the skin of query points (Q, 3) inside the closed mesh of the used faces."""
    depth = 0.0
    spheres = np.empty((0, 4))
    for q in range(queries.shape[0]):
        if winding_number(queries[q], points, faces, used, bins) >= 1:
            if spheres.shape[0] == 0:
                spheres = face_spheres(points, skin)
            depth = max(depth, distance_to_faces(queries[q], points, skin, spheres, np.inf))
    return depth


@compiled
def _against(queries, points, faces):
    """Largest depth of query points (Q, 3) in a closed mesh, and how many touch it or lie inside."""
    low, high = points[0].copy(), points[0].copy()
    for f in range(faces.shape[0]):
        for k in range(3):
            for c in range(3):
                value = points[faces[f, k], c]
                low[c], high[c] = min(low[c], value), max(high[c], value)
    near = np.empty(queries.shape[0], np.int64)
    n_near = 0
    for q in range(queries.shape[0]):
        inside_box = True
        for c in range(3):
            inside_box &= low[c] - CONTACT_M <= queries[q, c] <= high[c] + CONTACT_M
        if inside_box:
            near[n_near] = q
            n_near += 1
    depth, touching = 0.0, 0
    if n_near == 0:
        return depth, touching
    bins = bin_shadows(points, faces)
    used = np.ones(faces.shape[0], np.bool_)
    spheres = face_spheres(points, faces)
    for k in range(n_near):
        point = queries[near[k]]
        if winding_number(point, points, faces, used, bins) >= 1:
            depth = max(depth, distance_to_faces(point, points, faces, spheres, np.inf))
            touching += 1
        elif distance_to_faces(point, points, faces, spheres, CONTACT_M) < CONTACT_M:
            touching += 1
    return depth, touching
