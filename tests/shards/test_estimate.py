"""What a dataset will cost: the figures follow from what is measured, and from whole shards on whole workers."""

import random
from pathlib import Path

import pytest

from aih_builder.errors import ConfigError
from aih_builder.shards import estimate as module
from aih_builder.shards.estimate import Rate, estimate, makespan, predicted
from aih_builder.shards.plan import Plan, Shard, load_plan
from aih_builder.shards.tasks import engine_for, read_record
from aih_builder.synth.engine import Engine, Tally


def shards(samples: int, size: int) -> list[Shard]:
    return [
        Shard("render", "train", n, first, min(first + size, samples))
        for n, first in enumerate(range(0, samples, size))
    ]


def test_three_shards_take_as_long_on_64_workers_as_on_three() -> None:
    told = predicted(shards(3000, 1000), {"render": Rate(64, 3.6, 1024.0, 0)}, [1, 2, 3, 64])
    assert told.hours == {1: 3.0, 2: 2.0, 3: 1.0, 64: 1.0}
    assert told.core_hours == 3.0


def test_no_schedule_beats_its_bounds_and_none_wastes_a_worker() -> None:
    """Greedy lies within the longest task of the ideal; one worker does all in a row."""
    rng = random.Random(7)
    for _ in range(200):
        tasks = [rng.uniform(0.1, 9.0) for _ in range(rng.randint(1, 40))]
        workers = rng.randint(1, 50)
        took = makespan(tasks, workers)
        assert took >= max(*tasks, sum(tasks) / workers) - 1e-9
        assert took <= sum(tasks) / workers + max(tasks) + 1e-9
        assert took <= makespan(tasks, max(workers - 1, 1)) + 1e-9
        assert makespan(tasks, 1) == pytest.approx(sum(tasks))
    assert makespan([], 4) == 0.0


def test_a_short_last_shard_is_shorter_and_each_shard_has_a_frame() -> None:
    told = predicted(shards(25, 10), {"render": Rate(5, 36.0, 100.0, 7)}, [2])
    assert told.bytes == 25 * 100 + 3 * 7
    assert told.hours == {2: pytest.approx(0.15)}  # 10 and 5 in a row, 10 beside them


def test_rates_follow_from_the_clock_and_warming_up_does_not_count(
    small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each sample takes two seconds of a clock that nothing else moves, in half of which this process has a core."""
    now, plan = [0.0], load_plan(small_dataset)
    make = Engine.make

    def slow(self: Engine, index: int, tally: Tally, **options: int) -> object:
        now[0] += 2.0
        return make(self, index, tally, **options)

    monkeypatch.setattr(Engine, "make", slow)
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    monkeypatch.setattr(module, "process_time", lambda: now[0] / 2)
    told = estimate(plan, [1, 2], 4)
    assert told.rates.keys() == {"render"}
    assert told.rates["render"][:2] == (4, 2.0)
    assert told.rates["render"].core_share == 0.5
    assert told.core_hours == pytest.approx(9 * 2.0 / 3600)
    assert told.hours == {1: pytest.approx(18 / 3600), 2: pytest.approx(10 / 3600)}  # shards of 2, 2, 1, 2, 2


def test_bytes_of_a_plan_that_was_measured_whole_are_those_of_its_shards(both_dataset: Path) -> None:
    """All but a few: HDF5 rounds its own blocks, and these shards hold one or two samples."""
    plan = load_plan(both_dataset)
    told = estimate(plan, [1], 1000)
    assert {engine: rate.samples for engine, rate in told.rates.items()} == {"render": 9, "sync": 9}
    written = sum(read_record(both_dataset, shard)["bytes"] for shard in plan.shards())
    assert told.bytes == pytest.approx(written, rel=0.02)
    assert all(rate.seconds > 0 for rate in told.rates.values())


def test_what_is_measured_lies_all_over_the_splits(small_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, made = load_plan(small_dataset), []
    engine = engine_for(plan, "render")

    class Listening(Engine):
        def make(self, index: int, tally: Tally, **_: int):  # pyright: ignore[reportIncompatibleMethodOverride]
            made.append(index)
            return engine.make(index, tally)

        def asked(self, index: int) -> str:
            return engine.asked(index)

        def _attempt(self, index: int, attempt: int, tally: Tally):
            return engine._attempt(index, attempt, tally)

    monkeypatch.setattr(module, "engine_for", lambda *_: Listening())
    estimate(plan, [1], 9)
    assert made[5:14] == [index for shard in plan.shards() for index in shard.indices]  # five came before the clock


@pytest.mark.parametrize(("workers", "count", "message"), [([4, 0], 3, "0 workers"), ([1], 0, "0 samples to measure")])
def test_numbers_below_one_are_refused(small_dataset: Path, workers: list[int], count: int, message: str) -> None:
    plan: Plan = load_plan(small_dataset)
    with pytest.raises(ConfigError, match=f"{message}.*, expected at least 1"):
        estimate(plan, workers, count)
