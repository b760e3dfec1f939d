"""dataset.json: what a finished dataset holds. Written last; `open_dataset` reads nothing else to find the shards.

Its `plan_hash` and, where there are any, its `overrides` {index: first attempt} say which dataset it is.
"""

import contextlib
from collections import Counter
from pathlib import Path
from typing import Any

from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import read_json, remove, write_json
from aih_builder.identity import SPLITS, EngineName
from aih_builder.sample import SCHEMA_VERSION
from aih_builder.shards.format import LISTING_FILE, LISTING_FORMAT
from aih_builder.shards.overrides import as_json
from aih_builder.shards.plan import Plan, load_plan
from aih_builder.shards.tasks import read_record, shard_state


class NotWhole(ConfigError):
    """A shard of the plan is missing or torn."""


def listing(plan: Plan) -> dict[str, Any]:
    """The content of dataset.json. Raises NotWhole where a shard is missing or torn."""
    states = {shard: shard_state(plan, shard) for shard in plan.shards()}
    if bad := [f"{shard.file}: {state.state}" for shard, state in states.items() if state.state != "done"]:
        raise NotWhole(f"{plan.folder}: {len(bad)} shards are not done ({bad[0]} ...). Run `aih generate` again.")
    rejections: Counter[str] = Counter()
    counts = plan.manifest.streams.counts()
    drawing: list[EngineName] = [engine for engine in counts if any(shard.engine == engine for shard in states)]
    shards, versions = [], []
    for shard in states:
        try:
            record = read_record(plan.folder, shard)
        except ShardError as error:  # a repair has just taken it away
            raise NotWhole(str(error)) from error
        rejections.update(record["rejections"])
        versions += [record["versions"]] if record["versions"] not in versions else []
        place = {"engine": shard.engine, "split": shard.split, "first": shard.first}
        shards.append({key: record[key] for key in ("file", "sha256", "bytes", "samples")} | place)
    return {
        "format": LISTING_FORMAT,
        "schema": SCHEMA_VERSION,
        "name": plan.manifest.name,
        "plan_hash": plan.plan_hash,
        **({"overrides": as_json(plan.overrides)} if plan.overrides else {}),
        "seed": plan.manifest.seed,
        "renderer": plan.renderer,
        "image_size_px": plan.manifest.image_size_px,
        "fields": list(dict.fromkeys(field for engine in drawing for field in plan.manifest.fields_of(engine))),
        "lossless": plan.manifest.lossless,
        "samples": sum(s["samples"] for s in shards),
        "bytes": sum(s["bytes"] for s in shards),
        "counts": {engine: {split: of_engine.of(split) for split in SPLITS} for engine, of_engine in counts.items()},
        "rejections": dict(sorted(rejections.items())),
        "sources": plan.sources,
        "licences": plan.licences,
        "versions": versions,  # one entry, unless shards were made by different installations
        "shards": shards,
    }


def write_listing(folder: Path) -> Path:
    """Write dataset.json, or leave it if it says the same. Raises NotWhole, and takes it away, where a shard is missing
    or torn.

    Another run may let the dataset grow meanwhile, or mend it: so it is compared with the folder once it is there.
    """
    path = folder / LISTING_FILE
    while True:
        try:
            content = listing(load_plan(folder))
        except NotWhole:
            if not path.is_file():
                raise
            remove(path)  # and look again: another run may have finished the dataset meanwhile
            continue
        with contextlib.suppress(ShardError):
            if read_json(path) == content:
                return path
        write_json(path, content)


def write_listing_if_whole(folder: Path) -> bool:
    """Write dataset.json where every shard of the plan, as it is now, is there; whether that is so."""
    try:
        write_listing(folder)
    except NotWhole:
        return False
    return True
