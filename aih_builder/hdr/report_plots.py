"""The plots of an evaluation's and a study's page: each one SVG, narrow enough to be read on a phone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from aih_builder.webpage import BLUE, FAINT, GREEN, INK, ORANGE, RED, VIOLET, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Figures = dict[str, Any]

MOST_POINTS = 300
"""A longer curve is drawn as the means of this many blocks."""

_WIDTH = 4.5  # inches: 432 px
_COLOURS = (BLUE, ORANGE, GREEN, VIOLET, RED, INK)
_MARKS = "osD^v"


def _axes(height: float, alt: str) -> tuple[Axes, Any]:
    (axes,), drawn = canvas(1, height, _WIDTH, alt)
    axes.tick_params(labelsize=10)
    axes.grid(axis="y", color=FAINT, lw=0.6)
    return axes, drawn


def _legend(axes: Axes, columns: int) -> None:
    """Above the axes, where it covers no curve."""
    axes.figure.legend(  # pyright: ignore[reportAttributeAccessIssue]
        loc="outside upper left", ncols=columns, frameon=False, labelcolor=INK, fontsize=9, handletextpad=0.4,
        handlelength=1.2, columnspacing=1.0,
    )  # fmt: skip


def _height(curves: int) -> float:
    """Inches of a plot with so many lines and their names."""
    return 2.8 + 0.22 * ((curves + 1) // 2)


def _lines(axes: Axes, curves: Mapping[str, Sequence[float | None]], places: Iterable[float], mark: str = "") -> None:
    """One line per curve; a place without a value is left out."""
    x = np.array(list(places), float)
    for k, (name, values) in enumerate(curves.items()):
        y = np.array([math.nan if v is None else v for v in values], float)
        known = np.isfinite(y)
        axes.plot(x[known], y[known], color=_COLOURS[k % 6], marker=mark, ms=6, lw=2, label=name)
    _legend(axes, 3 if max(map(len, curves)) < 12 else 2)


def share_bins(edges: Sequence[float]) -> list[str]:
    """The names of bins of a share: '0 to 20 %'."""
    return [f"{100 * a:g} to {100 * b:g} %" for a, b in pairwise(edges)]


def _over_bins(bins: list[str], curves: Mapping[str, Sequence[float | None]], unit: str, alt: str) -> str:
    axes, drawn = _axes(_height(len(curves)), alt)
    _lines(axes, curves, range(len(bins)), "o")
    axes.set_xticks(range(len(bins)), [name.replace(" to ", "-").replace(" %", "") for name in bins])
    axes.set_xlim(-0.3, len(bins) - 0.7)
    axes.set_xlabel("share of the hand that is hidden, %")
    axes.set_ylabel(unit)
    return drawn()


def masks_plot(rows: Sequence[Figures]) -> str:
    """IoU of the three masks by how much of the hand is hidden."""
    bins = [share_bins([row["from"], row["to"]])[0] for row in rows]
    shown = {name: [row.get(f"{name}_iou") for row in rows] for name in ("amodal", "visible", "invisible")}
    shown = {name: values for name, values in shown.items() if any(v is not None for v in values)}
    return _over_bins(bins, shown, "IoU", "Mask IoU by the hidden share of the hand; the table holds the values.")


def pose_occlusion_plot(by_occlusion: Figures) -> str:
    """MPJPE of each method by how much of the hand is hidden."""
    alt = "Pose error by the hidden share of the hand; the table holds the values."
    return _over_bins(share_bins(by_occlusion["edges"]), by_occlusion["curves"], "MPJPE, mm", alt)


def pck_plot(pck: Figures) -> str:
    """Share of joints nearer to the truth than a distance."""
    alt = "Share of joints nearer than a distance, by method; the table holds the values."
    axes, drawn = _axes(_height(len(pck["curves"])), alt)
    _lines(axes, {name: percent(curve) for name, curve in pck["curves"].items()}, pck["thresholds_mm"])
    axes.set_ylim(0, 102)
    axes.set_xlabel("distance, mm")
    axes.set_ylabel("% of joints")
    return drawn()


def training_plot(name: str, steps: Sequence[float], losses: Sequence[float | None]) -> str:
    """The loss over the steps, in a logarithmic scale where it falls far."""
    values = np.array(losses, float)
    known = np.isfinite(values)
    x, y = block_means(np.array(steps, float)[known]), block_means(values[known])
    ends = f": from {values[known][0]:.4g} to {values[known][-1]:.4g}." if known.any() else ": not a number."
    axes, drawn = _axes(2.6, f"Training loss of {name}{ends}")
    axes.plot(x, y, color=BLUE, lw=1.5)
    if known.any() and y.min() > 0 and y.max() > 20 * y.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")  # names are drawn as they are, so powers would show their dollars
        axes.yaxis.set_minor_formatter(lambda *_: "")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    return drawn()


def percent(shares: Sequence[float | None]) -> list[float | None]:
    """Shares as percentages."""
    return [None if share is None else 100 * share for share in shares]


def block_means(values: np.ndarray) -> np.ndarray:
    """The values (N,) as at most MOST_POINTS means of neighbours."""
    if len(values) <= MOST_POINTS:
        return values
    return np.array([block.mean() for block in np.array_split(values, MOST_POINTS)])


def study_plot(rows: Sequence[Figures], seeds: Sequence[int], key: str, interval: str, label: str) -> str:
    """A dot with its interval per row and seed. `key` and `interval` name the figures of a seed."""
    rows = [row for row in rows if any(key in found for found in row.get("seeds", []))]
    height = 0.9 + len(rows) * max(0.36, 0.17 * len(seeds))
    axes, drawn = _axes(height + 0.3, f"{label}, by variant and seed; the table holds the values.")
    axes.grid(visible=False, axis="y")
    for k, row in enumerate(rows):
        for found in row["seeds"]:
            i = list(seeds).index(found["seed"])
            y, colour = k + (i - (len(seeds) - 1) / 2) * 0.7 / max(len(seeds), 2), _COLOURS[i % 5]
            if found.get(interval):
                axes.plot(found[interval], [y, y], color=colour, lw=2, alpha=0.6, solid_capstyle="round")
            if found.get(key) is not None:
                axes.plot(found[key], y, _MARKS[i % 5], color=colour, ms=6)
    for i, seed in enumerate(seeds):
        axes.plot([], [], _MARKS[i % 5], color=_COLOURS[i % 5], ms=6, label=f"seed {seed}")
    if key != "mpjpe_mm":
        axes.axvline(0, color=INK, lw=1, ls="--")
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(label)
    _legend(axes, len(seeds))
    return drawn()
