import numpy as np
import pytest

from aih_builder.errors import ConfigError
from aih_builder.sources.licences import strictest
from aih_builder.sources.pools import SPLITS, by_split, draw_item, split_of


def test_splits_take_their_shares_and_every_item_has_one() -> None:
    ids = [f"item-{i}" for i in range(5000)]
    pools = by_split(ids)
    assert sorted(item for split in SPLITS for item in pools[split]) == sorted(ids)
    assert [len(pools[split]) / 5000 for split in SPLITS] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_an_items_split_is_fixed_for_all_time() -> None:
    found = {f"item-{i}": split_of(f"item-{i}") for i in range(12)}
    assert {item: split for item, split in found.items() if split != "train"} == {
        "item-6": "test",
        "item-8": "test",
        "item-11": "test",
    }


def test_a_draw_reaches_all_of_its_split_evenly_and_nothing_else() -> None:
    pools, rng = by_split([f"item-{i}" for i in range(40)]), np.random.default_rng(0)
    drawn = [draw_item(rng, pools, "train", "items") for _ in range(4000)]
    assert set(drawn) == set(pools["train"])
    assert max(map(drawn.count, pools["train"])) < 2 * 4000 / len(pools["train"])


def test_an_empty_split_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="pool of things: no item falls into split 'val'"):
        draw_item(np.random.default_rng(0), by_split([]), "val", "things")


def test_public_domain_binds_nobody_and_other_licences_bind_together() -> None:
    assert strictest("CC0-1.0", "CC0-1.0") == "CC0-1.0"
    assert strictest("CC0-1.0", "user") == "user"
    assert strictest("user", "CC-BY-4.0", "user") == "CC-BY-4.0 AND user"
