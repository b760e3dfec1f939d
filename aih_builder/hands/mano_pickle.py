"""Reads pickles of MANO's kind without running code from them.

Beside numpy's arrays they hold scipy's sparse matrices and the classes of chumpy, in which MANO's original files store
arrays. These become inert records that are evaluated here, so neither library's code sees the file.
"""

import pickle
from typing import Any

import numpy as np

from aih_builder.errors import AssetError
from aih_builder.pickles import Maker, unpickled


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


def _new_object(cls: type, _base: type, _state: object) -> object:
    """How protocols 0 and 1 make an object of a plain class."""
    if not issubclass(cls, _Record):
        raise pickle.UnpicklingError(f"an object of {cls.__name__}")
    return cls()


_PLAIN: dict[tuple[str, str], Maker] = {
    ("copy_reg", "_reconstructor"): _new_object,
    ("copyreg", "_reconstructor"): _new_object,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("__builtin__", "set"): set,  # chumpy's objects carry sets of names
    ("builtins", "set"): set,
}
_SPARSE = {"csc_matrix": _ByColumn, "csc_array": _ByColumn, "csr_matrix": _ByRow, "csr_array": _ByRow}


def _maker(module: str, name: str) -> Maker | None:
    if module.partition(".")[0] == "chumpy":
        return _Chumpy
    if module.startswith("scipy.sparse") and name in _SPARSE:
        return _SPARSE[name]
    return _PLAIN.get((module, name))


def load_dict(data: bytes, where: object) -> dict[str, Any]:
    """The dictionary that a pickle holds; arrays of foreign kinds are still records, see as_array.

    Raises AssetError, which begins with `where`, for damaged data, a class that is not on the list, or another
    top-level type.
    """
    content = unpickled(data, where, "a hand model", _maker)
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
