"""What the page asks for, answered: rows of filters, samples by index, flags. Knows nothing of HTTP or gradio."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.errors import AihError, ConfigError, ShardError
from aih_builder.hands.model import HandModel
from aih_builder.hdr.read_predictions import Predicted
from aih_builder.sample import SIDES, SPECS, Array, Sample
from aih_builder.shards.flags import FLAGS_FILE, read_flags, remove_flags
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.marking import flag_samples
from aih_builder.shards.reader import ShardReader, open_dataset
from aih_builder.shards.validate import Problem
from aih_builder.viewer.columns import Texts, hands_of, open_columns
from aih_builder.viewer.filters import Filters, View
from aih_builder.viewer.web.checking import Check
from aih_builder.viewer.web.facts import facts
from aih_builder.viewer.web.pictures import prediction_pictures
from aih_builder.viewer.web.predicted import Predictions

_KEPT_ROWS, _KEPT_SAMPLES, _KEPT_READERS = 8, 8, 128
Stamp = tuple[int, int, int] | None
Progress = Callable[[int, int], None]


class Desk:
    """One dataset, as several requests at a time look at it."""

    def __init__(
        self,
        folder: Path,
        predictions: Path | None = None,
        problems: list[Problem] | None = None,
        jobs: int = 1,
        on_progress: Progress | None = None,
    ) -> None:
        """jobs are the processes of a check; on_progress gets shards, then predictions, done and in all."""
        self.folder = folder
        self.problems: list[Problem] = problems or []
        self.check = Check(folder, jobs, self.take_problems)
        self._lock = threading.RLock()
        self._on_progress = on_progress
        self._rows: OrderedDict[Filters, Array] = OrderedDict()
        self._samples: OrderedDict[int, Sample] = OrderedDict()
        self._readers: OrderedDict[str, tuple[Stamp, ShardReader]] = OrderedDict()
        self._hands: tuple[HandModel, HandModel] | None = None
        self._listing_stamp: Stamp = None
        self._flags_stamp: Stamp = None
        self.refresh()
        self.predictions = (
            None if predictions is None else Predictions(predictions, self.columns.dataset, on_progress=on_progress)
        )

    def refresh(self) -> None:
        """Look again where dataset.json or flags.json has changed. Raises ConfigError and ShardError."""
        with self._lock:
            listing, flags = _stamp(self.folder / LISTING_FILE), _stamp(self.folder / FLAGS_FILE)
            if listing == self._listing_stamp and flags == self._flags_stamp:
                return
            if listing != self._listing_stamp:
                self.columns = open_columns(self.folder, self._on_progress)
                self._samples.clear()
            self.flags = read_flags(self.folder)
            self._look(open_dataset(self.folder).left_out)
            self._listing_stamp, self._flags_stamp = listing, flags

    def take_problems(self, problems: list[Problem]) -> None:
        """What a check found, from now on."""
        with self._lock:
            self.problems = problems
            self._look(self.view.flagged)

    def _look(self, flagged: list[int]) -> None:
        found: dict[int, list[str]] = {}
        for problem in self.problems:
            if (index := self.index_of(problem)) is not None:
                found.setdefault(index, []).append(problem.message)
        self.view = View(self.columns, flagged, found)
        self._rows.clear()

    def index_of(self, problem: Problem) -> int | None:
        """The sample that a problem is about; None where it is the shard's, or not of this dataset."""
        try:
            rows = self.columns.rows_of_file(problem.file)
        except ConfigError:
            return None
        return self.index(rows[problem.sample]) if problem.sample is not None and problem.sample < len(rows) else None

    def rows(self, filters: Filters) -> Array:
        """Rows that the filters ask for; the last few answers are kept. Raises ConfigError."""
        with self._lock:
            if filters not in self._rows:
                self._rows[filters] = self.view.rows(filters)
                if len(self._rows) > _KEPT_ROWS:
                    self._rows.popitem(last=False)
            self._rows.move_to_end(filters)
            return self._rows[filters]

    def index(self, row: int) -> int:
        """The index of the sample in a row."""
        return int(np.asarray(self.columns["index"])[row])

    def sample(self, index: int) -> Sample:
        """Raises ConfigError where the dataset holds no such sample, ShardError where its shard is away or damaged."""
        with self._lock:  # decoding takes a millisecond or two
            row = self.columns.row_of(index)
            if row is None:
                raise ConfigError(f"sample {index}: {self.folder} holds none of that index.")
            entry, position = self.columns.place(row)
            reader = self._reader(entry["file"])  # first: it looks whether the file is still the same
            if index not in self._samples:
                if position >= len(reader):
                    raise ShardError(f"{reader.path}: holds {len(reader)} samples, not {entry['samples']} as listed.")
                self._samples[index] = reader.sample(position)
                if len(self._samples) > _KEPT_SAMPLES:
                    self._samples.popitem(last=False)
            self._samples.move_to_end(index)
            return self._samples[index]

    def _reader(self, file: str) -> ShardReader:
        path = self.folder / file
        stamp = _stamp(path)
        known, reader = self._readers.get(file, (None, None))
        if reader is None or stamp != known:
            self._samples.clear()
            self._readers.pop(file, None)
            if stamp is None:
                raise ShardError(f"{path}: is not there any more. `aih repair {self.folder}` makes it again.")
            reader = ShardReader(path)
            self._readers[file] = stamp, reader
            if len(self._readers) > _KEPT_READERS:
                self._readers.popitem(last=False)
        self._readers.move_to_end(file)
        return reader

    def predicted(self, index: int) -> Predicted | None:
        """A sample's prediction, where it is of the attempt that the dataset holds. Raises ShardError if damaged."""
        found = None if self.predictions is None else self.predictions.of(index)
        return found if found is not None and found.sample.attempt == self.sample(index).attempt else None

    def hands(self) -> tuple[HandModel, HandModel]:
        """The dataset's hand models, right and left."""
        with self._lock:
            self._hands = self._hands or hands_of(self.folder)
            return self._hands

    def told(self, index: int, filters: Filters) -> dict[str, Any]:
        """A sample's facts, its flag and problems, and its neighbours among those that the filters ask for.

        Of a sample that cannot be read the facts are its index and `error`.
        """
        self.refresh()
        row = self.columns.row_of(index)
        if row is None:
            raise ConfigError(f"sample {index}: {self.folder} holds none of that index.")
        rows = self.rows(filters)
        place = np.flatnonzero(rows == row)
        told: dict[str, Any] = {"index": index, "total": len(rows), "place": None, "previous": None, "next": None}
        if len(place):
            at = int(place[0])
            told["place"] = at + 1
            told["previous"] = self.index(rows[at - 1]) if at else None
            told["next"] = self.index(rows[at + 1]) if at + 1 < len(rows) else None
        told["problems"] = self.view.problems.get(index, [])
        told["flag"] = self.flags[index].reason if index in self.view.flagged else None
        try:
            told |= facts(self.sample(index), self.folder)
        except AihError as error:
            return told | {"error": str(error)}
        try:
            found = self.predicted(index)
            told["predicted"] = [] if found is None else list(prediction_pictures(self.sample(index), found))
        except AihError as error:
            told |= {"predicted": [], "problems": [*told["problems"], str(error)]}
        return told

    def flag(self, index: int, reason: str) -> None:
        """Flag a sample. Raises ConfigError for a bad reason, ShardError where the flag cannot be kept."""
        flag_samples(self.folder, {index: reason})
        self.refresh()

    def unflag(self, index: int) -> None:
        """Take a sample's flag away. Raises ShardError where that cannot be kept."""
        remove_flags(self.folder, [index])
        self.refresh()

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

    def archive(self, index: int) -> bytes:
        """A sample as .npz: the record's fields by name; optional ones that are not stored are left out."""
        sample, file = self.sample(index), io.BytesIO()
        values = {name: getattr(sample, name) for name in SPECS}
        arrays: dict[str, Any] = {name: np.asarray(v) for name, v in values.items() if v is not None}
        np.savez_compressed(file, **arrays)
        return file.getvalue()

    def _text(self, name: str, row: int) -> str:
        column = self.columns[name]
        assert isinstance(column, Texts), "only called for texts"
        return column.words[column.codes[row]]


def _stamp(path: Path) -> Stamp:
    """What tells that a file is still the same; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
