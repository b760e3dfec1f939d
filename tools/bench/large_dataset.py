"""Large datasets for benches: few real shards under many names. The reader takes them for what they claim to be."""

import os
import shutil
from pathlib import Path
from typing import Any

from aih_builder.config import dump_manifest
from aih_builder.files import read_json, write_json
from aih_builder.identity import ENGINE_NAMES
from aih_builder.shards.build import generate
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.plan import Shard, load_plan, shards_of
from tools.bench.scale import mixed

SHARD_SAMPLES = 500


def real_shards(folder: Path, size_px: int, jobs: int) -> Path:
    """Generate the demo's training samples, two shards of each engine."""
    generate(mixed(size_px, dict.fromkeys(ENGINE_NAMES, 2 * SHARD_SAMPLES), SHARD_SAMPLES), folder, jobs=jobs)
    return folder


def enlarged(real: Path, folder: Path, samples: int) -> Path:
    """A dataset of so many samples, half of each engine, whose shards are hard links to those of a real one.

    Manifest, plan and dataset.json are what generating it would have written: a plan's hash leaves counts out. Inside a
    shard, index and all else are those of the shard that it is a link to.
    """
    per_engine = samples // len(ENGINE_NAMES)
    manifest = load_plan(real).manifest
    streams = {
        engine: getattr(manifest.streams, engine).model_copy(
            update={"count": counts.model_copy(update={"train": per_engine})}
        )
        for engine, counts in manifest.streams.counts().items()
    }
    manifest = manifest.model_copy(update={"streams": manifest.streams.model_copy(update=streams)})
    folder.mkdir(parents=True)
    (folder / "manifest.yaml").write_text(dump_manifest(manifest), encoding="utf-8")
    shutil.copytree(real / "cache", folder / "cache")
    shutil.copy(real / "plan.json", folder)
    shards = [_linked(real, folder, shard) for shard in shards_of(manifest)]
    total = sum(shard["samples"] for shard in shards)
    if total != samples:
        raise ValueError(f"{samples} samples: expected a multiple of {2 * SHARD_SAMPLES}")
    counts = {engine: {"train": per_engine, "val": 0, "test": 0} for engine in ENGINE_NAMES}
    own = {"samples": total, "bytes": sum(shard["bytes"] for shard in shards), "counts": counts, "shards": shards}
    write_json(folder / LISTING_FILE, read_json(real / LISTING_FILE) | own)
    load_plan(folder)  # raises where they do not belong together
    return folder


def _linked(real: Path, folder: Path, shard: Shard) -> dict[str, Any]:
    """Link one shard and its record; returns its entry of dataset.json."""
    source = shard._replace(number=shard.number % 2)
    for suffix in (".h5", ".json"):
        target = (folder / shard.file).with_suffix(suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link((real / source.file).with_suffix(suffix), target)
    record = read_json((real / source.file).with_suffix(".json"))
    place = {"engine": shard.engine, "split": shard.split, "first": shard.first}
    return {"file": shard.file, **{key: record[key] for key in ("sha256", "bytes", "samples")}, **place}
