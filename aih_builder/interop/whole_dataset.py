"""What exports of a whole dataset share: they go shard by shard, in any process, and go on where they were stopped."""

import hashlib
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from aih_builder import __version__
from aih_builder.errors import ConfigError
from aih_builder.files import read_json, remove_stale, write_json
from aih_builder.identity import Split
from aih_builder.sample import Sample
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.reader import Dataset, ShardReader, open_dataset

EXPORT_FILE = "export.json"  # in a folder that an export writes: what it is of
_FORMAT = "aih-export"


class Stored(NamedTuple):
    """A sample, and the bytes of its picture as its shard holds them."""

    sample: Sample
    image: bytes  # JPEG; of a lossless dataset PNG
    background: bytes | None

    @property
    def suffix(self) -> str:
        """Of a file that holds the picture's bytes."""
        return suffix_of(self.image)


class Part(NamedTuple):
    """The samples of one shard that an export takes."""

    file: Path
    split: str
    left_out: frozenset[int]  # indices of flagged samples

    @property
    def stem(self) -> str:
        """The shard's name, such as render-train-00000: unique in a dataset."""
        return self.file.stem

    def samples(self) -> Iterator[Stored]:
        """In the order of the shard. Raises ShardError where it is missing or damaged."""
        reader = ShardReader(self.file)
        for i, index in enumerate(reader.plain["index"].tolist()):
            if index not in self.left_out:
                encoded = dict(zip(reader.parts, reader.encoded(i), strict=True))
                yield Stored(reader.sample(i), encoded["image"], encoded.get("background"))


class Whole(NamedTuple):
    """A dataset to be exported."""

    dataset: Dataset
    parts: list[Part]
    told: dict[str, Any]  # which dataset it is


def whole_dataset(folder: Path, split: Split | None = None) -> Whole:
    """The shards of a dataset folder, or of one split, without flagged samples. Raises ConfigError where it is none or
    the split is empty, ShardError where it is damaged.
    """
    dataset = open_dataset(folder, split)
    if not len(dataset):
        raise ConfigError(f"{folder}: holds no sample{f' of split {split}' if split else ''} to export.")
    listed, left_out = read_json(folder / LISTING_FILE), frozenset(dataset.left_out)
    parts = [Part((folder / shard["file"]).resolve(), shard["split"], left_out) for shard in dataset.shards]
    content = [[shard["file"], shard.get("sha256")] for shard in dataset.shards]
    digest = hashlib.sha256(json.dumps([content, dataset.left_out]).encode()).hexdigest()
    told = {"name": listed.get("name"), "plan_hash": listed.get("plan_hash"), "samples": len(dataset), "sha256": digest}
    return Whole(dataset, parts, told)


def claim(out: Path, kind: str, told: dict[str, Any], options: dict[str, Any]) -> None:
    """Make a folder that of one export, or take it up where the same export was stopped.

    Raises ConfigError, and touches nothing, where it holds anything else.
    """
    content = {"format": _FORMAT, "kind": kind, "version": __version__, "dataset": told, "options": options}
    path = out / EXPORT_FILE
    if path.is_file():
        found = read_json(path)
        if different := [key for key in content if found.get(key) != content[key]]:
            raise ConfigError(
                f"{out}: holds an export of something else; it differs in {', '.join(different)}. It was left "
                "untouched. Choose another folder."
            )
        remove_stale(out)
        return
    try:
        present = [item.name for item in out.iterdir()] if out.exists() else []
    except OSError as error:
        raise ConfigError(f"{out}: is no folder to export into ({error.strerror}). Choose another one.") from error
    if present:
        raise ConfigError(
            f"{out}: is not empty and holds no export (found {', '.join(sorted(present)[:5])}). It was left untouched. "
            "Choose another folder."
        )
    write_json(path, content)


def suffix_of(picture: bytes) -> str:
    """Of a file that holds these bytes: .jpg or .png."""
    return ".jpg" if picture[:2] == b"\xff\xd8" else ".png"


def require_library(asked_by: str, library: str) -> None:
    """Raises ConfigError where a library of the extra `export` is not installed."""
    if find_spec(library) is None:
        raise ConfigError(f"{asked_by} needs {library}: pip install 'aih-builder[export]'.")
