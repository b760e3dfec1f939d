#!/usr/bin/env python
"""Milliseconds per sample and core by image size and by number of samples, and what 2.9 million take from these.

python tools/bench/scale.py [--out FILE.json] [--jobs 2]. The mix of both engines is that of the paper's data set.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aih_builder.config import Manifest
from aih_builder.identity import ENGINE_NAMES, EngineName
from aih_builder.shards.build import generate
from aih_builder.shards.estimate import Rate, predicted
from aih_builder.shards.plan import load_plan, make_plan, shards_of
from aih_builder.shards.tasks import read_record
from tools.bench.scenes import demo_manifest
from tools.bench.timing import commit, machine, report

PAPER = {"render": 700_000, "sync": 2_200_000}
WORKERS = {"one node of 16 cores": 16, "64 nodes of 16 cores": 1024}


def main() -> None:
    """Measure, reckon, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024], help="px, at 1,000 samples an engine")
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="samples, at 256 px")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    chosen = parser.parse_args()
    content: dict[str, Any] = {"commit": commit(), "machine": machine(), "jobs": chosen.jobs, "sizes": {}, "counts": {}}
    rates: dict[EngineName, Rate] = {}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for size in chosen.sizes:
            manifest = mixed(size, {"render": 1_000, "sync": 1_000}, 125)
            content["sizes"][str(size)], _ = made(manifest, Path(folder) / f"size-{size}", chosen.jobs)
        for count in chosen.counts:
            counts = {engine: count * PAPER[engine] // sum(PAPER.values()) for engine in PAPER}
            manifest = mixed(256, counts, max(50, min(500, count // 40)))
            content["counts"][str(count)], rates = made(manifest, Path(folder) / f"count-{count}", chosen.jobs)
    content["plan"] = plan(rates)
    report(chosen.out, content)


def mixed(size_px: int, counts: dict[str, int], shard_samples: int) -> Manifest:
    """The demo with so many training samples of each engine."""
    streams = {engine: {"count": {"train": count}} for engine, count in counts.items()}
    return demo_manifest(size_px, shard_samples=shard_samples, streams=streams)


def made(manifest: Manifest, folder: Path, jobs: int) -> tuple[dict[str, Any], dict[EngineName, Rate]]:
    """Generate a dataset, tell what it took, and delete it."""
    started = time.perf_counter()
    plan = make_plan(manifest, folder)
    planned = time.perf_counter() - started
    built = generate(manifest, folder, jobs=jobs)
    answer: dict[str, Any] = {
        "samples": built.samples,
        "planning_s": round(planned, 1),
        "seconds": round(built.seconds, 1),
        "per_second": round(built.samples / built.seconds, 1),
    }
    rates: dict[EngineName, Rate] = {}
    for engine in ENGINE_NAMES:
        shards = [shard for shard in load_plan(folder).shards() if shard.engine == engine]
        records = [read_record(folder, shard) for shard in shards]
        stages: Counter[str] = Counter()
        for record in records:
            stages.update(record["seconds"])
        samples = sum(record["samples"] for record in records)
        size = sum(record["bytes"] for record in records)
        rates[engine] = Rate(samples, stages.total() / samples, size / samples, 0)
        answer[engine] = {
            "samples": samples,
            "ms_per_sample": round(1000 * stages.total() / samples, 2),
            "kib_per_sample": round(size / 1024 / samples, 1),
            "peak_worker_mib": max(record["peak_rss_mib"] for record in records),
        }
    shutil.rmtree(plan.folder)
    return answer, rates


def plan(rates: dict[EngineName, Rate]) -> dict[str, Any]:
    """The paper's counts at these rates, in shards of 1,000."""
    manifest = mixed(256, PAPER, 1_000)
    cost = predicted(list(shards_of(manifest)), rates, list(WORKERS.values()))
    return {
        "samples": sum(PAPER.values()),
        "gib": round(cost.bytes / 2**30, 1),
        "core_hours": round(cost.core_hours, 2),
        "hours": {name: round(cost.hours[workers], 3) for name, workers in WORKERS.items()},
    }


if __name__ == "__main__":
    main()
