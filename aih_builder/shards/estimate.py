"""How long making a dataset takes and how large it gets: measured on some of its samples, laid out over its shards."""

import heapq
from collections.abc import Iterable, Sequence
from time import perf_counter, process_time
from typing import NamedTuple

from aih_builder.errors import ConfigError
from aih_builder.identity import EngineName
from aih_builder.sample import Sample
from aih_builder.shards.plan import Plan, Shard
from aih_builder.shards.tasks import engine_for, head_of
from aih_builder.shards.writer import ShardHead, ShardWriter
from aih_builder.synth.engine import Tally

ASSUMES = (
    "each worker has a core as fast as the one that measured; starting workers, writing to disk and validation are not "
    "counted. core_share well below 1: other work, or a GPU, held up the measuring"
)


class Rate(NamedTuple):
    """What one engine's samples cost in this process."""

    samples: int  # so many were measured
    seconds: float  # per sample; its refused draws and its encoding are part of it
    sample_bytes: float
    shard_bytes: int  # of a shard beside its samples
    core_share: float = 1.0  # of that time in which this process had a core


class Estimate(NamedTuple):
    """What a plan costs. hours is by number of workers."""

    rates: dict[EngineName, Rate]
    bytes: int  # of the shards
    core_hours: float
    hours: dict[int, float]


def estimate(plan: Plan, workers: Sequence[int], count: int) -> Estimate:
    """Measure up to `count` samples of each engine of a plan, and lay its shards out over each number of workers.

    Raises ConfigError where a number is below 1, and what making a sample raises.
    """
    if count < 1:
        raise ConfigError(f"{count} samples to measure, expected at least 1.")
    if bad := [number for number in workers if number < 1]:
        raise ConfigError(f"{bad[0]} workers, expected at least 1.")
    of_engine: dict[EngineName, list[Shard]] = {}
    for shard in plan.shards():
        of_engine.setdefault(shard.engine, []).append(shard)
    rates: dict[EngineName, Rate] = {engine: measure(plan, shards, count) for engine, shards in of_engine.items()}
    return predicted(plan.shards(), rates, workers)


def predicted(shards: Sequence[Shard], rates: dict[EngineName, Rate], workers: Sequence[int]) -> Estimate:
    """What shards cost at these rates."""
    samples = [shard.last - shard.first for shard in shards]
    of_shards = [rates[shard.engine] for shard in shards]
    seconds = [n * rate.seconds for n, rate in zip(samples, of_shards, strict=True)]
    size = sum(rate.shard_bytes + n * rate.sample_bytes for n, rate in zip(samples, of_shards, strict=True))
    hours = {number: makespan(seconds, number) / 3600 for number in workers}
    return Estimate(rates, round(size), sum(seconds) / 3600, hours)


def makespan(seconds: Iterable[float], workers: int) -> float:
    """When the last task ends, where each worker takes the next task as soon as it is free."""
    free_at: list[float] = []
    for task in seconds:
        start = heapq.heappop(free_at) if len(free_at) == workers else 0.0
        heapq.heappush(free_at, start + task)
    return max(free_at, default=0.0)


def measure(plan: Plan, shards: Sequence[Shard], count: int) -> Rate:
    """Make and encode up to `count` samples that lie evenly over the shards of one engine, as a shard task does.

    Others are made first: compiling and the first reading of textures happen once in a worker's life.
    """
    indices = [index for shard in shards for index in shard.indices]
    engine, tally, head = engine_for(plan, shards[0].engine), Tally(), head_of(plan, shards[0])
    for index in _spread(indices, -(-count // 2)):
        _shard(head, [engine.make(index, tally)])
    measured, writer = _spread(indices, count), ShardWriter(head)
    started, had = perf_counter(), process_time()
    for index in measured:
        sample = engine.make(index, tally)
        writer.add(sample)
    size = len(writer.to_bytes())
    seconds, had = perf_counter() - started, process_time() - had
    last = engine.make(measured[-1], tally)
    frame = 2 * len(_shard(head, [last])) - len(_shard(head, [last, last]))
    made = len(measured)
    return Rate(made, seconds / made, (size - frame) / made, frame, had / max(seconds, 1e-9))


def _shard(head: ShardHead, samples: Sequence[Sample]) -> bytes:
    writer = ShardWriter(head)
    for sample in samples:
        writer.add(sample)
    return writer.to_bytes()


def _spread(indices: Sequence[int], count: int) -> list[int]:
    """Up to count of the indices, evenly spaced."""
    count = min(count, len(indices))
    return [indices[i * len(indices) // count] for i in range(count)]
