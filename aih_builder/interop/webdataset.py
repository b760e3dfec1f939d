"""A dataset as WebDataset: OUT/{split}/{shard}.tar, one for each shard, and OUT/index.json.

The files of a sample, by its index in twelve digits, nothing lost:

    INDEX.image.jpg             the stored bytes; .png of a lossless dataset; likewise background, where it is stored
    INDEX.target_right.png      each hand alone, where it is known, exact; or .jpg, quality 95, which is smaller
    INDEX.amodal_mask_right.png one channel, 0 or 255; likewise visible_mask, changed_mask, forearm_mask, and _left
    INDEX.arrays.npz            all other arrays, by their names in the record, compressed
    INDEX.record.json           numbers and texts, by their names in the record

`sample_of` makes the record again from these files, as `webdataset.WebDataset(urls).map(sample_of)` hands them over.
"""

import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from aih_builder.errors import ShardError
from aih_builder.files import whole_file, write_json
from aih_builder.identity import Split
from aih_builder.imaging import decode_image, decode_png, encode_jpeg, encode_png
from aih_builder.interop.whole_dataset import Part, Stored, claim, suffix_of, whole_dataset
from aih_builder.parallel.pool import Pool
from aih_builder.parallel.run import pool_of, run_tasks
from aih_builder.sample import MASK_BITS, SIDES, SPECS, Sample
from aih_builder.shards.format import PLAIN_FIELDS
from aih_builder.tables import DAMAGE

INDEX_FILE = "index.json"

Targets = Literal["png", "jpg"]

_FORMAT = "aih-webdataset"
_SCALARS = tuple(name for name in PLAIN_FIELDS if not SPECS[name].dims)
_ARRAYS = (*(name for name in PLAIN_FIELDS if SPECS[name].dims), "depth", "normal")


class TarExport(NamedTuple):
    """What an export wrote."""

    urls: dict[str, str]  # by split: all .tar files, in brace notation, below OUT
    made: int
    kept: int  # there already
    samples: int


def export_webdataset(
    folder: Path,
    out: Path,
    *,
    split: Split | None = None,
    targets: Targets = "png",
    jobs: int | Pool = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> TarExport:
    """Write a dataset, or one split of it, as .tar files; flagged samples are left out. The same dataset gives the same
    bytes.

    An export that was stopped goes on: a .tar appears whole, and one that is there is kept. on_progress gets shards
    done and in all. Raises ConfigError where there is nothing to export or OUT holds anything else, ShardError where a
    shard is damaged or a file cannot be written.
    """
    pool, whole = pool_of(jobs), whole_dataset(folder, split)
    claim(out, "webdataset", whole.told, {"split": split, "targets": targets})
    todo = [part for part in whole.parts if not (out / _tar(part)).is_file()]
    with closing(run_tasks(partial(_export_part, out.resolve(), targets), todo, pool)) as results:
        for count, _ in enumerate(results, 1):
            if on_progress is not None:
                on_progress(count, len(todo))
    entries: dict[str, dict[str, Any]] = {}
    for part, shard in zip(whole.parts, whole.dataset.shards, strict=True):
        entry = entries.setdefault(part.split, {"urls": "", "samples": 0, "shards": []})
        entry["samples"] += shard["samples"]
        entry["shards"].append({"file": _tar(part), "samples": shard["samples"]})
    for entry in entries.values():
        entry["urls"] = braces([shard["file"] for shard in entry["shards"]])
    write_json(out / INDEX_FILE, {"format": _FORMAT, "dataset": whole.told, "splits": entries})
    urls = {name: entry["urls"] for name, entry in entries.items()}
    return TarExport(urls, len(todo), len(whole.parts) - len(todo), len(whole.dataset))


def files_of(stored: Stored, targets: Targets = "png") -> Iterator[tuple[str, bytes]]:
    """The files of a sample: what follows its index in their names, and their bytes."""
    sample, encode = stored.sample, encode_png if targets == "png" else encode_jpeg
    yield f"image{stored.suffix}", stored.image
    for hand, side in enumerate(SIDES):
        if sample.target_valid[hand]:
            yield f"target_{side}.{targets}", encode(sample.target_rgb[hand])
    for name in MASK_BITS:
        if (masks := getattr(sample, name)) is not None:
            for hand, side in enumerate(SIDES):
                yield f"{name}_{side}.png", encode_png(masks[hand].view(np.uint8) * np.uint8(255))
    if stored.background is not None:
        yield f"background{suffix_of(stored.background)}", stored.background
    arrays = {name: value for name in _ARRAYS if (value := getattr(sample, name)) is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    yield "arrays.npz", buffer.getvalue()
    scalars = {name: getattr(sample, name) for name in _SCALARS}
    yield "record.json", json.dumps(scalars, ensure_ascii=False).encode()


def sample_of(files: Mapping[str, Any]) -> Sample:
    """The record of a sample from the bytes of its files, by what follows the index in their names; other keys
    (`__key__`, `__url__`) do not matter. A target from JPEG counts only where it may differ from the image.

    Raises ShardError where a file is missing or damaged, SampleError where they do not make a record.
    """
    try:
        image = decode_image(_picture(files, "image"))
        values: dict[str, Any] = {}
        for name in MASK_BITS:
            if f"{name}_right.png" in files:
                values[name] = np.stack([decode_png(files[f"{name}_{side}.png"]) > 0 for side in SIDES])
        with np.load(io.BytesIO(files["arrays.npz"]), allow_pickle=False) as arrays:
            values |= {name: arrays[name] for name in arrays.files}
        values |= json.loads(files["record.json"])
        targets = np.zeros((2, *image.shape), np.uint8)
        for hand in np.flatnonzero(values["target_valid"]).tolist():
            alone = decode_image(_picture(files, f"target_{SIDES[hand]}"))
            targets[hand] = np.where(values["changed_mask"][hand][..., None], alone, image)
        if any(name.startswith("background.") for name in files):
            values["background_rgb"] = decode_image(_picture(files, "background"))
        return Sample(image_rgb=image, target_rgb=targets, **values)
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        name = files.get("__key__", "")
        raise ShardError(f"sample {name}: a file is missing or damaged ({error}). Export it again.") from error


def braces(files: list[str]) -> str:
    """.tar files of one split, whose numbers run from 0 on in each stream, in brace notation."""
    streams: dict[str, list[str]] = {}
    for file in files:
        stem, _, number = file.removesuffix(".tar").rpartition("-")
        streams.setdefault(stem, []).append(number)
    told = [f"{stem}-{_range(numbers)}.tar" for stem, numbers in streams.items()]
    return told[0] if len(told) == 1 else f"{{{','.join(told)}}}"


def _range(numbers: list[str]) -> str:
    return numbers[0] if len(numbers) == 1 else f"{{{numbers[0]}..{numbers[-1]}}}"


def _picture(files: Mapping[str, Any], name: str) -> bytes:
    return files[f"{name}.jpg"] if f"{name}.jpg" in files else files[f"{name}.png"]


def _tar(part: Part) -> str:
    return f"{part.split}/{part.stem}.tar"


def _export_part(out: Path, targets: Targets, part: Part) -> None:
    """Write one .tar: no times, owners or hosts in it."""
    with whole_file(out / _tar(part)) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for stored in part.samples():
            for name, data in files_of(stored, targets):
                entry = tarfile.TarInfo(f"{stored.sample.index:012d}.{name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
