"""The pool of backgrounds: procedural kinds, drawn afresh each time, and folders of the user's images."""

import difflib
import hashlib
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.imaging import IMAGE_SUFFIXES, ImageU8, decode_photo, resize
from aih_builder.sources.background_kinds import BACKGROUND_KINDS, draw_background
from aih_builder.sources.licences import PUBLIC_DOMAIN
from aih_builder.sources.near_pictures import same_pictures, thumbnail
from aih_builder.sources.pools import SPLITS, Split, split_of

__all__ = ["BACKGROUND_KINDS", "Background", "BackgroundPool", "draw_background"]

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0
_KNOWN: dict[str, Split] = {split: split for split in SPLITS}


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What is behind the hands."""

    rgb: ImageU8  # (S, S, 3) sRGB
    source_id: str  # a procedural kind, or "folder:" and the first 16 digits of the file's sha256
    licence: str


class _Image(NamedTuple):
    """One file of a folder, as found at planning."""

    path: str
    sha256: str
    short_px: int  # the shorter side
    split: str  # that of its folder or of what shows the same; "": by its content

    @property
    def source_id(self) -> str:
        return f"folder:{self.sha256[:16]}"

    @property
    def lies_in(self) -> Split:
        """The split."""
        return _KNOWN.get(self.split) or split_of(self.source_id)


class _Folder(NamedTuple):
    """The different images below a folder, ordered by content."""

    licence: str
    images: tuple[_Image, ...]
    left_out: int = 0  # images that show what another one does, and were told another split


class BackgroundPool:
    """Procedural kinds and folders of images. A draw picks one of these sources, all equally likely, then an item.

    An image below a folder train, val or test belongs to that split, another to the one that its content falls into.
    Images that show the same (near_pictures.py), in whatever folders, share one split. Where their folders tell two,
    the first one's counts, in order of folders and then of content, and those told another are left out. Procedural
    backgrounds are new for each sample and serve every split: a stream of random numbers belongs to one index, and an
    index to one split.
    """

    def __init__(self, kinds: Sequence[str], folders: Sequence[tuple[Path, str]]) -> None:
        """List, hash and test-decode the images of folders, each with its licence.

        Raises ConfigError for an unknown kind, a missing or empty folder, images that cannot be decoded, and the
        same pixels in folders of two splits.
        """
        for kind in kinds:
            if kind not in BACKGROUND_KINDS:
                near = difflib.get_close_matches(kind, BACKGROUND_KINDS, 1, 0.0)[0]
                raise ConfigError(
                    f"backgrounds: unknown kind '{kind}', expected one of {', '.join(BACKGROUND_KINDS)}. "
                    f"Did you mean '{near}'?"
                )
        if not kinds and not folders:
            raise ConfigError("backgrounds: no kind and no folder. Name at least one.")
        found = _settled([_scan(path) for path, _ in folders])
        filled = zip(folders, found, strict=True)
        self._fill(tuple(kinds), tuple(_Folder(licence, *images) for (_, licence), images in filled))

    def _fill(self, kinds: tuple[str, ...], folders: tuple[_Folder, ...]) -> None:
        self._kinds, self._folders = kinds, folders
        self._shares: dict[Split, list[_Folder]] = {split: [] for split in SPLITS}
        for folder in folders:
            images: dict[Split, list[_Image]] = {split: [] for split in SPLITS}
            for image in folder.images:
                images[image.lies_in].append(image)
            for split in SPLITS:
                if images[split]:
                    self._shares[split].append(_Folder(folder.licence, tuple(images[split])))

    def require(self, splits: Iterable[Split]) -> None:
        """Check that each of these splits has something to draw from. Raises ConfigError."""
        for split in splits:
            if not self._kinds and not self._shares[split]:
                raise ConfigError(
                    f"backgrounds: no image of the folders falls into split '{split}'. "
                    "Add images or a procedural kind, or set that split's count to 0."
                )
            if len(self._shares[split]) < len(self._folders):
                log.warning("backgrounds: a folder has no image in split '%s'", split)

    def draw(self, rng: np.random.Generator, split: Split, size_px: int) -> Background:
        """A background of size_px x size_px for a sample of this split.

        Raises AssetError where an image has vanished or changed since planning, ConfigError where the split is empty.
        """
        folders = self._shares[split]
        if not self._kinds and not folders:
            self.require([split])
        source = int(rng.integers(len(self._kinds) + len(folders)))
        if source < len(self._kinds):
            kind = self._kinds[source]
            return Background(draw_background(rng, kind, size_px), kind, PUBLIC_DOMAIN)
        folder = folders[source - len(self._kinds)]
        image = folder.images[int(rng.integers(len(folder.images)))]
        return Background(_draw_crop(rng, image, size_px), image.source_id, folder.licence)

    def licences(self) -> set[str]:
        """Licence ids of what can be drawn."""
        procedural = {PUBLIC_DOMAIN} if self._kinds else set()
        return procedural | {folder.licence for folder in self._folders}

    def sources(self, folders: Sequence[Path]) -> dict[str, Any]:
        """What the pool draws from, for a dataset's provenance; `folders` names its folders, as they were given."""
        listed = [
            {"path": str(path), "images": len(folder.images), "left_out": folder.left_out, "licence": folder.licence}
            for path, folder in zip(folders, self._folders, strict=True)
        ]
        return {"procedural": list(self._kinds), "folders": listed, "licences": sorted(self.licences())}

    def digests(self) -> dict[str, Any]:
        """What the pool's content is, wherever its files lie: for the identity of a dataset."""
        hashes = [[f"{i.split}:{i.sha256}".removeprefix(":") for i in folder.images] for folder in self._folders]
        licences = [folder.licence for folder in self._folders]
        return {"kinds": list(self._kinds), "images": hashes, "licences": licences}

    def to_json(self) -> dict[str, Any]:
        """All that a worker needs, so that it lists and hashes nothing."""
        folders = [
            {"licence": f.licence, "left_out": f.left_out, "images": [list(image) for image in f.images]}
            for f in self._folders
        ]
        return {"kinds": list(self._kinds), "folders": folders}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "BackgroundPool":
        """The pool that to_json wrote. Raises ConfigError where the record is damaged."""
        pool = cls.__new__(cls)
        try:
            kinds, folders = tuple(content["kinds"]), []
            for folder in content["folders"]:
                rows = [(str(path), str(sha), int(short), str(split)) for path, sha, short, split in folder["images"]]
                images = tuple(_Image(*row) for row in rows)
                folders.append(_Folder(str(folder["licence"]), images, int(folder["left_out"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the plan's record of backgrounds is damaged ({error!r}). Plan again in a new folder."
            ) from error
        pool._fill(kinds, tuple(folders))
        return pool


class _Found(NamedTuple):
    """An image, and what it shows."""

    image: _Image
    thumbnail: ImageU8  # (256,)


def _scan(folder: Path) -> list[_Found]:
    """The different images below a folder, ordered by content: names and places do not matter."""
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise ConfigError(f"backgrounds: {folder} {found}. Give a folder of images, or remove the entry.")
    paths = _image_paths(folder)
    if not paths:
        raise ConfigError(
            f"backgrounds: {folder} holds no image ({', '.join(IMAGE_SUFFIXES)}). Add images, or remove the entry."
        )
    images: dict[str, _Found] = {}
    refused: list[str] = []
    logged = time.monotonic()
    for count, path in enumerate(paths):
        try:
            found = _inspect(path, folder)
            first = images.setdefault(found.image.sha256, found)
            _require_one_split(first.image, found.image)
            if not first.image.split:
                images[found.image.sha256] = found  # it may lie in a split's folder
        except AssetError as error:
            refused.append(str(error))
        if time.monotonic() - logged > _LOG_EVERY_S:
            logged = time.monotonic()
            log.info("%s: %d of %d images read", folder, count + 1, len(paths))
    if refused:
        more = f"\n... and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise ConfigError("backgrounds: unreadable images.\n" + "\n".join(refused[:5]) + more)
    return sorted(images.values(), key=lambda found: found.image.sha256)


def _require_one_split(one: _Image, other: _Image) -> None:
    if one.split and other.split and one.split != other.split:
        raise ConfigError(
            f"backgrounds: {one.path} and {other.path} are one picture in two splits, {one.split} and {other.split}. "
            "Remove one of them."
        )


def _settled(folders: list[list[_Found]]) -> list[tuple[tuple[_Image, ...], int]]:
    """The images of each folder and how many are left out; those that show the same lie in one split: the one that a
    folder tells for the first of them, else that of the one whose content hash comes first.
    """
    every = [found for folder in folders for found in folder]
    if not every:
        return []
    groups: dict[int, list[_Image]] = {}
    labels = same_pictures(np.stack([found.thumbnail for found in every])).tolist()
    for label, found in zip(labels, every, strict=True):
        groups.setdefault(label, []).append(found.image)
    splits = {label: _split_for(group) for label, group in groups.items()}
    settled, place, total = [], iter(labels), 0
    for folder in folders:
        images = [(found.image, splits[next(place)]) for found in folder]
        kept = tuple(image._replace(split=split) for image, split in images if image.split in ("", split))
        settled.append((kept, len(images) - len(kept)))
        total += len(images) - len(kept)
    if total:
        log.warning("backgrounds: left out %d images that nearly show what one told another split does", total)
    return settled


def _split_for(group: list[_Image]) -> str:
    """The split of images that show the same. Raises ConfigError where two told ones have the same pixels."""
    told = [image for image in group if image.split]
    if len({image.split for image in told}) > 1:
        same: dict[bytes, _Image] = {}
        for image in told:
            _require_one_split(same.setdefault(_pixels(image), image), image)
    if told:
        return told[0].split
    return min(group, key=lambda image: image.sha256).lies_in if len({i.lies_in for i in group}) > 1 else ""


def _pixels(image: _Image) -> bytes:
    """A digest of what a file decodes to, whatever its format. Raises ConfigError where it has vanished."""
    path = Path(image.path)
    try:
        rgb = decode_photo(_read(path), path)
    except AssetError as error:
        raise ConfigError(f"backgrounds: {error}") from error
    return hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).digest()


def _image_paths(folder: Path) -> list[Path]:
    """Image files below a folder, sorted; hidden files and folders are left out."""
    root = folder.resolve()
    return sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def _inspect(path: Path, root: Path) -> _Found:
    data = _read(path)
    rgb = decode_photo(data, path)
    folders = {part.lower() for part in path.relative_to(root.resolve()).parts[:-1]}
    named = [split for split in SPLITS if split in folders]
    if len(named) > 1:
        raise ConfigError(f"backgrounds: {path} lies in folders of two splits. Expected one of them.")
    sha256, split = hashlib.sha256(data).hexdigest(), named[0] if named else ""
    return _Found(_Image(str(path), sha256, min(rgb.shape[:2]), split), thumbnail(rgb))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror}). Put it back or fix its permissions.") from error


def _draw_crop(rng: np.random.Generator, image: _Image, size_px: int) -> ImageU8:
    """A random square of a file, at least half its shorter side, mirrored half the time."""
    path = Path(image.path)
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if found != image.sha256:
        raise AssetError(
            f"{path}: sha256 is {found[:12]}, expected {image.sha256[:12]}: it changed after planning. "
            "Put the old file back, or plan again in a new folder."
        )
    # Large photographs decode faster at a fraction of their size; the smallest crop keeps size_px.
    reduce = next(n for n in (8, 4, 2, 1) if n == 1 or image.short_px >= 2 * n * size_px)
    rgb = decode_photo(data, path, reduce)
    height, width = rgb.shape[:2]
    side = max(1, round(min(height, width) * rng.uniform(0.5, 1.0)))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    crop = resize(rgb[top : top + side, left : left + side], (size_px, size_px))
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)
