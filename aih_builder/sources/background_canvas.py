"""Light, colour and soft shapes on the small canvas that procedural backgrounds are painted on.

A canvas holds linear light, 1 = a white wall in good light, at a fixed 96 px.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[Any]  # float32 (96, 96, 3), linear light
Factor = NDArray[Any]  # float32 (96, 96), multiplies light
FloatArray = NDArray[np.floating]

SIDE = 96  # a canvas stays below the 128 KiB from which an allocation costs fresh pages

_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
# Red, orange, yellow, green, blue, violet: how hues are spread.
_HUES_RAD = np.array([-0.1, 0.35, 0.9, 1.6, 3.4, 4.3, 5.2])
_HUE_QUANTILES = np.array([0.0, 0.1, 0.6, 0.7, 0.78, 0.95, 1.0])
_HUE_PHASES = np.array([0.0, 2.0, 4.0]) * np.pi / 3.0


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number in [low, high] whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def log_uniforms(rng: np.random.Generator, low: float, high: float, count: int) -> FloatArray:
    """Numbers (count,) in [low, high] whose logarithms are uniform."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def colours(rng: np.random.Generator, count: int, saturation: float) -> FloatArray:
    """Linear colours (count, 3) with a mean of 1 over the channels, each up to this saturation.

    Hues gather around orange and blue, as those of rooms, wood, cloth and lamps do.
    """
    draws = rng.random((2, count, 1))
    hues = np.interp(draws[0], _HUE_QUANTILES, _HUES_RAD)
    return 1.0 + saturation * draws[1] * np.cos(hues - _HUE_PHASES)


def paint(colour: FloatArray, level: float) -> tuple[float, ...]:
    """A colour times a level, as OpenCV's drawing functions take it."""
    return tuple((colour * level).tolist())


def soft_field(rng: np.random.Generator, colour: FloatArray, spread: float) -> Canvas:
    """A colour that drifts across the canvas: in brightness by a share, in tint a little."""
    corners = 1.0 + rng.uniform(-spread, spread, (3, 3, 1)) + rng.uniform(-0.06, 0.06, (3, 3, 3))
    grid = (corners * colour).astype(np.float32)
    return np.maximum(cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), 0)


def blur(canvas: Canvas, sigma_px: float) -> Canvas:
    """Gaussian blur; a wide one works at a half or a quarter of the resolution."""
    shrink = 1 if sigma_px < 1.5 else 2 if sigma_px < 4.0 else 4
    if shrink == 1:
        return cv2.GaussianBlur(canvas, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
    side = canvas.shape[0]
    small = cv2.resize(canvas, (side // shrink, side // shrink), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma_px / shrink, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)


def glow(lamps: Canvas, sigma_px: float, bloom: float) -> Canvas:
    """Lamps through a lens: the defocused lamp itself and a wide halo."""
    return blur(lamps, sigma_px) + np.float32(bloom) * blur(lamps, 5.5)


def falloff(rng: np.random.Generator, strength: float) -> Factor:
    """Factor: light that fades away from a point in or near the frame."""
    x, y = rng.uniform(-0.1, 1.1, 2)
    reach = rng.uniform(0.35, 0.9)
    squares = ((_X - np.float32(x)) ** 2 + (_Y - np.float32(y)) ** 2) / np.float32(reach**2)
    return (1 - strength + strength / (1 + squares * squares)).astype(np.float32)


def shadows(rng: np.random.Generator) -> Factor:
    """Factor: soft shadows of things outside the frame."""
    shade = np.ones((24, 24), np.float32)
    for _ in range(int(rng.integers(0, 4))):
        outline = quad(rng.uniform(0, 24, 2), rng.uniform(3, 14, 2), rng.uniform(0, np.pi))
        cv2.fillPoly(shade, [outline], rng.uniform(0.3, 0.85))
    shade = cv2.GaussianBlur(shade, (0, 0), rng.uniform(1.0, 3.5), borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(shade, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def texture(rng: np.random.Generator, strength: float) -> Factor:
    """Factor: plaster or cloth, two scales of fine noise."""
    field = cv2.resize(rng.standard_normal((48, 48), dtype=np.float32), (SIDE, SIDE))
    grid = rng.standard_normal((16, 16), dtype=np.float32)
    field += cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return (1 + strength * np.clip(field, -3, 3)).astype(np.float32)


def quad(centre_px: FloatArray, half_px: FloatArray, angle_rad: float) -> NDArray[np.int32]:
    """Corners (4, 2) of a rotated rectangle."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    x, y = (signs * half_px).T
    return np.rint(np.stack([c * x - s * y, s * x + c * y], axis=1) + centre_px).astype(np.int32)


def clothing(rng: np.random.Generator, canvas: Canvas, level: float) -> None:
    """Lay a person's torso and sleeve over the canvas, from an edge; drawn at half resolution."""
    half = SIDE // 2
    weight = np.zeros((half, half), np.float32)
    turn = rng.uniform(-0.15, 1.15) * np.pi  # mostly from below or from a side
    torso = half / 2 + np.array([np.cos(turn), np.sin(turn)]) * rng.uniform(28, 42)
    sleeve = torso + rng.uniform(-22, 22, 2)
    tilts = rng.uniform(0, 180, 2)
    for (x, y), (a, b), tilt in zip((torso, sleeve), ((22, 30), (8, 26)), tilts, strict=True):
        cv2.ellipse(weight, (int(x), int(y)), (a, b), tilt, 0, 360, 1.0, -1)
    weight = blur(weight, rng.uniform(0.7, 3.0))
    folds = cv2.resize(rng.standard_normal((9, 5), dtype=np.float32), (half, half), interpolation=cv2.INTER_CUBIC)
    colour = (colours(rng, 1, 0.6)[0] * level).astype(np.float32)
    cloth = np.exp(np.float32(0.3) * folds)[..., None] * colour
    canvas *= 1 - cv2.resize(weight, (SIDE, SIDE))[..., None]
    canvas += cv2.resize(cloth * weight[..., None], (SIDE, SIDE))


def black_border(rng: np.random.Generator, canvas: Canvas) -> None:
    """The part of a crop that reaches beyond its photograph."""
    rows = int(rng.uniform(0.08, 0.35) * SIDE)
    side = int(rng.integers(4))
    np.rot90(canvas, side)[:rows] = 0
