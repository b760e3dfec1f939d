"""Light from all around, as spherical harmonics up to order 2, fitted to the picture behind the hands.

What reaches a matte surface is a polynomial of its normal (x, y, z), whose nine coefficients per colour are kept:

    E(n) = c0 + c1 x + c2 y + c3 z + c4 x y + c5 y z + c6 (3 z^2 - 1) + c7 x z + c8 (x^2 - y^2)

scaled such that E = 1 shows the albedo as it is (Ramamoorthi and Hanrahan 2001, section 3).
"""

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.imaging import DISPLAY_GAMMA, ImageU8, resize

TERMS = 9

GRID = 8  # texels a side of the picture that stands for the surroundings
_LEAST = 0.1  # of the mean: no side of a hand gets less, though a sum of so few waves would dip below

# Squares of the harmonics' norms, times what a matte surface keeps of each order: 1, 2/3, 1/4.
_NORMS = np.array([0.282095, *[0.488603] * 3, 1.092548, 1.092548, 0.315392, 1.092548, 0.546274]) ** 2
_KEPT = np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])


def hemisphere(sky_rgb: FloatArray, ground_rgb: FloatArray, up: FloatArray) -> FloatArray:
    """Coefficients (9, 3): sky_rgb on what faces `up` (3,), ground_rgb on what faces away, a straight line between."""
    ambient = np.zeros((TERMS, 3))
    ambient[0] = 0.5 * (np.asarray(sky_rgb) + ground_rgb)
    ambient[1:4] = 0.5 * np.asarray(up)[:, None] * (np.asarray(sky_rgb) - ground_rgb)
    return ambient


def irradiance(ambient: FloatArray, normals: FloatArray) -> FloatArray:
    """What surfaces with these unit normals (N, 3) get, linear RGB (N, 3)."""
    return np.maximum(_sum(_basis(normals), ambient), 0.0)


def picture_light(background_rgb: ImageU8) -> FloatArray:
    """Linear colours (8, 8, 3) of the surroundings that a background (H, W, 3) u8 stands for."""
    small = resize(background_rgb, (GRID, GRID)).astype(np.float64) / 255.0
    # A dark background says little about its lamps: the constant draws its tint towards white.
    return small**DISPLAY_GAMMA + 0.03


def fitted(light: FloatArray) -> FloatArray:
    """Coefficients (9, 3) of what picture_light() gives.

    The picture is bent around the hands: its middle lies behind them, its edge all around; the camera's side is taken
    to mirror it, half washed out.
    """
    flat = light.reshape(-1, 3)
    mean = flat.mean(axis=0)
    around = np.concatenate([flat, 0.5 * (flat + mean)])
    ambient = _sum(_PROJECTION, around)
    lowest = _sum(_LOOKED_AT, ambient).min(axis=0)
    depth = ambient[0] - lowest
    ambient[1:] *= np.minimum(1.0, (1 - _LEAST) * ambient[0] / np.maximum(depth, 1e-12))
    return ambient


def _sum(terms: FloatArray, colours: FloatArray) -> FloatArray:
    """Matrix product of (N, K) and (K, 3), in a fixed order."""
    return np.einsum("nk,kc->nc", terms, colours)


def _basis(n: FloatArray) -> FloatArray:
    x, y, z = n[:, 0], n[:, 1], n[:, 2]
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=1)


def _surroundings() -> FloatArray:
    """Directions (128, 3) of the picture's texels behind the hands, then of the camera's side; of equal area."""
    steps = (2 * np.arange(GRID) + 1.0) / GRID - 1
    y, x = (axis.ravel() for axis in np.meshgrid(steps, steps, indexing="ij"))
    # The square becomes a disc, ring by ring, the disc a half sphere, both without change of area's shares.
    wide = np.abs(x) >= np.abs(y)
    radius = np.where(wide, x, y)
    turn = np.where(wide, np.pi / 4 * y / x, np.pi / 2 - np.pi / 4 * x / y)
    out = radius * np.sqrt(2 - radius * radius)
    behind = np.stack([out * np.cos(turn), out * np.sin(turn), 1 - radius * radius], axis=1)
    return np.concatenate([behind, behind * [1, 1, -1]])


_AROUND = _surroundings()
_LOOKED_AT = _basis(np.concatenate([_AROUND[::3], np.eye(3), -np.eye(3)]))
_PROJECTION = np.ascontiguousarray((_basis(_AROUND) * (_NORMS * _KEPT * 4 * np.pi / len(_AROUND))).T)
