"""Pools and splits: every item that a sample can draw belongs to one split, by a hash of its id."""

import hashlib
from collections.abc import Sequence

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.identity import SPLITS, Split

_TEST_BELOW, _VAL_BELOW = 0.1, 0.2


def split_of(item_id: str) -> Split:
    """The split of a pool item: 80 % train, 10 % val, 10 % test, fixed by its id for all time."""
    share = int.from_bytes(hashlib.sha256(item_id.encode()).digest()[:8], "big") / 2**64
    if share < _TEST_BELOW:
        return "test"
    return "val" if share < _VAL_BELOW else "train"


def by_split(item_ids: Sequence[str]) -> dict[Split, list[str]]:
    """Item ids of each split, in the given order."""
    pools: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for item_id in item_ids:
        pools[split_of(item_id)].append(item_id)
    return pools


def draw_item(rng: np.random.Generator, pools: dict[Split, list[str]], split: Split, what: str) -> str:
    """One id of a split's pool, uniformly. Raises ConfigError where the pool is empty."""
    if not pools[split]:
        raise ConfigError(
            f"pool of {what}: no item falls into split '{split}'. Add items, or set that split's count to 0."
        )
    return pools[split][int(rng.integers(len(pools[split])))]


def linked(row: np.ndarray, column: np.ndarray, count: int) -> np.ndarray:
    """For items in a graph with the edges row[k] to column[k] the first that each is linked to, itself included:
    (count,) int64.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(row), bool), (row, column)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    first_of = np.full(labels.max() + 1, count, np.int64)
    np.minimum.at(first_of, labels, np.arange(count))
    return first_of[labels]
