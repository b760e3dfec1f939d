"""Datasets that were imported: shards and a dataset.json like any other's, but no plan, from which to make them again.

Their dataset.json says `"origin": "import"`; its `plan_hash`, what a dataset is known by, is a digest of the shards'.
"""

import hashlib
from pathlib import Path
from typing import Any

from aih_builder.errors import ShardError
from aih_builder.files import read_json, write_json
from aih_builder.identity import ENGINE_NAMES, SPLITS
from aih_builder.sample import SCHEMA_VERSION
from aih_builder.shards.format import LISTING_FILE, LISTING_FORMAT
from aih_builder.shards.writer import library_versions

ORIGIN = "import"


def write_imported_listing(
    folder: Path, shards: list[dict[str, Any]], *, name: str, size_px: int, source: dict[str, Any]
) -> dict[str, Any]:
    """Write and return the dataset.json of imported shards.

    shards: `file`, `sha256`, `bytes`, `samples`, `engine`, `split` and `first` of each, where it holds samples first to
    first + samples of its stream. source: what they were imported from, with its `licences`.
    """
    counts = {engine: dict.fromkeys(SPLITS, 0) for engine in ENGINE_NAMES}
    for shard in shards:
        counts[shard["engine"]][shard["split"]] += shard["samples"]
    digests = "".join(shard["sha256"] for shard in shards)
    content = {
        "format": LISTING_FORMAT,
        "schema": SCHEMA_VERSION,
        "origin": ORIGIN,
        "name": name,
        "plan_hash": hashlib.sha256(digests.encode()).hexdigest(),
        "image_size_px": size_px,
        "fields": [],
        "lossless": False,
        "samples": sum(shard["samples"] for shard in shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "counts": {engine: of for engine, of in counts.items() if any(of.values())},
        "sources": {ORIGIN: source},
        "licences": source["licences"],
        "versions": [library_versions()],
        "shards": shards,
    }
    write_json(folder / LISTING_FILE, content)
    return content


def imported_listing(folder: Path) -> dict[str, Any] | None:
    """The dataset.json of an imported dataset; None for any other folder, and where it cannot be read."""
    try:
        content = read_json(folder / LISTING_FILE)
    except ShardError:
        return None
    return content if content.get("origin") == ORIGIN else None
