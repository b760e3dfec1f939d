"""One state of a dataset and its flags, and what a check found of it: all answers of one State fit together."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.sample import SIDES, Array
from aih_builder.shards.flags import Flag
from aih_builder.shards.validate import Problem
from aih_builder.viewer.columns import Columns, Texts
from aih_builder.viewer.filters import Filters, View

_KEPT_ROWS = 8


class State:
    """Asked by several threads; nothing of it changes but answers that are kept."""

    def __init__(self, columns: Columns, flags: Mapping[int, Flag], problems: list[Problem]) -> None:
        """flags are those that stand, by index."""
        self.columns, self.flags, self.problems = columns, flags, problems
        found: dict[int, list[str]] = {}
        for problem in problems:
            if (index := self.index_of(problem)) is not None:
                found.setdefault(index, []).append(problem.message)
        self.view = View(columns, flags, found)
        self._asking = threading.Lock()  # one question at a time: each may take all of a processor
        self._rows: OrderedDict[Filters, Array] = OrderedDict()

    def index_of(self, problem: Problem) -> int | None:
        """The sample that a problem is about; None where it is the shard's, or not of this dataset."""
        try:
            rows = self.columns.rows_of_file(problem.file)
        except ConfigError:
            return None
        if problem.sample is None or not 0 <= problem.sample < len(rows):
            return None
        return self.index(rows[problem.sample])

    def rows(self, filters: Filters) -> Array:
        """Rows that the filters ask for; the last few answers are kept. Raises ConfigError."""
        if (known := self._rows.get(filters)) is not None:
            return known
        with self._asking:
            if filters not in self._rows:
                self._rows[filters] = self.view.rows(filters)
                if len(self._rows) > _KEPT_ROWS:
                    self._rows.popitem(last=False)
            return self._rows[filters]

    def index(self, row: int) -> int:
        """The index of the sample in a row."""
        return int(np.asarray(self.columns["index"])[row])

    def placed(self, index: int, filters: Filters) -> dict[str, Any]:
        """A sample's place among those that the filters ask for, its neighbours, its problems and its flag's reason.

        Raises ConfigError where the dataset holds no such sample.
        """
        row = self.columns.row_of(index)
        if row is None:
            raise ConfigError(f"sample {index}: {self.columns.dataset.folder} holds none of that index.")
        rows = self.rows(filters)
        place = np.flatnonzero(rows == row)
        at = int(place[0]) if len(place) else None
        return {
            "index": index,
            "total": len(rows),
            "place": None if at is None else at + 1,
            "previous": self.index(rows[at - 1]) if at else None,
            "next": self.index(rows[at + 1]) if at is not None and at + 1 < len(rows) else None,
            "problems": self.view.problems.get(index, []),
            "flag": self.flags[index].reason if index in self.flags else None,
        }

    def caption(self, row: int) -> list[str]:
        """Lines below a thumbnail, from the columns."""
        index = self.index(row)
        if not self.columns.readable[row]:
            return [f"#{index}", "cannot be read"]
        present, rates = (np.asarray(self.columns[name])[row] for name in ("hand_present", "occlusion_rate"))
        hidden = [f"{side[0].upper()} {100 * rates[i]:.0f}" for i, side in enumerate(SIDES) if present[i]]
        first = f"#{index} {self._text('engine', row)}"
        return [first, self._text("pose_family", row), f"hidden {' '.join(hidden)} %"]

    def words(self, name: str) -> list[str]:
        """The different texts of a column, sorted."""
        return sorted(word for word in self.columns.words[name] if word)

    def _text(self, name: str, row: int) -> str:
        column = self.columns[name]
        assert isinstance(column, Texts), "only called for texts"
        return column.words[column.codes[row]]
