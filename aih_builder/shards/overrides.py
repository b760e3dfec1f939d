"""overrides.json: from which attempt on some samples are drawn. How flagged samples become other ones.

{"format": "aih-overrides", "first_attempts": {"<index>": 2}}, in the order of the indices; other samples are drawn from
attempt 1 on. Together with the plan's hash it is a dataset's identity: the same plan under the same overrides gives the
same bytes.
"""

from collections.abc import Mapping
from pathlib import Path

from aih_builder.errors import ShardError
from aih_builder.files import locked, read_json, write_json
from aih_builder.rng import LIMIT

OVERRIDES_FILE = "overrides.json"

_FORMAT = "aih-overrides"


def read_overrides(folder: Path) -> dict[int, int]:
    """The first attempts of a dataset folder by index, ascending; none where there is no file. Raises ShardError where
    it is damaged.
    """
    path = folder / OVERRIDES_FILE
    if not path.exists():
        return {}
    try:
        content = read_json(path)
        return first_attempts_of(content.get("first_attempts") if content.get("format") == _FORMAT else None)
    except (ShardError, ValueError) as error:
        raise ShardError(
            f"{path}: damaged or not of format '{_FORMAT}' ({error}). Put the old file back: it says which samples "
            "are not those of the plan alone. dataset.json has a copy, `overrides`. Without either, delete it: "
            "`aih generate` then makes what it changed as it was planned."
        ) from error


def raise_overrides(folder: Path, first_attempts: Mapping[int, int]) -> dict[int, int]:
    """Have samples drawn from a later attempt on, at least; an override that is higher already stays.

    Returns all overrides of the folder. Raises ShardError where overrides.json is damaged or cannot be written.
    """
    with locked(folder):
        before = read_overrides(folder)
        raised = {index: max(attempt, before.get(index, 1)) for index, attempt in first_attempts.items()}
        after = dict(sorted((before | raised).items()))
        if after != before:
            write_json(folder / OVERRIDES_FILE, {"format": _FORMAT, "first_attempts": as_json(after)})
    return after


def as_json(first_attempts: Mapping[int, int]) -> dict[str, int]:
    """First attempts with keys as JSON has them."""
    return {str(index): attempt for index, attempt in first_attempts.items()}


def first_attempts_of(content: object) -> dict[int, int]:
    """First attempts, ascending, from what JSON holds. Raises ValueError where they are none."""
    if not isinstance(content, dict):
        raise ValueError("expected first attempts by index")  # noqa: TRY004  # it comes from a file
    found = {}
    for text, attempt in content.items():
        if type(attempt) is not int or not 2 <= attempt < LIMIT:
            raise ValueError(f"the first attempt of {text} is {attempt!r}, expected a whole number from 2 on")
        found[int(text)] = attempt
    return dict(sorted(found.items()))
