"""Arrays as pickles spell them: inert records of what a file says, evaluated without the libraries that wrote it.

numpy's own way from a pickle to an array trusts the file; here every size is held against the bytes that are there
before memory is taken.
"""

import math
import re
from typing import Any, Self

import numpy as np

_NUMBERS = re.compile(r"[biufSU]\d{1,4}")  # kinds of plain numbers and text; all others hold no array of a hand
_MOST_ELEMENTS = 2**19  # of a dense matrix or a list; the largest array of a hand has 0.3 million
_DEEPEST = 16  # record within record


class Record:
    """Stands in for an object of a foreign class: keeps its state, does nothing.

    The state lies in a slot: as attributes it could bid numpy read any memory (`__array_interface__`).
    """

    __slots__ = ("state",)

    state: Any

    def __new__(cls, *_: object) -> Self:
        """Whatever the arguments."""
        made = super().__new__(cls)
        made.state = {}
        return made

    def __setstate__(self, state: object) -> None:
        self.state = state

    def array(self, depth: int) -> np.ndarray:
        """The array that the object stands for; depth is how deep in others it lies. Raises ValueError."""
        del depth
        raise ValueError("it is no array")


class Kind(Record):
    """numpy.dtype: a code such as f8, and the order of its bytes."""

    __slots__ = ("code",)

    code: object

    def __new__(cls, code: object = None, *_: object) -> Self:
        """Only the code counts; the rest says how numpy copies it."""
        made = super().__new__(cls)
        made.code = code
        return made

    def dtype(self) -> np.dtype:
        """numpy's own. Raises ValueError for all but numbers and text."""
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "|"
        if not isinstance(self.code, str) or not _NUMBERS.fullmatch(self.code) or order not in ("<", ">", "=", "|"):
            raise ValueError(f"it holds elements of kind {str(self.code)[:20]!r}, expected numbers")
        return np.dtype(f"{order}{self.code}")


class StoredArray(Record):
    """numpy.ndarray: (version,) shape, kind, whether in Fortran's order, and the raw bytes."""

    __slots__ = ()

    @classmethod
    def of(cls, shape: object, kind: object, fortran: bool, raw: object) -> Self:
        """An array of these parts."""
        made = cls()
        made.state = (shape, kind, fortran, raw)
        return made

    def array(self, depth: int) -> np.ndarray:
        """A read-only array over the raw bytes."""
        del depth
        if not isinstance(self.state, tuple) or not 4 <= len(self.state) <= 5:
            raise ValueError("an array without content")
        shape, kind, fortran, raw = self.state[-4:]
        if isinstance(raw, str):  # Python 2 wrote bytes as text
            raw = raw.encode("latin1")
        if not isinstance(raw, bytes | bytearray) or not isinstance(kind, Kind):
            raise ValueError("an array of objects")  # noqa: TRY004 - of the file, not of a caller
        dtype, sizes = kind.dtype(), _shape(shape)
        needed = math.prod(sizes) * dtype.itemsize
        if needed != len(raw):
            raise ValueError(f"shape {sizes} of {dtype} needs {needed} bytes, has {len(raw)}")
        return np.frombuffer(raw, dtype).reshape(sizes, order="F" if fortran else "C")


class Unevaluated(Record):
    """An object of a class of chumpy that no hand's array needs."""

    __slots__ = ()

    name = ""

    @classmethod
    def named(cls, name: str) -> type["Unevaluated"]:
        """The class of such objects with their class's name."""
        return type("Unevaluated", (cls,), {"__slots__": (), "name": name})

    def array(self, depth: int) -> np.ndarray:
        """Refused: what it would compute is not known here."""
        del depth
        raise ValueError(f"it is a {self.name}, of which only constants, selections and transpositions are read")


class _Chumpy(Record):
    __slots__ = ()

    def _inner(self, key: str, depth: int) -> np.ndarray:
        return as_array(_take(self.state, key), depth + 1)


class Constant(_Chumpy):
    """chumpy.ch.Ch."""

    __slots__ = ()

    def array(self, depth: int) -> np.ndarray:
        """What it holds."""
        return self._inner("x", depth)


class Selection(_Chumpy):
    """chumpy.reordering.Select."""

    __slots__ = ()

    def array(self, depth: int) -> np.ndarray:
        """Elements of the flattened array, in another shape."""
        flat = self._inner("a", depth).ravel()
        chosen = flat[_indices(self._inner("idxs", depth).ravel(), len(flat))]
        return chosen.reshape(_shape(_take(self.state, "preferred_shape")))


class Transposition(_Chumpy):
    """chumpy.reordering.transpose."""

    __slots__ = ()

    def array(self, depth: int) -> np.ndarray:
        """Axes in another order."""
        axes = self.state.get("axes") if isinstance(self.state, dict) else None
        return self._inner("a", depth).transpose(None if axes is None else _shape(axes))


class _Sparse(Record):
    __slots__ = ()

    def _dense(self, depth: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        shape = _shape(_take(self.state, "_shape", "shape"))
        values = as_array(_take(self.state, "data"), depth + 1)
        if len(shape) != 2 or math.prod(shape) > _MOST_ELEMENTS:
            raise ValueError(f"a sparse matrix of shape {shape}")
        if not values.ndim == 1 or not len(values) == len(rows) == len(columns):
            raise ValueError(f"{len(rows)} rows and {len(columns)} columns for {values.shape} values")
        dense = np.zeros(shape)
        np.add.at(dense, (_indices(rows, shape[0]), _indices(columns, shape[1])), values)
        return dense


class _Compressed(_Sparse):
    __slots__ = ()

    def _lines_and_indices(self, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each value, the line along which the matrix is compressed, and the place in it."""
        indices, starts = (as_array(_take(self.state, key), depth + 1) for key in ("indices", "indptr"))
        steps = np.diff(_indices(starts, None))
        if (steps < 0).any() or steps.sum() != len(indices):
            raise ValueError("indptr does not count the values")
        return np.repeat(np.arange(len(steps)), steps), indices


class ByColumn(_Compressed):
    """scipy's csc_matrix or csc_array."""

    __slots__ = ()

    def array(self, depth: int) -> np.ndarray:
        """Dense."""
        columns, rows = self._lines_and_indices(depth)
        return self._dense(depth, rows, columns)


class ByRow(_Compressed):
    """scipy's csr_matrix or csr_array."""

    __slots__ = ()

    def array(self, depth: int) -> np.ndarray:
        """Dense."""
        rows, columns = self._lines_and_indices(depth)
        return self._dense(depth, rows, columns)


class Coordinates(_Sparse):
    """scipy's coo_matrix or coo_array; newer ones keep both coordinates in one tuple."""

    __slots__ = ()

    def array(self, depth: int) -> np.ndarray:
        """Dense."""
        if isinstance(self.state, dict) and "coords" in self.state:
            rows, columns = self.state["coords"]
        else:
            rows, columns = _take(self.state, "row"), _take(self.state, "col")
        return self._dense(depth, as_array(rows, depth + 1), as_array(columns, depth + 1))


def as_array(value: object, depth: int = 0) -> np.ndarray:
    """A numpy array from a stored value. Raises ValueError where there is none in it."""
    if depth > _DEEPEST:
        raise ValueError(f"objects lie more than {_DEEPEST} deep")
    try:
        if isinstance(value, Record):
            return value.array(depth)
        if isinstance(value, list | tuple):
            _require_short(value)
            return np.asarray(value)
    except (IndexError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ValueError(f"{type(value).__name__}: {error}") from error
    if isinstance(value, bool | int | float):
        return np.asarray(value)
    raise ValueError(f"it is a {type(value).__name__}, expected an array")


def _require_short(value: object) -> None:
    """A list may hold one list many times, and that one likewise: refuse what numpy would take years to write out."""
    waiting, seen = [value], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if isinstance(item, list | tuple):
            seen += len(item)
            if seen > _MOST_ELEMENTS:
                raise ValueError("a list of too many elements")
            waiting.extend(inner for inner in item if not isinstance(inner, bool | int | float))
        else:
            raise ValueError(f"a list that holds a {type(item).__name__}")  # noqa: TRY004 - as above


def _take(state: object, *names: str) -> Any:
    """The first of these entries that is there."""
    for name in names:
        if isinstance(state, dict) and name in state:
            return state[name]
    raise ValueError(f"incomplete: it lacks {names[0]}")


def _shape(value: object) -> tuple[int, ...]:
    """A shape, or an order of axes: up to eight counts."""
    sizes = value.array(0).tolist() if isinstance(value, StoredArray) else value
    if isinstance(sizes, int):
        sizes = (sizes,)
    if not isinstance(sizes, tuple | list) or len(sizes) > 8:
        raise ValueError("it has no shape")
    plain = [size.array(0).item() if isinstance(size, StoredArray) else size for size in sizes]
    if not all(isinstance(size, int) and 0 <= size < 2**40 for size in plain):
        raise ValueError("it has no shape")
    return tuple(plain)


def _indices(values: np.ndarray, bound: int | None) -> np.ndarray:
    """Indices of one dimension, below a bound if there is one."""
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(f"indices are {values.dtype} {values.shape}")
    if bound is not None and len(values) and (int(values.min()) < 0 or int(values.max()) >= bound):
        raise ValueError(f"an index is outside 0 to {bound - 1}")
    return values.astype(np.int64)
