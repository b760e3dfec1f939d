"""The records of AIH's synthesized samples, and the lists of file ids that they point into.

A record is a dict: loop_side ("right" or "left", of the hand below), loop_side_idx and another_side_idx (places in the
lists of that side and of the other), r_aug_list and l_aug_list (of the hand below and of the one on top, whatever their
sides: [[tx, ty], scale, degrees, colour]; the colour is overwritten when it is read) and occlusion_rate. The file is a
.npy that holds a pickled array of them: it is never given to numpy, see aih_builder.pickles.
"""

import io
import pickle
import re
from collections.abc import Iterable, Sequence
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError
from aih_builder.pickles import unpickled
from aih_builder.sample import SIDES

KEYS = ("loop_side", "loop_side_idx", "another_side_idx", "r_aug_list", "l_aug_list", "occlusion_rate")
NO_PARTNER = -1000  # what another_side_idx says where there is none
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(r"\{'descr': '\|O8?', 'fortran_order': (?:True|False), 'shape': \((\d{1,12})L?,\),? *\}\s*")
_MOST_SHIFT, _MOST_SCALE, _MOST_DEGREES = 10.0, 100.0, 36_000.0
_ID_LIMIT = 2**31


class Move(NamedTuple):
    """How the reader moves a picture: destination 256 x 256, source centre 127.5 + 255 shift, extent 255 scale."""

    shift: tuple[float, float]
    scale: float
    degrees: float


# The one move that leaves a picture of 256 px as it is, to the bit.
NOT_MOVED = Move((0.5 / 255, 0.5 / 255), 256 / 255, 0.0)


class Cfg(NamedTuple):
    """One record."""

    target: int  # side of the hand below: 0 right, 1 left
    target_place: int
    other_place: int
    target_move: Move
    other_move: Move
    occlusion_rate: float


def write_cfgs(cfgs: Iterable[Cfg]) -> bytes:
    """The file that the official reader loads, with whatever numpy."""
    records = [_record(cfg) for cfg in cfgs]
    array = np.empty(len(records), object)
    array[:] = records
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": array.shape})
    # numpy 1 does not know the module's new name; numpy 2 knows the old one.
    data = pickle.dumps(array, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)
    return file.getvalue() + data


def _record(cfg: Cfg) -> dict[str, Any]:
    """Lists of its own for each record: the reader writes into them."""
    augs = [
        [[float(shift) for shift in move.shift], float(move.scale), float(move.degrees), [1.0, 1.0, 1.0]]
        for move in (cfg.target_move, cfg.other_move)
    ]
    values = (SIDES[cfg.target], cfg.target_place, cfg.other_place, *augs, float(cfg.occlusion_rate))
    return dict(zip(KEYS, values, strict=True))


def read_cfgs(path: Path) -> list[Any]:
    """The records of a file as they are; parse_cfg makes sense of each. Raises AssetError for a damaged file, or one
    that names anything but plain values.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror}). Each group needs its records.") from error
    try:
        header, begin = _header(data)
        count = int(header[1])
    except ValueError as error:
        raise AssetError(
            f"{path}: not a .npy file of objects ({error}). Expected the records of AIH's synthesized samples."
        ) from error
    content = unpickled(data[begin:], path, "a file of records")
    if not isinstance(content, np.ndarray) or content.dtype != object or content.shape != (count,):
        found = f"an array {content.dtype} {content.shape}" if isinstance(content, np.ndarray) else type(content)
        raise AssetError(f"{path}: holds {found}, expected an array of {count} objects, as its head says.")
    return content.tolist()


def _header(data: bytes) -> tuple[re.Match[str], int]:
    if data[:6] != _MAGIC or len(data) < 12:
        raise ValueError("no such head")
    width = 2 if data[6] == 1 else 4
    begin = 8 + width
    end = begin + int.from_bytes(data[8:begin], "little")
    match = _HEADER.fullmatch(data[begin : min(end, begin + 1000)].decode("latin1"))
    if match is None:
        raise ValueError("its head does not tell of a row of objects")
    return match, end


def parse_cfg(record: object, counts: Sequence[int]) -> Cfg:
    """A record's content. counts: file ids of the right and of the left list. Raises ValueError, which says what is
    wrong.
    """
    if not isinstance(record, dict):
        raise ValueError(f"is a {type(record).__name__}, expected a dict")  # noqa: TRY004 - all faults are of one kind
    if missing := [key for key in KEYS if key not in record]:
        found = ", ".join(sorted(map(str, record)))[:200]
        raise ValueError(f"lacks {', '.join(missing)} (it has {found or 'nothing'})")
    if record["loop_side"] not in SIDES:
        raise ValueError(f"loop_side is {record['loop_side']!r}, expected right or left")
    target = SIDES.index(record["loop_side"])
    if record["another_side_idx"] == NO_PARTNER:
        raise ValueError("another_side_idx is -1000: no partner was found for this hand")
    places = [
        _place(record, key, counts[side]) for key, side in (("loop_side_idx", target), ("another_side_idx", 1 - target))
    ]
    moves = [_move(record, key) for key in ("r_aug_list", "l_aug_list")]
    return Cfg(target, places[0], places[1], moves[0], moves[1], _number(record["occlusion_rate"], "occlusion_rate"))


def _place(record: dict[str, Any], key: str, count: int) -> int:
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < count:
        raise ValueError(f"{key} is {value!r}, expected a place in a list of {count} (0 to {count - 1})")
    return int(value)


def _move(record: dict[str, Any], key: str) -> Move:
    value = record[key]
    if not isinstance(value, list | tuple) or len(value) != 4:
        found = f"{len(value)} items" if isinstance(value, list | tuple) else type(value).__name__
        raise ValueError(f"{key} has {found}, expected a list of 4: [tx, ty], scale, degrees, colour")
    shift = value[0].tolist() if isinstance(value[0], np.ndarray) else value[0]
    if not isinstance(shift, list | tuple) or len(shift) != 2:
        raise ValueError(f"{key} begins with {type(shift).__name__}, expected [tx, ty]")
    x, y = (_number(part, key) for part in shift)
    scale, degrees = _number(value[1], key), _number(value[2], key)
    if max(abs(x), abs(y)) > _MOST_SHIFT or not 1 / _MOST_SCALE <= scale <= _MOST_SCALE or abs(degrees) > _MOST_DEGREES:
        raise ValueError(
            f"{key} is shift {x:g}, {y:g}, scale {scale:g}, {degrees:g} degrees: no hand is moved that far (expected "
            f"shifts up to {_MOST_SHIFT:g}, a scale of {1 / _MOST_SCALE:g} to {_MOST_SCALE:g})"
        )
    return Move((x, y), scale, degrees)


def _number(value: object, key: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, Real) and isfinite(value):
            return float(value)
    except OverflowError:  # of an integer without end
        pass
    raise ValueError(f"{key} holds a {type(value).__name__}, or no finite one, expected a finite number")


def read_ids(path: Path) -> list[int]:
    """The file ids of a list, one a line; numpy may have written them as 1.2e+01. Raises AssetError."""
    try:
        lines = path.read_text(encoding="ascii").split("\n")
    except (OSError, ValueError) as error:
        raise AssetError(f"{path}: cannot be read ({error}). Expected a text file of one file id a line.") from error
    ids = []
    for number, line in enumerate(lines, 1):
        if not (text := line.strip()):
            continue
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value < _ID_LIMIT or not value.is_integer():
            raise AssetError(f"{path}: line {number} is {text[:40]!r}, expected a file id, a whole number from 0 on.")
        ids.append(int(value))
    return ids
