"""How far a dataset is, from what lies in its folder alone: whichever runs made it, wherever."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from aih_builder.errors import AihError, ShardError
from aih_builder.files import read_json
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.listing import listing
from aih_builder.shards.marking import flagged_indices
from aih_builder.shards.plan import Plan, Shard, load_plan
from aih_builder.shards.tasks import ShardState, read_record, shard_state

STATES = ("done", "torn", "missing")
_LATEST, _SHARDS_LONG = 256, 10  # the rate is measured over so many shards, or what ends in the time of so many


class Status(NamedTuple):
    """What is done, and how fast it went."""

    shards: dict[str, int]  # by state
    samples: dict[str, int]
    torn: dict[str, str]  # file: why
    indexed: str  # "yes", "no", or "stale": dataset.json is there and says something else
    per_second: float | None  # samples, of all workers together, lately; None where fewer than two shards tell
    workers: float | None  # how many were at work on average
    seconds_left: float | None  # at that rate
    flagged: int  # samples that readers leave out, and `aih repair --flagged` makes again


class _Made(NamedTuple):
    shard: Shard
    when_s: float  # the file's time of change, seconds
    busy_s: float  # the worker's seconds for it


def status(folder: Path) -> Status:
    """How far a dataset folder is. Raises ConfigError or ShardError where it holds no readable plan
    or flags.json is damaged."""
    plan = load_plan(folder)
    states = {shard: shard_state(plan, shard) for shard in plan.shards()}
    samples: Counter[str] = Counter()
    for shard, state in states.items():
        samples[state.state] += _count(shard)
    shards = Counter(state.state for state in states.values())
    told = [_made(plan, shard) for shard, state in states.items() if state.state == "done"]
    made = [m for m in told if m is not None]
    per_second, workers = _rate(made)
    return Status(
        {state: shards[state] for state in STATES},
        {state: samples[state] for state in STATES},
        {shard.file: state.reason for shard, state in states.items() if state.state == "torn"},
        _indexed(plan),
        per_second,
        workers,
        _seconds_left(made, states, workers),
        len(flagged_indices(plan)),
    )


def _count(shard: Shard) -> int:
    return shard.last - shard.first


def _made(plan: Plan, shard: Shard) -> _Made | None:
    """What a finished shard tells; None where a repair has just taken it away."""
    try:
        record, when_s = read_record(plan.folder, shard), (plan.folder / shard.file).stat().st_mtime
    except (ShardError, FileNotFoundError):
        return None
    return _Made(shard, when_s, sum(record["seconds"].values()))


def _rate(made: list[_Made]) -> tuple[float | None, float | None]:
    """Samples per second and workers at work, over the shards that were finished last.

    While a run is on, a shard is finished at least every time that the longest one takes; longer gaps are pauses.
    """
    longest_s = max((m.busy_s for m in made), default=0.0)
    in_order = sorted(made, key=lambda m: m.when_s)
    recent = sum(m.when_s > in_order[-1].when_s - _SHARDS_LONG * longest_s for m in in_order)
    latest = in_order[-max(_LATEST, recent) :]
    elapsed_s, count, busy_s = 0.0, 0, 0.0
    for before, after in pairwise(latest):
        if (gap_s := after.when_s - before.when_s) <= 2 * longest_s:
            elapsed_s, count, busy_s = elapsed_s + gap_s, count + _count(after.shard), busy_s + after.busy_s
    if elapsed_s <= 0:
        return None, None
    return count / elapsed_s, busy_s / elapsed_s


def _seconds_left(made: list[_Made], states: dict[Shard, ShardState], workers: float | None) -> float | None:
    """What is left by engine, each at its own cost: a rendered sample takes longer than a pasted one."""
    left: Counter[str] = Counter()
    for shard, state in states.items():
        left[shard.engine] += _count(shard) if state.state != "done" else 0
    if left.total() == 0:
        return 0.0
    if not workers:
        return None
    seconds, samples = Counter[str](), Counter[str]()
    for m in made:
        seconds[m.shard.engine] += m.busy_s  # pyright: ignore[reportArgumentType]
        samples[m.shard.engine] += _count(m.shard)
    mean_s = sum(seconds.values()) / samples.total()
    work_s = sum(n * (seconds[e] / samples[e] if samples[e] else mean_s) for e, n in left.items())
    return work_s / workers


def _indexed(plan: Plan) -> str:
    if not (plan.folder / LISTING_FILE).is_file():
        return "no"
    try:
        return "yes" if read_json(plan.folder / LISTING_FILE) == listing(plan) else "stale"
    except AihError:
        return "stale"
