import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.errors import ConfigError
from aih_builder.hdr.sampler import AihSampler, Key

SIZES = st.integers(1, 40)
BATCHES, RANKS, SEEDS = st.integers(1, 6), st.integers(1, 4), st.integers(0, 100)


def taken(sampler: AihSampler) -> list[list[Key]]:
    return list(sampler)


def flat(batches: list[list[Key]]) -> list[Key]:
    return [key for keys in batches for key in keys]


@given(items=SIZES, batch=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_each_epoch_takes_each_item_once_in_an_order_of_its_own(items: int, batch: int, seed: int) -> None:
    steps = -(-3 * items // batch)
    keys = [key for keys in taken(AihSampler(items, batch, seed=seed, start=0, stop=steps)) for key in keys]
    assert len(keys) == steps * batch
    for epoch in range(3):
        part = keys[epoch * items : (epoch + 1) * items]
        assert sorted(key.item for key in part) == list(range(items))
        assert {key.draw for key in part} == {epoch}
    if items > 9:
        assert keys[:items] != [Key(key.item, 0) for key in keys[items : 2 * items]]


@given(items=SIZES, batch=st.integers(1, 6), ranks=st.integers(1, 4), seed=st.integers(0, 100))
def test_the_batches_of_all_processes_are_those_of_one_with_a_batch_as_large(
    items: int, batch: int, ranks: int, seed: int
) -> None:
    one = taken(AihSampler(items, batch * ranks, seed=seed, start=0, stop=7))
    parts = [taken(AihSampler(items, batch, seed=seed, start=0, stop=7, rank=r, ranks=ranks)) for r in range(ranks)]
    assert [[key for part in step for key in part] for step in zip(*parts, strict=True)] == one


@given(items=SIZES, batch=st.integers(1, 6), start=st.integers(0, 12), seed=st.integers(0, 100))
def test_a_sampler_that_starts_late_goes_on_as_if_it_had_never_stopped(
    items: int, batch: int, start: int, seed: int
) -> None:
    whole = AihSampler(items, batch, seed=seed, start=0, stop=10)
    rest = AihSampler(items, batch, seed=seed, start=start, stop=10)
    assert taken(rest) == taken(whole)[start:]
    assert len(rest) == len(taken(rest)) == max(10 - start, 0)
    assert taken(rest) == taken(rest)


@given(items=SIZES, batch=BATCHES, ranks=RANKS, epochs=st.integers(1, 3), seed=SEEDS)
def test_epochs_at_several_ranks_are_equally_long_and_show_each_item_once_an_epoch(
    items: int, batch: int, ranks: int, epochs: int, seed: int
) -> None:
    """Three ranks and items that three does not divide included."""
    parts = [AihSampler.for_epochs(epochs, items, batch, seed=seed, rank=r, ranks=ranks) for r in range(ranks)]
    steps = -(-epochs * items // (batch * ranks))
    assert [len(taken(part)) for part in parts] == [len(part) for part in parts] == [steps] * ranks
    keys = [key for part in parts for key in flat(taken(part))]
    assert len(keys) == len(set(keys)) < epochs * items + batch * ranks
    for epoch in range(epochs):
        assert sorted(key.item for key in keys if key.draw == epoch) == list(range(items))
    assert {key.draw for key in keys} <= set(range(epochs)) | set(range(epochs, epochs + batch * ranks))


@given(items=SIZES, batch=BATCHES, ranks=RANKS, seed=SEEDS, done=st.integers(0, 9), more=st.integers(0, 9))
def test_a_state_gives_back_exactly_what_was_left_at_every_rank(
    items: int, batch: int, ranks: int, seed: int, done: int, more: int
) -> None:
    """Twice: a run that went on from a state is stopped again."""
    for rank in range(ranks):
        whole = AihSampler(items, batch, seed=seed, start=0, stop=18, rank=rank, ranks=ranks)
        state = json.loads(json.dumps(whole.state_dict(done)))
        assert state == AihSampler(items, batch, seed=seed, start=0, stop=18, ranks=ranks).state_dict(done)
        rest = AihSampler(items, batch, seed=seed, start=0, stop=18, rank=rank, ranks=ranks)
        rest.load_state_dict(state)
        assert taken(rest) == taken(whole)[done:]
        last = AihSampler(items, batch, seed=seed, start=0, stop=18, rank=rank, ranks=ranks)
        last.load_state_dict(rest.state_dict(more))
        assert taken(last) == taken(whole)[done + more :]


@given(
    items=SIZES, before=st.tuples(BATCHES, RANKS), after=st.tuples(BATCHES, RANKS), step=st.integers(0, 12), seed=SEEDS
)
def test_a_state_goes_on_with_other_batches_and_ranks_if_they_reach_its_place(
    items: int, before: tuple[int, int], after: tuple[int, int], step: int, seed: int
) -> None:
    """What all ranks take together is one row of items, whoever takes it."""
    position, stride = step * before[0] * before[1], after[0] * after[1]
    state = AihSampler(items, before[0], seed=seed, start=0, stop=12, ranks=before[1]).state_dict(step)
    rest = [
        AihSampler(items, after[0], seed=seed, start=0, stop=-(-position // stride) + 3, rank=rank, ranks=after[1])
        for rank in range(after[1])
    ]
    if position % stride:
        with pytest.raises(ConfigError, match=f"stands after {position} items.*do not reach"):
            rest[0].load_state_dict(state)
        return
    for sampler in rest:
        sampler.load_state_dict(state)
    found = [key for parts in zip(*map(taken, rest), strict=True) for keys in parts for key in keys]
    row = flat(taken(AihSampler(items, 1, seed=seed, start=position, stop=position + 3 * stride)))
    assert found == row


def test_a_state_that_does_not_fit_is_refused_by_name() -> None:
    state = AihSampler(10, 2, seed=7, start=0, stop=9).state_dict(3)
    with pytest.raises(ConfigError, match=r"state's seed is 7, expected 8: it belongs to another order"):
        AihSampler(10, 2, seed=8, start=0, stop=9).load_state_dict(state)
    with pytest.raises(ConfigError, match=r"state's items is 10, expected 11"):
        AihSampler(11, 2, seed=7, start=0, stop=9).load_state_dict(state)
    with pytest.raises(
        ConfigError, match=r"after 6 items.*batches of 4 at 1 ranks.*Go on with batches of 2 at 1 ranks"
    ):
        AihSampler(10, 4, seed=7, start=0, stop=9).load_state_dict(state)
    for alien in ({}, {"epoch": 1}, state | {"order": 0}):
        with pytest.raises(ConfigError, match="expected seed, items, batch, ranks, step"):
            AihSampler(10, 2, seed=7, start=0, stop=9).load_state_dict(alien)


def test_more_batches_than_there_are_cannot_have_been_taken() -> None:
    sampler = AihSampler(10, 2, seed=7, start=4, stop=9)
    assert sampler.state_dict(5)["step"] == 9
    for wrong in (-1, 6):
        with pytest.raises(
            ConfigError, match=rf"{wrong} batches are said to be taken, expected 0 to 5 \(steps 4 to 9\)"
        ):
            sampler.state_dict(wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": 0}, "0 items in batches of 2"),
        ({"batch": 0}, "10 items in batches of 0"),
        ({"rank": 3}, "rank 3 of 3, expected 0 to 2"),
        ({"rank": -1}, "rank -1 of 3"),
    ],
)
def test_a_sampler_of_nothing_or_of_a_rank_that_is_none_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AihSampler(**{"items": 10, "batch": 2, "seed": 0, "start": 0, "stop": 1, "ranks": 3} | changes)
