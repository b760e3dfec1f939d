"""Shards that nobody wrote: whatever the bytes, a reader gives samples of the record's types or a ShardError.

Every family of inputs is bounded in memory, and says how many it tried (--log-cli-level=INFO shows it).
"""

import logging
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aih_builder import Sample
from aih_builder.errors import ShardError
from aih_builder.imaging import encode_jpeg, encode_png
from aih_builder.shards.format import PLAIN_FIELDS, REQUIRED_PARTS
from aih_builder.shards.reader import ShardReader
from aih_builder.tables import LIBVER

MOST_GROWTH_MIB = 64  # of this process, whatever a file says
SIDE_PX = 96  # of the samples of small_dataset

log = logging.getLogger(__name__)


def examples(count: int) -> settings:
    return settings(max_examples=count, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


FEW, MANY = examples(100), [pytest.param(100, id="some"), pytest.param(4000, id="many", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def real(small_dataset: Path) -> bytes:
    """A shard as `generate` made it: two samples of 96 px."""
    return (small_dataset / "render/train/render-train-00000.h5").read_bytes()


def memory_mib(key: str) -> float:
    return int(Path("/proc/self/status").read_text().partition(f"{key}:")[2].split()[0]) / 1024


@contextmanager
def bounded_memory() -> Iterator[None]:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory_mib("VmRSS")
    yield
    assert memory_mib("VmHWM") - before < MOST_GROWTH_MIB


def outcome(path: Path, data: bytes) -> str:
    """What comes of reading a file whole. Anything but samples or a ShardError is a failure."""
    path.write_bytes(data)
    try:
        reader = ShardReader(path)
    except ShardError:
        return "refused"
    found = []
    for i in range(len(reader)):
        try:
            found.append(type(reader.sample(i)))
        except ShardError:
            continue
    assert set(found) <= {Sample}
    return "read" if len(found) == len(reader) else "damaged"


def run(strategy: st.SearchStrategy[bytes], count: int, path: Path) -> Counter[str]:
    """Try so many inputs, within bounded memory; what came of them."""
    outcomes: Counter[str] = Counter()

    @examples(count)
    @given(strategy)
    def try_one(data: bytes) -> None:
        with bounded_memory():  # of each input: hypothesis itself keeps some 50 KB of every one
            outcomes[outcome(path, data)] += 1

    try_one()
    log.info("%d inputs: %s", outcomes.total(), dict(outcomes))
    assert outcomes.total() >= count // 2
    return outcomes


@pytest.mark.parametrize("count", MANY)
def test_random_bytes_are_refused(real: bytes, count: int, tmp_path: Path) -> None:
    """Alone, behind HDF5's signature, or behind the beginning of a real shard."""
    begin = st.sampled_from([0, 8, 16, 48, 96, 200, 1000, 4000])
    inputs = st.builds(lambda size, data: real[:size] + data, begin, st.binary(max_size=3000))
    assert set(run(inputs, count, tmp_path / "it.h5")) == {"refused"}


@pytest.mark.parametrize("count", MANY)
def test_every_truncation_is_refused(real: bytes, count: int, tmp_path: Path) -> None:
    inputs = st.integers(0, len(real) - 1).map(lambda size: real[:size])
    assert set(run(inputs, count, tmp_path / "it.h5")) == {"refused"}


@pytest.mark.parametrize("count", MANY)
def test_flipped_and_overwritten_bytes(real: bytes, count: int, tmp_path: Path) -> None:
    """Anywhere, and in the data behind the head, which no checksum of HDF5 guards."""

    def damage(edits: list[tuple[int, bytes]]) -> bytes:
        data = bytearray(real)
        for place, new in edits:
            data[place : place + len(new)] = new
        return bytes(data[: len(real)])

    place = st.integers(0, len(real) - 1) | st.integers(2000, len(real) - 1)
    edit = st.tuples(place, st.binary(min_size=1, max_size=64) | st.integers(0, 255).map(lambda b: bytes([b])))
    inputs = st.lists(edit, min_size=1, max_size=8).map(damage)
    outcomes = run(inputs, count, tmp_path / "it.h5")
    assert set(outcomes) == {"refused", "damaged", "read"} or outcomes.total() < 1000


def with_parts(real: bytes, parts: Mapping[str, bytes]) -> bytes:
    """The shard with some parts of its first sample replaced, and everything else consistent."""
    with h5py.File.in_memory(real) as source:
        offsets: Any = source["offsets"][:]  # pyright: ignore[reportIndexIssue]
        blob: bytes = source["blob"][:].tobytes()  # pyright: ignore[reportIndexIssue, reportAttributeAccessIssue]
        rows = [[blob[a:b] for a, b in pairwise(row)] for row in offsets.tolist()]
        for name, data in parts.items():
            rows[0][REQUIRED_PARTS.index(name)] = data
        ends = np.cumsum([0, *(len(part) for row in rows for part in row)])
        table = np.array([ends[i * 4 : i * 4 + 5] for i in range(len(rows))], np.int64)
        with h5py.File("it", "w", driver="core", backing_store=False, libver=LIBVER) as file:
            for key, value in source.attrs.items():
                file.attrs[key] = value
            for name in PLAIN_FIELDS:
                source.copy(name, file)
            file.create_dataset("offsets", data=table)
            file.create_dataset("blob", data=np.frombuffer(b"".join(b"".join(row) for row in rows), np.uint8))
            file.flush()
            return file.id.get_file_image()


def jpeg_of(height: int, width: int) -> bytes:
    """A small JPEG whose head says that it is of this size."""
    data = bytearray(encode_jpeg(np.zeros((16, 16, 3), np.uint8)))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def png_of(height: int, width: int) -> bytes:
    """Likewise a PNG."""
    data = bytearray(encode_png(np.zeros((16, 16, 3), np.uint8)))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def bmp_of(height: int, width: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 4096, 0, 0, 54) + head + bytes(4096)


BOMBS = {
    "a JPEG that says it is huge": {"image": jpeg_of(65500, 65500)},
    "a PNG that says it is huge": {"image": png_of(30000, 30000)},
    "a picture of another kind": {"image": bmp_of(20000, 20000)},
    "a picture a little too large": {"image": jpeg_of(2049, 64)},
    "masks that unpack to a gigabyte": {"masks": zlib.compress(bytes(2**30), 1)},
    "masks of a pixel more": {"masks": zlib.compress(bytes(SIDE_PX * SIDE_PX + 1))},
    "masks of a pixel less": {"masks": zlib.compress(bytes(SIDE_PX * SIDE_PX - 1))},
    "masks without an end": {"masks": zlib.compress(bytes(SIDE_PX * SIDE_PX))[:-4]},
    "a patch that says it is huge": {
        "masks": zlib.compress(bytes([16 + 32]) * SIDE_PX**2),
        "target_right": struct.pack("<4H", 0, SIDE_PX, 0, SIDE_PX) + png_of(30000, 30000),
    },
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_part_that_would_take_a_lot_of_memory_is_refused_before_it_does(
    real: bytes, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "it.h5"
    path.write_bytes(with_parts(real, BOMBS[what]))
    reader = ShardReader(path)
    with bounded_memory(), pytest.raises(ShardError, match=r"it\.h5: sample 0: "):
        reader.sample(0)
    assert isinstance(reader.sample(1), Sample)


@pytest.mark.parametrize("count", MANY)
def test_parts_of_any_bytes(real: bytes, count: int, tmp_path: Path) -> None:
    sizes = st.sampled_from([0, 1, SIDE_PX, 2048]) | st.integers(0, 65535)
    pictures = st.builds(jpeg_of, sizes, sizes) | st.builds(png_of, sizes, sizes)
    data = st.binary(max_size=300) | pictures | st.binary(max_size=300).map(zlib.compress)
    boxes = st.tuples(*[st.integers(0, 99)] * 4).map(lambda box: struct.pack("<4H", *box))
    data |= st.builds(bytes.__add__, boxes, data)
    names = st.sampled_from(list[str](REQUIRED_PARTS))
    inputs = st.dictionaries(names, data, min_size=1).map(lambda parts: with_parts(real, parts))
    assert "damaged" in run(inputs, count, tmp_path / "it.h5")


def edited(real: bytes, edit: Callable[[h5py.File], None]) -> bytes:
    with h5py.File.in_memory(real) as file:
        edit(file)
        file.flush()
        return file.id.get_file_image()


def odd_table(name: str, kind: str, shape: tuple[int, ...]) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[name]
        if kind == "text":
            file.create_dataset(name, shape, h5py.string_dtype())
        elif kind == "chunked":
            file.create_dataset(name, shape, "u1", chunks=True)
        elif kind == "elsewhere":
            file.create_dataset(name, shape, "u1", external=[("other.bin", 0, h5py.h5f.UNLIMITED)])
        else:
            file.create_dataset(name, shape, kind)

    return edit


@pytest.mark.parametrize("count", [pytest.param(60, id="some"), pytest.param(800, id="many", marks=pytest.mark.slow)])
def test_tables_of_any_type_and_shape(real: bytes, count: int, tmp_path: Path) -> None:
    name = st.sampled_from(["blob", "offsets", *PLAIN_FIELDS])
    kind = st.sampled_from(["u1", "<i8", ">i8", "f4", "S8", "c16", "text", "chunked", "elsewhere"])
    shape = st.lists(st.integers(0, 5) | st.integers(2**20, 2**40), min_size=1, max_size=3).map(tuple)
    shape = shape.filter(lambda s: np.prod([float(n) for n in s]) < 2**55)
    inputs = st.builds(lambda n, k, s: edited(real, odd_table(n, k, s)), name, kind, shape)
    assert "refused" in run(inputs, count, tmp_path / "it.h5")


def _link_to_a_pipe(file: h5py.File, pipe: Path) -> None:
    del file["blob"]
    file["blob"] = h5py.ExternalLink(str(pipe), "/blob")


def _link_to_another_shard(file: h5py.File, other: Path) -> None:
    del file["offsets"]
    file["offsets"] = h5py.ExternalLink(str(other), "/offsets")


@pytest.mark.parametrize("link", [_link_to_a_pipe, _link_to_another_shard])
def test_a_shard_reaches_into_no_other_file(real: bytes, tmp_path: Path, link: Callable[..., None]) -> None:
    """A pipe that nobody writes to would hold the reader up for ever."""
    pipe, other = tmp_path / "pipe.h5", tmp_path / "other.h5"
    os.mkfifo(pipe)
    other.write_bytes(real)
    target = pipe if link is _link_to_a_pipe else other
    path = tmp_path / "it.h5"
    path.write_bytes(edited(real, lambda file: link(file, target)))
    with pytest.raises(ShardError, match=r"it\.h5: not a readable shard"):
        ShardReader(path)


ATTRIBUTES = {
    "text of any length": "x",
    "texts": ["a", "b"],
    "a lot": np.zeros(2**13),
    "a record": np.zeros(2, "i4,f8"),
    "nothing": h5py.Empty("f4"),
}


@pytest.mark.parametrize("what", ATTRIBUTES)
def test_an_attribute_of_another_kind_is_not_read(real: bytes, what: str, tmp_path: Path) -> None:
    """Text of any length lies in a heap, in which HDF5 can loop for ever."""
    path = tmp_path / "it.h5"
    for name in ("fields", "schema", "format"):
        path.write_bytes(edited(real, lambda file, name=name: file.attrs.__setitem__(name, ATTRIBUTES[what])))
        with pytest.raises(ShardError, match=r"it\.h5: "):
            ShardReader(path)
    path.write_bytes(edited(real, lambda file: file.attrs.__setitem__("unheard of", ATTRIBUTES[what])))
    assert "unheard of" not in ShardReader(path).attributes


@pytest.mark.parametrize("fields", ['"depth"', '{"depth": 1}', '["depth", "depth"]', '["amodal_mask"]', "[[]]", "[1]"])
def test_fields_that_are_no_list_of_optional_ones_are_refused(real: bytes, fields: str, tmp_path: Path) -> None:
    path = tmp_path / "it.h5"
    path.write_bytes(edited(real, lambda file: file.attrs.__setitem__("fields", np.bytes_(fields))))
    with pytest.raises(ShardError, match=r"not a readable shard"):
        ShardReader(path)
