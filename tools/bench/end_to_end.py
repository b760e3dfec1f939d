"""Whole datasets: samples per second with encode and write, by engine and number of processes; bytes per sample."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.identity import EngineName
from aih_builder.shards.build import generate
from aih_builder.shards.plan import Plan, load_plan, make_plan
from aih_builder.shards.tasks import read_record
from tools.bench.scenes import demo_manifest


def measure(
    engine: EngineName, renderer: str, size_px: int, count: int, processes: list[int], rounds: int, folder: Path
) -> dict[str, Any]:
    """Rates by number of processes, in turns; the plan is made, and the code compiled, before.

    `rate` counts from the call of `generate` to dataset.json, the start of the workers included; `sustained` is what
    the workers make while all are at work: processes x samples / their seconds of work. A new worker's first shard also
    loads compiled code and textures; `warm` is `sustained` by the median shard, as long runs see it. `per_core`, stages
    and bytes are those of the first number of processes.
    """
    shard_samples = max(1, count // (4 * max(processes)))
    manifest = demo_manifest(
        size_px,
        renderer=renderer,
        shard_samples=shard_samples,
        streams={engine: {"count": {"train": count}}},
    )
    plan = make_plan(manifest, folder)
    first: dict[str, Any] = {}
    rates: dict[int, list[float]] = {jobs: [] for jobs in processes}
    sustained: dict[int, list[float]] = {jobs: [] for jobs in processes}
    warm: dict[int, list[float]] = {jobs: [] for jobs in processes}
    for number in range(rounds + 1):
        for jobs in processes:
            shutil.rmtree(folder / engine, ignore_errors=True)
            built = generate(manifest, folder, jobs=jobs)
            found = _records(plan)
            if number:  # the first round warms up
                rates[jobs].append(built.samples / built.seconds)
                sustained[jobs].append(jobs * found["per_core"])
                warm[jobs].append(jobs * found["per_core_warm"])
            if jobs == processes[0]:
                first = found
    return {
        "engine": engine,
        "renderer": renderer if engine == "render" else "none",
        "size_px": size_px,
        "samples": count,
        "rate": _medians(rates),
        "sustained": _medians(sustained),
        "sustained_against_first": _ratios(_medians(sustained)),
        "warm": _medians(warm),
        "warm_against_first": _ratios(_medians(warm)),
        **first,
    }


def _medians(found: dict[int, list[float]]) -> dict[str, float]:
    return {str(jobs): round(float(np.median(values)), 1) for jobs, values in found.items()}


def _ratios(found: dict[str, float]) -> dict[str, float]:
    one = next(iter(found.values()))
    return {jobs: round(value / one, 2) for jobs, value in found.items()}


def _records(plan: Plan) -> dict[str, Any]:
    seconds: Counter[str] = Counter()
    size, samples, drawn_by, refused = 0, 0, "", 0
    rates: list[float] = []  # of each shard
    for shard in plan.shards():
        record = read_record(plan.folder, shard)
        seconds.update(record["seconds"])
        size, samples = size + record["bytes"], samples + record["samples"]
        rates.append(record["samples"] / sum(record["seconds"].values()))
        drawn_by, refused = record["renderer"], refused + sum(record["rejections"].values())
    return {
        "drawn_by": drawn_by,
        "per_core": round(samples / seconds.total(), 1),
        "per_core_warm": round(float(np.median(rates)), 1),
        "stages_ms": {stage: round(1000 * s / samples, 3) for stage, s in seconds.most_common()},
        "kib_per_sample": round(size / 1024 / samples, 1),
        "acceptance": round(samples / (samples + refused), 3),
    }


def bytes_against_raw(size_px: int, count: int, folder: Path) -> dict[str, Any]:
    """KiB per sample of both engines, as JPEG and lossless, against image, targets and six masks as plain arrays."""
    raw_kib = size_px**2 * (3 * 3 + 6) / 1024
    answer: dict[str, Any] = {"raw_kib": round(raw_kib, 1)}
    for lossless in (False, True):
        streams = {engine: {"count": {"train": count}} for engine in ("render", "sync")}
        manifest = demo_manifest(size_px, lossless=lossless, streams=streams)
        where = folder / ("png" if lossless else "jpeg")
        generate(manifest, where)
        records = [read_record(where, shard) for shard in load_plan(where).shards()]
        kib = sum(r["bytes"] for r in records) / 1024 / sum(r["samples"] for r in records)
        answer["lossless" if lossless else "jpeg"] = {"kib": round(kib, 1), "raw_over_it": round(raw_kib / kib, 1)}
    return answer
