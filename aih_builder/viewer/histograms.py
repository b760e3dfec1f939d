"""Histograms of a dataset from its columns: each bar counts samples, and carries the query that finds them.

A histogram is a record of plain JSON values: `group`, `title`, `unit`; `edges`, or the `labels` of its bars; `ordered`,
whether neighbouring bars are alike; and `parts` by name, which share an axis ("right" and "left", or "all"). A part
holds the `counts` of each split, and `where`: for each bar the query that finds its samples, those of all splits.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from aih_builder.hands.conventions import FINGERS
from aih_builder.identity import ENGINE_NAMES, SPLITS
from aih_builder.sample import SIDES, Array
from aih_builder.viewer.columns import Columns
from aih_builder.viewer.derived import AXES, VIEW_RINGS, VIEW_SECTORS
from aih_builder.viewer.filters import NAMES, View, one_of, quoted
from aih_builder.viewer.heatmap import CELLS, OUTSIDE
from aih_builder.viewer.query import MOST_CHARACTERS, evaluated, selected

Figures = dict[str, Any]

PICTURE = "Picture"
ANGLES, VIEW, FAMILY, BY_SPLIT = "Joint angles", "view direction", "family of poses", "engine and split"
CELLS_OF_VIEW = VIEW_RINGS * VIEW_SECTORS
_MOST_BARS = 24  # where the data choose the edges
_LEAST_RANGE_DEG = 1.0  # of an angle that is worth a histogram
_ROOM = 200  # characters of a query that are kept for what else is asked
_OCCLUSION = tuple(k / 20 for k in range(21))


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of each sample, or, where `of` names {side}, of each hand; in the words of a query."""

    group: str
    title: str
    unit: str
    of: str
    among: str = ""  # a question: the samples that have the number
    bars: tuple[float, ...] | range | None = None  # edges; whole numbers; or edges that suit the data
    ordered: bool = True
    effect: bool = False  # of the camera or the skin: left out where it is off, 0 in all samples

    def parts(self) -> dict[str, tuple[str, str]]:
        """`of` and `among` by the name of the part."""
        if "{side}" not in self.of:
            return {"all": (self.of, self.among)}
        return {side: (self.of.format(side=side), self.among.format(side=side)) for side in SIDES}


QUANTITIES = (
    Quantity("Occlusion", "hidden share of the target hand", "occlusion rate", "occlusion_target",
             "all(hand_present) and target_hand >= 0", _OCCLUSION),
    Quantity("Occlusion", "hidden share of each hand", "occlusion rate", "occlusion_rate[{side}]",
             "all(hand_present)", _OCCLUSION),
    Quantity("Occlusion", "visible joints", "of 21", "visible_joints[{side}]",
             "hand_present[{side}] and joint_visible_valid[{side}]", range(22)),
    Quantity("Interaction", "penetration", "deepest vertex, mm", "penetration_mm", "interaction_valid"),
    Quantity("Interaction", "contact", "share of vertices in contact", "contact_fraction", "interaction_valid"),
    Quantity(PICTURE, "distance from the camera", "m", "distance_m[{side}]", "distance_m[{side}] > 0"),
    Quantity(PICTURE, "brightness", "mean luma", "mean_luma", "", tuple(range(0, 261, 10))),
    Quantity(PICTURE, "defocus", "radius, px", "defocus_px", effect=True),
    Quantity(PICTURE, "motion blur", "length, px", "motion_px", effect=True),
    Quantity(PICTURE, "noise", "deviation on mid grey, levels", "noise_level", effect=True),
    Quantity(PICTURE, "skin tone", "Monk scale, 0 unknown", "skin_tone[{side}]", "hand_present[{side}]", range(11)),
    Quantity(PICTURE, "skin age", "years, 0 unknown", "skin_age[{side}]", "hand_present[{side}]",
             tuple(range(0, 101, 5)), effect=True),
    Quantity("View directions", VIEW, "cell", "view_cell[{side}]", "", range(1, CELLS_OF_VIEW + 1),
             ordered=False),
    *(
        Quantity(ANGLES, f"{finger}{k + 1} {axis}", "degrees", f"angles_deg[{{side}}, {base + k - 1}, {a}]",
                 "hand_present[{side}] and pose_valid[{side}]")
        for finger, base in FINGERS.items() for k in range(3) for a, axis in enumerate(AXES)
    ),
)  # fmt: skip


def splits_of(pictures: list[Figures]) -> list[str]:
    """The splits that any quantity of dataset_histograms' `pictures` has figures of, in order."""
    return [split for split in SPLITS if any(split in row["splits"] for row in pictures)]


def dataset_histograms(columns: Columns, flagged: list[int]) -> Figures:
    """Figures of the samples that can be read and are not flagged (their indices are given), from columns alone.

    `histograms`, as told above, without those of which no sample has the number; `pictures`, quantiles by split of what
    a picture looks like; `train_against_test`, how far apart these two splits are in each, the farthest first; `views`;
    `keypoints`, the heat map, which counts flagged samples too.
    """
    samples = _Samples(columns, flagged)
    found = [*_of_texts(samples), *(made for quantity in QUANTITIES for made in _of_numbers(samples, quantity))]
    figures: Figures = {"unreadable": int((~columns.readable).sum()), "histograms": found}
    titles = {histogram["title"] for histogram in found}
    asked = [quantity for quantity in QUANTITIES if quantity.group == PICTURE and quantity.title in titles]
    figures["pictures"] = [row for quantity in asked for row in _quantiles(samples, quantity)]
    figures["train_against_test"] = sorted(_apart(found), key=lambda e: -e["distance"] / max(e["by_chance"], 1e-9))
    figures["views"] = _views(found)
    figures["keypoints"] = _keypoints(columns, samples.splits)
    return figures


class _Samples:
    """The samples that are counted."""

    def __init__(self, columns: Columns, flagged: list[int]) -> None:
        self.column = View(columns, flagged).column
        marked = self.column("flagged")
        self.kept = columns.readable & ~marked
        self._some_flagged = bool((columns.readable & marked).any())
        self._among: dict[str, Array] = {"": self.kept}
        codes = self.column("split")
        self._split = np.array([SPLITS.index(word) for word in codes.words] or [0])[codes.codes]
        self.splits = [split for k, split in enumerate(SPLITS) if (self._split[self.kept] == k).any()]

    def values(self, of: str, among: str) -> Array:
        """The number of those samples that have it, as a query compares it."""
        values = evaluated(of, self.column, NAMES)[self._rows(among)]
        return values.astype(np.float32) if values.dtype == np.float16 else values

    def part(self, bars: Array, among: str, where: list[str]) -> Figures:
        """A part from the bar of each sample of `among`, -1 for none, and the question of each bar."""
        splits, counted = self._split[self._rows(among)], (bars >= 0) & (bars < len(where))
        counts = np.bincount(splits[counted] * len(where) + bars[counted], minlength=len(SPLITS) * len(where))
        of_split: dict[str, list[int]] = dict(zip(SPLITS, counts.reshape(len(SPLITS), -1).tolist(), strict=True))
        more = " and not flagged" if self._some_flagged else ""
        return {"counts": {split: of_split[split] for split in self.splits}, "where": [text + more for text in where]}

    def quantiles(self, of: str, among: str) -> dict[str, Figures]:
        """Of each split's samples that have the number how many there are, their mean and three quantiles."""
        values, splits = self.values(of, among), self._split[self._rows(among)]
        figures: dict[str, Figures] = {}
        for split in self.splits:
            mine = values[splits == SPLITS.index(split)].astype(np.float64)
            if len(mine):
                low, middle, high = np.quantile(mine, (0.05, 0.5, 0.95)).tolist()
                figures[split] = {"count": len(mine), "mean": float(mine.mean())}
                figures[split] |= {"q05": low, "median": middle, "q95": high}
        return figures

    def _rows(self, among: str) -> Array:
        if among not in self._among:
            self._among[among] = self.kept & selected(among, self.column, NAMES, len(self.kept))
        return self._among[among]


def _of_numbers(samples: _Samples, quantity: Quantity) -> Iterator[Figures]:
    """The histogram of a quantity; none where no sample has it, an effect is off, or an angle hardly moves."""
    values = {name: samples.values(*part) for name, part in quantity.parts().items()}
    filled = [numbers for numbers in values.values() if len(numbers)]
    if not filled or (quantity.effect and not any(numbers.any() for numbers in filled)):
        return
    bars = quantity.bars
    if bars is None:
        low, high = min(float(v.min()) for v in filled), max(float(v.max()) for v in filled)
        if quantity.group == ANGLES and high - low < _LEAST_RANGE_DEG:
            return
        bars = suitable_edges(low, high)
    figures: Figures = {"group": quantity.group, "title": quantity.title, "unit": quantity.unit}
    figures |= {"labels": [str(k) for k in bars]} if isinstance(bars, range) else {"edges": list(bars)}
    figures |= {"ordered": quantity.ordered, "parts": {}}
    for name, (of, among) in quantity.parts().items():
        if isinstance(bars, range):
            places, questions = values[name].astype(np.int64) - bars.start, [f"{of} == {k}" for k in bars]
        else:
            places, questions = _places(values[name], bars), _between(of, bars)
        asked = [f"{among} and {question}" if among else question for question in questions]
        figures["parts"][name] = samples.part(places, among, asked)
    yield figures


def _quantiles(samples: _Samples, quantity: Quantity) -> Iterator[Figures]:
    """A row for each part of a quantity."""
    for name, (of, among) in quantity.parts().items():
        head = {"quantity": quantity.title, "part": name, "unit": quantity.unit}
        yield head | {"splits": samples.quantiles(of, among)}


def suitable_edges(low: float, high: float) -> tuple[float, ...]:
    """Edges of at most 25 bars from low or below to high or above: multiples of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span < 1e-9:
        step = 10.0 ** math.floor(math.log10(abs(high))) if abs(high) > 1e-9 else 1.0
    else:
        scale = 10.0 ** math.floor(math.log10(span / _MOST_BARS))
        step = next(scale * k for k in (1, 2, 5, 10, 20) if scale * k * _MOST_BARS >= span)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return tuple(float(f"{k * step:.10g}") for k in range(first, last + 1))


def _places(values: Array, edges: tuple[float, ...]) -> Array:
    """The bar of each value: a bar holds its lower edge, the last one the upper edge too; -1 or beyond outside."""
    bounds = np.array(edges, values.dtype)  # rounded as the numbers of a query are
    places = np.searchsorted(bounds, values, "right") - 1
    places[values == bounds[-1]] = len(edges) - 2
    return places


def _between(of: str, edges: tuple[float, ...]) -> list[str]:
    """The question of each bar."""
    ends = ["<"] * (len(edges) - 2) + ["<="]
    return [f"{a:.10g} <= {of} {end} {b:.10g}" for (a, b), end in zip(pairwise(edges), ends, strict=True)]


def _of_texts(samples: _Samples) -> Iterator[Figures]:
    """Samples by engine and split, and by family of poses: what stands before the first / of pose_family."""
    if not samples.splits:
        return
    engines, splits = samples.column("engine"), samples.column("split")
    engine = np.array([ENGINE_NAMES.index(word) for word in engines.words])[engines.codes]
    split = np.array([SPLITS.index(word) for word in splits.words])[splits.codes]
    names = [(e, s) for e in ENGINE_NAMES for s in SPLITS]
    yield _named(samples, BY_SPLIT, [
        (f"{e} {s}", f"{one_of('engine', [e])} and {one_of('split', [s])}") for e, s in names
    ], engine * len(SPLITS) + split)  # fmt: skip

    families = samples.column("pose_family")
    heads, head_of = np.unique([word.partition("/")[0] for word in families.words], return_inverse=True)
    heads, head_of = heads.tolist(), head_of[families.codes]
    counts = np.bincount(head_of[samples.kept], minlength=len(heads))
    bars, bar_of, room = [], np.full(len(heads), -1), MOST_CHARACTERS - _ROOM
    for k in np.argsort(-counts, kind="stable")[: (counts > 0).sum()].tolist():
        question = _of_family(heads[k], families.words)
        room -= len(question) + len(" or ")
        if room < 0 or len(bars) == _MOST_BARS:
            bar_of[bar_of < 0] = len(bars)
            bars.append(("others", f"not ({' or '.join(asked for _, asked in bars)})"))
            break
        bar_of[k] = len(bars)
        bars.append((heads[k] or "none", question))
    yield _named(samples, FAMILY, bars, bar_of[head_of])


def _of_family(head: str, words: list[str]) -> str:
    """The question for pose families of one beginning. 0 is the letter after /."""
    below = f"{quoted(head + '/')} <= pose_family < {quoted(head + '0')}"
    if not any(word.startswith(head + "/") for word in words):
        return one_of("pose_family", [head])
    return f"({one_of('pose_family', [head])} or {below})" if head in words else below


def _named(samples: _Samples, title: str, named: list[tuple[str, str]], bars: Array) -> Figures:
    """The histogram of bars with a label and a question each; those that hold nothing are left out."""
    counts = np.bincount(bars[samples.kept], minlength=len(named))
    held = [k for k in range(len(named)) if counts[k]]
    part = samples.part(np.searchsorted(held, bars[samples.kept]), "", [named[k][1] for k in held])
    return {
        "group": "Samples", "title": title, "unit": "", "labels": [named[k][0] for k in held], "ordered": False,
        "parts": {"all": part},
    }  # fmt: skip


def _apart(histograms: list[Figures]) -> Iterator[Figures]:
    """How far the test split's distribution is from that of the train split, over the bars.

    Of ordered bars the Kolmogorov-Smirnov statistic, the greatest difference of the cumulative shares; of others the
    total variation, half of the sum of the differences of shares. `by_chance` is what two random halves of one set
    exceed in about one of twenty cases.
    """
    for histogram in histograms:
        for name, part in histogram["parts"].items():
            counts = [np.array(part["counts"].get(split, [0]), float) for split in ("train", "test")]
            n, m = (int(count.sum()) for count in counts)
            if not n or not m or histogram["title"] == BY_SPLIT:
                continue
            change, pooled = counts[0] / n - counts[1] / m, (counts[0] + counts[1]) / (n + m)
            if histogram["ordered"]:
                measure, distance = "Kolmogorov-Smirnov", np.abs(np.cumsum(change)).max()
                by_chance = 1.358 * math.sqrt(1 / n + 1 / m)
            else:
                measure, distance = "total variation", np.abs(change).sum() / 2
                variance = pooled * (1 - pooled) * (1 / n + 1 / m)  # of the difference of a bar's shares
                by_chance = np.sqrt(variance).sum() / math.sqrt(2 * math.pi)
                by_chance += 1.645 * math.sqrt(variance.sum() * (1 - 2 / math.pi)) / 2
            yield {
                "quantity": histogram["title"], "part": name, "train": n, "test": m,
                "measure": measure, "distance": float(distance), "by_chance": float(by_chance),
            }  # fmt: skip


def _views(histograms: list[Figures]) -> Figures:
    """How many view directions are known, of both hands, and which share of the cells is hit."""
    hits = np.zeros(CELLS_OF_VIEW, int)
    for histogram in histograms:
        if histogram["title"] == VIEW:
            hits += sum(np.sum([*part["counts"].values()], axis=0) for part in histogram["parts"].values())
    return {"directions": int(hits.sum()), "covered": float((hits > 0).mean())}


def _keypoints(columns: Columns, splits: list[str]) -> Figures:
    """The heat map by split and hand: cells by row and column, and how many lie outside of the image."""
    figures: Figures = {"cells": CELLS, "counts": {}, "outside": {}}
    for split in splits:
        of_hands = dict(zip(SIDES, columns.heat[SPLITS.index(split)], strict=True))
        figures["counts"][split] = {s: heat[:OUTSIDE].reshape(CELLS, CELLS).tolist() for s, heat in of_hands.items()}
        figures["outside"][split] = {side: int(heat[OUTSIDE]) for side, heat in of_hands.items()}
    return figures
