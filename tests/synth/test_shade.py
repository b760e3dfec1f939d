"""The parts that numba's shading is made of."""

import numpy as np
import pytest

from aih_builder.imaging import DISPLAY_GAMMA, to_u8
from aih_builder.sources.texture_set import TextureSet
from aih_builder.synth.renderers.rasterize import project_to_grid
from aih_builder.synth.renderers.shade import texture_pyramid
from aih_builder.synth.renderers.shade_chunk import BLUE, CHUNK, CREASE, GREEN, MAP_X, MAP_Y, RED, ROUGHNESS, ROWS, U, V
from aih_builder.synth.renderers.shade_place import rays
from aih_builder.synth.renderers.shade_texture import TO_LINEAR, fetch, levels_of, packed_texels

N = int(CHUNK)


@pytest.fixture(scope="module")
def pyramid() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return texture_pyramid(texture_of(rng.integers(0, 256, (32, 32, 8), np.uint8)), 1)


def texture_of(maps: np.ndarray) -> TextureSet:
    """A set whose left hand has these maps (S, S, 8): albedo, normal, roughness, crease."""
    albedo = np.stack([np.zeros_like(maps[..., :3]), maps[..., :3]])
    return TextureSet("maps", 5, "CC0-1.0", albedo, maps[..., 3:6], maps[..., 6], creases=maps[..., 7])


def fetched(pyramid, u: np.ndarray, v: np.ndarray, detail: float) -> np.ndarray:
    """(n, 7)"""
    texels, sides = pyramid
    b = np.full(ROWS * N, np.nan)
    b[int(U) : int(U) + len(u)], b[int(V) : int(V) + len(v)] = u, v
    fetch(b, np.uintp(len(u)), packed_texels(texels), levels_of(sides, detail))
    rows = (RED, GREEN, BLUE, MAP_X, MAP_Y, ROUGHNESS, CREASE)
    return np.stack([b[int(row) : int(row) + len(u)] for row in rows], axis=1)


def bilinear(pyramid, level: int, u: float, v: float) -> np.ndarray:
    texels, sides = pyramid
    side, start = int(sides[level]), int((sides[:level] ** 2).sum())
    image = texels[start : start + side * side].reshape(side, side, 7).astype(float)
    image[..., :3] = TO_LINEAR[texels[start : start + side * side, :3]].reshape(side, side, 3)
    x, y = u * side - 0.5, (1 - v) * side - 0.5
    total = np.zeros(7)
    for j in (int(np.floor(y)), int(np.floor(y)) + 1):
        for i in (int(np.floor(x)), int(np.floor(x)) + 1):
            weight = (1 - abs(x - i)) * (1 - abs(y - j))
            total += weight * image[min(max(j, 0), side - 1), min(max(i, 0), side - 1)]
    return total


@pytest.mark.parametrize("detail", [0.0, 0.3, 1.75, 2.0, 7.5])
@pytest.mark.parametrize("n", [1, 100, N])
def test_a_lookup_is_bilinear_in_two_levels(pyramid, detail: float, n: int) -> None:
    """Beyond the edge as well, where the last texels go on; and beyond the coarsest level, of 8 texels a side."""
    rng = np.random.default_rng(n)
    u, v = rng.uniform(-0.1, 1.1, n), rng.uniform(-0.1, 1.1, n)
    level = min(int(detail), 2)
    share = 0.0 if level == 2 else detail - level
    expected = [
        (1 - share) * bilinear(pyramid, level, *at) + share * bilinear(pyramid, min(level + 1, 2), *at)
        for at in zip(u, v, strict=True)
    ]
    assert fetched(pyramid, u, v, detail) == pytest.approx(np.array(expected), abs=1e-9)


def test_no_lookup_leaves_the_texture(pyramid) -> None:
    """Whatever is asked for: what is read is a texel."""
    wild = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300])
    texels, sides = pyramid
    first = np.array([*TO_LINEAR[texels[0, :3]], *texels[0, 3:]], float)
    assert fetched(pyramid, wild[:3], np.array([np.inf] * 3), 0.0)[2] == pytest.approx(first)
    fetched(pyramid, wild, wild[::-1], 0.5)
    assert sides.tolist() == [32, 16, 8]


@pytest.mark.parametrize("per_pixel", [1, 3])
def test_a_ray_meets_the_point_that_is_seen_there(per_pixel: int) -> None:
    K_px = np.array([[500.0, 3, 120], [0, 480, 130], [0, 0, 1]])
    points_m = np.random.default_rng(0).uniform([-0.1, -0.1, 0.3], [0.1, 0.1, 0.9], (20, 3))
    grid_xy, _ = project_to_grid(points_m, K_px, per_pixel)
    r = rays(K_px, per_pixel)
    x, y = grid_xy.T
    seen = np.stack([r[0] * x + r[1] * y + r[2], r[3] * y + r[4]], axis=1)
    assert seen == pytest.approx(points_m[:, :2] / points_m[:, 2:])


def test_a_pyramid_holds_the_maps_and_their_means_in_linear_light() -> None:
    """The finest level is what goes there and back through linear light: every level returns to itself."""
    maps = np.random.default_rng(1).integers(0, 256, (16, 16, 8), np.uint8)
    texels, sides = texture_pyramid(texture_of(maps), 1)
    linear, rest = TO_LINEAR[maps[..., :3]], maps[..., [3, 4, 6, 7]].astype(np.float32)
    assert sides.tolist() == [16, 8]
    for found in (texels[:256].reshape(16, 16, 7), texels[256:].reshape(8, 8, 7)):
        albedo = 255.0 * linear ** (1.0 / DISPLAY_GAMMA)
        assert np.array_equal(found, to_u8(np.concatenate([albedo, rest], axis=2)))
        linear, rest = (
            (m[::2, ::2] + m[1::2, ::2] + m[::2, 1::2] + m[1::2, 1::2]) * np.float32(0.25) for m in (linear, rest)
        )
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_u8(255.0 * TO_LINEAR[every] ** (1.0 / DISPLAY_GAMMA)), every)
