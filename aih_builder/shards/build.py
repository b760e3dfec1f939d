"""Running shard tasks: local processes, resume, and the index that is written last."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from aih_builder.config import Manifest, load_manifest
from aih_builder.errors import ConfigError
from aih_builder.files import remove, remove_stale
from aih_builder.parallel.pool import Pool
from aih_builder.parallel.run import pool_of, run_tasks
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.listing import write_listing, write_listing_if_whole
from aih_builder.shards.plan import Plan, Shard, make_plan
from aih_builder.shards.tasks import make_shard, probe_acceptance, shard_state

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0


class Progress(NamedTuple):
    """How far a run is."""

    done: int  # of the samples that this run has to make, by it or by another meanwhile
    total: int


class Part(NamedTuple):
    """One of `of` equal parts of a plan: every of-th shard, from `number` (from 0) on."""

    number: int
    of: int


class Built(NamedTuple):
    """What a run did."""

    folder: Path
    made: int  # shards
    skipped: int  # there already, or made by another run meanwhile
    samples: int  # samples made
    seconds: float
    finished: bool  # whether every shard of the plan is there, and dataset.json with them


def generate(
    manifest: Manifest | str | PathLike[str],
    out: str | PathLike[str],
    *,
    jobs: int | Pool = 1,
    shards: slice | Part = slice(None),
    on_progress: Callable[[Progress], None] | None = None,
) -> Built:
    """Make what is missing of a dataset: plan where that is new, skip finished shards, remake torn ones.

    jobs is the number of processes, or a pool of other workers. shards limits the run to a part of the plan's shards:
    slice(0, 8) the first eight, Part(3, 64) the fourth of 64 equal parts, as a cluster's array makes them. When every
    shard is there, dataset.json is written. Raises ConfigError, GenerationError or ShardError.
    """
    pool = pool_of(jobs)
    started = time.perf_counter()
    manifest = manifest if isinstance(manifest, Manifest) else load_manifest(Path(manifest))
    plan = make_plan(manifest, Path(out))
    chosen = _chosen(plan.shards(), shards)
    todo = [shard for shard in chosen if shard_state(plan, shard).state != "done"]
    remove_stale(plan.folder)
    if todo:
        remove(plan.folder / LISTING_FILE)
        log.info("acceptance of draws: %.0f %%", 100 * probe_acceptance(plan, todo))
    made = make_shards(plan, todo, pool, on_progress)
    finished = write_listing_if_whole(plan.folder)
    samples, seconds = sum(record["samples"] for record in made), time.perf_counter() - started
    return Built(plan.folder, len(made), len(chosen) - len(made), samples, seconds, finished)


def make_shards(
    plan: Plan, shards: list[Shard], jobs: int | Pool, on_progress: Callable[[Progress], None] | None = None
) -> list[dict[str, Any]]:
    """Make some shards of a plan, each unless another run has made it by then; returns the records of those made."""
    total, done = sum(s.last - s.first for s in shards), 0
    fresh = []
    report = _logged(on_progress)
    report(Progress(0, total))
    try:
        with closing(run_tasks(partial(make_shard, plan.folder.resolve()), shards, jobs)) as results:
            for _, made in results:
                done += made.record["samples"]
                fresh += [made.record] if made.fresh else []
                report(Progress(done, total))
    finally:
        remove_stale(plan.folder)
    return fresh


def _chosen(shards: list[Shard], part: slice | Part) -> list[Shard]:
    if isinstance(part, Part):  # where there are more parts than shards, some are empty
        if not 0 <= part.number < part.of:
            raise ConfigError(f"shards {part.number}/{part.of}: of N parts there are 0/N to (N - 1)/N.")
        return shards[part.number :: part.of]
    first, last = 0 if part.start is None else part.start, len(shards) if part.stop is None else part.stop
    if not 0 <= first < last <= len(shards) or part.step is not None:
        raise ConfigError(f"shards {first}:{last}: the plan has shards 0:{len(shards)}.")
    return shards[first:last]


def _logged(on_progress: Callable[[Progress], None] | None) -> Callable[[Progress], None]:
    """Report to the caller, and to the log every 10 s with rate and time left."""
    started = last = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal last
        if on_progress is not None:
            on_progress(progress)
        now = time.monotonic()
        if progress.done and (now - last >= _LOG_EVERY_S or progress.done == progress.total):
            rate = progress.done / max(now - started, 1e-9)
            left_s = (progress.total - progress.done) / rate
            log.info(
                "%d of %d samples, %.1f per second, %.0f s left",
                progress.done,
                progress.total,
                rate,
                left_s,
            )
            last = now

    return report


def index(folder: str | PathLike[str]) -> Path:
    """Write the dataset.json of a folder whose shards are all there: the last step of a cluster's array.

    Raises ConfigError where one is missing or torn.
    """
    remove_stale(Path(folder))  # also has a network filesystem look at each folder anew
    return write_listing(Path(folder))
