"""No bytes make the reader run code, crash, or take memory that the file's size does not justify."""

import inspect
import pickle
import pickletools
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder.errors import AssetError
from aih_builder.hands import mano_pickle, stored_arrays
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.mano_file import inspect_mano, write_mano
from tests.hands import hostile

Read = Callable[..., str | None]

MIB = 2**20
FREE_MIB, PER_BYTE = 4, 600  # what a file may take: a set is 216 bytes for one
FEW_MANY = pytest.mark.parametrize("examples", [200, pytest.param(5_000, marks=pytest.mark.slow)])
BOMBS = hostile.bombs()
REAL = ("plain", "small, protocol 0", "small, protocol 2", "small, protocol 5")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An exported file; and a few of its arrays in pickles of three protocols."""
    path = tmp_path_factory.mktemp("real") / "MANO_RIGHT.pkl"
    write_mano(open_hand(), path)
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    small = {key: content[key][:8] for key in ("v_template", "f", "weights", "kintree_table")}
    small |= {"J_regressor": content["J_regressor"], "bs_type": "lrotmin"}
    return {"plain": path.read_bytes()} | {
        f"small, protocol {protocol}": pickle.dumps(small, protocol=protocol) for protocol in (0, 2, 5)
    }


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Read]:
    """Reads bytes as a file; gives the message of an AssetError, None where it was read. Counts, and says how many."""
    monkeypatch.chdir(tmp_path)
    path, count = tmp_path / "MANO_RIGHT.pkl", 0
    modules = set(sys.modules)

    def attempt(data: bytes, must_fail: bool = False) -> str | None:
        nonlocal count
        count += 1
        path.write_bytes(data)
        message = None
        try:
            assert inspect_mano(path)[1] or not must_fail
        except AssetError as error:
            message = str(error)
        assert message is None or (message.startswith(f"{path}: ") and len(message) < len(str(path)) + 600)
        return message

    yield attempt
    sys.stdout.write(f"inputs tried: {count}\n")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]  # no canary
    grown = {name.partition(".")[0] for name in set(sys.modules) - modules}
    assert not grown & {"antigravity", "chumpy", "webbrowser", "runpy"}


def peak_bytes(read: Read, data: bytes) -> int:
    tracemalloc.start()
    try:
        read(data, must_fail=True)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_every_foreign_name_in_every_form_is_refused_by_name(read: Read) -> None:
    forms = list(hostile.foreign_forms())
    assert len(forms) > 300
    for name, data in forms:
        message = read(data)
        assert message is not None, name
        assert name.partition(" ")[0] in message or "not a readable pickle" in message, name
        if name.endswith(("called", "stacked", "named", "instance", "new")):
            assert "it was not read" in message, (name, message)


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_no_hand_takes_little_memory_and_changes_nothing(read: Read, name: str) -> None:
    before = classes()
    assert peak_bytes(read, BOMBS[name]) < FREE_MIB * MIB + PER_BYTE * len(BOMBS[name])
    assert classes() == before


def classes() -> dict[str, Any]:
    """What the classes and makers of both modules consist of."""
    found = {name: v for m in (mano_pickle, stored_arrays) for name, v in vars(m).items() if isinstance(v, type)}
    functions = {name: {"defaults": v.__defaults__} for name, v in vars(mano_pickle).items() if inspect.isfunction(v)}
    return {name: dict(vars(kind)) for name, kind in found.items()} | functions


@FEW_MANY
def test_random_bytes_are_refused(read: Read, examples: int) -> None:
    @settings(max_examples=examples, derandomize=True, deadline=None, database=None)
    @given(st.binary(max_size=2000), st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"\x80\x02}("]))
    def property_holds(data: bytes, head: bytes) -> None:
        assert read(head + data) is not None or data.startswith(b"}")

    property_holds()


SIMPLE = [
    b"(", b"N", b"}", b"]", b")", b"0", b"2", b"1", b"t", b"\x85", b"\x86", b"\x87", b"R", b"b", b"\x81", b"\x92", b"s",
    b"u", b"a", b"e", b"d", b"l", b"\x8f", b"\x90", b"\x91", b"\x94", b"q\x00", b"q\x01", b"h\x00", b"h\x01", b"K\x00",
    b"K\x03", b"J\xff\xff\xff\xff", b"I01\n", b"G\x7f\xf8\x00\x00\x00\x00\x00\x00", b"C\x08" + bytes(8), b"o", b"Q",
    hostile.text(b"x"), hostile.text(b"v_template"), hostile.text(b"f8"), hostile.text(b"latin1"), hostile.text(b"a"),
    hostile.text(b"idxs"), hostile.text(b"C"), hostile.ints(0, 1), hostile.kind(b"f8"),
    hostile.array(hostile.tuple_of(b"K\x01"), b"f8", b"C\x08" + bytes(8)),
]  # fmt: skip
NAMED = [hostile.named(*name) for name in (*mano_pickle._ALLOWED, ("scipy.sparse", "csc_matrix"), ("chumpy", "X"))]


@FEW_MANY
def test_random_programs_of_known_names_crash_nothing(read: Read, examples: int) -> None:
    piece = st.one_of(st.sampled_from(SIMPLE), st.sampled_from(NAMED))
    call = st.builds(hostile.called, st.sampled_from(NAMED), st.sampled_from(SIMPLE), st.sampled_from(SIMPLE))
    state = st.builds(
        hostile.built,
        st.one_of(call, st.sampled_from(NAMED)),
        st.one_of(piece, st.builds(hostile.tuple_of, piece, piece, piece, piece)),
    )

    @settings(max_examples=examples, derandomize=True, deadline=None, database=None)
    @given(st.lists(st.one_of(piece, call, state), max_size=30), st.booleans())
    def property_holds(pieces: list[bytes], as_hand: bool) -> None:
        program = b"".join(pieces)
        said = read(hostile.hand(program) if as_hand else b"\x80\x04" + program + b".")
        assert said is None or "MANO_RIGHT.pkl: " in said

    property_holds()


@FEW_MANY
@pytest.mark.parametrize("name", REAL)
def test_no_flipped_byte_of_a_real_file_crashes_the_reader(
    read: Read, real: dict[str, bytes], name: str, examples: int
) -> None:
    data = real[name]
    # Opcodes and their small arguments, where a flip tells; and any byte.
    structure = [p + k for _, _, p in pickletools.genops(data) if p is not None for k in range(3) if p + k < len(data)]
    place = st.one_of(st.sampled_from(structure), st.integers(0, len(data) - 1))
    examples = examples // 8 if name == "plain" else examples // 2

    @settings(max_examples=examples, derandomize=True, deadline=None, database=None)
    @given(st.lists(st.tuples(place, st.integers(1, 255)), min_size=1, max_size=4))
    def property_holds(flips: list[tuple[int, int]]) -> None:
        flipped = bytearray(data)
        for where, change in flips:
            flipped[where] ^= change
        said = read(bytes(flipped))
        assert said is None or "MANO_RIGHT.pkl: " in said

    property_holds()


@FEW_MANY
@pytest.mark.parametrize("name", REAL)
def test_every_truncated_file_is_refused(read: Read, real: dict[str, bytes], name: str, examples: int) -> None:
    data = real[name]

    @settings(max_examples=examples // 8, derandomize=True, deadline=None, database=None)
    @given(st.integers(0, len(data) - 1))
    def property_holds(length: int) -> None:
        assert read(data[:length]) is not None

    property_holds()


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(shape=st.lists(st.integers(-3, 2**45), max_size=5), code=st.sampled_from([b"f8", b"i1", b"U9999", b"S0"]))
def test_no_declared_shape_takes_memory(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], code: bytes
) -> None:
    sizes = [b"\x8a\x08" + struct.pack("<q", size) for size in shape]
    data = hostile.hand(hostile.array(hostile.tuple_of(*sizes), code, b"C\x08" + bytes(8)))
    path = tmp_path_factory.getbasetemp() / "shape.pkl"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        _, wrong = inspect_mano(path)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert any(text.startswith("v_template") for text in wrong)
