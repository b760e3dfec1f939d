#!/usr/bin/env python
"""One long run: rates at its start and end, memory of its workers, bytes, validation.

python tools/bench/long_run.py FOLDER [--render 30000] [--sync 100000] [--jobs 2] [--out FILE.json]. FOLDER is new.
"""

import argparse
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import psutil

from aih_builder.config import Manifest
from aih_builder.shards.build import Progress, generate
from aih_builder.shards.plan import make_plan
from aih_builder.shards.validate import validate
from tools.bench.scenes import demo_manifest
from tools.bench.timing import commit, machine, report

MARKS = (2_000, 20_000)  # samples of an engine, after which memory is compared
_EVERY_S = 0.25


class Memory(NamedTuple):
    """What a worker held at a moment."""

    done: int  # samples of the run by then
    pid: int
    rss_mib: float
    own_mib: float  # of that, what no other process shares: the bank and libraries are mapped by all


class Watch:
    """Looks at this process's workers while a run is on."""

    def __init__(self) -> None:
        self.memory: list[Memory] = []
        self.progress: list[tuple[float, int]] = []
        self._done, self._over = 0, threading.Event()

    def report(self, progress: Progress) -> None:
        """For generate's on_progress."""
        self._done = progress.done
        self.progress.append((time.perf_counter(), progress.done))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look until the block ends."""
        thread = threading.Thread(target=self._look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _look(self) -> None:
        while not self._over.wait(_EVERY_S):
            for worker in psutil.Process().children():
                try:
                    if any("popen_loky" in part for part in worker.cmdline()):
                        held = worker.memory_full_info()
                        self.memory.append(Memory(self._done, worker.pid, held.rss / 2**20, held.uss / 2**20))
                except psutil.Error:  # it has just ended
                    continue


def main() -> None:
    """Generate, validate, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--render", type=int, default=30_000)
    parser.add_argument("--sync", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--shard-samples", type=int, default=500)
    parser.add_argument("--renderer", default="numba")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    chosen = parser.parse_args()
    if chosen.folder.exists():
        parser.error(f"{chosen.folder} is there already: the figures would be those of a part")
    if chosen.jobs < 2:
        parser.error("at least 2 jobs: the memory of workers is looked at")
    content: dict[str, Any] = {"commit": commit(), "machine": machine()}
    manifest, started = _manifest(chosen), time.perf_counter()
    make_plan(manifest, chosen.folder)
    content["planning_s"] = round(time.perf_counter() - started, 1)
    watch = Watch()
    with watch.watching():
        built = generate(manifest, chosen.folder, jobs=chosen.jobs, on_progress=watch.report)
    shards = [path for path in chosen.folder.glob("*/*/*.h5") if path.parent.parent.name in ("render", "sync")]
    size = sum(path.stat().st_size for path in shards)
    content |= {
        "samples": built.samples,
        "seconds": round(built.seconds, 1),
        "shards": len(shards),
        "bytes": size,
        "kib_per_sample": round(size / 1024 / manifest.total(), 2),
        "engines": {name: _engine(watch, *limits) for name, limits in _limits(chosen).items()},
        "workers": len({memory.pid for memory in watch.memory}),
    }
    started = time.perf_counter()
    checked = validate(chosen.folder, jobs=chosen.jobs)
    content["validation"] = {
        "samples": checked.samples,
        "seconds": round(time.perf_counter() - started, 1),
        "problems": [str(problem) for problem in checked.problems],
    }
    content["arguments"] = {key: str(value) for key, value in vars(chosen).items() if key not in ("out", "folder")}
    report(chosen.out, content)


def _manifest(chosen: argparse.Namespace) -> Manifest:
    streams = {
        engine: {"count": {"train": count - 2 * (count // 20), "val": count // 20, "test": count // 20}}
        for engine, count in (("render", chosen.render), ("sync", chosen.sync))
        if count
    }
    return demo_manifest(
        chosen.size, renderer=chosen.renderer, shard_samples=chosen.shard_samples, streams=streams, name="long-run"
    )


def _limits(chosen: argparse.Namespace) -> dict[str, tuple[int, int]]:
    """First and last sample of each engine in the order of making."""
    limits = {"render": (0, chosen.render), "sync": (chosen.render, chosen.render + chosen.sync)}
    return {name: (first, last) for name, (first, last) in limits.items() if last > first}


def _engine(watch: Watch, first: int, last: int) -> dict[str, Any]:
    tenth = (last - first) // 10
    answer: dict[str, Any] = {
        "per_second": _rate(watch, first, last),
        "per_second_first_tenth": _rate(watch, first, first + tenth),
        "per_second_last_tenth": _rate(watch, last - tenth, last),
    }
    for mark in MARKS:
        if last - first >= mark + 1000:
            near = [m for m in watch.memory if first + mark <= m.done < first + mark + 2000]
            answer[f"worker_rss_mib_after_{mark}"] = round(float(np.median([m.rss_mib for m in near])), 1)
            answer[f"worker_own_mib_after_{mark}"] = round(float(np.median([m.own_mib for m in near])), 1)
    return answer


def _rate(watch: Watch, first: int, last: int) -> float | None:
    """Samples per second between two counts, at the shards that were finished next to them."""
    inside = [(when, done) for when, done in watch.progress if first <= done <= last]
    if len(inside) < 2 or inside[-1][0] <= inside[0][0]:
        return None
    return round((inside[-1][1] - inside[0][1]) / (inside[-1][0] - inside[0][0]), 1)


if __name__ == "__main__":
    main()
