"""Who a sample is: its index names engine, split and number, so a dataset can grow and no index moves."""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from aih_builder.errors import ConfigError
from aih_builder.rng import LIMIT

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

EngineName = Literal["render", "sync"]
ENGINE_NAMES: tuple[EngineName, ...] = get_args(EngineName)

_SLOTS = 16  # engines x splits, with room for more engines
MAX_PER_STREAM = LIMIT // _SLOTS
_BANK_SLOT = _SLOTS - len(SPLITS)  # the last ones: pictures rendered for a bank have streams of their own


class SampleName(NamedTuple):
    """What an index stands for: sample `number` of one engine and split."""

    engine: EngineName
    split: Split
    number: int


def index_of(name: SampleName) -> int:
    """The index of a sample. Raises ConfigError where number is not below 2^28."""
    if not 0 <= name.number < MAX_PER_STREAM:
        raise ConfigError(
            f"sample number {name.number} of {name.engine}/{name.split}: expected 0 to {MAX_PER_STREAM - 1}."
        )
    slot = ENGINE_NAMES.index(name.engine) * len(SPLITS) + SPLITS.index(name.split)
    return name.number * _SLOTS + slot


def indices_of(engine: EngineName, split: Split, first: int, last: int) -> range:
    """Indices of the samples first to last (exclusive) of an engine and split. Raises ConfigError as index_of does."""
    return range(index_of(SampleName(engine, split, first)), index_of(SampleName(engine, split, last - 1)) + 1, _SLOTS)


def within(ordered: Sequence[int], indices: range) -> list[int]:
    """Those of some indices, which ascend, that are among the indices of a stretch of samples."""
    some = ordered[bisect_left(ordered, indices.start) : bisect_left(ordered, indices.stop)]
    return [index for index in some if index in indices]


def bank_index(split: Split, number: int) -> int:
    """The index from which picture `number` of a bank's split is drawn; no sample has it."""
    if not 0 <= number < MAX_PER_STREAM:
        raise ConfigError(f"picture number {number} of a bank: expected 0 to {MAX_PER_STREAM - 1}.")
    return number * _SLOTS + _BANK_SLOT + SPLITS.index(split)


def name_of(index: int) -> SampleName:
    """The sample of an index. Raises ConfigError where no engine and split have that index."""
    number, slot = divmod(index, _SLOTS)
    if not 0 <= index < LIMIT or slot >= len(ENGINE_NAMES) * len(SPLITS):
        raise ConfigError(f"index {index} belongs to no engine and split.")
    engine, split = divmod(slot, len(SPLITS))
    return SampleName(ENGINE_NAMES[engine], SPLITS[split], number)


def shortened(text: str, most_bytes: int) -> str:
    """The text, if it takes at most most_bytes (>= 10) in UTF-8; else its beginning, `~`, 8 digits of its sha256."""
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    return data[: most_bytes - 9].decode(errors="ignore") + "~" + hashlib.sha256(data).hexdigest()[:8]
