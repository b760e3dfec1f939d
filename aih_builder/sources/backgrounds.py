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
    split: str  # that of its folder; "": by its content

    @property
    def source_id(self) -> str:
        return f"folder:{self.sha256[:16]}"


class BackgroundPool:
    """Procedural kinds and folders of images. A draw picks one of these sources, all equally likely, then an item.

    An image below a folder train, val or test belongs to that split, another to the one that its content falls into; so
    the same picture under two names never lies in two splits. Procedural backgrounds are new for each sample and serve
    every split.
    """

    def __init__(self, kinds: Sequence[str], folders: Sequence[Path], licence: str = "user") -> None:
        """List, hash and test-decode the folders' images; `licence` is theirs.

        Raises ConfigError for an unknown kind, a missing or empty folder, and images that cannot be decoded.
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
        self._fill(tuple(kinds), tuple(_scan(folder) for folder in folders), licence)

    def _fill(self, kinds: tuple[str, ...], folders: tuple[tuple[_Image, ...], ...], licence: str) -> None:
        self._kinds, self._folders, self._licence = kinds, folders, licence
        self._images: dict[Split, list[list[_Image]]] = {split: [] for split in SPLITS}
        for images in folders:
            shares: dict[Split, list[_Image]] = {split: [] for split in SPLITS}
            for image in images:
                shares[_KNOWN.get(image.split) or split_of(image.source_id)].append(image)
            for split in SPLITS:
                if shares[split]:
                    self._images[split].append(shares[split])

    def require(self, splits: Iterable[Split]) -> None:
        """Check that each of these splits has something to draw from. Raises ConfigError."""
        for split in splits:
            if not self._kinds and not self._images[split]:
                raise ConfigError(
                    f"backgrounds: no image of the folders falls into split '{split}'. "
                    "Add images or a procedural kind, or set that split's count to 0."
                )
            if len(self._images[split]) < len(self._folders):
                log.warning("backgrounds: a folder has no image in split '%s'", split)

    def draw(self, rng: np.random.Generator, split: Split, size_px: int) -> Background:
        """A background of size_px x size_px for a sample of this split.

        Raises AssetError where an image has vanished or changed since planning, ConfigError where the split is empty.
        """
        folders = self._images[split]
        if not self._kinds and not folders:
            self.require([split])
        source = int(rng.integers(len(self._kinds) + len(folders)))
        if source < len(self._kinds):
            kind = self._kinds[source]
            return Background(draw_background(rng, kind, size_px), kind, PUBLIC_DOMAIN)
        images = folders[source - len(self._kinds)]
        image = images[int(rng.integers(len(images)))]
        return Background(_draw_crop(rng, image, size_px), image.source_id, self._licence)

    def licences(self) -> set[str]:
        """Licence ids of what can be drawn."""
        procedural = {PUBLIC_DOMAIN} if self._kinds else set()
        return procedural | ({self._licence} if self._folders else set())

    def sources(self, folders: Sequence[Path]) -> dict[str, Any]:
        """What the pool draws from, for a dataset's provenance; `folders` names its folders, as they were given."""
        listed = [
            {"path": str(path), "images": len(images), "licence": self._licence}
            for path, images in zip(folders, self._folders, strict=True)
        ]
        return {"procedural": list(self._kinds), "folders": listed, "licences": sorted(self.licences())}

    def digests(self) -> dict[str, Any]:
        """What the pool's content is, wherever its files lie: for the identity of a dataset."""
        hashes = [[f"{image.split}:{image.sha256}".removeprefix(":") for image in images] for images in self._folders]
        return {"kinds": list(self._kinds), "images": hashes, "licence": self._licence}

    def to_json(self) -> dict[str, Any]:
        """All that a worker needs, so that it lists and hashes nothing."""
        folders = [[list(image) for image in images] for images in self._folders]
        return {"kinds": list(self._kinds), "folders": folders, "licence": self._licence}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "BackgroundPool":
        """The pool that to_json wrote. Raises ConfigError where the record is damaged."""
        pool = cls.__new__(cls)
        try:
            kinds, licence = tuple(content["kinds"]), str(content["licence"])
            folders = tuple(
                tuple(_Image(str(path), str(sha256), int(short), str(split)) for path, sha256, short, split in images)
                for images in content["folders"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the plan's record of backgrounds is damaged ({error!r}). Plan again in a new folder."
            ) from error
        pool._fill(kinds, folders, licence)
        return pool


def _scan(folder: Path) -> tuple[_Image, ...]:
    """The different images below a folder, ordered by content: names and places do not matter."""
    if not folder.is_dir():
        found = "is not a folder" if folder.exists() else "does not exist"
        raise ConfigError(f"backgrounds: {folder} {found}. Give a folder of images, or remove the entry.")
    paths = _image_paths(folder)
    if not paths:
        raise ConfigError(
            f"backgrounds: {folder} holds no image ({', '.join(IMAGE_SUFFIXES)}). Add images, or remove the entry."
        )
    images: dict[str, _Image] = {}
    refused: list[str] = []
    logged = time.monotonic()
    for count, path in enumerate(paths):
        try:
            image = _inspect(path, folder)
            first = images.setdefault(image.sha256, image)
            if first.split != image.split:
                raise ConfigError(
                    f"backgrounds: {first.path} and {path} are one picture in two splits. Remove one of them."
                )
        except AssetError as error:
            refused.append(str(error))
        if time.monotonic() - logged > _LOG_EVERY_S:
            logged = time.monotonic()
            log.info("%s: %d of %d images read", folder, count + 1, len(paths))
    if refused:
        more = f"\n... and {len(refused) - 5} more" if len(refused) > 5 else ""
        raise ConfigError("backgrounds: unreadable images.\n" + "\n".join(refused[:5]) + more)
    return tuple(sorted(images.values(), key=lambda image: image.sha256))


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


def _inspect(path: Path, root: Path) -> _Image:
    data = _read(path)
    height, width = decode_photo(data, path).shape[:2]
    folders = {part.lower() for part in path.relative_to(root.resolve()).parts[:-1]}
    named = [split for split in SPLITS if split in folders]
    if len(named) > 1:
        raise ConfigError(f"backgrounds: {path} lies in folders of two splits. Expected one of them.")
    return _Image(str(path), hashlib.sha256(data).hexdigest(), min(height, width), named[0] if named else "")


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
