"""Predictions beside the dataset that is looked at: which there are, how good, and what one says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.hdr.read_predictions import Predicted, dataset_hash, find_predictions, read_prediction
from aih_builder.hdr.scored_predictions import MEASURES, Side, Table, scored_table, worst_first
from aih_builder.sample import SIDES, Array
from aih_builder.shards.reader import Dataset


class Predictions:
    """A folder that `aih predict` wrote for a dataset."""

    def __init__(self, folder: Path, dataset: Dataset, on_progress: Callable[[int, int], None] | None = None) -> None:
        """Raises ConfigError where the folder holds no prediction of the dataset's samples."""
        self.folder = folder
        self.table: Table = scored_table(folder, dataset, on_progress=on_progress)
        self._places = find_predictions(folder, dataset_hash(dataset.folder))

    def of(self, index: int) -> Predicted | None:
        """A sample's prediction; None where there is none. Raises ShardError where it is damaged."""
        return read_prediction(self._places[index]) if index in self._places else None

    def worst(self, by: str, side: Side) -> Array:
        """Row numbers of the table, the worst first. Raises ConfigError for other names."""
        return worst_first(self.table, by, side)

    def hand(self, row: int, by: str, side: str) -> str:
        """Whose score counts in a row: the side that is asked for, or the worse one."""
        if side != "worse":
            return side
        goodness = self.table.scores[by][row] * (1.0 if MEASURES[by].higher_is_better else -1.0)
        return SIDES[0] if np.isnan(goodness).all() else SIDES[int(np.nanargmin(goodness))]

    def said(self, row: int, by: str) -> str:
        """A row's score, or why it has none."""
        if reason := str(self.table.reason[row]):
            return reason
        measure, scores = MEASURES[by], self.table.scores[by][row]
        digits = 1 if measure.unit else 3
        told = [
            f"{side[0].upper()} {score:.{digits}f}" for side, score in zip(SIDES, scores, strict=True) if score == score
        ]
        return f"{' '.join(told) or 'no score'} {measure.unit}".strip()

    def mean(self, by: str) -> str:
        """The mean score over all hands that have one."""
        scores = self.table.scores[by]
        known = scores[~np.isnan(scores)]
        return f"{known.mean():.3f} {MEASURES[by].unit}".strip() if len(known) else "none"

    def require(self, by: str, side: str) -> tuple[str, Side]:
        """Both, as they are. Raises ConfigError for other names."""
        if by not in MEASURES or side not in (*SIDES, "worse"):
            raise ConfigError(
                f"predictions by {by!r}, {side!r}: expected one of {', '.join(MEASURES)}; right, left, worse."
            )
        return by, side  # pyright: ignore[reportReturnType]
