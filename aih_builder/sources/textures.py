"""Texture sets and where they come from: shipped, baked at planning, or a folder of the user's own.

A folder of sets holds

    textures.json    the index: format, size_px (a power of two), uv_sha256, the maps, and the sets
    <id>.jpg         albedo of one person (JPEG or PNG), size_px wide, twice as high: right hand above left
    normal.png       tangent-space normals: x = +u, y = +v, z out; value / 255 * 2 - 1
    roughness.png    one channel: value / 255
    creases.png      one channel, optional: how far a texel lies in a fold that flexion deepens or smooths; 255 at its
                     bottom. Albedo and normals hold the folds as they are on a flat hand

The index names the maps of all sets in `maps`, and in the `maps` of a set those that it has of its own: skins of
different age differ in relief. A set may state the `age` in years that it shows. Both hands use the texture
coordinates of the right hand. Row 0 is the top of a map, at v = 1. The index may give a sha256 for each file, which is
then checked.
"""

import hashlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from weakref import WeakValueDictionary

import numpy as np

from aih_builder.config import Textures
from aih_builder.errors import AssetError, ConfigError, ShardError
from aih_builder.files import read_json, write_json, write_whole
from aih_builder.hands.arrays import HandArrays
from aih_builder.imaging import ImageU8, decode_image, decode_png, encode_jpeg, encode_png
from aih_builder.paths import render_assets
from aih_builder.sources.licences import PUBLIC_DOMAIN
from aih_builder.sources.texture_index import FORMAT, MAPS, TextureEntry, entry_of, file_in, maps_in, read_index, take
from aih_builder.sources.texture_set import TextureSet

if TYPE_CHECKING:
    from aih_builder.sources.skin import Bakery, Person

INDEX = "textures.json"

log = logging.getLogger(__name__)

_LEAST_PX = 8
_REMEDY = "Restore the file, or bake the sets again."
_LOG_EVERY_S = 10.0

OnProgress = Callable[[int, int], None]  # gets sets done and in all


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
    def write_to(self, folder: Path, hand: HandArrays, on_progress: OnProgress | None = None) -> None:
        """Put all sets into a folder in the layout above. Raises AssetError where one is missing or damaged."""


@final
class FolderTextures(TextureSource):
    """Sets from a folder in the layout above. Raises AssetError where its index is missing, foreign or damaged."""

    def __init__(self, folder: Path, hand: HandArrays) -> None:
        self._folder = folder
        self._index = folder / INDEX
        content = read_index(self._index)
        self._size_px = take(content, "size_px", int, self._index)
        if self._size_px < _LEAST_PX or self._size_px & (self._size_px - 1):
            raise AssetError(
                f"{self._index}: size_px is {self._size_px}, expected a power of two from {_LEAST_PX}: renderers halve "
                "the maps again and again. Resize the maps, and the albedo of each set."
            )
        self._maps = maps_in(content, "", self._index)
        layout = take(content, "uv_sha256", str, self._index)
        if layout != hand.uv_digest():
            raise AssetError(
                f"{self._index}: drawn for the texture coordinates {layout[:12]}, but those of the hand model "
                f"are {hand.uv_digest()[:12]}. Bake the sets again for this model."
            )
        self._items: dict[str, dict[str, Any]] = {}
        for item in take(content, "sets", list, self._index):
            entry = entry_of(item, self._index)
            if entry.id in self._items:
                raise AssetError(f"{self._index}: two sets are called '{entry.id}'. Rename one.")
            self._items[entry.id] = item | {"maps": maps_in(item, f"set '{entry.id}': ", self._index)}
        if not self._items:
            raise AssetError(f"{self._index}: lists no set. Add one, or name another folder.")
        # Maps that a set still in use holds are not read again for another one.
        self._read: WeakValueDictionary[str, ImageU8] = WeakValueDictionary()

    @property
    def entries(self) -> tuple[TextureEntry, ...]:
        """Every set of the index, in its order."""
        return tuple(entry_of(item, self._index) for item in self._items.values())

    def load(self, set_id: str) -> TextureSet:
        """One set, with its own maps where it has any."""
        item = self._items.get(set_id)
        if item is None:
            raise _unknown(set_id, self._items)
        size, entry = self._size_px, entry_of(item, self._index)
        albedo = self._image(item, (2 * size, size, 3)).reshape(2, size, size, 3)
        normal, roughness, creases = (self._map(name, item) for name in MAPS)
        if normal is None or roughness is None:
            raise AssetError(f"{self._index}: maps: lacks '{'normal' if normal is None else 'roughness'}'.")
        return TextureSet(set_id, entry.tone, entry.licence, albedo, normal, roughness, entry.age, creases)

    def check(self) -> None:
        """Decode every file that the index names."""
        for name, item in self._maps.items():
            self._read_map(name, item)
        for _ in all_sets(self):
            pass

    def write_to(self, folder: Path, hand: HandArrays, on_progress: OnProgress | None = None) -> None:
        """Copy the files as they are."""
        del hand, on_progress
        for name in self._files():
            write_whole(folder / name, self._bytes(name))
        write_whole(folder / INDEX, self._index.read_bytes())

    def _files(self) -> list[str]:
        """What the index names, each file once: none lies outside the folder."""
        maps = [self._maps, *(item["maps"] for item in self._items.values())]
        items = [*self._items.values(), *(item for named in maps for item in named.values())]
        return list(dict.fromkeys(file_in(item, self._index) for item in items))

    def _map(self, name: str, item: dict[str, Any]) -> ImageU8 | None:
        """A map of a set: its own, else the one that the index gives to all; None where there is neither."""
        found = item["maps"].get(name, self._maps.get(name))
        return None if found is None else self._read_map(name, found)

    def _read_map(self, name: str, item: dict[str, Any]) -> ImageU8:
        file, size = file_in(item, self._index), self._size_px
        image = self._read.get(file)
        if image is None:
            image = self._image(item, (size, size, 3) if MAPS[name] == 3 else (size, size))
            self._read[file] = image
        return image

    def _image(self, item: dict[str, Any], shape: tuple[int, ...]) -> ImageU8:
        """An image of the folder, checked against its digest (if the index has one) and its shape."""
        name = file_in(item, self._index)
        path, data = self._folder / name, self._bytes(name)
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

    def _bytes(self, name: str) -> bytes:
        path = self._folder / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise AssetError(f"{path}: cannot be read ({error.strerror}). {_REMEDY}") from error


@final
class ProceduralTextures(TextureSource):
    """Procedural skin of given persons. load() bakes, which takes a second or more: cache them by write_sets."""

    def __init__(self, bakery: "Bakery", persons: Mapping[str, "Person"], seed: int) -> None:
        self._bakery, self._persons, self._seed = bakery, dict(persons), seed

    @property
    def entries(self) -> tuple[TextureEntry, ...]:
        """Person by person. The sets are the package's own work: CC0."""
        return tuple(
            TextureEntry(set_id, person.tone, PUBLIC_DOMAIN, float(person.age))
            for set_id, person in self._persons.items()
        )

    def load(self, set_id: str) -> TextureSet:
        """Bake one set."""
        if set_id not in self._persons:
            raise _unknown(set_id, self._persons)
        return replace(self._bakery.bake_person(self._persons[set_id], self._seed), id=set_id)

    def check(self) -> None:
        """Nothing is read: the sets are baked."""

    def write_to(self, folder: Path, hand: HandArrays, on_progress: OnProgress | None = None) -> None:
        """Bake all sets."""
        write_sets(folder, self._baked(on_progress), hand)

    def _baked(self, on_progress: OnProgress | None) -> Iterator[tuple[TextureEntry, TextureSet]]:
        """All sets, with word of how far it is."""
        total, logged = len(self._persons), time.monotonic()
        for done, baked in enumerate(all_sets(self), start=1):
            yield baked
            if on_progress is not None:
                on_progress(done, total)
            if time.monotonic() - logged > _LOG_EVERY_S:
                logged = time.monotonic()
                log.info("%d of %d sets of skin baked", done, total)


def shipped_textures(hand: HandArrays) -> TextureSource:
    """The sets that travel with the package; for a hand of other texture coordinates the same persons, baked."""
    folder = render_assets() / "textures"
    if read_json(folder / INDEX)["uv_sha256"] == hand.uv_digest():
        return FolderTextures(folder, hand)
    from aih_builder.sources.skin import Bakery, open_hand_nails
    from aih_builder.sources.skin_people import SEED, SHIPPED, SIZE_PX

    return ProceduralTextures(Bakery(hand, open_hand_nails(), SIZE_PX), SHIPPED, SEED)


def _procedural(textures: Textures, seed: int, hand: HandArrays) -> TextureSource:
    from aih_builder.sources.skin import Bakery, draw_person, open_hand_nails, set_id

    persons = [
        draw_person(tone, number, seed, textures.age, textures.hair)
        for tone in textures.tones
        for number in range(1, textures.per_tone + 1)
    ]
    named = {set_id(person, seed, textures.size_px): person for person in persons}
    return ProceduralTextures(Bakery(hand, open_hand_nails(), textures.size_px), named, seed)


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

    The first set's maps are those of all; what differs from them is written once, under a name of its own, and named
    by the sets that have it. Raises AssetError where there are no sets or one lacks creases that others have,
    ShardError where a file cannot be written.
    """
    items: list[dict[str, Any]] = []
    shared: dict[str, dict[str, str]] = {}
    size_px = 0
    for entry, texture in sets:
        maps = {name: image for name, image in _maps_of(texture).items() if image is not None}
        size_px = size_px or texture.roughness.shape[0]
        if items and shared.keys() != maps.keys():
            raise AssetError(
                f"texture set '{entry.id}': has the maps {', '.join(maps)}, the sets before it {', '.join(shared)}. "
                "Give all of them creases, or none."
            )
        own = {}
        for name, image in maps.items():
            data = encode_png(image)
            digest = hashlib.sha256(data).hexdigest()
            if not items:
                shared[name] = _write(folder, f"{name}.png", data)
            elif digest != shared[name]["sha256"]:
                own[name] = _write(folder, f"{name}-{digest[:8]}.png", data)
        tall = texture.albedo_rgb.reshape(-1, *texture.albedo_rgb.shape[2:])
        written = _write(folder, f"{entry.id}.jpg", encode_jpeg(tall))
        items.append({**entry._asdict(), **written, **({"maps": own} if own else {})})
    if not items:
        raise AssetError(f"{folder}: there are no texture sets to write.")
    write_json(
        folder / INDEX,
        {
            "format": FORMAT,
            "size_px": size_px,
            "uv_sha256": hand.uv_digest(),
            "maps": shared,
            "sets": items,
        },
    )


def _maps_of(texture: TextureSet) -> dict[str, ImageU8 | None]:
    return dict(zip(MAPS, (texture.normal_rgb, texture.roughness, texture.creases), strict=True))


def all_sets(source: TextureSource) -> Iterator[tuple[TextureEntry, TextureSet]]:
    """Every set of a source, loaded one by one: what write_sets takes."""
    for entry in source.entries:
        yield entry, source.load(entry.id)


def _write(folder: Path, name: str, data: bytes) -> dict[str, str]:
    write_whole(folder / name, data)
    return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}


def _unknown(set_id: str, known: Iterable[str]) -> ConfigError:
    return ConfigError(f"no texture set '{set_id}'; there are: {', '.join(known)}.")
