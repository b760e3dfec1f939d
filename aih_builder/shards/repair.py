"""Making again exactly the shards of a dataset that are bad."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from aih_builder.errors import ShardError
from aih_builder.files import remove, write_whole
from aih_builder.parallel.pool import Pool
from aih_builder.parallel.run import pool_of
from aih_builder.shards.build import Progress, make_shards
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.listing import write_listing_if_whole
from aih_builder.shards.plan import Plan, Shard, load_plan
from aih_builder.shards.tasks import record_path, shard_state
from aih_builder.shards.validate import Problem, check_cache, check_shards, check_strangers


class Repaired(NamedTuple):
    """What was wrong and is mended."""

    checked: int  # shards
    remade: dict[str, str]  # file: what was wrong
    missing: int  # shards that no run has made yet: `aih generate` does
    left: list[Problem]  # what cannot be mended so
    finished: bool  # whether every shard is there, and dataset.json with them


def repair(
    path: str | PathLike[str],
    *,
    jobs: int | Pool = 1,
    on_checked: Callable[[int, int], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Repaired:
    """Check a dataset folder as `validate` does, and make its bad shards again: torn, of another checksum, or with a
    sample that breaks an invariant. A missing shard is bad where dataset.json says that all are there.

    Every other file stays as it is; dataset.json is away while shards are made. A repair that is stopped goes on when
    it is run again. Raises ConfigError where the folder holds no plan, ShardError where what samples are made from is
    not what was planned, GenerationError.
    """
    pool = pool_of(jobs)
    plan = load_plan(Path(path))
    if wrong := check_cache(plan):
        raise ShardError(
            f"{plan.folder}: shards made now would differ from those that are there: {wrong[0].message}. Put the files "
            "of DIR/cache and the bank back as they were, or generate into a new folder."
        )
    listed = (plan.folder / LISTING_FILE).is_file()
    shards = plan.shards()
    states = {shard: shard_state(plan, shard).state for shard in shards}
    done = [shard for shard in shards if states[shard] == "done"]
    _, problems = check_shards(plan, done, pool, on_checked)
    wrong_with = {problem.file: str(problem) for problem in reversed(problems) if problem.mendable}
    for shard in shards:
        if states[shard] == "torn" or (states[shard] == "missing" and listed):
            now = shard_state(plan, shard)  # another run may have finished it meanwhile
            if now.state != "done":
                wrong_with[shard.file] = f"{shard.file}: {now.state}{': ' if now.reason else ''}{now.reason}"
    bad = [shard for shard in shards if shard.file in wrong_with]
    for shard in bad:
        _tear(plan, shard)
    if bad:
        remove(plan.folder / LISTING_FILE)
    make_shards(plan, bad, pool, on_progress)
    left = [problem for problem in problems if not problem.mendable]
    left += [*check_shards(plan, bad, pool)[1], *check_strangers(plan)]
    missing = 0 if listed else sum(state == "missing" for state in states.values())
    remade = {shard.file: wrong_with[shard.file] for shard in bad}
    return Repaired(len(done), remade, missing, left, write_listing_if_whole(plan.folder))


def _tear(plan: Plan, shard: Shard) -> None:
    """Leave a bad shard such that it counts as torn, until it is made again: also for the next repair, if this one is
    stopped.
    """
    file = plan.folder / shard.file
    if not file.is_file():
        write_whole(file, b"")
    remove(record_path(plan.folder, shard))
