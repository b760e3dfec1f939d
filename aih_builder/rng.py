"""Random streams. A stream is named by (index, seed, attempt, purpose) and by nothing else."""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np

from aih_builder.errors import ConfigError

LIMIT = 2**32


class Purpose(IntEnum):
    """What a stream is drawn for. A new draw in one purpose moves nothing in another.

    Values start at 1: numpy treats [i, s] and [i, s, 0] as the same seed. They never change: samples hang on them.
    """

    DESIGN = 1  # what the sample shall be: one or two hands, target, framing, occlusion bin
    POSE = 3  # shape, pose and placement: a pose source may tie them together
    CAMERA = 5
    LIGHT = 6
    TEXTURE = 7
    BACKGROUND = 8
    LIBRARY = 9  # starts of a pose library; index is family, block and row
    POOL = 10  # items of a pool that are made at planning; index is the item's number
    ENTRY = 11  # which entries of the bank
    AFFINE = 12  # how they are moved
    COLOUR = 13  # gain of the picture's colours
    LOADER = 14  # what the training loader does to a sample; index is the item's number, attempt the epoch's
    ORDER = 15  # order in which a training run takes the items; index is the epoch's number
    SENSOR = 16  # the camera's settings and its noise
    FOREARM = 17  # whether there are forearms, how they run, what they wear
    CLOTH = 18  # a sleeve's cloth; index is the cloth's number


def sample_rng(seed: int, index: int, attempt: int, purpose: Purpose) -> np.random.Generator:
    """The stream of one attempt at one sample. attempt starts at 1; seed and index are < 2^32.

    Raises ConfigError where a number is out of range.
    """
    for name, value, low in (("seed", seed, 0), ("index", index, 0), ("attempt", attempt, 1)):
        if not low <= value < LIMIT:
            raise ConfigError(f"{name} is {value}, expected {low} <= {name} < 2^32.")
    return np.random.default_rng([index, seed, attempt, int(purpose)])


def draw_share(rng: np.random.Generator, shares: Sequence[float]) -> int:
    """Index of a share, drawn with its probability. shares sum to 1."""
    return min(int(np.searchsorted(np.cumsum(shares), rng.random(), side="right")), len(shares) - 1)
