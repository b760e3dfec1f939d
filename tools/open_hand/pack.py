"""Packs two charts into the unit square: every turn and every shift of the second against the first is tried."""

import cv2
import numpy as np
from scipy.signal import fftconvolve
from scipy.spatial import ConvexHull

from aih_builder.geometry import FloatArray

GUTTER_M = 0.003  # least distance between the charts; half of it stays free at the border
_CELL_M = 0.001
_TURN_DEG = 5


def packed_pair(charts: list[FloatArray], chart_faces: list[np.ndarray]) -> FloatArray:
    """UVs (V1 + V2, 2) in [0, 1] of two charts given in metres, at one scale, not mirrored."""
    first, second = charts
    mask, origin = _mask(first, chart_faces[0], GUTTER_M)
    candidates = []
    for turn in range(0, 360, _TURN_DEG):
        turned = second @ _rotation(turn).T
        other, other_origin = _mask(turned, chart_faces[1], 0.0)
        candidates.append(_smallest_square(first, mask, origin, turned, other, other_origin))
    side, placed, whole_turn = min(candidates, key=lambda candidate: candidate[0])
    both = np.concatenate([first, placed]) @ whole_turn.T
    both -= (both.min(axis=0) + both.max(axis=0)) / 2
    return both / (side + GUTTER_M) + 0.5


def _rotation(degrees: float) -> FloatArray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def _mask(chart: FloatArray, faces: np.ndarray, margin_m: float) -> tuple[np.ndarray, FloatArray]:
    """The chart drawn on a grid of _CELL_M, widened by a margin, and the place of the grid's corner."""
    border = margin_m + 2 * _CELL_M
    origin = chart.min(axis=0) - border
    size = np.ceil((np.ptp(chart, axis=0) + 2 * border) / _CELL_M).astype(int)
    image = np.zeros((size[1], size[0]), np.uint8)
    for triangle in np.rint((chart - origin) / _CELL_M).astype(np.int32)[faces]:
        cv2.fillConvexPoly(image, triangle, 1)
    reach = int(np.ceil(margin_m / _CELL_M)) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return (cv2.dilate(image, disk) if margin_m else image), origin


def _smallest_square(
    first: FloatArray,
    mask: np.ndarray,
    origin: FloatArray,
    second: FloatArray,
    other: np.ndarray,
    other_origin: FloatArray,
) -> tuple[float, FloatArray, FloatArray]:
    """Side of the smallest square around both, the shifted second chart, and the turn of the whole."""
    overlap = fftconvolve(mask.astype(np.float64), other[::-1, ::-1].astype(np.float64))
    rows, columns = np.nonzero(overlap < 0.5)
    cells = np.stack([columns - (other.shape[1] - 1), rows - (other.shape[0] - 1)], axis=1)
    shifts = cells * _CELL_M + origin - other_origin
    hulls = [chart[ConvexHull(chart).vertices] for chart in (first, second)]
    best_side, best_shift, best_turn = np.inf, shifts[0], 0.0
    for turn in range(0, 90, _TURN_DEG):
        axes = _rotation(turn)
        a, b = hulls[0] @ axes.T, hulls[1] @ axes.T
        moved = shifts @ axes.T
        extent = np.maximum(a.max(axis=0), b.max(axis=0) + moved) - np.minimum(a.min(axis=0), b.min(axis=0) + moved)
        side = extent.max(axis=1)
        if side.min() < best_side:
            best_side = float(side.min())
            best_shift, best_turn = shifts[side.argmin()], float(turn)
    return best_side, second + best_shift, _rotation(best_turn)
