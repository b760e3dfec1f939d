"""What the page asks for, answered: samples by index, flags, statistics. Knows nothing of HTTP or gradio."""

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
from aih_builder.hdr.scored_predictions import is_stale
from aih_builder.sample import SPECS, Sample
from aih_builder.shards.flags import FLAGS_FILE, read_flags, remove_flags
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.marking import flag_samples
from aih_builder.shards.reader import ShardReader, open_dataset
from aih_builder.shards.validate import Problem
from aih_builder.viewer.columns import hands_of, open_columns
from aih_builder.viewer.dataset_stats import dataset_statistics
from aih_builder.viewer.filters import Filters
from aih_builder.viewer.stats_page import statistics_body
from aih_builder.viewer.web.checking import Check
from aih_builder.viewer.web.facts import facts
from aih_builder.viewer.web.pictures import prediction_pictures
from aih_builder.viewer.web.predicted import Predictions
from aih_builder.viewer.web.state import State

_KEPT_SAMPLES, _KEPT_READERS = 8, 128
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
        self.check = Check(folder, jobs, self.take_problems)
        self._lock = threading.RLock()
        self._counting = threading.Lock()  # plots are drawn one at a time
        self._on_progress = on_progress
        self._samples: OrderedDict[int, Sample] = OrderedDict()
        self._readers: OrderedDict[str, tuple[Stamp, ShardReader]] = OrderedDict()
        self._hands: tuple[HandModel, HandModel] | None = None
        self._statistics: tuple[Any, str] | None = None
        self._listing_stamp = self._flags_stamp = None
        self.state = self._looked_at(problems or [])
        self.predictions = (
            None if predictions is None else Predictions(predictions, self.state.columns.dataset, on_progress)
        )

    def now(self) -> State:
        """The dataset as it is: looked at again where dataset.json or flags.json has changed.

        Raises ConfigError and ShardError.
        """
        with self._lock:
            stamps = self._stamps()
            if stamps[0] is None or stamps != (self._listing_stamp, self._flags_stamp):
                self.state = self._looked_at(self.state.problems)
            return self.state

    def take_problems(self, problems: list[Problem]) -> None:
        """What a check found, from now on."""
        with self._lock:
            self.state = State(self.state.columns, self.state.flags, problems)

    def _stamps(self) -> tuple[Stamp, Stamp]:
        return _stamp(self.folder / LISTING_FILE), _stamp(self.folder / FLAGS_FILE)

    def _looked_at(self, problems: list[Problem]) -> State:
        """Nothing is taken over before all of it could be read."""
        listing, flags = self._stamps()
        anew = listing is None or listing != self._listing_stamp
        columns = open_columns(self.folder, self._on_progress) if anew else self.state.columns
        found, left_out = read_flags(self.folder), open_dataset(self.folder).left_out
        state = State(columns, {i: found[i] for i in left_out if i in found}, problems)  # they are read twice
        if anew:
            self._samples.clear()
        self._listing_stamp, self._flags_stamp = listing, flags
        return state

    def sample(self, index: int) -> Sample:
        """Raises ConfigError where the dataset holds no such sample, ShardError where its shard is away or damaged."""
        with self._lock:  # decoding takes a millisecond or two
            columns = self.state.columns
            row = columns.row_of(index)
            if row is None:
                raise ConfigError(f"sample {index}: {self.folder} holds none of that index.")
            entry, position = columns.place(row)
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
        """A sample's prediction, where it is of the attempt that the dataset holds.

        Raises ShardError where it is damaged or of an image of another size.
        """
        found = None if self.predictions is None else self.predictions.of(index)
        if found is None:
            return None
        sample = self.sample(index)
        if is_stale(found, sample):
            return None
        if found.size_hw != (size_hw := sample.image_rgb.shape[:2]):
            raise ShardError(f"{found.place}: is of an image of {found.size_hw}, expected {size_hw}. Predict it again.")
        return found

    def hands(self) -> tuple[HandModel, HandModel]:
        """The dataset's hand models, right and left."""
        with self._lock:
            self._hands = self._hands or hands_of(self.folder)
            return self._hands

    def told(self, index: int, filters: Filters) -> dict[str, Any]:
        """A sample's facts, its flag and problems, and its neighbours among those that the filters ask for.

        Of a sample that cannot be read the facts are its index and `error`.
        """
        told = self.now().placed(index, filters)
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

    def statistics(self, link: Callable[[str], str]) -> str:
        """HTML of the figures over all samples; `link` gives the address of a query's samples. The last is kept."""
        with self._counting:
            state = self._stamps()
            if self._statistics is None or self._statistics[0] != state:
                figures = dataset_statistics(self.folder)
                self._statistics = state, statistics_body(figures["name"], figures, link)
            return self._statistics[1]

    def flag(self, index: int, reason: str) -> str:
        """Flag a sample; returns the reason as it is kept.

        Raises ConfigError for a bad reason, ShardError where the flag cannot be kept.
        """
        flags = flag_samples(self.folder, {index: reason})
        self.now()
        return flags[index].reason.strip()  # as it is kept

    def unflag(self, index: int) -> None:
        """Take a sample's flag away. Raises ShardError where that cannot be kept."""
        remove_flags(self.folder, [index])
        self.now()

    def archive(self, index: int) -> bytes:
        """A sample as .npz: the record's fields by name; optional ones that are not stored are left out."""
        sample, file = self.sample(index), io.BytesIO()
        values = {name: getattr(sample, name) for name in SPECS}
        arrays: dict[str, Any] = {name: np.asarray(v) for name, v in values.items() if v is not None}
        np.savez_compressed(file, **arrays)
        return file.getvalue()


def _stamp(path: Path) -> Stamp:
    """What tells that a file is still the same; None where it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
