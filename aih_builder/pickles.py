"""Reads pickles of plain values and numpy's arrays without running code from them.

A pickle can name any callable. This reader knows a closed list: what numpy's arrays of numbers, texts and plain values
are made of, or what a caller lists instead; any other name is refused. Nor does numpy itself see a stored state that it
would trust: a list of another length than its array's makes it read memory that is not its own.
"""

import io
import pickle
import re
from collections.abc import Callable
from math import prod
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
    RecursionError,
    TypeError,
    UnicodeError,
    ValueError,
)
_LONGEST_TOLD = 200
_KIND = re.compile(r"b1|[iu][1248]|f[248]|c(8|16)|[SU]\d{1,4}|O8?")

Maker = Callable[..., Any]


def unpickled(
    data: bytes,
    where: object,
    what: str,
    find: Callable[[str, str], Maker | None] | None = None,
    require_tame: Callable[[bytes], None] | None = None,
) -> Any:
    """What a pickle holds; `find` gives the maker for a module and a name, or None: of arrays, where it is not given.

    `require_tame` looks at the bytes first and raises UnpicklingError. Raises AssetError, which begins with `where` and
    calls the file's use `what`, for damaged data and foreign names.
    """
    try:
        if require_tame is not None:
            require_tame(data)
        return _Unpickler(data, find or _of_arrays).load()
    except _ForeignNameError as error:
        raise AssetError(
            f"{where}: the pickle names {told(error)}, which {what} has no use for. Such a file can run any code: "
            "it was not read. Get the file from its publisher again."
        ) from error
    except _DAMAGE as error:
        raise AssetError(
            f"{where}: not a readable pickle ({told(error)}). It is damaged or of another kind; get it again."
        ) from error


def told(what: object) -> str:
    """Text from a file or about it, fit for a message."""
    text = str(what).encode("unicode_escape").decode()
    return text if len(text) <= _LONGEST_TOLD else f"{text[:_LONGEST_TOLD]}..."


class _Kind:
    """Stands in for `numpy.dtype`: an element's type and byte order."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not _KIND.fullmatch(code):
            raise pickle.UnpicklingError(f"an array of {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if self.dtype.kind != "O" and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose stored state is checked before numpy takes it."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        shape, kind, by_column, content = state[-4:]
        if not isinstance(kind, _Kind) or not all(type(length) is int and length >= 0 for length in shape):
            raise pickle.UnpicklingError(f"an array of shape {shape!r}")
        if isinstance(content, str):  # how Python 2 wrote bytes
            content = content.encode("latin1")
        whole = isinstance(content, list if kind.dtype.hasobject else bytes)
        if not whole or len(content) != prod(shape) * (1 if kind.dtype.hasobject else kind.dtype.itemsize):
            raise pickle.UnpicklingError(f"an array whose content does not fill its shape {shape}")
        checked: Any = (1, tuple(shape), kind.dtype, bool(by_column), content)
        super().__setstate__(checked)


def latin1_bytes(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes; any other codec is refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How protocol 2 spells an empty text of bytes: the only call of `bytes` that is known."""
    return b""


def _new_array(_kind: type, _shape: object, _code: object) -> np.ndarray:
    """How protocols up to 4 make an array: an empty one, whose state follows."""
    return np.empty(0).view(_Array)


def _array_of_bytes(data: bytes, kind: _Kind, shape: tuple[int, ...], order: str) -> np.ndarray:
    """How protocol 5 makes an array."""
    if kind.dtype.hasobject or order not in ("C", "F"):
        raise pickle.UnpicklingError(f"an array of {kind.dtype}")
    return np.frombuffer(data, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _number(kind: _Kind, data: bytes | str) -> object:
    """How a numpy scalar is made. Python 2 wrote bytes as text."""
    if kind.dtype.hasobject:
        raise pickle.UnpicklingError(f"a number of {kind.dtype}")
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, kind.dtype)[0]


class _ArrayKind:
    """The name `numpy.ndarray`, which pickles mention beside the array's maker."""


_ALLOWED: dict[tuple[str, str], Maker] = {
    ("numpy", "ndarray"): _ArrayKind,
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    ("numpy.core.numeric", "_frombuffer"): _array_of_bytes,
    ("numpy._core.numeric", "_frombuffer"): _array_of_bytes,
    ("_codecs", "encode"): latin1_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}


def _of_arrays(module: str, name: str) -> Maker | None:
    return _ALLOWED.get((module, name))


class _Unpickler(pickle.Unpickler):
    """Finds only what its caller lists."""

    def __init__(self, data: bytes, find: Callable[[str, str], Maker | None]) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._find = find

    def find_class(self, module: str, name: str) -> Maker:
        maker = self._find(module, name)
        if maker is None:
            raise _ForeignNameError(f"{module}.{name}")
        return maker


class _ForeignNameError(Exception):
    """The pickle names something that is not on the list."""
