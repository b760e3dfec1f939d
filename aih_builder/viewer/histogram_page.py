"""The plots of a dataset's histograms as HTML. Bars and cells say what they count, and lead to their samples where a
page has an address for queries.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from aih_builder.sample import Array
from aih_builder.viewer.derived import VIEW_RINGS, VIEW_SECTORS
from aih_builder.viewer.histograms import ANGLES, VIEW, splits_of
from aih_builder.webpage import BLUE, FAINT, INK, ORANGE, RED, canvas, number, plots, section, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Patch

Figures = dict[str, Any]
Link = Callable[[str], str]

_COLOURS = {"right": ORANGE, "left": BLUE, "all": BLUE}
_LINES = {"train": INK, "test": RED}
_MOST_TICKS, _MOST_ROWS = 12, 20
_TEXTS = {
    "Samples": "",
    "Occlusion": "The share of a hand that the other one hides, of samples of two hands; and how many joints are seen.",
    "Interaction": "Of samples of two hands whose meshes are known.",
    "Picture": "",
    ANGLES: "Right hand upwards, left hand downwards, in % of each; degrees.",
}
_OUTLINES = " Grey line: the train split alone, red line: the test split, each as % of itself."


def histogram_sections(figures: Figures, link: Link | None = None) -> list[str]:
    """Sections of HTML for what dataset_histograms gives. `link` gives the address of a query's samples; without it
    nothing is a link. Draws within webpage.plain_text.
    """
    marks, groups = _Marks(link), {}
    for histogram in figures["histograms"]:
        groups.setdefault(histogram["group"], []).append(histogram)
    parts = []
    for group, histograms in groups.items():
        if histograms[0]["title"] == VIEW:
            parts.append(_views(histograms[0], figures["views"], marks))
            continue
        text = _TEXTS[group] + ("" if group in ("Samples", ANGLES) else _outlined(figures))
        parts.append(section(group, text, plots(*(_histogram(histogram, marks) for histogram in histograms))))
    parts += [*_pictures(figures["pictures"]), *_keypoints(figures["keypoints"])]
    return [*parts, *_train_against_test(figures["train_against_test"])]


def _outlined(figures: Figures) -> str:
    return _OUTLINES if figures["train_against_test"] else ""


class _Marks:
    """What bars say when one points at them, and where they lead."""

    def __init__(self, link: Link | None) -> None:
        self._link, self._said, self._count = link, {}, 0

    def mark(self, patch: Patch, what: str, part: Figures, k: int) -> None:
        """Bar k of a part, drawn as `patch`."""
        by_split = {split: counts[k] for split, counts in part["counts"].items() if counts[k]}
        count, name = sum(by_split.values()), f"bar-{self._count}"
        self._count += 1
        noun = "sample" if count == 1 else "samples"
        self._said[name] = f"{what}: {count:,} {noun} ({', '.join(f'{s} {n:,}' for s, n in by_split.items())})"
        patch.set_gid(name)
        if self._link is not None:
            patch.set_url(self._link(part["where"][k]))

    def told(self, svg: str) -> str:
        """The SVG, with titles for what was marked since."""
        for name, text in self._said.items():
            svg = svg.replace(f'<g id="{name}">', f'<g id="{name}"><title>{html.escape(text)}</title>', 1)
        self._said = {}
        return svg.replace(' target="_blank"', "")  # matplotlib's; they lead on, as other links do


def _histogram(histogram: Figures, marks: _Marks) -> str:
    if "labels" in histogram and not histogram["ordered"]:
        return _named(histogram, marks)
    small = histogram["group"] == ANGLES
    size = (1.15, 1.45) if small else (2.3, 3.5)
    (axes,), drawn = canvas(1, *size, histogram["title"], place=(0.05, 0.18, 0.9, 0.65) if small else None)
    labels = histogram.get("labels")
    edges = np.array(histogram["edges"]) if labels is None else np.arange(len(labels) + 1) - 0.5
    said = labels or [f"{a:g} to {b:g}" for a, b in pairwise(histogram["edges"])]
    for (name, part), sign in zip(histogram["parts"].items(), (1, -1), strict=False):
        _bars(axes, edges, [f"{'' if name == 'all' else name + ', '}{text}" for text in said], name, part, sign, marks)
        if not small:
            _outlines(axes, edges, part, sign)
    axes.set_title(histogram["title"], color=INK, fontsize=8 if small else 10)
    axes.grid(False)
    if labels is not None:
        step = -(-len(labels) // _MOST_TICKS)
        axes.set_xticks(range(0, len(labels), step), labels[::step])
    if len(histogram["parts"]) > 1:
        axes.axhline(0, color=INK, lw=0.6)
    if small:
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
    else:
        axes.grid(axis="y", color=FAINT, lw=0.6)
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axes.set_xlabel(histogram["unit"])
        axes.set_ylabel("% of samples" if len(histogram["parts"]) == 1 else "% left      % right")
    return marks.told(drawn())


def _bars(axes: Axes, edges: Array, said: Sequence[str], name: str, part: Figures, sign: int, marks: _Marks) -> None:
    counts = _counts(part)
    held = np.flatnonzero(counts)
    heights, widths = sign * 100 * counts[held] / max(counts.sum(), 1), np.diff(edges)[held]
    patches = axes.bar(edges[:-1][held], heights, widths, align="edge", color=_COLOURS[name], alpha=0.85)
    for k, patch in zip(held.tolist(), patches, strict=True):
        marks.mark(patch, said[k], part, k)


def _outlines(axes: Axes, edges: Array, part: Figures, sign: int) -> None:
    shown = {split: np.array(part["counts"][split]) for split in _LINES if sum(part["counts"].get(split, []))}
    if len(shown) == len(_LINES):
        for split, counts in shown.items():
            axes.stairs(sign * 100 * counts / counts.sum(), edges, color=_LINES[split], lw=1.2, baseline=None)


def _named(histogram: Figures, marks: _Marks) -> str:
    """Bars with names, from top to bottom."""
    part, labels = histogram["parts"]["all"], histogram["labels"]
    (axes,), drawn = canvas(1, 0.2 * len(labels) + 0.8, 3.9, histogram["title"])
    for k, count in enumerate(_counts(part).tolist()):
        (patch,) = axes.barh(len(labels) - 1 - k, count, color=BLUE, alpha=0.85)
        marks.mark(patch, labels[k], part, k)
    axes.set_yticks(range(len(labels) - 1, -1, -1), labels)
    axes.set_ylim(-0.7, len(labels) - 0.3)
    axes.set_title(histogram["title"], color=INK, fontsize=10)
    axes.set_xlabel("samples")
    return marks.told(drawn())


def _views(histogram: Figures, views: Figures, marks: _Marks) -> str:
    text = (
        f"Where the cameras of {views['directions']:,} hands stand, as seen from the hand (left hands mirrored), in "
        f"{VIEW_RINGS * VIEW_SECTORS} cells of equal area, of which {100 * views['covered']:.0f} % are hit. "
        "Centre of a disc: straight before the palm or behind the back; rim: edge on."
    )
    parts = histogram["parts"]
    most = max(int(_counts(part).max()) for part in parts.values())
    discs = [_disc(side, parts[side], back, most, marks) for side in parts for back in (False, True)]
    return section("View directions", text, plots(*discs))


def _disc(side: str, part: Figures, back: bool, most: int, marks: _Marks) -> str:
    """Half of the sphere as a disc of equal area, fingers up. `most` is the greatest count of the scale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Wedge

    face = "back" if back else "palm"
    scale = ScalarMappable(Normalize(0, most), "viridis")
    (axes,), drawn = canvas(1, 2.3, 2.55, f"view directions, {side} hand, {face}")
    sector_deg, half = 360 / VIEW_SECTORS, VIEW_RINGS // 2
    for k, count in enumerate(_counts(part).tolist()):
        ring, sector = divmod(k, VIEW_SECTORS)
        if (ring >= half) != back:
            continue
        step = VIEW_RINGS - 1 - ring if back else ring  # from the centre
        inner, outer = (np.sqrt(edge / half) for edge in (step, step + 1))
        begin = 90 + (sector * sector_deg - 180) if back else 90 - ((sector + 1) * sector_deg - 180)
        colour = scale.to_rgba(count) if count else FAINT
        cell = Wedge((0, 0), outer, begin, begin + sector_deg, width=outer - inner, facecolor=colour, lw=0)
        if count:
            marks.mark(cell, f"{side} hand, {face}", part, k)
        axes.add_patch(cell)
    thumb = -1 if back else 1
    axes.set(
        xlim=(-1.08, 1.25) if thumb > 0 else (-1.25, 1.08), ylim=(-1.05, 1.25), aspect="equal", xticks=[], yticks=[]
    )
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_title(f"{side} hand, {face}", color=INK, fontsize=10)
    axes.text(0, 1.07, "fingers", color=INK, fontsize=9, ha="center")
    axes.text(1.14 * thumb, 0, "thumb", color=INK, fontsize=9, va="center", ha="center", rotation=-90 * thumb)
    _scale_of(axes, scale, "samples")
    return marks.told(drawn())


def _scale_of(axes: Axes, scale: Any, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    bar = axes.figure.colorbar(scale, ax=axes, shrink=0.8, pad=0.02, ticks=MaxNLocator(5, integer=True))
    bar.ax.tick_params(colors=INK, labelsize=8)
    bar.set_label(label, color=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def _pictures(rows: list[Figures]) -> list[str]:
    """What pictures look like, a column for each split."""
    splits = splits_of(rows)
    if not splits:
        return []
    cells = [
        [row["quantity"] + ("" if row["part"] == "all" else f", {row['part']}"), row["unit"]]
        + [_told(row["splits"].get(split)) for split in splits]
        for row in rows
    ]
    text = "Median, and in brackets 5 and 95 %, of each split's samples. What is off in all samples is left out."
    return [section("Pictures by split", text, table(["quantity", "unit", *splits], cells))]


def _told(spread: Figures | None) -> str:
    if spread is None:
        return ""
    return f"{spread['median']:.3g} ({spread['q05']:.3g} to {spread['q95']:.3g})"


def _keypoints(keypoints: Figures) -> list[str]:
    """The heat map of keypoints in the image, over all splits."""
    drawings = []
    for side in ("right", "left"):
        cells = sum((np.array(hands[side]) for hands in keypoints["counts"].values()), np.zeros(1, int))
        outside = sum(hands[side] for hands in keypoints["outside"].values())
        if not cells.any():
            continue
        (axes,), drawn = canvas(1, 2.9, 3.5, f"keypoints of the {side} hand in the image")
        picture = axes.imshow(cells, extent=(0, 1, 1, 0), cmap="viridis")
        axes.grid(False)
        axes.set_title(f"{side} hand, {100 * outside / (cells.sum() + outside):.1f} % outside", color=INK, fontsize=10)
        axes.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), xlabel="share of the image's width")
        axes.set_ylabel("share of its height")
        _scale_of(axes, picture, "keypoints")
        drawings.append(drawn())
    text = (
        f"Keypoints by place in the image, in {keypoints['cells']} x {keypoints['cells']} cells. Flagged samples are "
        "counted here too."
    )
    return [section("Keypoints in the image", text, plots(*drawings))] if drawings else []


def _train_against_test(entries: list[Figures]) -> list[str]:
    if not entries:
        return []
    rows = [
        [
            entry["quantity"] + ("" if entry["part"] == "all" else f", {entry['part']}"),
            number(entry["distance"], 3),
            number(entry["by_chance"], 3),
            entry["measure"],
            f"{entry['train']:,}",
            f"{entry['test']:,}",
        ]
        for entry in entries[:_MOST_ROWS]
    ]
    apart = sum(entry["distance"] > entry["by_chance"] for entry in entries)
    text = (
        "How far the two distributions are apart, from 0 to 1, over the bars of the histograms: the greatest "
        "difference of the cumulative shares (Kolmogorov-Smirnov), or half of the sum of differences of the shares "
        "where bars have no order (total variation). By chance: what independent samples of one kind exceed once in "
        f"twenty; {apart} of {len(entries)} do. Samples that share a pose or a texture are not independent."
    )
    if len(entries) > len(rows):
        text += f" The first {len(rows)}:"
    head = ["quantity", "distance", "by chance", "measure", "train", "test"]
    return [section("Train against test", text, table(head, rows))]


def _counts(part: Figures) -> Array:
    """Samples of each bar (B,) over all splits."""
    return np.sum([*part["counts"].values()], axis=0)
