"""Making again exactly the shards of a dataset that are bad, or those with samples that are flagged so."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from aih_builder.errors import ConfigError, GenerationError, ShardError
from aih_builder.files import remove, write_whole
from aih_builder.parallel.pool import Pool
from aih_builder.parallel.run import pool_of
from aih_builder.shards.build import Progress, make_shards
from aih_builder.shards.flags import FLAGS_FILE, Flag, read_flags, remove_mended
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.listing import write_listing_if_whole
from aih_builder.shards.marking import stored_attempts
from aih_builder.shards.overrides import OVERRIDES_FILE, raise_overrides
from aih_builder.shards.plan import Plan, Shard, load_plan
from aih_builder.shards.tasks import record_path, shard_state
from aih_builder.shards.validate import Problem, check_cache, check_shards, check_strangers


class Mended(NamedTuple):
    """A flagged sample that is another one now."""

    reason: str
    before: int  # the attempt that was flagged
    now: int  # the attempt that it is now


class Repaired(NamedTuple):
    """What was wrong and is mended."""

    checked: int  # shards
    remade: dict[str, str]  # file: what was wrong
    missing: int  # shards that no run has made yet: `aih generate` does
    left: list[Problem]  # what cannot be mended so
    finished: bool  # whether every shard is there, and dataset.json with them
    mended: dict[int, Mended]  # flagged samples by index, ascending; only of a repair of these


def repair(
    path: str | PathLike[str],
    *,
    jobs: int | Pool = 1,
    flagged: bool = False,
    on_checked: Callable[[int, int], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Repaired:
    """Check a dataset folder as `validate` does, and make its bad shards again: torn, of another checksum, or with a
    sample that breaks an invariant. A missing shard is bad where dataset.json says that all are there.

    With `flagged` instead: make flagged samples again, each from the attempt after the flagged one on, as
    overrides.json then says, and take their flags away. Only their shards are looked at; other samples stay the same.

    Every other file stays as it is; dataset.json is away while shards are made. A repair that is stopped goes on when
    it is run again. Raises ConfigError where the folder holds no plan or a flag names no sample of it, ShardError where
    what samples are made from is not what was planned, GenerationError.
    """
    pool = pool_of(jobs)
    plan = load_plan(Path(path))
    if wrong := check_cache(plan):
        raise ShardError(
            f"{plan.folder}: shards made now would differ from those that are there: {wrong[0].message}. Put the files "
            "of DIR/cache and the bank back as they were, or generate into a new folder."
        )
    return (_repair_flagged if flagged else _repair_bad)(plan, pool, on_checked, on_progress)


def _repair_bad(
    plan: Plan,
    pool: Pool,
    on_checked: Callable[[int, int], None] | None,
    on_progress: Callable[[Progress], None] | None,
) -> Repaired:
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
    return Repaired(len(done), remade, missing, left, write_listing_if_whole(plan.folder), {})


def _tear(plan: Plan, shard: Shard) -> None:
    """Leave a bad shard such that it counts as torn, until it is made again: also for the next repair, if this one is
    stopped.
    """
    file = plan.folder / shard.file
    if not file.is_file():
        write_whole(file, b"")
    remove(record_path(plan.folder, shard))


def _repair_flagged(
    plan: Plan,
    pool: Pool,
    on_checked: Callable[[int, int], None] | None,
    on_progress: Callable[[Progress], None] | None,
) -> Repaired:
    """The overrides come first: from then on the flagged samples' shards count as torn, until they are made again."""
    flags = read_flags(plan.folder)
    if strangers := plan.strangers(flags):
        raise ConfigError(
            f"{plan.folder / FLAGS_FILE}: flags {len(strangers)} samples that the plan does not hold (index "
            f"{', '.join(map(str, strangers[:5]))}). Take these flags away: `aih flag DIR --remove --index I`."
        )
    raise_overrides(plan.folder, {index: flag.attempt + 1 for index, flag in flags.items()})
    plan = load_plan(plan.folder)
    of_shard: dict[Shard, list[int]] = {}
    for index in flags:
        of_shard.setdefault(plan.shard_of(index), []).append(index)
    bad = [shard for shard in of_shard if shard_state(plan, shard).state != "done"]
    if bad:
        remove(plan.folder / LISTING_FILE)
    try:
        make_shards(plan, bad, pool, on_progress)
    except GenerationError as error:
        raise GenerationError(
            f"{error} The flags stay; run the same again to go on. If a sample cannot be had: take its flag away "
            f"(`aih flag DIR --remove --index I`) and its line out of {OVERRIDES_FILE}, then run `aih generate`."
        ) from error
    left = check_shards(plan, bad, pool, on_checked)[1]
    finished = write_listing_if_whole(plan.folder)
    mended = _take_flags_away(plan, flags, of_shard)
    missing = sum(shard_state(plan, shard).state == "missing" for shard in plan.shards()) if not finished else 0
    remade = {shard.file: f"{shard.file}: flagged: {_told(flags, of_shard[shard])}" for shard in bad}
    return Repaired(0, remade, missing, left, finished, mended)


def _take_flags_away(plan: Plan, flags: dict[int, Flag], of_shard: dict[Shard, list[int]]) -> dict[int, Mended]:
    """Of all samples that are made again, whichever run did it."""
    attempts: dict[int, int] = {}
    for shard, indices in of_shard.items():
        attempts |= stored_attempts(plan, shard, indices)
    remove_mended(plan.folder, attempts)
    return {
        index: Mended(flag.reason, flag.attempt, attempts[index])
        for index, flag in flags.items()
        if attempts[index] > flag.attempt
    }


def _told(flags: dict[int, Flag], indices: list[int]) -> str:
    return "; ".join(f"sample {index}, {flags[index].reason}" for index in indices)
