"""Texture sets and where they come from: shipped, baked at planning, or a folder of the user's own.

A folder of sets holds

    textures.json    the index: format, size_px (a power of two), uv_sha256, the shared maps, and the sets
    <id>.jpg         albedo of one person (JPEG or PNG), size_px wide, twice as high: right hand above left
    normal.png       tangent-space normals, shared by all sets: x = +u, y = +v, z out; value / 255 * 2 - 1
    roughness.png    one channel, shared by all sets: value / 255

Both hands use the texture coordinates of the right hand. Row 0 is the top of a map, at v = 1. The index may give a
sha256 for each file, which is then checked.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, final

import numpy as np

from aih_builder.config import Textures
from aih_builder.errors import AssetError, ConfigError, ShardError
from aih_builder.files import read_json, write_json, write_whole
from aih_builder.hands.arrays import HandArrays
from aih_builder.imaging import ImageU8, decode_image, decode_png, encode_jpeg, encode_png
from aih_builder.paths import render_assets
from aih_builder.sample import SPECS
from aih_builder.sources.licences import MAX_BYTES, PUBLIC_DOMAIN
from aih_builder.sources.texture_set import TextureSet

INDEX = "textures.json"

_FORMAT = 1
_LEAST_PX = 8
_REMEDY = "Restore the file, or bake the sets again."
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_T = TypeVar("_T")


class TextureEntry(NamedTuple):
    """What a pool needs to know of a set before it is loaded."""

    id: str
    tone: int
    licence: str  # an SPDX id


class TextureSource(ABC):
    """Texture sets by id."""

    @property
    @abstractmethod
    def entries(self) -> tuple[TextureEntry, ...]:
        """Every set, in a fixed order."""

    @abstractmethod
    def load(self, set_id: str) -> TextureSet:
        """One set. Raises ConfigError for an unknown id, AssetError where a file is missing or damaged."""

    @abstractmethod
    def check(self) -> None:
        """Read whatever write_to will read. Raises AssetError for a damaged set."""

    @abstractmethod
    def write_to(self, folder: Path, hand: HandArrays) -> None:
        """Put all sets into a folder in the layout above."""


@final
class FolderTextures(TextureSource):
    """Sets from a folder in the layout above. Raises AssetError where its index is missing, foreign or damaged."""

    def __init__(self, folder: Path, hand: HandArrays) -> None:
        self._folder = folder
        self._index = folder / INDEX
        content = _read_index(self._index)
        self._size_px = _take(content, "size_px", int, self._index)
        if self._size_px < _LEAST_PX or self._size_px & (self._size_px - 1):
            raise AssetError(
                f"{self._index}: size_px is {self._size_px}, expected a power of two from {_LEAST_PX}: renderers halve "
                "the maps again and again. Resize the maps, and the albedo of each set."
            )
        self._maps = _take(content, "maps", dict, self._index)
        layout = _take(content, "uv_sha256", str, self._index)
        if layout != hand.uv_digest():
            raise AssetError(
                f"{self._index}: drawn for the texture coordinates {layout[:12]}, but those of the hand model "
                f"are {hand.uv_digest()[:12]}. Bake the sets again for this model."
            )
        self._items: dict[str, dict[str, Any]] = {}
        for item in _take(content, "sets", list, self._index):
            entry = _entry(item, self._index)
            if entry.id in self._items:
                raise AssetError(f"{self._index}: two sets are called '{entry.id}'. Rename one.")
            self._items[entry.id] = item
        if not self._items:
            raise AssetError(f"{self._index}: lists no set. Add one, or name another folder.")
        self._shared: tuple[ImageU8, ImageU8] | None = None

    @property
    def entries(self) -> tuple[TextureEntry, ...]:
        """Every set of the index, in its order."""
        return tuple(_entry(item, self._index) for item in self._items.values())

    def load(self, set_id: str) -> TextureSet:
        """One set; the shared maps are read once."""
        item = self._items.get(set_id)
        if item is None:
            raise _unknown(set_id, self._items)
        size = self._size_px
        if self._shared is None:
            normal = self._image(self._map("normal"), (size, size, 3))
            roughness = self._image(self._map("roughness"), (size, size))
            self._shared = normal, roughness
        albedo = self._image(item, (2 * size, size, 3)).reshape(2, size, size, 3)
        return TextureSet(set_id, item["tone"], item["licence"], albedo, *self._shared)

    def check(self) -> None:
        """Decode every file that the index names."""
        for _ in all_sets(self):
            pass

    def write_to(self, folder: Path, hand: HandArrays) -> None:
        """Copy the files as they are."""
        del hand
        for item in [*self._maps.values(), *self._items.values()]:
            write_whole(folder / item["file"], (self._folder / item["file"]).read_bytes())
        write_whole(folder / INDEX, self._index.read_bytes())

    def _map(self, name: str) -> dict[str, Any]:
        item = self._maps.get(name)
        if not isinstance(item, dict):
            raise AssetError(f"{self._index}: maps: lacks '{name}'.")
        return item

    def _image(self, item: dict[str, Any], shape: tuple[int, ...]) -> ImageU8:
        """An image of the folder, checked against its digest (if the index has one) and its shape."""
        name = _take(item, "file", str, self._index)
        if not _PLAIN_NAME.fullmatch(name):
            raise AssetError(f"{self._index}: file '{name}', expected a plain name in the same folder.")
        path = self._folder / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise AssetError(f"{path}: cannot be read ({error.strerror}). {_REMEDY}") from error
        wanted = item.get("sha256")
        found = hashlib.sha256(data).hexdigest()
        if wanted is not None and found != wanted:
            raise AssetError(
                f"{path}: sha256 is {found[:12]}, expected {str(wanted)[:12]}. "
                "Restore the file, or update the index if the change is meant."
            )
        try:
            image = decode_image(data) if len(shape) == 3 else decode_png(data)
        except ShardError as error:
            raise AssetError(f"{path}: {error} {_REMEDY}") from error
        if image.shape != shape or image.dtype != np.uint8:
            raise AssetError(f"{path}: {image.dtype} {image.shape}, expected uint8 {shape}.")
        return image


@final
class ProceduralTextures(TextureSource):
    """Procedural skin: sets 1 to per_tone of each tone. load() bakes, which takes seconds: cache them by write_sets."""

    def __init__(
        self,
        hand: HandArrays,
        nails: ImageU8,
        tones: Sequence[int],
        per_tone: int,
        size_px: int,
        seed: int,
    ) -> None:
        from aih_builder.sources import skin

        self._bakery, self._seed = skin.Bakery(hand, nails, size_px), seed
        self._items = {
            skin.set_id(tone, number, seed, size_px): (tone, number)
            for tone in tones
            for number in range(1, per_tone + 1)
        }

    @property
    def entries(self) -> tuple[TextureEntry, ...]:
        """Tone by tone, number by number. The sets are the package's own work: CC0."""
        return tuple(TextureEntry(set_id, tone, PUBLIC_DOMAIN) for set_id, (tone, _) in self._items.items())

    def load(self, set_id: str) -> TextureSet:
        """Bake one set."""
        if set_id not in self._items:
            raise _unknown(set_id, self._items)
        tone, number = self._items[set_id]
        return self._bakery.bake_person(tone, number, self._seed)

    def check(self) -> None:
        """Nothing is read: the sets are baked."""

    def write_to(self, folder: Path, hand: HandArrays) -> None:
        """Bake all sets."""
        write_sets(folder, all_sets(self), hand)


def shipped_textures(hand: HandArrays) -> FolderTextures:
    """The twelve sets that travel with the package, for the open hand."""
    return FolderTextures(render_assets() / "textures", hand)


def _procedural(textures: Textures, seed: int, hand: HandArrays) -> TextureSource:
    from aih_builder.sources import skin

    nails = skin.open_hand_nails()
    return ProceduralTextures(hand, nails, textures.tones, textures.per_tone, textures.size_px, seed)


def _folder(textures: Textures, _seed: int, hand: HandArrays) -> TextureSource:
    if textures.path is None:
        raise ConfigError("pools.textures: source folder needs a path.")
    if not (textures.path / INDEX).is_file():
        raise ConfigError(f"pools.textures.path: {textures.path} holds no {INDEX}. Name a folder of texture sets.")
    return FolderTextures(textures.path, hand)


# What a manifest can name, from its pools.textures, its seed and the right hand.
TEXTURE_SOURCES: dict[str, Callable[[Textures, int, HandArrays], TextureSource]] = {
    "shipped": lambda _textures, _seed, hand: shipped_textures(hand),
    "procedural": _procedural,
    "folder": _folder,
}


def write_sets(folder: Path, sets: Iterable[tuple[TextureEntry, TextureSet]], hand: HandArrays) -> None:
    """Write sets in the folder layout, one at a time, the index last; albedo as JPEG, quality 95, 4:4:4.

    Raises AssetError where the sets differ in size or shared maps, ShardError where a file cannot be written.
    """
    items: list[dict[str, Any]] = []
    maps: dict[str, Any] = {}
    shared: tuple[ImageU8, ImageU8] | None = None
    for entry, texture in sets:
        if shared is None:
            shared = texture.normal_rgb, texture.roughness
            for name, image in zip(("normal", "roughness"), shared, strict=True):
                maps[name] = _write(folder, f"{name}.png", encode_png(image))
        elif not all(map(np.array_equal, shared, (texture.normal_rgb, texture.roughness))):
            raise AssetError(f"texture set '{entry.id}': its relief differs from the others'.")
        tall = texture.albedo_rgb.reshape(-1, *texture.albedo_rgb.shape[2:])
        written = _write(folder, f"{entry.id}.jpg", encode_jpeg(tall))
        items.append({**entry._asdict(), **written})
    if shared is None:
        raise AssetError(f"{folder}: there are no texture sets to write.")
    write_json(
        folder / INDEX,
        {
            "format": _FORMAT,
            "size_px": shared[1].shape[0],
            "uv_sha256": hand.uv_digest(),
            "maps": maps,
            "sets": items,
        },
    )


def all_sets(source: TextureSource) -> Iterator[tuple[TextureEntry, TextureSet]]:
    """Every set of a source, loaded one by one: what write_sets takes."""
    for entry in source.entries:
        yield entry, source.load(entry.id)


def _write(folder: Path, name: str, data: bytes) -> dict[str, str]:
    write_whole(folder / name, data)
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def _read_index(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except ShardError as error:
        raise AssetError(f"{error} A folder of texture sets needs this index.") from error
    if content.get("format") != _FORMAT:
        raise AssetError(f"{path}: format {content.get('format')!r}, expected {_FORMAT}.")
    return content


def _entry(item: object, path: Path) -> TextureEntry:
    if not isinstance(item, dict):
        raise AssetError(f"{path}: sets: found {item!r}, expected id, tone, licence and file.")
    entry = TextureEntry(
        _take(item, "id", str, path),
        _take(item, "tone", int, path),
        _take(item, "licence", str, path),
    )
    for key, text, most in (("id", entry.id, SPECS["texture_id"].max_bytes), ("licence", entry.licence, MAX_BYTES)):
        if not 0 < len(text.encode()) <= most:
            raise AssetError(f"{path}: sets: {key} is {text!r}, expected 1 to {most} bytes, which a sample can record.")
    if not 1 <= entry.tone <= 10:
        raise AssetError(f"{path}: set '{entry.id}': tone {entry.tone}, expected 1 to 10.")
    return entry


def _take(content: dict[str, Any], key: str, kind: type[_T], path: Path) -> _T:
    value = content.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise AssetError(f"{path}: {key} is {value!r}, expected {kind.__name__}.")
    return value


def _unknown(set_id: str, known: Iterable[str]) -> ConfigError:
    return ConfigError(f"no texture set '{set_id}'; there are: {', '.join(known)}.")
