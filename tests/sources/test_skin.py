import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import FINGERS
from aih_builder.hands.landmarks import anatomy
from aih_builder.sources.skin import Bakery, open_hand_nails, set_id
from aih_builder.sources.skin_atlas import fill_gutters, make_atlas, vertex_normals
from aih_builder.sources.skin_noise import cells, fbm, noise, spots
from aih_builder.sources.texture_set import TextureSet

DARK_TONES = (8, 9, 10)


@cache
def hand() -> HandArrays:
    return open_hand()


@cache
def bakery(size_px: int = 256) -> Bakery:
    return Bakery(hand(), open_hand_nails(), size_px)


@cache
def person(tone: int, number: int = 1, size_px: int = 256) -> TextureSet:
    return bakery(size_px).bake_person(tone, number, seed=3)


def texels(texture: TextureSet, side: int, size_px: int = 256) -> FloatArray:
    """Colours (N, 3) of the texels that carry skin."""
    return texture.albedo_rgb[side].reshape(-1, 3)[bakery(size_px).skin.atlas.index].astype(float)


def luminance(rgb: FloatArray) -> FloatArray:
    return (rgb / 255.0) ** 2.2 @ [0.2126, 0.7152, 0.0722]


def digest(texture: TextureSet) -> str:
    arrays = (texture.albedo_rgb, texture.normal_rgb, texture.roughness)
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def test_a_set_has_the_same_bytes_with_one_and_two_threads_in_another_process() -> None:
    expected = digest(Bakery(hand(), open_hand_nails(), 128).bake_person(6, 2, seed=1))
    code = (
        "import hashlib\n"
        "from aih_builder.hands.arrays import open_hand\n"
        "from aih_builder.sources.skin import Bakery, open_hand_nails\n"
        "t = Bakery(open_hand(), open_hand_nails(), 128).bake_person(6, 2, seed=1)\n"
        "parts = (t.albedo_rgb, t.normal_rgb, t.roughness)\n"
        "print(hashlib.sha256(b''.join(p.tobytes() for p in parts)).hexdigest())\n"
    )
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = {**os.environ, **dict.fromkeys(names, threads)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == expected


def test_a_set_does_not_depend_on_what_was_baked_before() -> None:
    fresh = Bakery(hand(), open_hand_nails(), 128)
    fresh.bake_person(2, 1, seed=0)
    assert digest(fresh.bake_person(9, 4, seed=3)) == digest(person(9, 4, 128))


def test_left_and_right_share_a_palette_but_no_detail() -> None:
    texture, skin = person(4), bakery().skin
    means, details = [], []
    for side in (0, 1):
        image = texture.albedo_rgb[side].astype(float).sum(axis=2)
        details.append((image - ndimage.gaussian_filter(image, 3.0)).ravel()[skin.atlas.index])
        means.append(texels(texture, side).mean(axis=0))
    plain = skin.atlas.inside & (skin.nail < 0.01) & (skin.nail_rim < 0.01)
    assert np.abs(means[0] - means[1]).max() < 3.0
    assert np.corrcoef(details[0][plain], details[1][plain])[0, 1] < 0.5


def test_persons_of_one_tone_differ_in_palette() -> None:
    means = [texels(person(5, number, 128), 0, 128).mean(axis=0) for number in (1, 2, 3)]
    assert min(np.abs(a - b).max() for a, b in pairwise(means)) > 0.5


@pytest.mark.parametrize("number", [1, 2])
def test_tones_are_ordered_by_luminance(number: int) -> None:
    light = [luminance(texels(person(tone, number, 128), 0, 128)).mean() for tone in range(1, 11)]
    assert (np.diff(light) < 0).all()


@pytest.mark.parametrize("tone", DARK_TONES)
def test_palms_of_dark_hands_are_much_lighter_than_their_backs(tone: int) -> None:
    skin = bakery().skin
    light = luminance(texels(person(tone), 0))
    on_hand = (skin.points[:, 0] > 15) & (skin.nail < 0.1)
    palm, back = light[on_hand & (skin.dorsal < -0.7)], light[on_hand & (skin.dorsal > 0.7)]
    assert palm.mean() > 1.6 * back.mean()


def test_every_finger_has_a_nail_that_stands_out_on_dark_skin() -> None:
    skin, light = bakery().skin, luminance(texels(person(10), 1))
    for first in FINGERS.values():
        mine = (skin.fingers[first] > 0.9) & (skin.dorsal > 0.3)
        nail, around = mine & (skin.nail > 0.9), mine & (skin.nail < 0.05)
        area_mm2 = 1e6 * skin.atlas.texel_m[nail & skin.atlas.inside].prod(axis=1).sum()
        assert 40 < area_mm2 < 220
        assert light[nail].mean() > 2 * light[around].mean()


def test_nails_are_glossier_than_skin_and_skin_is_not_plastic() -> None:
    skin = bakery().skin
    rough = bakery().relief[1].ravel()[skin.atlas.index] / 255.0
    assert rough[skin.nail > 0.95].mean() < 0.45
    assert np.percentile(rough[skin.nail < 0.05], 1) > 0.5
    assert np.percentile(rough[skin.nail < 0.05], 99) < 0.75


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
    image, (one, other) = person(3, 1, 512).albedo_rgb[0], seam_sides()[0]
    across = np.abs(lookup(image, one) - lookup(image, other)).mean()
    face, bary = surface_points(20_000)
    uv = np.einsum("nk,nkc->nc", bary, hand().uv[hand().uv_faces[face]])
    interior = np.abs(lookup(image, uv) - lookup(image, np.add(uv, (1 / 512, 0)))).mean()
    assert len(one) > 500
    assert across < interior


def test_relief_agrees_across_seams_in_space() -> None:
    """Charts lie in any direction, so this fails where a sign or an axis of the normal map is wrong."""
    normal_rgb = bakery(512).relief[0]
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


def test_gutters_are_filled_and_known_texels_kept() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(1, 2, (37, 37, 2))
    known = rng.uniform(size=(37, 37)) < 0.1
    filled = fill_gutters(image, known)
    assert np.array_equal(filled[known], image[known])
    assert filled.min() >= 1
    assert filled.max() <= 2


def test_both_hands_have_the_same_anatomy() -> None:
    right, left = anatomy(hand()), anatomy(hand().mirrored())
    for name in ("joints", "bones", "dorsal", "lateral"):
        assert np.allclose(getattr(right, name), getattr(left, name), atol=1e-9)
    assert (right.joints[FINGERS["thumb"]] * [0, 0, 1]).sum() > 0


def test_noise_is_centred_has_unit_spread_and_is_continuous() -> None:
    points = np.random.default_rng(0).uniform(-50, 50, (40_000, 3))
    for values in (noise(points, 3.0, 1), fbm(points, 3.0, 1, 4)):
        assert abs(values.mean()) < 0.05
        assert values.std() == pytest.approx(1.0, abs=0.1)
    assert np.abs(noise(points + 1e-4, 3.0, 1) - noise(points, 3.0, 1)).max() < 1e-3
    assert abs(np.corrcoef(noise(points, 3.0, 1), noise(points, 3.0, 2))[0, 1]) < 0.03
    for bounded in (cells(points, 3.0, 1), spots(points, 3.0, 1, 0.5, 1.0)):
        assert bounded.min() >= 0
        assert bounded.max() <= 1


def test_a_hand_without_texture_in_the_unit_square_is_refused() -> None:
    with pytest.raises(AssetError, match="expected \\[0, 1\\]"):
        make_atlas(replace(hand(), uv=hand().uv + 0.5), 128)
    with pytest.raises(AssetError, match="nail map"):
        Bakery(hand(), open_hand_nails()[..., 0], 128)


def test_a_tone_outside_the_scale_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 10"):
        bakery(128).bake_person(11, 1, seed=0)


def test_ids_name_all_that_a_set_depends_on() -> None:
    ids = {set_id(t, n, s, p) for t in (1, 2) for n in (1, 2) for s in (1, 2) for p in (256, 512)}
    assert len(ids) == 16
