"""Counts over the pixels of images, compiled: numpy's sums along short axes take most of a check's time otherwise.

Most of a picture is of no interest: kernels ask of a strip at once whether there is anything to count in it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.imaging import ImageU8

Mask = NDArray[np.bool_]


_0, _1, _2, _3 = (np.uintp(n) for n in range(4))  # unsigned: no index that counts from the end, whose test takes time
_STRIP = np.uintp(64)


class Departure(NamedTuple):
    """How far two pictures are apart over a mask; a pixel's distance is that of its farthest channel, in levels."""

    pixels: int
    mean: float
    share: float  # of the pixels whose distance is over the limit


def differing(one: ImageU8, other: ImageU8, but: Mask) -> int:
    """Pixels at which two images (H, W, 3) are not equal, but for those of a mask (H, W)."""
    return int(_differing(one.reshape(-1), other.reshape(-1), but.reshape(-1)))


def departure(one: ImageU8, other: ImageU8, mask: Mask, limit: int = 0) -> Departure:
    """How far two images (H, W, 3) are apart over a mask (H, W)."""
    pixels, total, above = _departure(one.reshape(-1), other.reshape(-1), mask.reshape(-1), limit)
    return Departure(int(pixels), total / max(pixels, 1), above / max(pixels, 1))


def near_mask(points_px: NDArray[np.floating], mask: Mask) -> Mask:
    """Whether the pixel of each point (N, 2) lies in the frame and within 1 px of the mask (H, W): bool (N,)."""
    return _near_mask(points_px, mask)


def set_bits(bits: ImageU8, masks: Mask, right: int, left: int) -> None:
    """Set a bit in each byte (H, W) where the first of two masks (2, H, W) is set, another where the second is."""
    _set_bits(bits, masks, np.uint8(right), np.uint8(left))


def put_where(mask: Mask, values: NDArray, to: NDArray) -> None:
    """Copy values (H, W, ...) into a contiguous array of their shape where a mask (H, W) is set."""
    n = mask.size
    _put_where(mask.reshape(-1), values.reshape(n, -1), to.reshape(n, -1))


def byte_counts(values: ImageU8) -> NDArray[np.int64]:
    """How often each byte occurs: (256,)."""
    return _byte_counts(values.reshape(-1))


@compiled
def _differing(one, other, but):
    count, end = 0, np.uintp(but.shape[0])
    for first in range(_0, end, _STRIP):
        last = min(first + _STRIP, end)
        if _equal(one[_3 * first : _3 * last], other[_3 * first : _3 * last]):
            continue
        for pixel in range(first, last):
            if not but[pixel]:
                i = _3 * pixel
                same = one[i] == other[i] and one[i + _1] == other[i + _1] and one[i + _2] == other[i + _2]
                count += not same
    return count


@compiled
def _equal(one, other):
    difference = np.uint8(0)
    for i in range(one.shape[0]):
        difference |= one[i] ^ other[i]
    return difference == 0


@compiled
def _departure(one, other, mask, limit):
    pixels, total, above, end = np.int64(0), np.int64(0), np.int64(0), np.uintp(mask.shape[0])
    for first in range(_0, end, _STRIP):
        last = min(first + _STRIP, end)
        found = False
        for pixel in range(first, last):
            found |= mask[pixel]
        if not found:
            continue
        for pixel in range(first, last):
            far = np.int32(0)
            for i in range(_3 * pixel, _3 * pixel + _3):
                far = max(far, abs(np.int32(one[i]) - np.int32(other[i])))
            far *= mask[pixel]  # no branch: most of a strip is inside or outside, and nobody can tell which
            pixels += mask[pixel]
            total += far
            above += far > limit
    return pixels, total, above


@compiled
def _near_mask(points_px, mask):
    height, width = mask.shape
    near = np.zeros(points_px.shape[0], np.bool_)
    for i in range(points_px.shape[0]):
        column, row = np.floor(np.float64(points_px[i, 0]) + 0.5), np.floor(np.float64(points_px[i, 1]) + 0.5)
        if not (0.0 <= column < width and 0.0 <= row < height):
            continue
        x, y = int(column), int(row)
        for v in range(max(y - 1, 0), min(y + 2, height)):
            for u in range(max(x - 1, 0), min(x + 2, width)):
                near[i] |= mask[v, u]
    return near


@compiled
def _set_bits(bits, masks, right, left):
    for y in range(bits.shape[0]):
        for x in range(bits.shape[1]):
            bits[y, x] |= np.uint8(right * masks[0, y, x]) | np.uint8(left * masks[1, y, x])


@compiled
def _put_where(mask, values, to):
    for i in range(mask.shape[0]):
        if mask[i]:
            for c in range(to.shape[1]):
                to[i, c] = values[i, c]


@compiled
def _byte_counts(values):
    """Equal neighbours are counted together: one increment would have to wait for the last."""
    counts = np.zeros(256, np.int64)
    first = 0
    for i in range(1, values.shape[0] + 1):
        if i == values.shape[0] or values[i] != values[first]:
            counts[values[first]] += i - first
            first = i
    return counts
