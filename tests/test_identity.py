import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.errors import ConfigError
from aih_builder.identity import (
    ENGINE_NAMES,
    MAX_PER_STREAM,
    SPLITS,
    SampleName,
    bank_index,
    index_of,
    indices_of,
    name_of,
    within,
)
from aih_builder.rng import LIMIT

NAMES = st.builds(
    SampleName, st.sampled_from(ENGINE_NAMES), st.sampled_from(SPLITS), st.integers(0, MAX_PER_STREAM - 1)
)


@given(NAMES)
def test_a_name_gives_an_index_below_2_to_the_32_and_an_index_its_name(name: SampleName) -> None:
    assert 0 <= index_of(name) < LIMIT
    assert name_of(index_of(name)) == name


def test_indices_are_fixed_for_all_time() -> None:
    """A dataset grows, and an engine is added, without any index moving."""
    assert [index_of(SampleName("render", split, 3)) for split in SPLITS] == [48, 49, 50]
    assert index_of(SampleName("sync", "train", 3)) == 51


@pytest.mark.parametrize("number", [-1, MAX_PER_STREAM])
def test_a_number_that_has_no_index_is_refused(number: int) -> None:
    with pytest.raises(ConfigError, match=f"sample number {number} of render/val"):
        index_of(SampleName("render", "val", number))


@pytest.mark.parametrize("index", [-1, 6, 15, LIMIT])
def test_an_index_that_names_nothing_is_refused(index: int) -> None:
    with pytest.raises(ConfigError, match=f"index {index} belongs to no engine and split"):
        name_of(index)


def test_a_banks_pictures_have_streams_that_no_sample_and_no_other_split_has() -> None:
    indices = [bank_index(split, number) for split in SPLITS for number in (0, 1, 7, MAX_PER_STREAM - 1)]
    assert len(set(indices)) == len(indices)
    assert max(indices) < LIMIT
    for index in indices:
        with pytest.raises(ConfigError, match="belongs to no engine and split"):
            name_of(index)
    with pytest.raises(ConfigError, match=f"picture number {MAX_PER_STREAM} of a bank"):
        bank_index("train", MAX_PER_STREAM)


@given(NAMES, st.integers(1, 50), st.lists(st.integers(0, 16 * 60)))
def test_a_stretch_of_samples_has_the_indices_of_its_names(name: SampleName, count: int, others: list[int]) -> None:
    engine, split, number = name
    last = min(number + count, MAX_PER_STREAM)
    indices = indices_of(engine, split, number, last)
    assert list(indices) == [index_of(SampleName(engine, split, k)) for k in range(number, last)]
    ordered = sorted({indices[0] - 480 + other for other in others})
    assert within(ordered, indices) == [index for index in ordered if index in set(indices)]
