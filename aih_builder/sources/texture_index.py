"""The index of a folder of texture sets (textures.py): read, and refused where it is damaged."""

import difflib
import re
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from aih_builder.errors import AssetError, ShardError
from aih_builder.files import read_json
from aih_builder.sample import SPECS
from aih_builder.sources.licences import MAX_BYTES

FORMAT = 1
MAPS = {"normal": 3, "roughness": 1, "creases": 1}  # and their channels

_OLDEST = 120
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_T = TypeVar("_T")


class TextureEntry(NamedTuple):
    """What a pool needs to know of a set before it is loaded."""

    id: str
    tone: int
    licence: str  # an SPDX id
    age: float = 0.0  # years that the skin shows, 0 unknown


def read_index(path: Path) -> dict[str, Any]:
    """The content of an index. Raises AssetError where there is none, or one of another format."""
    try:
        content = read_json(path)
    except ShardError as error:
        raise AssetError(f"{error} A folder of texture sets needs this index.") from error
    if content.get("format") != FORMAT:
        raise AssetError(f"{path}: format {content.get('format')!r}, expected {FORMAT}.")
    return content


def entry_of(item: object, path: Path) -> TextureEntry:
    """What an index says of a set. Raises AssetError where that is missing or cannot be recorded."""
    if not isinstance(item, dict):
        raise AssetError(f"{path}: sets: found {item!r}, expected id, tone, licence and file.")
    entry = TextureEntry(
        take(item, "id", str, path),
        take(item, "tone", int, path),
        take(item, "licence", str, path),
        _age(item, path),
    )
    for key, text, most in (("id", entry.id, SPECS["texture_id"].max_bytes), ("licence", entry.licence, MAX_BYTES)):
        if not 0 < len(text.encode()) <= most:
            raise AssetError(f"{path}: sets: {key} is {text!r}, expected 1 to {most} bytes, which a sample can record.")
    if not 1 <= entry.tone <= 10:
        raise AssetError(f"{path}: set '{entry.id}': tone {entry.tone}, expected 1 to 10.")
    return entry


def _age(item: dict[str, Any], path: Path) -> float:
    age = item.get("age", 0)
    if isinstance(age, bool) or not isinstance(age, int | float) or not 0 <= age <= _OLDEST:
        raise AssetError(f"{path}: set '{item['id']}': age is {age!r}, expected years from 0, unknown, to {_OLDEST}.")
    return float(age)


def take(content: dict[str, Any], key: str, kind: type[_T], path: Path) -> _T:
    """A value of an index. Raises AssetError where it is missing or of another kind."""
    value = content.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise AssetError(f"{path}: {key} is {value!r}, expected {kind.__name__}.")
    return value


def maps_in(content: dict[str, Any], where: str, path: Path) -> dict[str, dict[str, Any]]:
    """The maps that an index, or a set in it, names; null is none. Raises AssetError for names that mean nothing."""
    named = content.get("maps")
    if named is None:
        return {}
    if not isinstance(named, dict):
        raise AssetError(f"{path}: {where}maps is {named!r}, expected the set's own maps by name.")
    for name, item in named.items():
        if name not in MAPS:
            near = difflib.get_close_matches(name, MAPS, 1, 0.0)[0]
            raise AssetError(
                f"{path}: {where}maps: unknown map '{name}', expected one of {', '.join(MAPS)}. Did you mean '{near}'?"
            )
        if item is not None and not isinstance(item, dict):
            raise AssetError(f"{path}: {where}maps: {name} is {item!r}, expected an object with a file.")
    return {name: item for name, item in named.items() if item is not None}


def file_in(item: dict[str, Any], path: Path) -> str:
    """The file that an item of an index names: one beside the index. Raises AssetError for any other."""
    name = take(item, "file", str, path)
    if not _PLAIN_NAME.fullmatch(name):
        raise AssetError(f"{path}: file '{name}', expected a plain name in the same folder.")
    return name
