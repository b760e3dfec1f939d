"""Procedural backgrounds: a dark studio, a room or a park out of focus, a plain wall or desk, coloured noise.

Each kind paints linear light on a small canvas; tone mapping, quantising and growing to the
wanted size come last. So one background costs about a millisecond, and a stream gives the same
scene at every size.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aih_builder.imaging import ImageU8, to_u8
from aih_builder.sources.background_canvas import (
    SIDE,
    Canvas,
    black_border,
    blur,
    clothing,
    colours,
    falloff,
    glow,
    log_uniform,
    paint,
    shadows,
    soft_field,
    texture,
)
from aih_builder.sources.background_outdoors import paint_outdoor
from aih_builder.sources.background_things import (
    FAR_THINGS,
    NEAR_THINGS,
    Dome,
    dome_frame,
    lamp_row,
    planes,
    window,
)

Painter = Callable[[np.random.Generator], Canvas]


def draw_background(rng: np.random.Generator, kind: str, size_px: int) -> ImageU8:
    """A fresh background (size_px, size_px, 3) u8 sRGB of a kind in BACKGROUND_KINDS."""
    light = np.maximum(BACKGROUND_KINDS[kind](rng), 0)
    light /= light + np.float32(0.8)  # lamps saturate softly
    image = to_u8(255.0 * np.sqrt(light))  # the square root stands for the display's gamma
    if rng.random() < 0.5:
        image = image[:, ::-1].copy()
    return _scale(image, size_px)


def _scale(image: NDArray[Any], size_px: int) -> NDArray[Any]:
    mode = cv2.INTER_CUBIC if size_px > SIDE else cv2.INTER_AREA
    return cv2.resize(image, (size_px, size_px), interpolation=mode)


def paint_studio(rng: np.random.Generator) -> Canvas:
    """A dark capture dome: black falloff, a dim frame, rows of small lamps, cameras."""
    level = log_uniform(rng, 0.002, 0.1)
    canvas = soft_field(rng, level * colours(rng, 1, 0.3)[0], 0.5)
    dome = Dome.draw(rng)
    dome_frame(rng, canvas, dome, level)
    lamps = np.zeros_like(canvas)
    for radius in dome.radii[rng.random(len(dome.radii)) < 0.5]:
        lamp_row(rng, lamps, dome, radius)
    canvas = blur(canvas, rng.uniform(0.7, 2.0))
    if rng.random() < 0.5:
        clothing(rng, canvas, rng.uniform(0.3, 2.5) * level + 0.004)
    canvas += glow(lamps, rng.uniform(0.7, 1.4), rng.uniform(0.05, 0.35))
    canvas *= falloff(rng, rng.uniform(0.15, 1.0))[..., None]
    if rng.random() < 0.08:
        black_border(rng, canvas)
    return canvas


def paint_indoor(rng: np.random.Generator) -> Canvas:
    """A room behind the hands: walls, floor, furniture, windows, lamps; two depths of blur."""
    wall = colours(rng, 1, 0.28)[0] * rng.uniform(0.15, 1.3)
    canvas = soft_field(rng, wall, 0.3)
    planes(rng, canvas)
    lamps = np.zeros_like(canvas)
    if rng.random() < 0.4:
        window(rng, canvas, lamps)
    for index in rng.integers(len(FAR_THINGS), size=int(rng.integers(1, 4))):
        FAR_THINGS[index](rng, canvas, lamps)
    defocus = rng.uniform(0.0, 1.0)
    canvas = blur(canvas, 0.5 + 2.6 * defocus**1.5)
    for index in rng.integers(len(NEAR_THINGS), size=int(rng.integers(0, 3))):
        NEAR_THINGS[index](rng, canvas, lamps)
    canvas = blur(canvas, rng.uniform(0.7, 0.8 + 1.2 * defocus))
    if rng.random() < 0.25:
        clothing(rng, canvas, float(rng.uniform(0.03, 0.4)))
    if lamps.any():
        canvas += glow(lamps, 0.75 + 1.5 * defocus, rng.uniform(0.1, 0.4))
    factor = shadows(rng) * texture(rng, rng.uniform(0.0, 0.06)) * falloff(rng, rng.uniform(0.0, 0.75))
    factor *= np.float32(log_uniform(rng, 0.25, 3.0))
    return canvas * factor[..., None]


def paint_noise(rng: np.random.Generator) -> Canvas:
    """Noise of several scales around a random colour; stretched, it looks like cloth or wood."""
    slope = rng.uniform(0.4, 0.85)  # amplitude ratio of one octave to the next coarser one
    stretch = 2 ** int(rng.integers(0, 3)) if rng.random() < 0.4 else 1
    across = rng.random() < 0.5
    field = np.zeros((1, 1, 3), np.float32)
    amplitude = 1.0
    for cells in (2, 4, 8, 16, 32, 48):  # each octave is added to the grown sum of the coarser ones
        few = max(cells // stretch, 2)
        rows, columns = (few, cells) if across else (cells, few)
        octave = rng.standard_normal((rows, columns, 3), dtype=np.float32) * np.float32(amplitude)
        field = octave + cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC)
        amplitude *= slope
    field = cv2.resize(field, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    # Channels of real surfaces rise and fall together: mix each with the sum of the three.
    grey = (field[..., :1] + field[..., 1:2] + field[..., 2:]) * np.float32(1 / np.sqrt(3.0))
    field += (grey - field) * np.float32(rng.uniform(0.5, 1.0))
    field *= np.float32(rng.uniform(0.08, 0.5))
    np.clip(field, -2.5, 2.5, out=field)
    base = colours(rng, 1, 0.6)[0] * log_uniform(rng, 0.01, 3.0)
    return np.exp(field) * base.astype(np.float32)


def paint_plain(rng: np.random.Generator) -> Canvas:
    """A wall, a sheet or a desk of one colour: soft light across it, a little grain, at times its edge."""
    own = colours(rng, 1, rng.uniform(0.0, 0.9))[0] * log_uniform(rng, 0.03, 1.1)
    canvas = soft_field(rng, own, rng.uniform(0.03, 0.2))
    if rng.random() < 0.3:  # the desk ends, or meets the wall
        x, y = rng.uniform(0, SIDE, 2)
        turn = rng.uniform(-0.4, 0.4)
        far = 2 * SIDE * np.array([np.cos(turn), np.sin(turn)])
        behind = np.array(
            [[x - far[0], y - far[1]], [x + far[0], y + far[1]], [x + far[0], -SIDE], [x - far[0], -SIDE]]
        )
        second = colours(rng, 1, 0.3)[0] * log_uniform(rng, 0.03, 0.9)
        cv2.fillPoly(canvas, [np.rint(behind).astype(np.int32)], paint(second, 1.0))
    canvas = blur(canvas, rng.uniform(1.0, 2.5))
    grain = rng.standard_normal((SIDE, SIDE) if rng.random() < 0.6 else (SIDE, 6), dtype=np.float32)
    grain = cv2.resize(grain, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)  # of wood it runs along
    factor = (1 + np.float32(rng.uniform(0.0, 0.04)) * grain) * texture(rng, rng.uniform(0.0, 0.03))
    factor *= shadows(rng) if rng.random() < 0.5 else np.float32(1)
    factor *= falloff(rng, rng.uniform(0.1, 0.8)) * np.float32(log_uniform(rng, 0.6, 1.6))
    return canvas * factor[..., None]


BACKGROUND_KINDS: dict[str, Painter] = {
    "studio": paint_studio,
    "indoor": paint_indoor,
    "noise": paint_noise,
    "outdoor": paint_outdoor,
    "plain": paint_plain,
}
