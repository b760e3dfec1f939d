"""Making again exactly the shards of a dataset that are bad."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from aih_builder.errors import ShardError
from aih_builder.files import remove
from aih_builder.parallel.pool import Pool
from aih_builder.parallel.run import pool_of
from aih_builder.shards.build import Progress, make_shards
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.listing import write_listing_if_whole
from aih_builder.shards.plan import load_plan
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

    Every other file stays as it is; dataset.json is away while shards are made. Raises ConfigError where the folder
    holds no plan, ShardError where what samples are made from is not what was planned, GenerationError.
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
    lost = {s for s in shards if shard_state(plan, s).state == "missing"}
    there = [s for s in shards if s not in lost]
    _, problems = check_shards(plan, there, pool, on_checked)
    wrong_with = {problem.file: str(problem) for problem in reversed(problems)}
    wrong_with |= {s.file: f"{s.file}: missing, yet {LISTING_FILE} lists it" for s in lost if listed}
    bad = [s for s in shards if s.file in wrong_with]
    if bad:
        remove(plan.folder / LISTING_FILE)
    for shard in bad:
        remove(record_path(plan.folder, shard))
        remove(plan.folder / shard.file)
    make_shards(plan, bad, pool, on_progress)
    _, left = check_shards(plan, bad, pool)
    finished = write_listing_if_whole(plan.folder)
    missing = 0 if listed else len(lost)
    return Repaired(
        len(there), {s.file: wrong_with[s.file] for s in bad}, missing, [*left, *check_strangers(plan)], finished
    )
