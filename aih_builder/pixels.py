"""Counts over the pixels of images, compiled: numpy's sums along short axes take most of a check's time otherwise."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.imaging import ImageU8


class Departure(NamedTuple):
    """How far two pictures are apart over a mask; a pixel's distance is that of its farthest channel, in levels."""

    pixels: int
    mean: float
    share: float  # of the pixels whose distance is over the limit


def differs(one: ImageU8, other: ImageU8) -> NDArray[np.bool_]:
    """Where two images (H, W, 3) are not equal: bool (H, W)."""
    return _differs(one, other)


def departure(one: ImageU8, other: ImageU8, mask: NDArray[np.bool_], limit: int = 0) -> Departure:
    """How far two images (H, W, 3) are apart over a mask (H, W)."""
    pixels, total, above = _departure(one, other, mask, limit)
    return Departure(int(pixels), total / max(pixels, 1), above / max(pixels, 1))


@compiled
def _differs(one, other):
    out = np.empty(one.shape[:2], np.bool_)
    for y in range(one.shape[0]):
        for x in range(one.shape[1]):
            out[y, x] = (
                one[y, x, 0] != other[y, x, 0] or one[y, x, 1] != other[y, x, 1] or one[y, x, 2] != other[y, x, 2]
            )
    return out


@compiled
def _departure(one, other, mask, limit):
    pixels, total, above = np.int64(0), np.int64(0), np.int64(0)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                far = np.int64(0)
                for c in range(3):
                    far = max(far, abs(np.int64(one[y, x, c]) - np.int64(other[y, x, c])))
                pixels += 1
                total += far
                above += far > limit
    return pixels, total, above
