import numpy as np
import pytest

from aih_builder.errors import ConfigError
from aih_builder.identity import SPLITS, Split
from aih_builder.sources.pools import split_of
from aih_builder.sources.shapes import ShapePool


def test_a_pool_grows_without_changing_what_it_holds() -> None:
    small, large = ShapePool(20, 2.0, 7), ShapePool(50, 2.0, 7)
    assert large.ids[:20] == small.ids
    assert all((large.betas(shape_id) == small.betas(shape_id)).all() for shape_id in small.ids)


def test_betas_are_standard_normal_and_clipped() -> None:
    pool = ShapePool(2000, 2.0, 1)
    betas = np.stack([pool.betas(shape_id) for shape_id in pool.ids])
    assert np.abs(betas).max() == 2.0
    assert np.abs(betas.mean(axis=0)).max() < 0.1
    assert np.abs(betas.std(axis=0) - 0.88**0.5).max() < 0.1  # the variance of a normal clipped at 2 is 0.92


def test_draws_stay_in_their_split_and_reach_all_of_it() -> None:
    pool = ShapePool(64, 2.0, 3, splits=SPLITS)
    rng = np.random.default_rng(0)
    for split in SPLITS:
        drawn = {pool.draw(rng, split)[0] for _ in range(1000)}
        assert drawn == {shape_id for shape_id in pool.ids if split_of(shape_id) == split}


def test_a_drawn_shape_can_be_changed_without_changing_the_pool() -> None:
    pool = ShapePool(30, 2.0, 3)
    shape_id, betas = pool.draw(np.random.default_rng(0), "train")
    betas[:] = 9.0
    assert np.abs(pool.betas(shape_id)).max() <= 2.0


def test_another_seed_names_and_makes_other_shapes() -> None:
    one, two = ShapePool(5, 2.0, 1), ShapePool(5, 2.0, 2)
    assert not set(one.ids) & set(two.ids)
    assert (one.betas(one.ids[0]) != two.betas(two.ids[0])).any()


def test_an_empty_split_is_refused() -> None:
    pool = ShapePool(1, 2.0, 1)
    empty: Split = next(split for split in SPLITS if split != split_of(pool.ids[0]))
    with pytest.raises(ConfigError, match=f"'{empty}'"):
        pool.draw(np.random.default_rng(0), empty)
    with pytest.raises(ConfigError, match=f"none of 1 falls into split '{empty}'"):
        ShapePool(1, 2.0, 1, splits=[empty])


@pytest.mark.parametrize(("count", "limit"), [(0, 2.0), (-3, 2.0), (4, 0.0), (4, -1.0), (4, float("nan"))])
def test_a_pool_of_nothing_is_refused(count: int, limit: float) -> None:
    with pytest.raises(ConfigError, match=r"count is|beta_limit is"):
        ShapePool(count, limit, 1)
