"""Exact queries against a triangle mesh: winding number, distance, and travel to first contact.

A ray along coordinate 0 meets only triangles whose shadow on the plane across it covers the ray's
own, so triangles are binned by shadow. Shadows are half-open, by a rule that two triangles with a
common edge evaluate with the same numbers: a ray through an edge meets one of the two, not both.
Compiled, one thread, fixed order of operations; coordinates are float64, metres.
"""

from typing import NamedTuple

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray

_CELLS = 40  # bins along each side of a mesh's shadow


class ShadowBins(NamedTuple):
    """Triangles by the cells of a grid over their shadows on the plane of coordinates 1 and 2.

    Cell (i, j) holds items[starts[c]:starts[c + 1]], c = i * cells + j.
    """

    origin: FloatArray  # (2,)
    cell: FloatArray  # (2,) side lengths of a cell
    starts: np.ndarray  # (cells^2 + 1,)
    items: np.ndarray


@compiled
def bin_shadows(points, faces) -> ShadowBins:
    """Bins of the triangles faces (F, 3) of points (V, 3); coordinate 0 is the direction of the rays."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for f in range(faces.shape[0]):
        for k in range(3):
            for c in range(2):
                value = points[faces[f, k], c + 1]
                low[c], high[c] = min(low[c], value), max(high[c], value)
    cell = np.maximum(high - low, 1e-12) / _CELLS
    span = np.empty((faces.shape[0], 4), np.int64)
    starts = np.zeros(_CELLS * _CELLS + 1, np.int64)
    for f in range(faces.shape[0]):
        for c in range(2):
            p, q = points[faces[f, 0], c + 1], points[faces[f, 1], c + 1]
            r = points[faces[f, 2], c + 1]
            span[f, 2 * c] = _cell_of(min(p, q, r), low[c], cell[c])
            span[f, 2 * c + 1] = _cell_of(max(p, q, r), low[c], cell[c])
        for i in range(span[f, 0], span[f, 1] + 1):
            for j in range(span[f, 2], span[f, 3] + 1):
                starts[i * _CELLS + j + 1] += 1
    for i in range(_CELLS * _CELLS):
        starts[i + 1] += starts[i]
    items = np.empty(starts[-1], np.int64)
    filled = starts[:-1].copy()
    for f in range(faces.shape[0]):
        for i in range(span[f, 0], span[f, 1] + 1):
            for j in range(span[f, 2], span[f, 3] + 1):
                items[filled[i * _CELLS + j]] = f
                filled[i * _CELLS + j] += 1
    return ShadowBins(low, cell, starts, items)


@compiled
def _cell_of(value, origin, side):
    return min(max(int((value - origin) / side), 0), _CELLS - 1)


@compiled
def _bin_at(bins, u, v):
    """Range of bins.items at a shadow point; empty outside the grid."""
    i, j = (u - bins.origin[0]) / bins.cell[0], (v - bins.origin[1]) / bins.cell[1]
    # One cell of slack: the last one is closed, and _cell_of clamps rounding at the rim.
    if not (-0.001 <= i <= _CELLS + 0.001 and -0.001 <= j <= _CELLS + 0.001):
        return 0, 0
    c = min(max(int(i), 0), _CELLS - 1) * _CELLS + min(max(int(j), 0), _CELLS - 1)
    return bins.starts[c], bins.starts[c + 1]


@compiled
def _edge_crossing(u0, v0, u1, v1, u, v):
    """+1, -1 or 0: how a half-line from (u, v) to growing u crosses the edge, half-open in v."""
    if v0 <= v < v1:
        return 1 if u < u0 + (v - v0) * (u1 - u0) / (v1 - v0) else 0
    if v1 <= v < v0:
        # Ends swapped: the same arithmetic for both directions of an edge.
        return -1 if u < u1 + (v - v1) * (u0 - u1) / (v0 - v1) else 0
    return 0


@compiled
def _shadow_winding(points, i, j, k, u, v):
    """+1, -1 or 0: how the shadow of the triangle (i, j, k) winds about (u, v)."""
    v0, v1, v2 = points[i, 2], points[j, 2], points[k, 2]
    if v < min(v0, v1, v2) or v >= max(v0, v1, v2):
        return 0
    u0, u1, u2 = points[i, 1], points[j, 1], points[k, 1]
    if u >= max(u0, u1, u2):
        return 0
    turns = _edge_crossing(u0, v0, u1, v1, u, v) + _edge_crossing(u1, v1, u2, v2, u, v)
    return turns + _edge_crossing(u2, v2, u0, v0, u, v)


@compiled
def _height(points, i, j, k, u, v):
    """Coordinate 0 of the triangle over a point (u, v) of its shadow."""
    a0, a1, a2 = points[i, 0], points[i, 1], points[i, 2]
    e0, e1, e2 = points[j, 0] - a0, points[j, 1] - a1, points[j, 2] - a2
    g0, g1, g2 = points[k, 0] - a0, points[k, 1] - a1, points[k, 2] - a2
    area = e1 * g2 - e2 * g1
    low, high = a0 + min(0.0, e0, g0), a0 + max(0.0, e0, g0)
    if area == 0.0:
        return low
    s, t = ((u - a1) * g2 - (v - a2) * g1) / area, (e1 * (v - a2) - e2 * (u - a1)) / area
    # A sliver seen edge-on divides by almost nothing: stay within the triangle.
    return min(max(a0 + s * e0 + t * g0, low), high)


@compiled
def winding_number(point, points, faces, used, bins):
    """How often the closed mesh of the used faces (F,) bool winds about a point (3,).

    0 outside, 1 inside, 2 where the mesh overlaps itself.
    """
    w, u, v = point[0], point[1], point[2]
    first, last = _bin_at(bins, u, v)
    turns = 0
    for item in range(first, last):
        f = bins.items[item]
        if not used[f]:
            continue
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        if max(points[i, 0], points[j, 0], points[k, 0]) > w:
            sign = _shadow_winding(points, i, j, k, u, v)
            if sign != 0 and _height(points, i, j, k, u, v) > w:
                turns += sign
    return turns


@compiled
def travel_to_contact(moving, moving_faces, still, still_faces):
    """Travel along coordinate 0 at which a mesh coming from -infinity first meets another, or inf.

    Exact for vertices against faces, both ways; two crossing edges may overlap by a little.
    """
    onto_still = _lowest_gap(moving, still, still_faces, 1.0, np.inf)
    return _lowest_gap(still, moving, moving_faces, -1.0, onto_still)


@compiled
def _lowest_gap(queries, points, faces, sign, limit):
    """The least of sign * (height of the mesh over a query point - the point's), or limit."""
    bins = bin_shadows(points, faces)
    lowest = limit
    for q in range(queries.shape[0]):
        w, u, v = queries[q, 0], queries[q, 1], queries[q, 2]
        first, last = _bin_at(bins, u, v)
        for item in range(first, last):
            f = bins.items[item]
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            a, b, c = sign * points[i, 0], sign * points[j, 0], sign * points[k, 0]
            if min(a, b, c) - sign * w < lowest and _shadow_winding(points, i, j, k, u, v) != 0:
                lowest = min(lowest, sign * (_height(points, i, j, k, u, v) - w))
    return lowest


@compiled
def face_spheres(points, faces):
    """Centroid and radius of each triangle's bounding sphere about it: (F, 4)."""
    spheres = np.empty((faces.shape[0], 4))
    for f in range(faces.shape[0]):
        for c in range(3):
            total = points[faces[f, 0], c] + points[faces[f, 1], c] + points[faces[f, 2], c]
            spheres[f, c] = total / 3.0
        square = 0.0
        for k in range(3):
            square = max(square, _square(points[faces[f, k]], spheres[f]))
        spheres[f, 3] = np.sqrt(square)
    return spheres


@compiled
def distance_to_faces(point, points, faces, spheres, limit):
    """Distance from a point (3,) to the nearest of the triangles, or `limit` (may be inf) where none is nearer."""
    best = limit
    if best == np.inf:  # the nearest centroid bounds the search
        nearest = np.inf
        for f in range(faces.shape[0]):
            nearest = min(nearest, _square(point, spheres[f]))
        best = np.sqrt(nearest)
    for f in range(faces.shape[0]):
        reach = best + spheres[f, 3]
        if _square(point, spheres[f]) <= reach * reach:
            a, b, c = points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]
            square = _square_to_triangle(point, a, b, c)
            if square < best * best:
                best = np.sqrt(square)
    return best


@compiled
def _square(p, q):
    return (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 + (p[2] - q[2]) ** 2


@compiled
def _square_to_triangle(p, a, b, c):
    """Squared distance from a point to a triangle (Ericson 2005, section 5.1.5)."""
    abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    apx, apy, apz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1, d2 = apx * abx + apy * aby + apz * abz, apx * acx + apy * acy + apz * acz
    if d1 <= 0.0 and d2 <= 0.0:
        return _square(p, a)
    bpx, bpy, bpz = p[0] - b[0], p[1] - b[1], p[2] - b[2]
    d3, d4 = bpx * abx + bpy * aby + bpz * abz, bpx * acx + bpy * acy + bpz * acz
    if d3 >= 0.0 and d4 <= d3:
        return _square(p, b)
    cpx, cpy, cpz = p[0] - c[0], p[1] - c[1], p[2] - c[2]
    d5, d6 = cpx * abx + cpy * aby + cpz * abz, cpx * acx + cpy * acy + cpz * acz
    if d6 >= 0.0 and d5 <= d6:
        return _square(p, c)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        s, t = d1 / (d1 - d3), 0.0
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        s, t = 0.0, d2 / (d2 - d6)
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        t = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        s = 1.0 - t
    else:
        total = va + vb + vc
        s, t = vb / total, vc / total
    ex, ey, ez = apx - s * abx - t * acx, apy - s * aby - t * acy, apz - s * abz - t * acz
    return ex * ex + ey * ey + ez * ez
