import contextlib
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder.errors import AssetError
from aih_builder.interop.official_cfgs import KEYS, NOT_MOVED, Cfg, Move, parse_cfg, read_cfgs, read_ids, write_cfgs
from aih_builder.sample import SIDES
from tests.interop.official_reader import hostile, saved_by_numpy

COUNTS = (7, 9)
shifts = st.floats(-1, 1)
moves = st.builds(Move, st.tuples(shifts, shifts), st.floats(0.1, 10), st.floats(-180, 180))


@st.composite
def cfgs(draw: st.DrawFn) -> Cfg:
    target = draw(st.integers(0, 1))
    below, above = (draw(st.integers(0, COUNTS[side] - 1)) for side in (target, 1 - target))
    return Cfg(target, below, above, draw(moves), draw(moves), draw(st.floats(0, 1)))


def record(**changes: Any) -> dict[str, Any]:
    good: dict[str, Any] = {
        "loop_side": "left",
        "loop_side_idx": 8,
        "another_side_idx": 0,
        "r_aug_list": [[0.1, -0.1], 1.1, 30.0, np.ones(3)],
        "l_aug_list": [[0.0, 0.0], 1.0, 0, None],
        "occlusion_rate": 0.5,
    }
    return good | changes


def written(path: Path, content: list[dict[str, Any]]) -> Path:
    saved_by_numpy(path, content)
    return path


@given(st.lists(cfgs(), max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, made: list[Cfg]) -> None:
    path = tmp_path_factory.mktemp("cfgs") / "all.npy"
    path.write_bytes(write_cfgs(made))
    assert [parse_cfg(found, COUNTS) for found in read_cfgs(path)] == made
    loaded = np.load(path, allow_pickle=True).tolist()  # as the official reader does
    assert [found["loop_side"] for found in loaded] == [SIDES[cfg.target] for cfg in made]
    for found in loaded:
        found["r_aug_list"][-1] = np.ones(3)
        assert len(found["l_aug_list"]) == 4
        assert found["l_aug_list"][-1] == [1.0, 1.0, 1.0]


def test_the_file_names_only_modules_that_every_numpy_knows() -> None:
    data = write_cfgs([Cfg(0, 0, 0, NOT_MOVED, NOT_MOVED, 0.5)])
    opcodes = list(pickletools.genops(data[data.index(b"\n") + 1 :]))
    assert max(opcode.proto for opcode, _, _ in opcodes) <= 3
    names = {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}
    assert names <= {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype", "_codecs encode"}


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
def test_a_file_that_numpy_saved_is_read(tmp_path: Path, kind: type) -> None:
    shift = np.array([0.25, -0.5])
    path = written(
        tmp_path / "all.npy",
        [record(r_aug_list=[shift, kind(1.5), kind(45), np.ones(3)], loop_side_idx=np.int64(3)), record()],
    )
    first, second = (parse_cfg(found, COUNTS) for found in read_cfgs(path))
    assert first == Cfg(1, 3, 0, Move((0.25, -0.5), 1.5, 45.0), Move((0.0, 0.0), 1.0, 0.0), 0.5)
    assert second.target_place == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loop_side": "middle"}, "loop_side is 'middle', expected right or left"),
        ({"loop_side_idx": 9}, r"loop_side_idx is 9, expected a place in a list of 9 \(0 to 8\)"),
        ({"another_side_idx": 7}, "another_side_idx is 7, expected a place in a list of 7"),
        ({"loop_side_idx": -1}, "loop_side_idx is -1"),
        ({"loop_side_idx": 1.0}, "loop_side_idx is 1.0"),
        ({"loop_side_idx": True}, "loop_side_idx is True"),
        ({"another_side_idx": -1000}, "no partner"),
        ({"r_aug_list": [[0, 0], 1.0, 0.0, None, "right"]}, "r_aug_list has 5 items, expected a list of 4"),
        ({"r_aug_list": None}, "r_aug_list has NoneType"),
        ({"l_aug_list": [0.0, 1.0, 0.0, None]}, r"l_aug_list begins with float, expected \[tx, ty\]"),
        ({"l_aug_list": [[0.0, np.nan], 1.0, 0.0, None]}, "l_aug_list holds .* expected a finite number"),
        ({"l_aug_list": [[0.0, 0.0], 0.0, 0.0, None]}, "scale 0, .*no hand is moved that far"),
        ({"l_aug_list": [[50.0, 0.0], 1.0, 0.0, None]}, "shift 50, 0"),
        ({"l_aug_list": [[10**400, 0.0], 1.0, 0.0, None]}, "expected a finite number"),
        ({"occlusion_rate": "much"}, "occlusion_rate holds a str"),
    ],
)
def test_a_wrong_record_says_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_cfg(record(**change), COUNTS)


@pytest.mark.parametrize("key", KEYS)
def test_a_misspelt_key_is_named(key: str) -> None:
    content = record()
    content[f"{key}s"] = content.pop(key)
    with pytest.raises(ValueError, match=rf"lacks {key} \(it has .*{key}s"):
        parse_cfg(content, COUNTS)


def test_something_that_is_no_record_is_named() -> None:
    with pytest.raises(ValueError, match="is a list, expected a dict"):
        parse_cfg([1], COUNTS)


class Foreign:
    """Runs a command when a careless reader unpickles it."""

    def __reduce__(self) -> tuple:
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Foreign(), r"names (posix|nt).system, which a file of records has no use for"),
        (np.array([{"a": Foreign()}], object), r"names (posix|nt).system"),
        ([{}], "holds <class 'list'>, expected an array of 1 objects"),
        (np.zeros(1), r"holds an array float64 \(1,\), expected an array of 1 objects"),
        (np.array([{}, {}], object), r"holds an array object \(2,\), expected an array of 1 objects"),
    ],
)
def test_a_pickle_of_anything_else_is_refused(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "all.npy"
    path.write_bytes(hostile(content))
    with pytest.raises(AssetError, match=message) as caught:
        read_cfgs(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY", b"<html>", pickle.dumps([{}]), b"\x93NUMPY\x01\x00\xff\xff{'descr': '<f8'"]
)
def test_a_file_that_is_no_row_of_objects_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "all.npy").write_bytes(data)
    with pytest.raises(AssetError, match=r"not a \.npy file of objects"):
        read_cfgs(tmp_path / "all.npy")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="cannot be read"):
        read_cfgs(tmp_path / "all.npy")


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_but_never_breaks(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    spoilt = bytearray(write_cfgs([Cfg(0, 1, 2, NOT_MOVED, NOT_MOVED, 0.5)] * 2))
    for _ in range(data.draw(st.integers(1, 4))):
        spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(spoilt[: data.draw(st.integers(0, len(spoilt)))] if data.draw(st.booleans()) else spoilt)
    with contextlib.suppress(AssetError):
        found = read_cfgs(path)
        assert len(found) == 2
        for one in found:
            with contextlib.suppress(ValueError):
                assert isinstance(parse_cfg(one, COUNTS), Cfg)


@pytest.mark.parametrize("text", ["1\n22\n", "1\r\n22", "1.000000000000000000e+00\n2.2e+01\n\n"])
def test_file_ids_are_read_however_numpy_wrote_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    assert read_ids(tmp_path / "list.txt") == [1, 22]


@pytest.mark.parametrize("text", ["1\nx\n", "1\n1.5\n", "1\n-3\n", "1\nnan\n", "1\ninf\n", "1\n4294967296\n"])
def test_a_line_that_is_no_file_id_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(AssetError, match=r"line 2 is .* expected a file id"):
        read_ids(tmp_path / "list.txt")


@pytest.mark.parametrize("data", [None, b"\xff\xfe1"])
def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "list.txt").write_bytes(data)
    with pytest.raises(AssetError, match="cannot be read"):
        read_ids(tmp_path / "list.txt")
