"""A dataset's small arrays as columns over all of its samples, from one pass over the shards, kept in a file beside
dataset.json: a million samples are filtered and counted without opening a shard.

Row r is sample r of dataset.json. Fields that take much room (joints, poses, cameras) stay in the shards and are
gathered when a query names them.
"""

import hashlib
import json
import logging
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from aih_builder.errors import AihError, ConfigError, ShardError
from aih_builder.files import read_json, whole_file
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.model import HandModel
from aih_builder.identity import SPLITS, indices_of
from aih_builder.sample import SPECS, Array, Spec
from aih_builder.shards.format import COLUMNS_FILE, LISTING_FILE, PLAIN_FIELDS
from aih_builder.shards.imported import imported_listing
from aih_builder.shards.plan import load_plan
from aih_builder.shards.reader import Dataset, open_dataset
from aih_builder.synth.assets import load_hands
from aih_builder.tables import DAMAGE, LIBVER, map_file, read_attributes, table, write_attributes
from aih_builder.viewer.derived import DERIVED, derive
from aih_builder.viewer.heatmap import SHAPE as HEAT_SHAPE
from aih_builder.viewer.heatmap import count_keypoints

log = logging.getLogger(__name__)

_FORMAT, _VERSION = "aih-columns", 3
_LARGE_BYTES = 64  # of a field per sample: larger ones stay in the shards
_BLOCK_ROWS = 1 << 14  # a field of these many takes a few MB, and so does what is worked out of it

ABOUT = {name: spec for name, spec in SPECS.items() if not spec.is_image} | DERIVED


class Texts(NamedTuple):
    """A column of texts: words[codes[r]] is that of row r."""

    codes: Array  # (N,) int32
    words: list[str]

    def values(self) -> Array:
        """The texts (N,)."""
        return np.array(self.words or [""], "U")[self.codes]

    def holds(self, question: Callable[[str], bool]) -> Array:
        """The answer for each text, bool (N,); a question is asked once about a word."""
        if len(self.words) <= len(self.codes):
            return np.array([question(word) for word in self.words or [""]], bool)[self.codes]
        codes, places = np.unique(self.codes, return_inverse=True)
        return np.array([question(self.words[code]) for code in codes.tolist()], bool)[places]

    def ranks(self) -> Array:
        """Whole numbers (N,) in the order of the texts."""
        ranks = np.zeros(max(1, len(self.words)), np.int64)
        ranks[sorted(range(len(self.words)), key=self.words.__getitem__)] = np.arange(len(self.words))
        return ranks[self.codes]


Column = Array | Texts


def _bytes(spec: Spec) -> int:
    return np.dtype(spec.dtype).itemsize * int(np.prod([int(d) for d in spec.dims.split()] or [1]))


_TEXTS = tuple(name for name, spec in ABOUT.items() if spec.max_bytes)
_SMALL = tuple(name for name in PLAIN_FIELDS if name not in _TEXTS and _bytes(SPECS[name]) <= _LARGE_BYTES)
_STORED = (*_SMALL, *DERIVED)  # in the file, besides texts


class Columns:
    """Columns by name, each (N, ...), or Texts; `readable` (N,) bool says whose shard could be read.

    `heat` (3, 2, 1025) int64 counts keypoints by split, hand and place in the image (heatmap.py), of all samples that
    could be read, flagged ones too.
    """

    def __init__(self, dataset: Dataset, stored: Mapping[str, Array], words: dict[str, list[str]]) -> None:
        self.dataset = dataset
        self.readable: Array = stored["readable"]
        self.heat: Array = stored["heat"]
        self.words = words
        self._stored = stored
        self._gathering = threading.Lock()  # one dataset, asked by several threads
        self._starts = [0, *accumulate(shard["samples"] for shard in dataset.shards)]
        self._numbers = {shard["file"]: k for k, shard in enumerate(dataset.shards)}

    def __len__(self) -> int:
        return len(self.readable)

    def __getitem__(self, name: str) -> Column:
        return self.part(name, slice(0, len(self)))

    def blocks(self) -> Iterator[slice]:
        """All rows, in stretches of whole shards; at least one. A large field fits into memory by these."""
        begin = 0
        for end in self._starts[1:-1]:
            if end - begin >= _BLOCK_ROWS:
                yield slice(begin, end)
                begin = end
        yield slice(begin, len(self))

    def part(self, name: str, rows: slice) -> Column:
        """A column's rows of a block. Raises ConfigError where there is none of that name."""
        if name in self.words:
            return Texts(self._stored[name][rows], self.words[name])
        if name in self._stored:
            return self._stored[name][rows]
        if name not in ABOUT:
            raise ConfigError(f"no column {name!r}. There are {', '.join(ABOUT)}.")
        return self._gather(name, rows)

    def place(self, row: int) -> tuple[dict[str, Any], int]:
        """The entry of dataset.json and the position in it of a row."""
        shard = int(np.searchsorted(self._starts, row, "right")) - 1
        return self.dataset.shards[shard], row - self._starts[shard]

    def rows_of_file(self, file: str) -> range:
        """The rows of a shard. Raises ConfigError where there is none of that name."""
        if file not in self._numbers:
            raise ConfigError(f"{file}: is no shard of {self.dataset.folder}.")
        k = self._numbers[file]
        return range(self._starts[k], self._starts[k + 1])

    def row_of(self, index: int) -> int | None:
        """The row of a sample's index; None where the dataset holds none."""
        found = np.flatnonzero(self._stored["index"] == index)
        return int(found[0]) if len(found) else None

    def _gather(self, name: str, rows: slice) -> Array:
        spec = SPECS[name]
        values = np.zeros((rows.stop - rows.start, *(int(d) for d in spec.dims.split())), spec.dtype)
        with self._gathering:
            readable = self.readable.copy()
            for k in range(bisect_right(self._starts, rows.start) - 1, bisect_left(self._starts, rows.stop)):
                try:
                    held = slice(self._starts[k] - rows.start, self._starts[k + 1] - rows.start)
                    values[held] = self.dataset.small_arrays_of(k)[name]
                except AihError as error:
                    log.warning("%s", error)
                    readable[self._starts[k] : self._starts[k + 1]] = False  # else zeros would pass for its figures
                self.dataset.release()  # to read a mapped file that somebody has cut short would end the process
            self.readable = readable
        return values


def open_columns(folder: Path, on_progress: Callable[[int, int], None] | None = None) -> Columns:
    """The columns of a dataset folder, flagged samples among them: from the file beside dataset.json, or made now and
    kept there.

    A file that does not belong to dataset.json is made again; where the folder takes no file, or a shard cannot be
    read, the columns are kept in memory alone. on_progress gets shards done and in all. Raises ConfigError and
    ShardError as open_dataset does.
    """
    dataset = open_dataset(folder, flagged=True)
    path, digest = folder / COLUMNS_FILE, hashlib.sha256((folder / LISTING_FILE).read_bytes()).hexdigest()
    kept = _read(path, digest, len(dataset))
    if kept is not None:
        return Columns(dataset, *kept)
    stored, words = _collect(dataset, on_progress)
    if stored["readable"].all() and len(dataset):
        try:
            _write(path, digest, stored, words)
            kept = _read(path, digest, len(dataset))  # mapped: what is not looked at costs no memory
        except ShardError as error:
            log.warning("columns are kept in memory alone: %s", error)
    return Columns(dataset, *(kept or (stored, words)))


def hands_of(folder: Path) -> tuple[HandModel, HandModel]:
    """The right and left hand of a dataset; the open hand where it is imported or its plan cannot be read."""
    if imported_listing(folder) is not None:
        return hand_pair(open_hand(), "native")
    try:
        plan = load_plan(folder)
        return load_hands(plan.manifest, plan.cache)[0]
    except AihError as error:
        log.warning("angles and directions are read with the open hand, not the dataset's: %s", error)
        return hand_pair(open_hand(), "native")


def _collect(
    dataset: Dataset, on_progress: Callable[[int, int], None] | None
) -> tuple[dict[str, Array], dict[str, list[str]]]:
    """One pass over the shards."""
    count, hands = len(dataset), hands_of(dataset.folder)
    stored: dict[str, Array] = {"readable": np.zeros(count, bool), "heat": np.zeros(HEAT_SHAPE, np.int64)}
    size_px = read_json(dataset.folder / LISTING_FILE).get("image_size_px")
    for name in _STORED:
        spec = ABOUT[name]
        stored[name] = np.zeros((count, *(int(d) for d in spec.dims.split())), spec.dtype)
    codes: dict[str, dict[str, int]] = {name: {} for name in _TEXTS}
    stored |= {name: np.zeros(count, np.int32) for name in _TEXTS}
    begin = 0
    for k, shard in enumerate(dataset.shards):
        rows = slice(begin, begin + shard["samples"])
        begin = rows.stop
        texts: dict[str, Any] = {"engine": shard["engine"], "split": shard["split"]}
        try:
            plain = dataset.small_arrays_of(k)
            derived = derive(plain, hands)
            texts = {name: plain[name] for name in _TEXTS} | texts
            for name in _SMALL:
                stored[name][rows] = plain[name]
            for name in DERIVED:
                stored[name][rows] = derived[name]
            if isinstance(size_px, int) and size_px > 0:
                stored["heat"][SPLITS.index(shard["split"])] += count_keypoints(plain, size_px)
            stored["readable"][rows] = True
        except (AihError, *DAMAGE) as error:
            log.warning("%s: cannot be read: %s", shard["file"], error)
        last = shard["first"] + shard["samples"]  # of dataset.json: a sample has its name, its shard damaged or not
        stored["index"][rows] = indices_of(shard["engine"], shard["split"], shard["first"], last)
        for name in _TEXTS:
            stored[name][rows] = _coded(codes[name], texts.get(name, ""))
        dataset.release()
        if on_progress is not None:
            on_progress(k + 1, len(dataset.shards))
    return stored, {name: list(of) for name, of in codes.items()}


def _coded(known: dict[str, int], texts: Any) -> Any:
    """Codes of texts, of which unknown ones are added; of one text or of many as bytes."""
    if isinstance(texts, str):
        return known.setdefault(texts, len(known))
    words, places = np.unique(texts, return_inverse=True)
    return np.array([known.setdefault(word.decode(), len(known)) for word in words], np.int32)[places]


def _write(path: Path, digest: str, stored: dict[str, Array], words: dict[str, list[str]]) -> None:
    with whole_file(path) as temporary, h5py.File(temporary, "w", libver=LIBVER) as file:
        write_attributes(file, {"format": _FORMAT, "version": _VERSION, "of": digest})
        for name, values in stored.items():
            file.create_dataset(name, data=values.view(np.uint8) if values.dtype == bool else values)
        file.create_dataset("words", data=np.frombuffer(json.dumps(words).encode(), np.uint8))


def _read(path: Path, digest: str, count: int) -> tuple[dict[str, Array], dict[str, list[str]]] | None:
    """What the file holds, mapped; None where it is not there, damaged, or of other samples or of another version."""
    if not path.is_file():
        return None
    try:
        with h5py.File(path, "r") as file:
            head = read_attributes(file)
            if (head.get("format"), head.get("version"), head.get("of")) != (_FORMAT, _VERSION, digest):
                log.info("%s: of another state of the dataset; it is made again", path)
                return None
            tables = {name: table(file, name, *_layout(name)) for name in ("readable", *_STORED, *_TEXTS)}
            words, heat = json.loads(np.asarray(file["words"]).tobytes()), np.asarray(file["heat"])
        if any(t.shape[0] != count for t in tables.values()) or heat.shape != HEAT_SHAPE:
            return None
        arrays = map_file(path, tables) | {"heat": heat}
    except DAMAGE as error:
        log.warning("%s: damaged (%s); it is made again", path, error)
        return None
    bools = [name for name in tables if _dtype(name).kind == "b"]
    return arrays | {name: arrays[name].view(bool) for name in bools}, words


def _dtype(name: str) -> np.dtype:
    if name == "readable":
        return np.dtype(bool)
    return np.dtype(np.int32) if name in _TEXTS else np.dtype(ABOUT[name].dtype)


def _layout(name: str) -> tuple[np.dtype, tuple[int, ...]]:
    dtype = np.dtype(np.uint8) if _dtype(name).kind == "b" else _dtype(name).newbyteorder("<")
    dims = () if name == "readable" or name in _TEXTS else tuple(int(d) for d in ABOUT[name].dims.split())
    return dtype, dims
