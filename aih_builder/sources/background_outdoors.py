"""Out of doors, out of focus: sky, what stands on the horizon, ground, trees, and leaves near the camera."""

from typing import NamedTuple

import cv2
import numpy as np

from aih_builder.sources.background_canvas import (
    SIDE,
    Canvas,
    Factor,
    FloatArray,
    blur,
    clothing,
    colours,
    falloff,
    glow,
    log_uniform,
    log_uniforms,
    paint,
)

_ROWS = np.arange(SIDE, dtype=np.float32)
# Linear colours at the zenith and at the horizon, and how bright the day is.
_SKIES = {
    "sunny": ((0.16, 0.36, 0.85), (0.62, 0.80, 1.00), (1.0, 2.2)),
    "overcast": ((0.66, 0.72, 0.80), (0.88, 0.91, 0.94), (0.7, 1.7)),
    "evening": ((0.30, 0.38, 0.62), (1.10, 0.72, 0.42), (0.4, 1.1)),
}
_DAYS = ("sunny", "sunny", "overcast", "overcast", "evening")
_GROUNDS = ("grass", "grass", "paving", "sand", "leaves")


class Day(NamedTuple):
    """What the sky sends down."""

    zenith: FloatArray  # (3,) linear light
    horizon: FloatArray
    sun: FloatArray  # (3,) colour of direct light, 0 where clouds hide it
    level: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Day":
        """One day in a few of each kind."""
        kind = _DAYS[int(rng.integers(len(_DAYS)))]
        zenith, horizon, levels = _SKIES[kind]
        level, tint = rng.uniform(*levels), colours(rng, 1, 0.08)[0]
        warm = {"sunny": (1.0, 0.96, 0.86), "overcast": (0.0, 0.0, 0.0), "evening": (0.9, 0.62, 0.38)}[kind]
        return cls(level * tint * zenith, level * tint * horizon, np.array(warm), level)


def paint_outdoor(rng: np.random.Generator) -> Canvas:
    """A park, a street or a field behind the hands, at some depth of blur; now and then leaves before them."""
    day = Day.draw(rng)
    horizon = SIDE * float(rng.uniform(0.15, 0.8))
    slant = float(rng.uniform(-0.06, 0.06))
    canvas = _sky(rng, day, horizon)
    _skyline(rng, canvas, day, horizon, slant)
    _ground(rng, canvas, day, horizon, slant)
    for _ in range(int(rng.integers(0, 4))):
        _tree(rng, canvas, day, horizon)
    defocus = float(rng.uniform(0.0, 1.0))
    canvas = blur(canvas, 0.6 + 2.6 * defocus)
    if rng.random() < 0.6:
        _foliage(rng, canvas, day)
        canvas = blur(canvas, rng.uniform(1.0, 1.8))
    if rng.random() < 0.25:
        clothing(rng, canvas, float(rng.uniform(0.03, 0.4)))
    if day.sun.any() and rng.random() < 0.6:
        canvas += glow(_highlights(rng, day, horizon), 0.9, rng.uniform(0.05, 0.2))
    factor = falloff(rng, rng.uniform(0.0, 0.35)) * np.float32(log_uniform(rng, 0.4, 3.0))
    return canvas * factor[..., None]


def _octaves(rng: np.random.Generator, cells: tuple[tuple[int, int], ...]) -> Factor:
    """Noise (SIDE, SIDE) of about unit strength, from grids of these many rows and columns, coarse to fine."""
    field, share = np.zeros((SIDE, SIDE), np.float32), 1.0
    for rows, columns in cells:
        grid = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(share)
        field += cv2.resize(grid, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        share *= 0.6
    return field


def _sky(rng: np.random.Generator, day: Day, horizon: float) -> Canvas:
    """From the zenith's colour to the horizon's, with clouds; it fills the canvas."""
    high = np.clip(1 - (_ROWS + SIDE * rng.uniform(0.0, 0.6)) / (horizon + SIDE * 0.6), 0, 1)[:, None]
    sky = (day.horizon + high * (day.zenith - day.horizon)).astype(np.float32)[:, None]  # (SIDE, 1, 3)
    cover = np.clip(0.5 * _octaves(rng, ((3, 2), (9, 5), (24, 16))) + np.float32(rng.uniform(-1.2, 1.0)), 0, 1)
    cloud = day.level * (0.55 + 0.45 * day.horizon / max(float(day.horizon.max()), 1e-6))
    return sky + cover[..., None] * (np.float32(rng.uniform(0.4, 0.9)) * (cloud.astype(np.float32) - sky))


def _skyline(rng: np.random.Generator, canvas: Canvas, day: Day, horizon: float, slant: float) -> None:
    """Hills, a row of trees or houses along the horizon, paler the farther they are."""
    for distance in sorted(rng.uniform(0.1, 0.8, int(rng.integers(1, 4))).tolist(), reverse=True):
        steps = int(rng.integers(5, 28))
        tall = SIDE * (0.06 + 0.3 * (1 - distance) * rng.random())
        tops = horizon - tall * rng.uniform(0.25, 1.0, steps)
        across = np.linspace(-2, SIDE + 2, steps)
        built = rng.random() < 0.35
        if built:  # flat roofs with steep sides
            across, tops = np.repeat(across, 2)[1:-1], np.repeat(tops, 2)[:-2]
        tops = tops + slant * (across - SIDE / 2)
        outline = np.concatenate([np.stack([across, tops], 1), [[SIDE + 2, SIDE + 2], [-2, SIDE + 2]]])
        own = colours(rng, 1, 0.35)[0] * 0.3 if built else np.array([0.10, 0.16, 0.06]) * rng.uniform(0.5, 1.6)
        seen = day.level * own * (1 - distance) + distance * 0.7 * day.horizon  # the air between adds its light
        cv2.fillPoly(canvas, [np.rint(outline).astype(np.int32)], paint(seen, 1.0))


def _ground(rng: np.random.Generator, canvas: Canvas, day: Day, horizon: float, slant: float) -> None:
    """Grass, paving, sand or leaves below the horizon, coarser towards the camera, with patches of sun."""
    kind = _GROUNDS[int(rng.integers(len(_GROUNDS)))]
    own, contrast = {
        "grass": ((0.12, 0.22, 0.04), 0.3), "paving": ((0.30, 0.29, 0.27), 0.1), "sand": ((0.50, 0.40, 0.26), 0.1),
        "leaves": ((0.26, 0.15, 0.06), 0.4),
    }[kind]  # fmt: skip
    base = np.array(own) * colours(rng, 1, 0.12)[0] * rng.uniform(0.6, 1.4)
    field = _octaves(rng, ((14, 4), (40, 12), (64, 32)))
    near = np.clip((_ROWS - horizon) / SIDE, 0.05, 1)[:, None]  # fine grain far away is lost in the blur
    light = np.exp(np.float32(contrast) * np.sqrt(near) * field)
    if day.sun.any():
        light *= 0.45 + np.clip(1.4 * _octaves(rng, ((5, 2), (16, 6))) + np.float32(rng.uniform(-1.0, 1.5)), 0, 1)
        base = base * (0.5 + 0.5 * day.sun)
    edge = (horizon + slant * (np.arange(SIDE) - SIDE / 2)).astype(np.float32)
    below = np.clip(_ROWS[:, None] - edge + 0.5, 0, 1)
    canvas *= (1 - below)[..., None]
    canvas += (below * light)[..., None] * (day.level * 0.9 * base).astype(np.float32)


def _tree(rng: np.random.Generator, canvas: Canvas, day: Day, horizon: float) -> None:
    """A trunk and a crown: dark blobs, with lighter ones towards the light."""
    x, size = rng.uniform(-5, SIDE + 5), rng.uniform(9, 34)
    foot = horizon + rng.uniform(1, 14)
    top = foot - size * rng.uniform(1.1, 2.2)
    thick = max(1, round(size * rng.uniform(0.06, 0.14)))
    bark = np.array([0.12, 0.085, 0.06]) * day.level * rng.uniform(0.3, 1.0)
    cv2.line(canvas, (int(x), int(foot)), (int(x + rng.uniform(-2, 2)), int(top)), paint(bark, 1.0), thick)
    crown = size * np.array([rng.uniform(0.4, 0.6), rng.uniform(0.35, 0.6)])
    _leaves(rng, canvas, day, np.array([x, top]), crown, int(rng.integers(25, 45)), 0.3 * float(crown.min()))


def _leaves(
    rng: np.random.Generator,
    canvas: Canvas,
    day: Day,
    centre_px: FloatArray,
    reach_px: FloatArray,
    count: int,
    size_px: float,
) -> None:
    """Blobs of leaves within an ellipse, those above lighter than those below, what is lit before the rest."""
    turns, shares = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
    offsets = shares[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    green = np.array([rng.uniform(0.35, 0.8), 1.0, rng.uniform(0.1, 0.35)])
    if rng.random() < 0.15:
        green = np.array([1.0, rng.uniform(0.35, 0.7), 0.12])  # autumn
    levels = day.level * log_uniforms(rng, 0.03, 0.12, count) * np.exp(-0.6 * offsets[:, 1])
    levels = np.sort(levels * (1.0 + 0.6 * float(day.sun.max())))
    offsets = offsets[np.argsort(-offsets[:, 1], kind="stable")]
    radii = (16 * size_px * rng.uniform(0.5, 1.2, count)).astype(int).tolist()
    places = (16 * (centre_px + offsets * reach_px)).astype(int).tolist()
    for (x, y), radius, level in zip(places, radii, (levels[:, None] * green).tolist(), strict=True):
        cv2.circle(canvas, (x, y), radius, level, -1, shift=4)


def _foliage(rng: np.random.Generator, canvas: Canvas, day: Day) -> None:
    """A branch or a bush near the camera, from an edge of the frame: large, soft leaves."""
    turn = rng.uniform(0, 2 * np.pi)
    centre = SIDE / 2 + SIDE * rng.uniform(0.45, 0.65) * np.array([np.cos(turn), np.sin(turn)])
    _leaves(rng, canvas, day, centre, SIDE * rng.uniform(0.12, 0.35, 2), int(rng.integers(25, 50)), rng.uniform(4, 9))


def _highlights(rng: np.random.Generator, day: Day, horizon: float) -> Canvas:
    """Sun that comes through leaves, each spot a disc of the lens's blur."""
    spots, count = np.zeros((SIDE, SIDE, 3), np.float32), int(rng.integers(6, 40))
    radius, middle = rng.uniform(2.0, 5.0), rng.uniform(0.1, 0.9, 2) * (SIDE, max(horizon, 0.3 * SIDE))
    places = middle + rng.normal(0, SIDE * rng.uniform(0.08, 0.3), (count, 2))
    levels = day.level * log_uniforms(rng, 0.02, 0.4, count)
    for (x, y), level in zip((16 * places).astype(int).tolist(), levels.tolist(), strict=True):
        cv2.circle(spots, (x, y), int(16 * radius), paint(day.sun, level), -1, shift=4)
    return spots
