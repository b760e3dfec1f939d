import pickle
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import AssetError
from aih_builder.pickles import unpickled

ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
    np.array([True, False]),
    np.array(["a", "Fäuste"]),
    np.zeros((0, 3), np.float32),
    np.array(5.0),
    np.array([{"a": 1}, [np.float64(2.5)]], object),
]


def read(content: object, protocol: int = 2) -> Any:
    return unpickled(pickle.dumps(content, protocol=protocol), "file.pkl", "a test")


class Stored:
    """An array's maker with whatever state."""

    def __init__(self, *state: object) -> None:
        self.state = state

    def __reduce__(self) -> tuple:
        maker, arguments, _ = np.zeros(1).__reduce__()  # type: ignore[misc]
        return maker, arguments, self.state


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_any_protocol_come_back_equal(protocol: int) -> None:
    for array in ARRAYS:
        if array.dtype.hasobject and protocol == 5:
            continue  # which then is made as by protocol 4
        found = np.asarray(read(array, protocol))
        assert (found.dtype.newbyteorder("="), found.shape) == (array.dtype.newbyteorder("="), array.shape)
        assert found.tolist() == array.tolist()


def test_plain_values_come_back_equal() -> None:
    content = {"a": [1, 2.5, "ä", b"x", None, True, (1, {2: 3})], "b": np.float32(0.5), "c": np.int64(-3)}
    assert read(content) == content


@pytest.mark.parametrize(
    "state",
    [
        (1, (1_000_000,), np.dtype(object), False, [1]),  # numpy would read memory that is not its own
        (1, (2,), np.dtype(object), False, [1]),
        (1, (-1,), np.dtype(object), False, []),
        (1, (2,), np.dtype("f8"), False, b"too short"),
        (1, (2**62, 2**62), np.dtype("f8"), False, b""),
        (1, (1,), "f8", False, b"12345678"),
        (1, (1,), np.dtype([("a", object)]), False, [1]),
        (1, (1,), np.dtype("V8"), False, b"12345678"),
        (1, (True,), np.dtype("f8"), False, b"12345678"),
        (1,),
    ],
)
def test_an_array_whose_state_does_not_fit_is_refused(state: tuple) -> None:
    with pytest.raises(AssetError, match=r"file\.pkl: not a readable pickle"):
        read(Stored(*state))


@pytest.mark.parametrize("content", [print, np.random.default_rng(0), {1, 2}, range(3)])
def test_any_other_name_is_refused(content: object) -> None:
    with pytest.raises(AssetError, match=r"file\.pkl: the pickle names \S+, which a test has no use for"):
        read(content)


def test_a_caller_may_list_other_names() -> None:
    data = pickle.dumps({1, 2}, protocol=2)
    assert unpickled(data, "file.pkl", "a test", _sets) == {1, 2}


def _sets(module: str, name: str) -> Any:
    return set if (module, name) in (("__builtin__", "set"), ("builtins", "set")) else None
