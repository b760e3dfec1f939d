"""Running shard tasks: local processes, resume, and the index that is written last."""

import logging
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from aih_builder.config import Manifest, load_manifest
from aih_builder.errors import ConfigError
from aih_builder.files import remove, remove_stale
from aih_builder.parallel import run_tasks
from aih_builder.shards.listing import write_listing
from aih_builder.shards.plan import Shard, load_plan, make_plan
from aih_builder.shards.tasks import make_shard, probe_acceptance, shard_state

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0


class Progress(NamedTuple):
    """How far a run is."""

    done: int  # samples made by this run
    total: int  # samples that this run has to make


class Built(NamedTuple):
    """What a run did."""

    folder: Path
    made: int  # shards
    skipped: int
    samples: int  # samples made
    seconds: float
    finished: bool  # whether every shard of the plan is there, and dataset.json with them


def generate(
    manifest: Manifest | str | PathLike[str],
    out: str | PathLike[str],
    *,
    jobs: int = 1,
    shards: tuple[int | None, int | None] = (None, None),
    on_progress: Callable[[Progress], None] | None = None,
) -> Built:
    """Make what is missing of a dataset: plan where that is new, skip finished shards, remake torn ones.

    jobs is the number of processes; shards (first, last) limits the run to a part of the plan's shards, as a cluster's
    array does. When every shard is there, dataset.json is written. Raises ConfigError, GenerationError or ShardError.
    """
    if jobs < 1:
        raise ConfigError(f"jobs is {jobs}, expected at least 1.")
    started = time.perf_counter()
    manifest = manifest if isinstance(manifest, Manifest) else load_manifest(Path(manifest))
    plan = make_plan(manifest, Path(out))
    chosen = _chosen(plan.shards(), shards)
    todo = [shard for shard in chosen if shard_state(plan, shard).state != "done"]
    remove_stale(plan.folder)
    if todo:
        remove(plan.folder / "dataset.json")
        log.info("acceptance of draws: %.0f %%", 100 * probe_acceptance(plan, todo))
    total, done = sum(s.last - s.first for s in todo), 0
    report = _logged(on_progress)
    report(Progress(0, total))
    try:
        with closing(run_tasks(partial(make_shard, plan.folder), todo, jobs)) as records:
            for _, record in records:
                done += record["samples"]
                report(Progress(done, total))
    finally:
        remove_stale(plan.folder)
    missing = [shard.file for shard in plan.shards() if shard_state(plan, shard).state != "done"]
    if not missing:
        write_listing(plan)
    return Built(
        plan.folder,
        len(todo),
        len(chosen) - len(todo),
        done,
        time.perf_counter() - started,
        not missing,
    )


def _chosen(shards: list[Shard], limits: tuple[int | None, int | None]) -> list[Shard]:
    first, last = limits
    first, last = 0 if first is None else first, len(shards) if last is None else last
    if not 0 <= first < last <= len(shards):
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
    """Write the dataset.json of a folder whose shards are all there: the last step of a cluster's array."""
    return write_listing(load_plan(Path(folder)))
