"""A dataset's card: DIR/croissant.json for machines, DIR/DATASHEET.md for people.

Both follow from dataset.json and the files beside it, so `aih generate`, `index` and `repair` write them anew, and the
same dataset has the same card. What only a person knows (address, creator, date) is given once and kept.
"""

import json
from datetime import date
from pathlib import Path
from typing import Any

from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import read_json, write_whole
from aih_builder.interop.croissant import croissant
from aih_builder.interop.datasheet import datasheet
from aih_builder.interop.facts import gather
from aih_builder.shards.format import LISTING_FILE

CROISSANT_FILE, DATASHEET_FILE = "croissant.json", "DATASHEET.md"

_PUBLISHED = ("url", "creator", "datePublished")


def write_card(
    folder: Path, *, url: str | None = None, creator: str | None = None, date_published: str | None = None
) -> tuple[Path, Path]:
    """Write both files, or leave them where they say the same. url, creator and date_published (YYYY-MM-DD) stay as an
    earlier card has them where they are None.

    Raises ConfigError where the folder is no finished dataset or the date is none, ShardError where dataset.json or the
    earlier card is damaged or a file cannot be written.
    """
    if date_published is not None:
        _require_date(date_published)
    given = {
        "url": url,
        "creator": None if creator is None else {"@type": "sc:Organization", "name": creator},
        "datePublished": date_published,
    }
    facts = gather(folder, _kept(folder) | {key: value for key, value in given.items() if value is not None})
    machine = json.dumps(croissant(facts), indent=2, ensure_ascii=False) + "\n"
    paths = folder / CROISSANT_FILE, folder / DATASHEET_FILE
    for path, text in zip(paths, (machine, datasheet(facts)), strict=True):
        if not path.is_file() or path.read_bytes() != text.encode():
            write_whole(path, text.encode())
    return paths


def write_card_if_whole(folder: Path) -> bool:
    """Write the card of a folder that holds a finished dataset, and say whether it does: another run may just let it
    grow. Raises ShardError as write_card.
    """
    try:
        write_card(folder)
    except (ConfigError, ShardError):
        if (folder / LISTING_FILE).is_file():
            raise
        return False
    return True


def _require_date(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"published {text!r}: expected a date such as 2026-01-31.") from error


def _kept(folder: Path) -> dict[str, Any]:
    """What an earlier card says that only a person knows."""
    path = folder / CROISSANT_FILE
    if not path.is_file():
        return {}
    card = read_json(path)
    return {key: card[key] for key in _PUBLISHED if key in card}
