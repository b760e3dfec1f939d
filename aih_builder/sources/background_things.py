"""What stands in a procedural background: parts of a capture dome, and the furniture of a room.

Each function paints one thing at random into a canvas; what shines goes into a layer of its own.
"""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from aih_builder.sources.background_canvas import (
    SIDE,
    Canvas,
    FloatArray,
    colours,
    log_uniform,
    log_uniforms,
    paint,
    quad,
)

Thing = Callable[[np.random.Generator, Canvas, Canvas], None]


class Dome(NamedTuple):
    """Squeezed circles around a far centre: the rows of a dome's frame, seen from inside."""

    centre_px: FloatArray
    radii: FloatArray
    flatness: float
    heading_rad: float  # from the centre towards the canvas
    opening_rad: float  # half the angle under which the canvas appears from the centre

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Dome":
        """A dome whose rows cross the canvas, mostly with a gentle bend."""
        distance = SIDE * rng.uniform(0.7, 2.6)
        heading = rng.uniform(0, 2 * np.pi)
        flatness = rng.uniform(0.6, 1.0)
        centre = SIDE * 0.5 - distance * np.array([np.cos(heading), flatness * np.sin(heading)])
        first = distance - SIDE * rng.uniform(0.5, 0.75)
        radii = np.maximum(first, 8.0) + np.cumsum(rng.uniform(0.12, 0.4, 5)) * SIDE
        return cls(centre, radii, flatness, heading, min(0.8 * SIDE / distance, 1.2))

    def points(self, radius: float, turns_rad: FloatArray) -> FloatArray:
        """Canvas positions (n, 2), px, on one circle; turn 0 points at the canvas."""
        angles = self.heading_rad + turns_rad
        offsets = np.stack([np.cos(angles), self.flatness * np.sin(angles)], axis=1)
        return self.centre_px + radius * offsets


def dome_frame(rng: np.random.Generator, canvas: Canvas, dome: Dome, level: float) -> None:
    """Rails along and across the rows, and the black boxes of cameras hanging on them."""
    shades, tints = level * np.exp(rng.uniform(-1.2, 1.3, 12)), colours(rng, 12, 0.2)
    along = np.linspace(-dome.opening_rad, dome.opening_rad, 14)
    for radius, shade, tint in zip(dome.radii, shades, tints, strict=False):
        arc = np.rint(dome.points(radius, along)).astype(np.int32)
        cv2.polylines(canvas, [arc], False, paint(tint, shade), int(shade > level) + 1)
    turns = dome.opening_rad * np.arange(-1, 1.01, rng.uniform(0.3, 1.0))
    inner, outer = (np.rint(dome.points(r, turns)).astype(int) for r in dome.radii[[0, -1]])
    for start, end, shade, tint in zip(inner, outer, shades[5:], tints[5:], strict=False):
        cv2.line(canvas, tuple(map(int, start)), tuple(map(int, end)), paint(tint, 0.7 * shade), 1)
    boxes = int(rng.integers(0, 7))
    centres, halves = rng.uniform(0, SIDE, (boxes, 2)), rng.uniform(1.5, 6, (boxes, 2))
    for centre, half, turn in zip(centres, halves, rng.uniform(0, np.pi, boxes), strict=True):
        cv2.fillPoly(canvas, [quad(centre, half, turn)], (0.1 * level,) * 3)


def lamp_row(rng: np.random.Generator, lamps: Canvas, dome: Dome, radius: float) -> None:
    """Small lamps at even steps along a row, sometimes joined by a lit rail."""
    step_px, phase = rng.uniform(5, 24), rng.uniform(0, 1)
    turns = np.arange(-dome.opening_rad, dome.opening_rad, step_px / radius) + phase * step_px / radius
    points = dome.points(radius, turns)
    colour = colours(rng, 1, 0.12)[0]
    power = log_uniform(rng, 0.3, 12.0)
    if rng.random() < 0.35:
        rail = np.rint(points).astype(np.int32)
        cv2.polylines(lamps, [rail], False, paint(colour, 0.05 * power), 1)
    size_px = round(16 * rng.uniform(0.4, 1.8))
    shares = rng.uniform(0.3, 1.0, len(points)) * (rng.random(len(points)) < 0.85)
    inside = ((points > -3) & (points < SIDE + 3)).all(axis=1)
    spots = np.rint(16 * points[inside]).astype(int).tolist()  # cv2 takes 4 fractional bits
    for spot, share in zip(spots, shares[inside].tolist(), strict=True):
        cv2.circle(lamps, spot, size_px, paint(colour, power * share), -1, shift=4)


def planes(rng: np.random.Generator, canvas: Canvas) -> None:
    """A second wall behind a corner, and a floor or table below a slanted edge."""
    tints = colours(rng, 3, 0.35)
    if rng.random() < 0.5:
        x = int(rng.uniform(0.1, 0.9) * SIDE)
        canvas[:, x:] *= (tints[0] * rng.uniform(0.45, 1.5)).astype(np.float32)
    if rng.random() < 0.7:
        left, right = (SIDE * (rng.uniform(0.35, 0.95) + rng.uniform(-0.12, 0.12, 2))).astype(int)
        floor = np.array([[0, left], [SIDE, right], [SIDE, SIDE], [0, SIDE]], np.int32)
        cv2.fillPoly(canvas, [floor], paint(tints[1], rng.uniform(0.05, 0.7)))
        if rng.random() < 0.4:  # skirting board or the table's edge
            cv2.line(
                canvas,
                (0, int(left)),
                (SIDE, int(right)),
                paint(tints[2], rng.uniform(0.02, 0.9)),
                3,
            )


def window(rng: np.random.Generator, canvas: Canvas, lamps: Canvas) -> None:
    """A bright window or door with bars; it lights the canvas through `lamps`."""
    half = rng.uniform(8, 26, 2)
    centre = rng.uniform(8, SIDE - 8, 2) * (1, 0.7)
    sky = colours(rng, 1, 0.2)[0]
    outline = quad(centre, half, rng.uniform(-0.08, 0.08))
    power = rng.uniform(0.5, 2.2)
    cv2.fillPoly(lamps, [outline], paint(sky, power))
    bars = int(rng.integers(1, 4))
    shares = np.arange(1, bars) / bars
    for share in shares:
        top = outline[0] + (outline[1] - outline[0]) * share
        bottom = outline[3] + (outline[2] - outline[3]) * share
        cv2.line(lamps, (int(top[0]), int(top[1])), (int(bottom[0]), int(bottom[1])), (0, 0, 0), 2)
    cv2.polylines(canvas, [outline], True, paint(np.ones(3), rng.uniform(0.05, 0.8)), 4)
    cv2.fillPoly(canvas, [outline], (0.05, 0.05, 0.05))


def _shelf(rng: np.random.Generator, canvas: Canvas, _lamps: Canvas) -> None:
    """Boards with rows of coloured upright boxes on them."""
    left, top = rng.uniform(-25, 70), rng.uniform(-15, 60)
    row_px, width = rng.uniform(10, 23), rng.uniform(30, 75)
    board = paint(colours(rng, 1, 0.4)[0], rng.uniform(0.02, 0.5))
    saturation = rng.uniform(0.1, 0.9)
    for row in range(int(rng.integers(1, 4))):
        floor_y = top + (row + 1) * row_px
        count = int(rng.integers(3, 12))
        edges = left + np.cumsum(rng.uniform(2, 2.2 * width / 12, count + 1))
        heights = rng.uniform(0.45, 0.9, count) * row_px
        levels = log_uniforms(rng, 0.02, 0.7, count)
        tints = colours(rng, count, saturation)
        for x0, x1, height, colour, level in zip(edges[:-1], edges[1:], heights, tints, levels, strict=True):
            corner, opposite = (int(x0), int(floor_y - height)), (int(x1), int(floor_y))
            cv2.rectangle(canvas, corner, opposite, paint(colour, level), -1)
        cv2.line(canvas, (int(left), int(floor_y)), (int(left + width), int(floor_y)), board, 2)


def _boxes(rng: np.random.Generator, canvas: Canvas, _lamps: Canvas) -> None:
    """Furniture: boxes with a lighter top and a darker flank."""
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0, SIDE, 2) * (1, 0.6) + (0, 0.35 * SIDE)
        width, height, depth = rng.uniform(9, 45), rng.uniform(8, 52), rng.uniform(2, 12)
        colour = colours(rng, 1, 0.45)[0]
        level = log_uniform(rng, 0.02, 0.6)
        x0, y0, x1, y1 = (
            int(x - width / 2),
            int(y - height / 2),
            int(x + width / 2),
            int(y + height / 2),
        )
        d = int(depth)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), paint(colour, level), -1)
        top = np.array([[x0, y0], [x0 + d, y0 - d // 2], [x1 + d, y0 - d // 2], [x1, y0]], np.int32)
        flank = np.array([[x1, y0], [x1 + d, y0 - d // 2], [x1 + d, y1], [x1, y1]], np.int32)
        cv2.fillPoly(canvas, [top], paint(colour, 1.5 * level))
        cv2.fillPoly(canvas, [flank], paint(colour, 0.5 * level))


def _frames(rng: np.random.Generator, canvas: Canvas, _lamps: Canvas) -> None:
    """Pictures, screens or notes on the wall."""
    turn = rng.uniform(-0.06, 0.06)
    for _ in range(int(rng.integers(1, 4))):
        outline = quad(rng.uniform(0, SIDE, 2) * (1, 0.7), rng.uniform(4, 16, 2), turn)
        outer, inner = colours(rng, 2, 0.5)
        cv2.fillPoly(canvas, [outline], paint(inner, rng.uniform(0.02, 0.8)))
        cv2.polylines(canvas, [outline], True, paint(outer, rng.uniform(0.01, 0.6)), 2)


def _curtain(rng: np.random.Generator, canvas: Canvas, _lamps: Canvas) -> None:
    """Vertical folds or blinds over part of the width."""
    x0 = int(rng.uniform(-15, 75))
    x1 = x0 + int(rng.uniform(18, 60))
    columns = np.arange(max(x0, 0), min(x1, SIDE))
    phase = columns * (2 * np.pi / rng.uniform(4, 12)) + rng.uniform(0, 6)
    folds = 1 + 0.4 * np.sin(phase + np.sin(0.31 * phase))
    colour = colours(rng, 1, 0.5)[0] * rng.uniform(0.08, 0.7)
    bottom = int(rng.uniform(0.6, 1.3) * SIDE)
    canvas[:bottom, columns] = (folds[:, None] * colour).astype(np.float32)


def _plant(rng: np.random.Generator, canvas: Canvas, _lamps: Canvas) -> None:
    """A cluster of leaves."""
    centre = rng.uniform(5, SIDE - 5, 2)
    leaves = int(rng.integers(8, 20))
    spots = centre + rng.normal(0, rng.uniform(5, 12), (leaves, 2))
    levels = log_uniforms(rng, 0.02, 0.3, leaves)
    green = np.array([rng.uniform(0.4, 0.9), 1.0, rng.uniform(0.15, 0.5)])
    sizes = rng.integers(2, 7, (leaves, 2))
    for (x, y), (a, b), level, turn in zip(spots, sizes, levels, rng.uniform(0, 180, leaves), strict=True):
        axes = (int(a), int(b))
        cv2.ellipse(canvas, (int(x), int(y)), axes, turn, 0, 360, paint(green, level), -1)


def _lamp(rng: np.random.Generator, _canvas: Canvas, lamps: Canvas) -> None:
    """A lit shade or a ceiling light."""
    spot = (int(rng.uniform(0, SIDE)), int(rng.uniform(0, 0.7 * SIDE)))
    axes = (int(rng.uniform(2, 10)), int(rng.uniform(2, 8)))
    warm = np.array([1.25, 1.0, rng.uniform(0.45, 1.0)])
    cv2.ellipse(lamps, spot, axes, rng.uniform(-10, 10), 0, 360, paint(warm, rng.uniform(0.6, 3.0)), -1)


def _bokeh(rng: np.random.Generator, _canvas: Canvas, lamps: Canvas) -> None:
    """Distant small lights, each spread to a disc of one size."""
    count = int(rng.integers(3, 14))
    radius = rng.uniform(1.5, 4.5)
    spots = rng.uniform(0, 16 * SIDE, (count, 2)).astype(int)
    levels = log_uniforms(rng, 0.08, 0.9, count)
    for (x, y), level, colour in zip(spots, levels, colours(rng, count, 0.6), strict=True):
        cv2.circle(lamps, (int(x), int(y)), int(16 * radius), paint(colour, level), -1, shift=4)


FAR_THINGS: tuple[Thing, ...] = (_shelf, _boxes, _frames, _curtain, _plant, _lamp, _bokeh)
NEAR_THINGS: tuple[Thing, ...] = (_boxes, _boxes, _plant, _frames)
