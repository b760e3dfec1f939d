"""Samples in, the bytes of one shard out."""

import json
import platform
import zlib
from importlib.metadata import version
from typing import NamedTuple

import h5py
import numpy as np

from aih_builder import __version__
from aih_builder.identity import EngineName, Split
from aih_builder.sample import SCHEMA_VERSION, SPECS, Sample
from aih_builder.shards.format import FORMAT, PLAIN_FIELDS, encode_parts, parts_for
from aih_builder.tables import LIBVER, write_attributes, write_column


class ShardHead(NamedTuple):
    """What a shard says of itself."""

    engine: EngineName
    split: Split
    number: int
    plan_hash: str
    fields: tuple[str, ...]  # optional fields stored
    lossless: bool


class ShardWriter:
    """Collects encoded samples; `to_bytes` gives the file. The same samples give the same bytes."""

    def __init__(self, head: ShardHead) -> None:
        self._head = head
        self._parts = parts_for(head.fields)
        self._blob = bytearray()
        self._offsets: list[list[int]] = []
        self._plain: dict[str, list] = {name: [] for name in PLAIN_FIELDS}

    def add(self, sample: Sample) -> None:
        """Encode and keep one sample."""
        row = [len(self._blob)]
        for part in encode_parts(sample, self._parts, lossless=self._head.lossless):
            self._blob += part
            row.append(len(self._blob))
        self._offsets.append(row)
        for name, values in self._plain.items():
            values.append(getattr(sample, name))

    def to_bytes(self) -> bytes:
        """The HDF5 file, made in memory, so that every write error comes from one place."""
        head = self._head._asdict() | {
            "format": FORMAT,
            "schema": SCHEMA_VERSION,
            "fields": json.dumps(self._head.fields),
            "versions": json.dumps(library_versions()),
        }
        with h5py.File("shard", "w", driver="core", backing_store=False, libver=LIBVER) as file:
            write_attributes(file, head)
            file.create_dataset("offsets", data=np.array(self._offsets, np.int64))
            file.create_dataset("blob", data=np.frombuffer(bytes(self._blob), np.uint8))
            for name, values in self._plain.items():
                write_column(file, name, SPECS[name], values)
            file.flush()
            return file.id.get_file_image()


def library_versions() -> dict[str, str]:
    """Versions that the bytes of a shard depend on."""
    names = ("numpy", "numba", "scipy", "opencv-python-headless", "simplejpeg", "h5py")
    return {
        "aih-builder": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "hdf5": h5py.version.hdf5_version,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }
