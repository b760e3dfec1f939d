"""Shadows of the key light: which points of skin it reaches past the own hand and past the other one.

Seen from the light, each hand is drawn once into a small map of heights. A point is lit by the share of the map's
texels around it, within the shadow's soft edge, that hold nothing higher.
"""

from typing import NamedTuple

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray, smooth01
from aih_builder.synth.renderers.rasterize import rasterize

MAP_PX = 128
_TAPS = 4  # along each side of the square that is looked at
_LIFT_M = 0.0025  # points are lifted off their skin by this, so that no hand shades itself where it only curves
_RAMP_M = 0.004  # how much higher than a point a texel hides it wholly
_FLOOR_M = 1.0  # heights are counted from this far below: the map holds 0 where nothing is
# How a hand's own shadow fades in with n.l: where skin turns from the light, its shading already says so.
_FADE_FROM, _FADE_TO = 0.05, 0.35


class LightView(NamedTuple):
    """A square picture as the light sees it: grid coordinates are axes @ point * scale + shift, heights up to it."""

    axes: FloatArray  # (3, 3): right and down in the map, then towards the light
    scale: float  # texels per metre
    shift: FloatArray  # (3,) grid x, grid y, height in metres


def light_view(direction: FloatArray, points: list[FloatArray]) -> LightView:
    """The view from a light in `direction` (3,) on all points (N, 3) of a scene."""
    aside = np.array([0.0, 1.0, 0.0]) if abs(direction[0]) > abs(direction[1]) else np.array([1.0, 0.0, 0.0])
    right = np.cross(direction, aside)
    right /= np.sqrt((right**2).sum())
    # Right, down and towards the viewer turn as the image's x, y and the camera's -z do: fronts stay fronts.
    axes = np.stack([right, np.cross(right, direction), direction])
    seen = np.concatenate([np.einsum("ij,nj->ni", axes, p) for p in points])
    low, high = seen.min(axis=0), seen.max(axis=0)
    scale = (MAP_PX - 5) / max(float((high - low)[:2].max()), 1e-6)
    shift = np.array([2.0 - scale * low[0], 2.0 - scale * low[1], _FLOOR_M - low[2]])
    return LightView(axes, scale, shift)


class ShadowMaps:
    """Draws maps and looks points up in them. Keeps its buffers."""

    def __init__(self) -> None:
        self._heights = np.zeros((2, MAP_PX, MAP_PX), np.float32)
        self._triangle = np.empty((MAP_PX, MAP_PX), np.int32)

    def draw(self, view: LightView, side: int, vertices_m: FloatArray, faces: np.ndarray) -> None:
        """Draw a hand (V, 3) into the map of its side."""
        grid_xy, heights = _seen(np.ascontiguousarray(vertices_m), view.axes, view.scale, view.shift)
        rasterize(grid_xy, heights, faces, self._heights[side], self._triangle)

    def lit(
        self, view: LightView, side: int, points_m: FloatArray, normals: FloatArray, edge_m: float, *, own: bool
    ) -> FloatArray:
        """Share of the light (N,) that reaches points with unit normals past the hand of a side."""
        lit = np.empty(len(points_m))
        _lit(points_m, normals, view.axes, view.scale, view.shift, self._heights[side], edge_m, own, lit)
        return lit


@compiled
def _seen(points, axes, scale, shift):
    grid_xy, heights = np.empty((points.shape[0], 2)), np.empty(points.shape[0])
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        grid_xy[i, 0] = scale * (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) + shift[0]
        grid_xy[i, 1] = scale * (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) + shift[1]
        heights[i] = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z + shift[2]
    return grid_xy, heights


@compiled
def _lit(points, normals, axes, scale, shift, heights, edge_m, own, lit):
    last = heights.shape[0] - 1
    step = max(2.0 * edge_m * scale, 1.0) / _TAPS
    for i in range(points.shape[0]):
        nl = normals[i, 0] * axes[2, 0] + normals[i, 1] * axes[2, 1] + normals[i, 2] * axes[2, 2]
        lit[i] = 1.0
        if nl < -_FADE_TO or (own and nl <= _FADE_FROM):
            continue
        x = points[i, 0] + _LIFT_M * normals[i, 0]
        y = points[i, 1] + _LIFT_M * normals[i, 1]
        z = points[i, 2] + _LIFT_M * normals[i, 2]
        u = scale * (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) + shift[0] - step * (_TAPS - 1) / 2
        v = scale * (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) + shift[1] - step * (_TAPS - 1) / 2
        height = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z + shift[2]
        total = 0.0
        for row in range(_TAPS):
            for column in range(_TAPS):
                h = min(max(int(v + step * row + 0.5), 0), last)
                w = min(max(int(u + step * column + 0.5), 0), last)
                # What is barely higher hides a part: a slope's own texels hardly count.
                total += min(max(1.0 - (heights[h, w] - height) / _RAMP_M, 0.0), 1.0)
        share = total / (_TAPS * _TAPS)
        if own:
            share = 1.0 - smooth01((nl - _FADE_FROM) / (_FADE_TO - _FADE_FROM)) * (1.0 - share)
        lit[i] = share
