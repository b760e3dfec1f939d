"""Reading shards and datasets. Files are opened per process, on first read, and never cross a fork."""

import json
import operator
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np

from aih_builder.errors import AihError, ConfigError, ShardError
from aih_builder.files import read_json
from aih_builder.identity import ENGINE_NAMES, SPLITS, EngineName, Split, indices_of, within
from aih_builder.sample import SCHEMA_VERSION, SPECS, Array, Sample
from aih_builder.shards.flags import read_flags, standing
from aih_builder.shards.format import (
    FORMAT,
    LISTING_FILE,
    LISTING_FORMAT,
    PLAIN_FIELDS,
    decode_parts,
    parts_for,
)
from aih_builder.shards.overrides import first_attempts_of
from aih_builder.tables import DAMAGE, column_table, field_value, map_file, read_attributes, table

MAX_OPEN = 256  # files that a dataset keeps open; many systems allow a process 1024


class ShardReader:
    """One shard file: its attributes, its small arrays, and samples on demand. Raises ShardError where it is damaged.

    All arrays are views of the mapped file, so many open shards cost no memory; `release` lets go of the file itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._arrays: dict[str, Array] = {}
        try:
            self._stamp = _stamp(path)
            with h5py.File(path, "r") as file:
                self.attributes = self._head(file)
                self.fields = _optional_fields(self.attributes["fields"])
                self.parts = parts_for(self.fields)
                self._tables = {
                    "offsets": table(file, "offsets", np.dtype("<i8"), (len(self.parts) + 1,)),
                    "blob": table(file, "blob", np.dtype(np.uint8), ()),
                }
                for name in PLAIN_FIELDS:
                    self._tables[name] = column_table(file, name, SPECS[name])
        except DAMAGE as error:
            raise ShardError(
                f"{path}: not a readable shard ({error}). Run `aih repair` on its dataset to make it again."
            ) from error
        self._check_tables()

    def __len__(self) -> int:
        return self._tables["offsets"].shape[0]

    @property
    def plain(self) -> dict[str, Array]:
        """The fields without pixels by name, each (S, ...), to read only."""
        return {name: self._map()[name] for name in PLAIN_FIELDS}

    def sample(self, i: int) -> Sample:
        """Sample i of this shard, decoded."""
        try:
            parts = dict(zip(self.parts, map(memoryview, self.encoded(i)), strict=True))
            return decode_parts(parts, self.plain_values(i), self.fields)
        except (AihError, *DAMAGE) as error:
            raise ShardError(f"{self.path}: sample {i}: {error} Run `aih validate` on the dataset.") from error

    def encoded(self, i: int) -> list[bytes]:
        """The encoded parts of sample i."""
        arrays = self._map()
        row = arrays["offsets"][i]
        data = arrays["blob"][row[0] : row[-1]].tobytes()
        begin = (row - row[0]).tolist()
        return [data[a:b] for a, b in pairwise(begin)]

    def plain_values(self, i: int) -> dict[str, Any]:
        """The fields of sample i that are stored as they are."""
        arrays = self._map()
        return {name: field_value(SPECS[name], arrays[name][i]) for name in PLAIN_FIELDS}

    def release(self) -> None:
        """Close the file; the next read opens it again."""
        self._arrays = {}

    def _map(self) -> dict[str, Array]:
        if not self._arrays:
            try:
                arrays, stamp = map_file(self.path, self._tables), _stamp(self.path)
            except (OSError, ValueError) as error:
                raise ShardError(f"{self.path}: cannot be read ({error}).") from error
            if stamp != self._stamp:
                raise ShardError(f"{self.path}: was replaced while it was read. Open the dataset again.")
            self._arrays = arrays
        return self._arrays

    def _head(self, file: h5py.File) -> dict[str, Any]:
        attributes = read_attributes(file)
        if attributes.get("format") != FORMAT:
            raise ShardError(f"{self.path}: an HDF5 file, but not a shard of this package (no format '{FORMAT}').")
        require_schema(attributes.get("schema"), self.path)
        return attributes

    def _check_tables(self) -> None:
        count, size = len(self), self._stamp[0]
        good = count > 0 and all(t.end <= size for t in self._tables.values())
        good = good and all(self._tables[name].shape[0] == count for name in PLAIN_FIELDS)
        if good:
            offsets = self._map()["offsets"]
            good = offsets.min() >= 0 and offsets.max() <= self._tables["blob"].shape[0]
            good = good and bool((np.diff(offsets, axis=1) >= 0).all())
        if not good:
            raise ShardError(f"{self.path}: its tables do not fit together. Run `aih repair` on its dataset.")


def _optional_fields(text: str) -> list[str]:
    """The optional fields that a shard says it stores. Raises ValueError where it does not say so."""
    fields = json.loads(text)
    known = [name for name, spec in SPECS.items() if spec.optional]
    if not isinstance(fields, list) or any(fields.count(name) > 1 or name not in known for name in fields):
        raise ValueError(f"fields are {text}, expected some of {known}")
    return fields


def _stamp(path: Path) -> tuple[int, int, int]:
    """Size first, and what else tells that a file is still the same."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def require_schema(found: Any, where: Path) -> None:
    """Raise ShardError where a file has another schema than this version reads."""
    if found != SCHEMA_VERSION:
        newer = isinstance(found, int) and found > SCHEMA_VERSION
        remedy = "Install a newer aih-builder to read it." if newer else "Make it again with this version."
        raise ShardError(f"{where}: schema {found}, this version reads schema {SCHEMA_VERSION}. {remedy}")


class Dataset(Sequence[Sample]):
    """A finished dataset folder as a sequence of samples, in the order of dataset.json. Pickles without its files.

    `left_out` are the indices of flagged samples, ascending, that are in its shards but not in the sequence, as they
    were when it was opened; `shards` are the entries of dataset.json, each with as many `samples` as the sequence has.
    """

    def __init__(self, folder: Path, shards: list[dict[str, Any]], flagged: Sequence[int] = ()) -> None:
        """flagged, ascending, are the indices to leave out; others than those of the shards do not matter."""
        self.folder = folder
        self._stored = [shard["samples"] for shard in shards]
        self._kept: dict[int, Array] = {}  # positions of the samples of a shard, where some are left out
        self.left_out: list[int] = []
        if flagged:
            for number, shard in enumerate(shards):
                last = shard["first"] + shard["samples"]
                indices = indices_of(shard["engine"], shard["split"], shard["first"], last)
                if out := within(flagged, indices):
                    self.left_out += out
                    self._kept[number] = np.delete(np.arange(len(indices)), [indices.index(i) for i in out])
            self.left_out.sort()
            shards = [
                shard | {"samples": len(self._kept[number])} if number in self._kept else shard
                for number, shard in enumerate(shards)
            ]
        self.shards = shards
        self._ends = list(accumulate(shard["samples"] for shard in shards))
        self._readers: dict[int, ShardReader] = {}
        self._open: OrderedDict[int, ShardReader] = OrderedDict()
        self._pid = os.getpid()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "list[Sample]": ...
    def __getitem__(self, index: int | slice) -> "Sample | list[Sample]":
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = operator.index(index)
        i += len(self) if i < 0 else 0
        if not 0 <= i < len(self):
            raise IndexError(f"sample {index} of a dataset of {len(self)}")
        shard = bisect_right(self._ends, i)
        i -= self._ends[shard - 1] if shard else 0
        return self._reader(shard).sample(int(self._kept[shard][i]) if shard in self._kept else i)

    def small_arrays(self) -> Iterator[dict[str, Array]]:
        """Shard by shard, the fields without pixels of its samples, by name, each (S, ...), to read only."""
        return map(self.small_arrays_of, range(len(self.shards)))

    def small_arrays_of(self, shard: int) -> dict[str, Array]:
        """The same of one shard, by its place in `shards`. Raises ShardError where it is missing or damaged."""
        plain = self._reader(shard).plain
        if shard in self._kept:
            return {name: values[self._kept[shard]] for name, values in plain.items()}
        return plain

    def release(self) -> None:
        """Let go of all files; the next read opens them anew, as they are then."""
        self._readers, self._open = {}, OrderedDict()

    def _reader(self, shard: int) -> ShardReader:
        if self._pid != os.getpid():
            self._readers, self._open, self._pid = {}, OrderedDict(), os.getpid()
        if shard not in self._readers:
            entry = self.shards[shard]
            reader = ShardReader(self.folder / entry["file"])
            if len(reader) != self._stored[shard]:
                raise ShardError(
                    f"{reader.path}: holds {len(reader)} samples, {LISTING_FILE} says {self._stored[shard]}. "
                    "Run `aih validate` on the dataset."
                )
            self._readers[shard] = reader
        self._open[shard] = self._readers[shard]
        self._open.move_to_end(shard)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].release()
        return self._readers[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": {}, "_open": OrderedDict()}


def open_dataset(
    path: str | os.PathLike[str], split: Split | None = None, engine: EngineName | None = None, *, flagged: bool = False
) -> Dataset:
    """A dataset folder (it holds dataset.json) as a sequence: len(ds), ds[i] -> Sample.

    `split` and `engine` keep the samples of one. Samples that are flagged bad are left out unless `flagged`. Raises
    ConfigError where the folder is no finished dataset or there is no such split or engine, ShardError where
    dataset.json is damaged or of another version, or flags.json is damaged.
    """
    folder, listed = Path(path), Path(path) / LISTING_FILE
    if split is not None and split not in SPLITS:
        raise ConfigError(f"split is {split!r}, expected one of {', '.join(SPLITS)}.")
    if engine is not None and engine not in ENGINE_NAMES:
        raise ConfigError(f"engine is {engine!r}, expected one of {', '.join(ENGINE_NAMES)}.")
    if not listed.is_file():
        started = (folder / "plan.json").is_file()
        what = "is not finished: run `aih generate` again" if started else f"holds no {LISTING_FILE}"
        raise ConfigError(f"{folder}: {what}. Expected a dataset folder made by `aih generate`.")
    content = read_json(listed)
    if content.get("format") != LISTING_FORMAT:
        raise ShardError(f"{listed}: not of this package (no format '{LISTING_FORMAT}').")
    require_schema(content.get("schema"), listed)
    shards = content.get("shards")
    kinds = {"file": str, "engine": str, "split": str, "first": int, "samples": int}
    if not isinstance(shards, list) or not all(
        isinstance(shard, dict) and all(isinstance(shard.get(key), kind) for key, kind in kinds.items())
        for shard in shards
    ):
        raise ShardError(f"{listed}: damaged, its list of shards is not readable. Run `aih generate` or `aih index`.")
    kept = [s for s in shards if split in (None, s["split"]) and engine in (None, s["engine"])]
    return Dataset(folder, kept, [] if flagged else _flagged(folder, content))


def _flagged(folder: Path, listed: dict[str, Any]) -> list[int]:
    """Flagged indices, ascending, without samples that the dataset holds from a later attempt than the flagged one."""
    flags = read_flags(folder)
    if not flags:
        return []
    try:
        return standing(flags, first_attempts_of(listed.get("overrides", {})))
    except ValueError as error:
        raise ShardError(
            f"{folder / LISTING_FILE}: damaged, its overrides: {error}. Run `aih generate` or `aih index`."
        ) from error
