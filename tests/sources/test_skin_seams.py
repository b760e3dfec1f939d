"""Chart borders must not show: what the atlas holds beside them, and how colour and relief run on across them."""

from functools import cache

import numpy as np
import pytest

from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.sources.skin import Bakery, Person, open_hand_nails
from aih_builder.sources.skin_atlas import make_atlas, vertex_normals

SHARP_PX = 1024
_PLACES = 9  # rows across each border edge


@cache
def hand() -> HandArrays:
    return open_hand()


@cache
def bakery(size_px: int) -> Bakery:
    return Bakery(hand(), open_hand_nails(), size_px)


@cache
def albedo(tone: int, size_px: int) -> np.ndarray:
    return bakery(size_px).bake_person(Person(tone, 1, age=60, hair=40), seed=3).albedo_rgb[0]


def surface_points(count: int) -> tuple[np.ndarray, FloatArray]:
    """Random faces (count,) and barycentric coordinates (count, 3)."""
    rng = np.random.default_rng(5)
    face = rng.integers(0, len(hand().faces), count)
    return face, rng.dirichlet([1.0, 1.0, 1.0], count)


def footprint(uv: FloatArray, size_px: int) -> tuple[np.ndarray, np.ndarray, FloatArray]:
    """Rows (N, 4), columns (N, 4) and weights (N, 4) of a bilinear lookup."""
    column, row = uv[:, 0] * size_px - 0.5, (1 - uv[:, 1]) * size_px - 0.5
    c0, r0 = np.floor(column).astype(int), np.floor(row).astype(int)
    fc, fr = column - c0, row - r0
    columns, rows = np.stack([c0, c0 + 1, c0, c0 + 1], 1), np.stack([r0, r0, r0 + 1, r0 + 1], 1)
    weights = np.stack([(1 - fc) * (1 - fr), fc * (1 - fr), (1 - fc) * fr, fc * fr], 1)
    return np.clip(rows, 0, size_px - 1), np.clip(columns, 0, size_px - 1), weights


def lookup(image: np.ndarray, uv: FloatArray) -> FloatArray:
    rows, columns, weights = footprint(uv, image.shape[0])
    return np.einsum("nk,nkc->nc", weights, image[rows, columns].astype(float))


@pytest.mark.parametrize("size_px", [128, 512])
def test_no_lookup_on_the_hand_meets_a_hole(size_px: int) -> None:
    atlas = make_atlas(hand(), size_px)
    known = np.zeros(size_px * size_px, bool)
    known[atlas.index] = True
    face, bary = surface_points(20_000)
    uv = np.einsum("nk,nkc->nc", bary, hand().uv[hand().uv_faces[face]])
    rows, columns, _ = footprint(uv, size_px)
    assert known[rows * size_px + columns].all()


def test_texels_carry_the_points_that_their_coordinates_show() -> None:
    atlas = make_atlas(hand(), 512)
    image = atlas.image(atlas.points_m)
    face, bary = surface_points(5_000)
    uv = np.einsum("nk,nkc->nc", bary, hand().uv[hand().uv_faces[face]])
    points_m = np.einsum("nk,nkc->nc", bary, hand().v_template[hand().faces[face]])
    off_m = np.sqrt(((lookup(image, uv) - points_m) ** 2).sum(axis=1))
    assert np.percentile(off_m, 99) < 2e-4
    assert off_m.max() < 2e-3


def seam_sides(per_edge: int = 5) -> tuple[tuple[FloatArray, FloatArray], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Texture coordinates and faces on the two sides of points along chart borders, and the points' vertices."""
    faces, uv_faces = hand().faces, hand().uv_faces
    first: dict[tuple[int, int], tuple[int, int, int]] = {}
    uvs, owners, edges = ([], []), ([], []), []
    shares = (np.arange(per_edge) + 0.5)[:, None] / per_edge
    for f, (corners, coordinates) in enumerate(zip(faces, uv_faces, strict=True)):
        for k in range(3):
            a, b = int(corners[k]), int(corners[(k + 1) % 3])
            ua, ub = int(coordinates[k]), int(coordinates[(k + 1) % 3])
            if (b, a) not in first:
                first[a, b] = (f, ua, ub)
                continue
            g, vb, va = first[b, a]
            if (ua, ub) == (va, vb):
                continue
            for side, (face, at, to) in enumerate(((f, ua, ub), (g, va, vb))):
                uvs[side].append(hand().uv[at] * (1 - shares) + hand().uv[to] * shares)
                owners[side].append(np.full(per_edge, face))
            edges.append(np.tile([a, b], (per_edge, 1)))
    (one, other), (f, g) = map(np.concatenate, uvs), map(np.concatenate, owners)
    return (one, other), (f, g), np.concatenate(edges)


def test_colours_agree_across_seams_better_than_one_texel_apart_elsewhere() -> None:
    image, (one, other) = albedo(3, 512), seam_sides()[0]
    across = np.abs(lookup(image, one) - lookup(image, other)).mean()
    face, bary = surface_points(20_000)
    uv = np.einsum("nk,nkc->nc", bary, hand().uv[hand().uv_faces[face]])
    interior = np.abs(lookup(image, uv) - lookup(image, np.add(uv, (1 / 512, 0)))).mean()
    assert len(one) > 500
    assert across < interior


def test_relief_agrees_across_seams_in_space() -> None:
    """Charts lie in any direction, so this fails where a sign or an axis of the normal map is wrong."""
    normal_rgb = bakery(512).relief(0, 24).normal_rgb
    sides, owners, edges = seam_sides()
    v, f, uv = hand().v_template, hand().faces, hand().uv[hand().uv_faces]
    normals = vertex_normals(hand())
    bends = []
    for at, face in zip(sides, owners, strict=True):
        e1, e2 = v[f[face, 1]] - v[f[face, 0]], v[f[face, 2]] - v[f[face, 0]]
        d1, d2 = uv[face, 1] - uv[face, 0], uv[face, 2] - uv[face, 0]
        det = (d1[:, 0] * d2[:, 1] - d2[:, 0] * d1[:, 1])[:, None]
        n = normals[edges[:, 0]] + normals[edges[:, 1]]
        n /= np.sqrt((n**2).sum(axis=1, keepdims=True))
        axes = []
        for axis in ((e1 * d2[:, 1:] - e2 * d1[:, 1:]) / det, (e2 * d1[:, :1] - e1 * d2[:, :1]) / det):
            axis = axis - n * (axis * n).sum(axis=1, keepdims=True)
            axes.append(axis / np.sqrt((axis**2).sum(axis=1, keepdims=True)))
        coded = lookup(normal_rgb, at) / 127.5 - 1
        bends.append(axes[0] * coded[:, :1] + axes[1] * coded[:, 1:2])
    assert np.corrcoef(bends[0].ravel(), bends[1].ravel())[0, 1] > 0.7


def across_borders(step_m: float) -> tuple[FloatArray, np.ndarray]:
    """Points in a row across each chart border, square to it and a step apart: two on either side.

    Texture coordinates (E, 4, 2) and faces (E, 4). The middle pair lies half a step from the border on either side, so
    its difference is the step across; those of the outer pairs are steps inside a chart, at the same place. Rows that
    would leave the two faces are left out.
    """
    faces, uv_faces, v, uv = hand().faces, hand().uv_faces, hand().v_template, hand().uv
    first: dict[tuple[int, int], tuple[int, int]] = {}
    at, owners = [], []

    def inward(f: int, k: int, place: float) -> list[FloatArray] | None:
        p, q, r = (v[faces[f, (k + i) % 3]] for i in range(3))
        s, t, u = (uv[uv_faces[f, (k + i) % 3]] for i in range(3))
        height = np.linalg.norm(np.cross(q - p, r - p)) / np.linalg.norm(q - p)
        foot = ((r - p) @ (q - p)) / ((q - p) @ (q - p))
        third = np.array([0.5, 1.5]) * step_m / height
        second = place - third * foot
        inside = (third < 1).all() and (second > 0).all() and (second + third < 1).all()
        return [s + x * (t - s) + y * (u - s) for x, y in zip(second, third, strict=True)] if inside else None

    for f, corners in enumerate(faces):
        for k in range(3):
            a, b = int(corners[k]), int(corners[(k + 1) % 3])
            if (b, a) not in first:
                first[a, b] = (f, k)
                continue
            g, m = first[b, a]
            if (uv_faces[f, k], uv_faces[f, (k + 1) % 3]) == (uv_faces[g, (m + 1) % 3], uv_faces[g, m]):
                continue
            for place in (np.arange(_PLACES) + 0.5) / _PLACES:
                ours, theirs = inward(f, k, place), inward(g, m, 1 - place)
                if ours is not None and theirs is not None:
                    at.append([ours[1], ours[0], theirs[0], theirs[1]])
                    owners.append([f, f, g, g])
    return np.array(at), np.array(owners)


def ratios(values: FloatArray) -> tuple[float, float]:
    """Of values (E, 4, C) in such rows: step across / mean of the two steps inside, as means and as medians."""
    steps = np.linalg.norm(np.diff(values, axis=1), axis=2)
    inside = steps[:, [0, 2]].mean(axis=1)
    return float(steps[:, 1].mean() / inside.mean()), float(np.median(steps[:, 1]) / np.median(inside))


def texel_m() -> float:
    atlas = bakery(SHARP_PX).skin.atlas
    return float(np.sqrt(np.median(atlas.texel_m.prod(axis=1))))


def in_space(normal_rgb: np.ndarray, at: FloatArray, owners: np.ndarray) -> FloatArray:
    """The bend of the surface's normal (E, 4, 3) in the model's frame that a normal map makes at rows of points.

    The renderers' normals and tangents are smooth over an edge: all points of a row take the plane of its middle.
    """
    v, faces = hand().v_template, hand().faces
    normals = vertex_normals(hand())[faces].mean(axis=1)
    plane = normals[owners[:, 1]] + normals[owners[:, 2]]
    plane = np.repeat(plane / np.linalg.norm(plane, axis=1, keepdims=True), 4, axis=0)
    face = owners.ravel()
    f, uv = faces[face], hand().uv[hand().uv_faces[face]]
    e1, e2 = v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]]
    d1, d2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    det = (d1[:, 0] * d2[:, 1] - d2[:, 0] * d1[:, 1])[:, None]
    coded = lookup(normal_rgb, at.reshape(-1, 2)) / 127.5 - 1
    bend = np.zeros((len(face), 3))
    for k, axis in enumerate(((e1 * d2[:, 1:] - e2 * d1[:, 1:]) / det, (e2 * d1[:, :1] - e1 * d2[:, :1]) / det)):
        axis = axis - plane * (axis * plane).sum(axis=1, keepdims=True)
        bend += coded[:, k : k + 1] * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    return bend.reshape(*at.shape[:2], 3)


@pytest.mark.parametrize("tone", [2, 9])
def test_colour_changes_across_chart_borders_no_faster_than_beside_them(tone: int) -> None:
    at = across_borders(texel_m())[0]
    assert len(at) > 800
    colours = lookup(albedo(tone, SHARP_PX), at.reshape(-1, 2)).reshape(*at.shape[:2], 3)
    assert max(ratios(colours)) <= 1.1


def test_relief_changes_across_chart_borders_no_faster_than_beside_them() -> None:
    at, owners = across_borders(texel_m())
    assert max(ratios(in_space(bakery(SHARP_PX).relief(0, 72).normal_rgb, at, owners))) <= 1.2
