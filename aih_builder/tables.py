"""Records in HDF5: one contiguous dataset per declared field, read back as views of the mapped file."""

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from aih_builder.sample import Array, Spec

# HDF5 1.8's file format: readable everywhere, and its metadata carry checksums.
LIBVER = ("v108", "v108")
_MOST_ATTRIBUTE_BYTES = 1 << 16
# What h5py, numpy, the codecs and json raise when they meet damaged bytes.
DAMAGE = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


class Table(NamedTuple):
    """Where an array lies in a file."""

    start: int
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.dtype.itemsize * prod(self.shape)


def column_dtype(spec: Spec) -> np.dtype:
    """Type of the dataset that holds a field."""
    if spec.max_bytes:
        return h5py.string_dtype("utf-8", spec.max_bytes)
    return np.dtype(spec.dtype).newbyteorder("<")


def write_column(file: h5py.File, name: str, spec: Spec, values: Sequence[Any]) -> None:
    """Store a field of many records."""
    stored = [value.encode() for value in values] if spec.max_bytes else values
    file.create_dataset(name, data=np.array(stored, column_dtype(spec)))


def column_table(file: h5py.File, name: str, spec: Spec) -> Table:
    """Where a field's dataset lies. Raises ValueError where it is not what the spec says."""
    return table(file, name, column_dtype(spec), tuple(int(length) for length in spec.dims.split()))


def table(file: h5py.File, name: str, dtype: np.dtype, dims: tuple[int, ...]) -> Table:
    """Where a dataset (S, *dims) lies. Raises KeyError or ValueError where it is not there or only a link, of another
    type or shape or not contiguous.

    HDF5's own functions: a shard has 36 datasets, and h5py's objects around them take most of the time to open one.
    """
    kind = file.id.links.get_info(name.encode()).type
    if kind != h5py.h5l.TYPE_HARD:  # pyright: ignore[reportAttributeAccessIssue]
        raise ValueError(f"{name} is a link, which may lead into another file")
    dataset = h5py.h5d.open(file.id, name.encode())
    found, shape, start = dataset.dtype, dataset.shape, dataset.get_offset()
    if found != dtype or len(shape) != 1 + len(dims) or shape[1:] != dims or start is None:
        raise ValueError(f"{name} is {found} {shape}, expected {dtype} (S, {dims})")
    return Table(start, dtype, shape)


def map_file(path: Path, tables: Mapping[str, Table]) -> dict[str, Array]:
    """The arrays of a file as views to read only. Raises OSError or ValueError where it cannot be mapped."""
    mapped = np.asarray(np.memmap(path, np.uint8, "r"))
    return {name: mapped[t.start : t.end].view(t.dtype).reshape(t.shape) for name, t in tables.items()}


def write_attributes(file: h5py.File, attributes: Mapping[str, Any]) -> None:
    """Store attributes; text is of fixed length: HDF5 loops for ever in a damaged heap of variable-length text."""
    for name, value in attributes.items():
        file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """A file's attributes as plain Python values. Only single numbers and texts of fixed length are read: see
    write_attributes.
    """
    return {name: _attribute(file, name) for name in file.attrs if _is_plain(file, name)}


def _is_plain(file: h5py.File, name: str) -> bool:
    stored = h5py.h5a.open(file.id, name.encode())
    return stored.shape == () and stored.dtype.kind in "Sbiuf" and stored.get_storage_size() <= _MOST_ATTRIBUTE_BYTES


def _attribute(file: h5py.File, name: str) -> Any:
    value: Any = file.attrs[name]
    return value.decode() if isinstance(value, bytes) else value.item()


def field_value(spec: Spec, stored: Any) -> Any:
    """A field's value for its record, a copy. Bytes of a damaged file that are neither 0 nor 1 are true."""
    if spec.max_bytes:
        return stored.decode()
    if spec.dtype == "bool":
        stored = np.not_equal(stored.view(np.uint8), 0)
    return stored.item() if spec.dims == "" else np.array(stored, spec.dtype)
