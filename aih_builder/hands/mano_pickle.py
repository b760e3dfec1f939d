"""Reads pickles of MANO's kind without running code from them.

A pickle can name any callable. This reader knows a closed list: numpy's arrays, scipy's sparse matrices and the
classes of chumpy in which MANO's original files store arrays. All of them become inert records that are evaluated
here, in hands/stored_arrays.py: no library's code sees the file. Any other name is refused.

A pickle can also ask for memory that its size does not justify, so its opcodes are looked at before it is read.
"""

import pickle
import pickletools
from collections.abc import Callable, Iterator
from typing import Any

from aih_builder.errors import AssetError
from aih_builder.hands.stored_arrays import (
    ByColumn,
    ByRow,
    Constant,
    Coordinates,
    Kind,
    Record,
    Selection,
    StoredArray,
    Transposition,
    Unevaluated,
)
from aih_builder.pickles import latin1_bytes, told, unpickled

_MOST_OPCODES = 100_000  # MANO's files have some hundreds
# The hash of a tuple of tuples of tuples overflows Python's stack, and nothing stops it: none can lie deeper than this.
_MOST_TUPLES = 10_000
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}


class _Maker:
    """A function of this module, as a pickle may call it. It takes no state: a pickle must not change it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., object]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> object:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a function that is given a state")


def _new_object(cls: type, _base: type, _state: object) -> Record:
    """How protocols 0 and 1 make an object of a plain class."""
    if not issubclass(cls, Record):
        raise pickle.UnpicklingError(f"an object of {cls.__name__}")
    return cls()


def _new_array(_kind: object, _shape: object, _code: object) -> StoredArray:
    """How protocols up to 4 make an array: an empty one, whose state follows."""
    return StoredArray()


def _array_of_bytes(data: bytes, kind: Kind, shape: tuple[int, ...], order: str) -> StoredArray:
    """How protocol 5 makes an array."""
    return StoredArray.of(shape, kind, order == "F", data)


def _number(kind: Kind, data: bytes | str) -> StoredArray:
    """How a numpy scalar is made. Python 2 wrote bytes as text."""
    return StoredArray.of((), kind, False, data)


_RECONSTRUCT, _SCALAR, _FROM_BUFFER = _Maker(_new_array), _Maker(_number), _Maker(_array_of_bytes)
_OBJECT_OF_CLASS = _Maker(_new_object)

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): Record,  # named beside the array's maker
    ("numpy", "dtype"): Kind,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("_codecs", "encode"): _Maker(latin1_bytes),
    ("copy_reg", "_reconstructor"): _OBJECT_OF_CLASS,
    ("copyreg", "_reconstructor"): _OBJECT_OF_CLASS,
    ("__builtin__", "object"): Record,
    ("builtins", "object"): Record,
    ("__builtin__", "set"): Record,  # chumpy's objects carry sets of names
    ("builtins", "set"): Record,
    ("chumpy.ch", "Ch"): Constant,
    ("chumpy.reordering", "Select"): Selection,
    ("chumpy.reordering", "transpose"): Transposition,
}
_SPARSE = {
    **dict.fromkeys(("csc_matrix", "csc_array"), ByColumn),
    **dict.fromkeys(("csr_matrix", "csr_array"), ByRow),
    **dict.fromkeys(("coo_matrix", "coo_array"), Coordinates),
}


def _maker(module: str, name: str) -> Any:
    if (module, name) in _ALLOWED:
        return _ALLOWED[module, name]
    if (module == "scipy.sparse" or module.startswith("scipy.sparse.")) and name in _SPARSE:
        return _SPARSE[name]
    if module == "chumpy" or module.startswith("chumpy."):
        return Unevaluated.named(told(f"{module}.{name}"))  # refused by name where its value is asked for
    return None


def load_dict(data: bytes, where: object) -> dict[Any, Any]:
    """The dictionary that a pickle holds; arrays are still records, see stored_arrays.as_array.

    Raises AssetError, which begins with `where`, for damaged data, a class that is not on the list, or another
    top-level type.
    """
    content = unpickled(data, where, "a hand model", _maker, _require_tame)
    if not isinstance(content, dict):
        raise AssetError(f"{where}: holds a {type(content).__name__}, expected MANO's dictionary of arrays.")
    return content


def _require_tame(data: bytes) -> None:
    """Raise UnpicklingError for opcodes that would take far more memory, or stack, than the file has bytes."""
    tuples = 0
    for count, (name, argument) in enumerate(_opcodes(data), 1):
        if count > _MOST_OPCODES:
            raise pickle.UnpicklingError(f"more than {_MOST_OPCODES} opcodes")
        if name in ("PUT", "BINPUT", "LONG_BINPUT"):
            place = int(argument) if name == "PUT" else int.from_bytes(argument, "little")
            if not 0 <= place < max(count, 256):  # pickles count their memos from 0, the memo is as long as its last
                raise pickle.UnpicklingError(f"memo {place} after {count} opcodes")
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET"):
            tuples += 1
            if tuples > _MOST_TUPLES:
                raise pickle.UnpicklingError(f"more than {_MOST_TUPLES} tuples")


def _opcodes(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and argument of each opcode, to STOP. pickletools.genops does so, but refuses text of Python 2."""
    place = 0
    while True:
        opcode = _OPCODES.get(chr(data[place])) if place < len(data) else None
        if opcode is None:
            what = f"byte {data[place]:#x} at {place} is no opcode" if place < len(data) else "it ends before STOP"
            raise pickle.UnpicklingError(what)
        begin = place + 1
        size = 0 if opcode.arg is None else opcode.arg.n
        if size == pickletools.UP_TO_NEWLINE:
            end = data.index(b"\n", begin) + 1
            if opcode.name in ("GLOBAL", "INST"):
                end = data.index(b"\n", end) + 1
        elif size >= 0:
            end = begin + size
        else:
            width = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(size, 4)
            end = begin + width + int.from_bytes(data[begin : begin + width], "little")
        if end > len(data):
            raise pickle.UnpicklingError(f"{opcode.name} at {place} needs {end - len(data)} bytes more than there are")
        yield opcode.name, data[begin:end]
        if opcode.name == "STOP":
            return
        place = end
