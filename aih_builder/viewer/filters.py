"""Which samples of a dataset to look at, and in which order: the form of the viewer, its address, and the options of
`aih sheet` are three ways to write the same.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.sample import Array, Spec
from aih_builder.viewer.columns import ABOUT, Columns, Texts
from aih_builder.viewer.query import evaluated, names_in, selected

LIVE = {  # columns that change while one looks
    "flagged": Spec("bool", "", "marked as bad; readers skip it"),
    "problems": Spec("int32", "", "problems that the last check found"),
    "readable": Spec("bool", "", "its shard can be read"),
}
NAMES = (*ABOUT, *LIVE)

VALIDITY = {
    "both targets known": "all(target_valid)",
    "one target known": "sum(target_valid) == 1",
    "pose unknown": "any(hand_present) and not any(pose_valid)",
    "one hand only": "not all(hand_present)",
    "flagged": "flagged",
    "problems found": "problems > 0",
    "cannot be read": "not readable",
}
SORTS = {
    "in order": "",
    "right hand hidden": "-occlusion_rate[right]",
    "left hand hidden": "-occlusion_rate[left]",
    "penetration": "-penetration_mm",
    "contact": "-contact_fraction",
    "brightness, dark first": "mean_luma",
    "defocus": "-defocus_px",
    "motion blur": "-motion_px",
    "noise": "-noise_level",
    "skin age, oldest first": "-max(skin_age)",
    "near first": "min(distance_m)",
    "problems": "-problems",
    "at random": "random",
}


class Range(NamedTuple):
    """Numbers from low to high, both included; None is open."""

    low: float | None = None
    high: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Range":
        """Of "0.5:1", "0.5:" or ":1". Raises ConfigError."""
        try:
            low, high = (float(part) if part.strip() else None for part in text.split(":"))
        except ValueError as error:
            raise ConfigError(f"range {text!r}: expected LOW:HIGH, such as 0.5: or 0.1:0.4.") from error
        return cls(low, high)

    def __str__(self) -> str:
        return f"{_written(self.low)}:{_written(self.high)}" if any(bound is not None for bound in self) else ""

    def about(self, name: str) -> list[str]:
        """The range as a question to a column; none where it is open."""
        if self.low is not None and self.high is not None:
            return [f"{self.low:g} <= {name} <= {self.high:g}"]
        if self.low is not None:
            return [f"{name} >= {self.low:g}"]
        return [] if self.high is None else [f"{name} <= {self.high:g}"]


ANY = Range()


def quoted(word: str) -> str:
    """A text as a question writes it."""
    return json.dumps(word, ensure_ascii=False)


def one_of(name: str, words: Sequence[str]) -> str:
    """The question whether a column of texts holds one of some words."""
    return f"{name} == {quoted(words[0])}" if len(words) == 1 else f"{name} in [{', '.join(map(quoted, words))}]"


def _written(number: float | None) -> str:
    return "" if number is None else f"{number:g}"


@dataclass(frozen=True, slots=True)
class Filters:
    """What is asked for. Empty choices ask for nothing; all of them must hold."""

    engine: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    tone: tuple[int, ...] = ()  # of either hand
    occlusion_right: Range = ANY
    occlusion_left: Range = ANY
    penetration: Range = ANY  # mm
    contact: Range = ANY
    source: str = ""  # a part of the name of shape, pose, texture or background
    validity: str = ""
    where: str = ""
    sort: str = ""  # an expression, after a minus the greatest first; or `random`
    seed: int = 0

    def expression(self) -> str:
        """All of it as one question, "" for every sample."""
        chosen = (("engine", self.engine), ("split", self.split), ("pose_family", self.family))
        parts = [one_of(name, words) for name, words in chosen if words]
        if self.tone:
            tones = [f"any(skin_tone == {tone})" for tone in self.tone]
            parts.append(tones[0] if len(tones) == 1 else f"({' or '.join(tones)})")
        parts += self.occlusion_right.about("occlusion_rate[right]") + self.occlusion_left.about("occlusion_rate[left]")
        parts += ["interaction_valid"] if self.penetration != ANY or self.contact != ANY else []
        parts += self.penetration.about("penetration_mm") + self.contact.about("contact_fraction")
        if self.source:
            names = ("shape_id", "pose_id", "texture_id", "background_id")
            parts.append("(" + " or ".join(f"{quoted(self.source)} in {name}" for name in names) + ")")
        if self.validity:
            if self.validity not in VALIDITY:
                raise ConfigError(f"validity {self.validity!r}: expected one of {', '.join(VALIDITY)}.")
            parts.append(VALIDITY[self.validity])
        if self.where.strip():
            parts.append(f"({self.where.strip()})" if parts else self.where.strip())
        return " and ".join(parts)

    def to_params(self) -> dict[str, str]:
        """What an address holds of it; what is not asked for is left out."""
        default = Filters()
        params = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(default, field.name):
                params[field.name] = ",".join(map(str, value)) if type(value) is tuple else str(value)
        return params

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> "Filters":
        """Of an address; what it holds besides is not looked at. Raises ConfigError for values that cannot be read."""
        values: dict[str, Any] = {}
        try:
            for field in fields(cls):
                text = params.get(field.name, "")
                if not text:
                    continue
                default = field.default
                if isinstance(default, Range):
                    values[field.name] = Range.parse(text)
                elif isinstance(default, tuple):
                    parts = [part for part in text.split(",") if part]
                    values[field.name] = tuple(map(int, parts)) if field.name == "tone" else tuple(parts)
                else:
                    values[field.name] = int(text) if isinstance(default, int) else text
        except ValueError as error:
            raise ConfigError(f"address: {error}. Open the first page again.") from error
        if values.get("seed", 0) < 0:
            raise ConfigError(f"address: seed is {values['seed']}, expected 0 or more. Open the first page again.")
        return cls(**values)


class View:
    """A dataset's columns, and what changes while one looks: flagged indices, and what a check found."""

    def __init__(
        self, columns: Columns, flagged: Iterable[int] = (), problems: Mapping[int, list[str]] | None = None
    ) -> None:
        self.columns, self.flagged = columns, list(flagged)
        self.problems = dict(problems or {})  # of indices
        self._live: dict[str, Array] = {}

    def column(self, name: str, rows: slice | None = None) -> Any:
        """A column by name, or its rows of a block. Raises ConfigError where there is none."""
        rows = slice(0, len(self.columns)) if rows is None else rows
        if name == "readable":
            return self.columns.readable[rows]
        if name not in LIVE:
            return self.columns.part(name, rows)
        if name not in self._live:
            self._live[name] = self._flags() if name == "flagged" else self._counts()
        return self._live[name][rows]

    def _flags(self) -> Array:
        return np.isin(np.asarray(self.columns["index"]), self.flagged)

    def _counts(self) -> Array:
        indices = np.asarray(self.columns["index"])
        counts, found = np.zeros(len(indices), np.int32), np.flatnonzero(np.isin(indices, list(self.problems)))
        counts[found] = [len(self.problems[index]) for index in indices[found].tolist()]
        return counts

    def blocks(self) -> Iterator[tuple[int, Callable[[str], Any]]]:
        """Of each block, in order: how many rows it has, and its columns by name."""
        for rows in self.columns.blocks():
            yield rows.stop - rows.start, partial(self.column, rows=rows)

    def rows(self, filters: Filters) -> Array:
        """Rows (int64) that the filters ask for, in their order. Raises ConfigError for a question that has no answer.

        A sample that cannot be read answers only a question that names `readable`: its figures are not known.
        """
        count, text = len(self.columns), filters.expression()
        rows = np.arange(count)
        if text:
            kept = np.concatenate([selected(text, columns, NAMES, size) for size, columns in self.blocks()])
            if "readable" not in names_in(text):
                kept = kept & self.columns.readable
            rows = np.flatnonzero(kept)
        return _ordered(self, rows, filters)


def _ordered(view: View, rows: Array, filters: Filters) -> Array:
    sort = filters.sort.strip()
    if not sort:
        return rows
    if sort == "random":
        return rows[np.random.default_rng([filters.seed, len(view.columns)]).permutation(len(rows))]
    descending, text = sort.startswith("-"), sort.removeprefix("-")
    keys = [_key(text, columns, size) for size, columns in view.blocks()]
    if isinstance(keys[0], Texts):
        values = Texts(np.concatenate([key.codes for key in keys]), keys[0].words).ranks()[rows]
    else:
        values = np.concatenate(keys)[rows]
    if not descending:
        return rows[np.argsort(values, kind="stable")]
    return rows[::-1][np.argsort(values[::-1], kind="stable")][::-1]


def _key(text: str, columns: Callable[[str], Any], size: int) -> Any:
    key = evaluated(text, columns, NAMES)
    values = key.codes if isinstance(key, Texts) else key
    if not isinstance(values, np.ndarray) or values.shape != (size,):
        raise ConfigError(f"sort {text!r}: expected one value for each sample, such as -occlusion_rate[right].")
    return key
