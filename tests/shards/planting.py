"""Faults with everything around them made consistent again, so that only the check that is meant can find them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aih_builder.identity import SPLITS, Split
from aih_builder.sample import Sample
from aih_builder.shards.format import COLUMNS_FILE
from aih_builder.shards.listing import write_listing
from aih_builder.shards.plan import Plan, Shard, load_plan
from aih_builder.shards.reader import ShardReader
from aih_builder.shards.tasks import record_path
from aih_builder.shards.writer import ShardHead, ShardWriter


def first_shard(folder: Path, split: Split = SPLITS[0]) -> tuple[Plan, Shard]:
    """A dataset's plan and its first shard of a split."""
    plan = load_plan(folder)
    return plan, next(shard for shard in plan.shards() if shard.split == split)


def rewrite(folder: Path, change: Callable[[list[Sample]], list[Sample]], **head: Any) -> Shard:
    """Replace the samples of the first shard (and parts of its head), then fix its record and dataset.json."""
    plan, shard = first_shard(folder)
    reader = ShardReader(folder / shard.file)
    samples = change([reader.sample(i) for i in range(len(reader))])
    fields, lossless = tuple(reader.fields), plan.manifest.lossless
    told = ShardHead(shard.engine, shard.split, shard.number, plan.plan_hash, fields, lossless)
    writer = ShardWriter(told._replace(**head))
    for sample in samples:
        writer.add(sample)
    replace_shard(folder, shard, writer.to_bytes())
    return shard


def replace_shard(folder: Path, shard: Shard, data: bytes) -> None:
    """Put other bytes in a shard's place, with a record and a dataset.json that fit them."""
    (folder / shard.file).write_bytes(data)
    path = record_path(folder, shard)
    record = json.loads(path.read_text())
    record |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    path.write_text(json.dumps(record))
    (folder / "dataset.json").unlink()
    write_listing(folder)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder: time of change and bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every shard, and of the bank."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.h5"))
        if path.name != COLUMNS_FILE
    }
