"""flags.json: samples that somebody marked bad, and why. Readers leave them out, `aih repair --flagged` mends them.

{"format": "aih-flags", "flags": {"<index>": {"reason": "...", "attempt": 1}}}, in the order of the indices; the file is
there only where something is flagged.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import locked, read_json, remove, write_json
from aih_builder.identity import name_of

FLAGS_FILE = "flags.json"
MAX_REASON = 500

_FORMAT = "aih-flags"


class Flag(NamedTuple):
    """A mark on a sample."""

    reason: str  # 1 to 500 characters, no space around them
    attempt: int  # the sample's when it was flagged: a later attempt is another sample


def read_flags(folder: Path) -> dict[int, Flag]:
    """The flags of a dataset folder by index, ascending. Raises ShardError where flags.json is damaged."""
    path = folder / FLAGS_FILE
    if not path.exists():
        return {}
    try:
        return dict(sorted(_parsed(read_json(path)).items()))
    except (ShardError, ConfigError, ValueError) as error:
        if not path.exists():  # the last flag has just been taken away
            return {}
        raise ShardError(
            f"{path}: damaged ({error}). Mend it by hand, or delete it and flag the samples again with `aih flag`."
        ) from error


def _parsed(content: dict[str, Any]) -> dict[int, Flag]:
    if content.get("format") != _FORMAT or not isinstance(content.get("flags"), dict):
        raise ValueError(f"expected format '{_FORMAT}' and flags by index")
    flags = {}
    for text, entry in content["flags"].items():
        if not isinstance(entry, dict) or set(entry) != set(Flag._fields):
            raise ValueError(f"flag of {text}: expected a reason and an attempt")
        index = int(text)
        name_of(index)
        flags[index] = _checked(index, Flag(**entry))
    return flags


def add_flags(folder: Path, flags: Mapping[int, Flag]) -> None:
    """Flag samples, or give flagged ones another reason; other writers of this machine lose nothing.

    Raises ConfigError, and writes nothing, where a reason is empty or longer than 500 characters, or an index or an
    attempt cannot be; ShardError where flags.json is damaged or cannot be written.
    """
    for index in flags:
        name_of(index)
    checked = {index: _checked(index, flag) for index, flag in flags.items()}
    _change(folder, lambda present: present | checked)


def remove_flags(folder: Path, indices: Iterable[int]) -> list[int]:
    """Take flags away; returns those of the indices that were flagged. Raises ShardError as add_flags."""
    gone = set(indices)
    return _change(folder, lambda present: {i: flag for i, flag in present.items() if i not in gone})


def remove_mended(folder: Path, attempts: Mapping[int, int]) -> list[int]:
    """Take away the flags of samples that are of a later attempt now than when they were flagged; returns them.

    attempts: what each sample is now, by index. Raises ShardError as add_flags.
    """
    return _change(folder, lambda present: {i: f for i, f in present.items() if attempts.get(i, 0) <= f.attempt})


def standing(flags: Mapping[int, Flag], first_attempts: Mapping[int, int]) -> list[int]:
    """Flagged indices, ascending, without those whose sample was made again since: from a later first attempt."""
    return sorted(index for index, flag in flags.items() if first_attempts.get(index, 1) <= flag.attempt)


def _change(folder: Path, change: Callable[[dict[int, Flag]], dict[int, Flag]]) -> list[int]:
    """Replace the flags, and return those that are no more."""
    path = folder / FLAGS_FILE
    with locked(folder):
        before = read_flags(folder)
        after = change(before)
        if not after:
            remove(path)
        elif after != before:
            flags = {str(index): after[index]._asdict() for index in sorted(after)}
            write_json(path, {"format": _FORMAT, "flags": flags})
    return sorted(before.keys() - after.keys())


def _checked(index: int, flag: Flag) -> Flag:
    if not isinstance(flag.reason, str) or not 0 < len(reason := flag.reason.strip()) <= MAX_REASON:
        found = f"{len(flag.reason.strip())} characters" if isinstance(flag.reason, str) else repr(flag.reason)
        raise ConfigError(
            f"flag of sample {index}: its reason has {found}, expected text of 1 to {MAX_REASON}. "
            "Say in a few words what is wrong with the sample."
        )
    if type(flag.attempt) is not int or flag.attempt < 1:
        raise ConfigError(f"flag of sample {index}: attempt is {flag.attempt!r}, expected a number from 1 on.")
    return Flag(reason, flag.attempt)
