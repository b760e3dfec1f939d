"""Marking samples of a dataset folder as bad."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from aih_builder.errors import ShardError
from aih_builder.shards.flags import Flag, add_flags, read_flags, standing
from aih_builder.shards.plan import Plan, Shard, load_plan
from aih_builder.shards.reader import ShardReader


def flag_samples(path: str | PathLike[str], reasons: Mapping[int, str]) -> dict[int, Flag]:
    """Flag samples of a dataset folder, each index with a reason; returns the new flags.

    Raises ConfigError, and flags none, where the folder holds no plan or no such sample, or a reason is empty or longer
    than 500 characters; ShardError where a sample's shard is missing or damaged, or the flag cannot be written.
    """
    plan = load_plan(Path(path))
    shards = {index: plan.shard_of(index) for index in reasons}
    attempts: dict[int, int] = {}
    for shard in dict.fromkeys(shards.values()):
        attempts |= stored_attempts(plan, shard, [index for index in reasons if shards[index] == shard])
    flags = {index: Flag(reason, attempts[index]) for index, reason in reasons.items()}
    add_flags(plan.folder, flags)
    return flags


def flagged_indices(plan: Plan) -> list[int]:
    """Indices of a plan's flagged samples, ascending; without those that overrides.json replaces by later attempts.

    Raises ShardError where flags.json is damaged.
    """
    flags = read_flags(plan.folder)
    strangers = set(plan.strangers(flags))
    return standing({i: flag for i, flag in flags.items() if i not in strangers}, plan.overrides)


def stored_attempts(plan: Plan, shard: Shard, indices: list[int]) -> dict[int, int]:
    """Of which attempt some samples of a shard are, as it is stored. Raises ShardError where it cannot be read."""
    file = plan.folder / shard.file
    if not file.is_file():
        raise ShardError(f"{file}: is not there, so it holds no sample yet. Run `aih generate` to make it.")
    plain = ShardReader(file).plain
    found = dict(zip(plain["index"].tolist(), plain["attempt"].tolist(), strict=True))
    if missing := [index for index in indices if index not in found]:
        raise ShardError(f"{file}: does not hold sample {missing[0]}, as planned. Run `aih repair` on its dataset.")
    return {index: found[index] for index in indices}
