from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.errors import ConfigError
from aih_builder.rng import LIMIT, Purpose, draw_share, sample_rng

NUMBERS = st.integers(0, LIMIT - 1)
KEYS = st.tuples(NUMBERS, NUMBERS, st.integers(1, LIMIT - 1), st.sampled_from(Purpose))


def start(key: tuple[int, int, int, Purpose]) -> bytes:
    return sample_rng(*key).bytes(16)


@given(KEYS, KEYS)
def test_streams_are_equal_only_where_their_names_are(one, other) -> None:
    assert (start(one) == start(other)) == (one == other)


@given(KEYS)
def test_neighbours_and_swapped_numbers_have_streams_of_their_own(key) -> None:
    seed, index, attempt, purpose = key
    near = {
        key,
        (index, seed, attempt, purpose),
        (seed, index ^ 1, attempt, purpose),
        (seed ^ 1, index, attempt, purpose),
    }
    assert len({start(each) for each in near}) == len(near)


def test_values_of_the_purposes_are_fixed_for_all_time() -> None:
    """Changing one changes every sample."""
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "DESIGN": 1, "POSE": 3, "CAMERA": 5, "LIGHT": 6, "TEXTURE": 7, "BACKGROUND": 8, "LIBRARY": 9, "POOL": 10,
        "ENTRY": 11, "AFFINE": 12, "COLOUR": 13, "LOADER": 14, "ORDER": 15, "SENSOR": 16,
        "FOREARM": 17, "CLOTH": 18,
    }  # fmt: skip


def test_the_first_numbers_of_a_stream_are_fixed_for_all_time() -> None:
    assert sample_rng(20220701, 7, 1, Purpose.POSE).integers(0, 1000, 5).tolist() == [939, 439, 24, 13, 710]


@pytest.mark.parametrize(
    ("key", "message"),
    [((-1, 0, 1), "seed is -1"), ((0, LIMIT, 1), "index is 4294967296"), ((0, 0, 0), "attempt is 0, expected 1 <=")],
)
def test_numbers_out_of_range_are_refused(key: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sample_rng(*key, Purpose.POSE)


def test_shares_are_drawn_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(draw_share(rng, (0.2, 0.0, 0.5, 0.3)) for _ in range(4000))
    assert drawn[1] == 0
    assert [drawn[i] / 4000 for i in (0, 2, 3)] == pytest.approx([0.2, 0.5, 0.3], abs=0.03)


def test_shares_that_miss_1_by_rounding_give_the_last() -> None:
    class Highest:
        def random(self) -> float:
            return float(np.nextafter(1, 0))

    assert draw_share(Highest(), (0.7, 0.3 - 1e-9)) == 1  # pyright: ignore[reportArgumentType]
