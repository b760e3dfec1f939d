"""Reads pickles of MANO's kind without running code from them.

A pickle can name any callable. This reader knows a closed list: numpy's arrays, scipy's sparse matrices and the
classes of chumpy, in which MANO's original files store arrays. The last two become inert records that are evaluated
here, so neither library's code sees the file. Any other name is refused.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from aih_builder.errors import AssetError

# What damaged or hostile bytes make the unpickler raise, by the documentation of `pickle`.
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    UnicodeError,
    ValueError,
)


class _Record:
    """Stands in for an object of a foreign class: keeps its state, does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Chumpy(_Record):
    """A constant (x), a selection (a, idxs, preferred_shape), a transposition (a, axes) or a wrapper (a)."""

    def array(self) -> np.ndarray:
        """The array that the object stands for."""
        state = self.__dict__
        if "a" not in state:
            return np.asarray(state["x"])
        inner = as_array(state["a"])
        if "idxs" in state:
            return inner.ravel()[np.asarray(state["idxs"])].reshape(state["preferred_shape"])
        return inner.transpose(state["axes"]) if "axes" in state else inner


class _Compressed(_Record):
    """A scipy matrix compressed along columns or rows."""

    by_column: bool

    def array(self) -> np.ndarray:
        """The array that the object stands for, dense."""
        state = self.__dict__
        rows, columns = state["_shape"] if "_shape" in state else state["shape"]
        data, indices, starts = (np.asarray(state[key]) for key in ("data", "indices", "indptr"))
        lines = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        dense = np.zeros((int(rows), int(columns)))
        index = (indices, lines) if self.by_column else (lines, indices)
        np.add.at(dense, index, data)
        return dense


class _ByColumn(_Compressed):
    by_column = True


class _ByRow(_Compressed):
    by_column = False


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes; any other codec is refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r}")
    return text.encode("latin1")


def _new_object(cls: type, _base: type, _state: object) -> object:
    """How protocols 0 and 1 make an object of a plain class."""
    if not issubclass(cls, _Record):
        raise pickle.UnpicklingError(f"an object of {cls.__name__}")
    return cls()


def _new_array(_kind: type, _shape: object, _code: object) -> np.ndarray:
    """How protocols up to 4 make an array: an empty one, whose state follows."""
    return np.empty(0)


def _array_of_bytes(data: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """How protocol 5 makes an array."""
    if dtype.hasobject or order not in ("C", "F"):
        raise pickle.UnpicklingError(f"an array of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _number(dtype: np.dtype, data: bytes | str) -> object:
    """How a numpy scalar is made. Python 2 wrote bytes as text."""
    if dtype.hasobject:
        raise pickle.UnpicklingError(f"a number of {dtype}")
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype)[0]


class _ArrayKind:
    """The name `numpy.ndarray`, which pickles mention beside the array's maker."""


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _ArrayKind,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    ("numpy.core.numeric", "_frombuffer"): _array_of_bytes,
    ("numpy._core.numeric", "_frombuffer"): _array_of_bytes,
    ("_codecs", "encode"): _encode,
    ("copy_reg", "_reconstructor"): _new_object,
    ("copyreg", "_reconstructor"): _new_object,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "set"): set,  # chumpy's objects carry sets of names
    ("builtins", "set"): set,
}
_SPARSE = {"csc_matrix": _ByColumn, "csc_array": _ByColumn, "csr_matrix": _ByRow, "csr_array": _ByRow}


class _Unpickler(pickle.Unpickler):
    """Finds only what this module lists."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        package = module.partition(".")[0]
        if package == "chumpy":
            return _Chumpy
        if module.startswith("scipy.sparse") and name in _SPARSE:
            return _SPARSE[name]
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise _ForeignClassError(f"{module}.{name}")


class _ForeignClassError(Exception):
    """The pickle names something that is not on the list."""


def load_dict(data: bytes, where: object) -> dict[str, Any]:
    """The dictionary that a pickle holds; arrays of foreign kinds are still records, see as_array.

    Raises AssetError, which begins with `where`, for damaged data, a class that is not on the list, or another
    top-level type.
    """
    try:
        content = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except _ForeignClassError as error:
        raise AssetError(
            f"{where}: the pickle names {error}, which a hand model has no use for. Such a file can run any code: "
            "it was not read. Get the file from its publisher again."
        ) from error
    except _DAMAGE as error:
        raise AssetError(
            f"{where}: not a readable pickle ({error}). It is damaged or of another kind; get it again."
        ) from error
    if not isinstance(content, dict):
        raise AssetError(f"{where}: holds a {type(content).__name__}, expected MANO's dictionary of arrays.")
    return content


def as_array(value: object) -> np.ndarray:
    """A numpy array from a stored value. Raises ValueError where the record cannot be evaluated."""
    if isinstance(value, _Chumpy | _Compressed):
        try:
            return value.array()
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ValueError(f"incomplete {type(value).__name__.strip('_')} object: {error}") from error
    return np.asarray(value)
