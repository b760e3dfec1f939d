"""Texture lookups for a chunk of samples. See shade_chunk for the form of the loops."""

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.imaging import DISPLAY_GAMMA, ImageU8
from aih_builder.synth.renderers.shade_chunk import (
    ASIDE,
    BELOW,
    BLUE,
    CHUNK,
    CREASE,
    GREEN,
    MAP_X,
    MAP_Y,
    RED,
    ROUGHNESS,
    TEXEL,
    WEIGHT_0,
    WEIGHT_1,
    WEIGHT_2,
    WEIGHT_3,
    U,
    V,
)

TO_LINEAR = ((np.arange(256) / 255.0) ** DISPLAY_GAMMA).astype(np.float32)
# A constant of the compiled code: known not to change while a loop writes its results.
_LINEAR = TO_LINEAR.astype(np.float64)

# Four texels per sample: of the row above, left and right, then of the row below.
_SECOND, _THIRD, _FOURTH = CHUNK, np.uintp(2) * CHUNK, np.uintp(3) * CHUNK
_BYTE_0, _BYTE_1, _BYTE_2, _BYTE_3, _BYTE_4, _BYTE_5, _BYTE_6 = (np.uint64(8 * k) for k in range(7))
_BYTE = np.uint64(255)


def packed_texels(pyramid: ImageU8) -> NDArray[np.uint64]:
    """A pyramid's texels (N, 7), each as one number that one load fetches; the first channel is the lowest byte."""
    packed = np.zeros(len(pyramid), np.uint64)
    for channel in range(7):
        packed |= pyramid[:, channel].astype(np.uint64) << np.uint64(8 * channel)
    return packed


@compiled
def levels_of(sides, detail):
    """The two levels that detail lies between, each as the number of its first texel and its side, as `fetch` takes
    them; and the coarser one's share."""
    level = min(int(detail), sides.shape[0] - 1)
    start = 0
    for i in range(level):
        start += sides[i] * sides[i]
    finer = np.uintp(start), float(sides[level])
    if level + 1 == sides.shape[0]:
        return finer, finer, 0.0
    return finer, (np.uintp(start + sides[level] * sides[level]), float(sides[level + 1])), detail - level


@compiled
def fetch(b, n, texels, levels):
    """Filter all maps for the first n samples of a chunk."""
    finer, coarser, share = levels
    b[RED : CREASE + CHUNK] = 0.0
    _add_level(b, n, texels, finer, 1.0 - share)
    if share > 0.0:
        _add_level(b, n, texels, coarser, share)


@compiled
def _add_level(b, n, texels, level, weight):
    """Add weight times the bilinear lookup in one level."""
    start, side = level
    four = np.empty(4 * CHUNK, np.uint64)
    _locate(b, side, weight)
    _load(b, n, texels, start, four)
    _add_decoded(b, four, _BYTE_0, RED)
    _add_decoded(b, four, _BYTE_1, GREEN)
    _add_decoded(b, four, _BYTE_2, BLUE)
    _add_plain(b, four, _BYTE_3, MAP_X)
    _add_plain(b, four, _BYTE_4, MAP_Y)
    _add_plain(b, four, _BYTE_5, ROUGHNESS)
    _add_plain(b, four, _BYTE_6, CREASE)


@compiled
def _locate(b, side, weight):
    """Which texels of a level lie around each sample, and their weights. Beyond the level's edge its last texels go on.

    Texels are counted in floating point, exactly. max(0, x) is 0 even where x is not a number: no texel lies outside.
    """
    last = side - 1.0
    for i in range(CHUNK):
        x, y = min(max(0.0, b[U + i] * side - 0.5), last), min(max(0.0, (1.0 - b[V + i]) * side - 0.5), last)
        left, above = np.floor(x), np.floor(y)
        fx, fy = x - left, y - above
        b[TEXEL + i] = above * side + left
        b[ASIDE + i] = min(1.0, last - left)
        b[BELOW + i] = min(1.0, last - above) * side
        top, bottom = (1.0 - fy) * weight, fy * weight
        b[WEIGHT_0 + i], b[WEIGHT_1 + i] = (1.0 - fx) * top, fx * top
        b[WEIGHT_2 + i], b[WEIGHT_3 + i] = (1.0 - fx) * bottom, fx * bottom


@compiled
def _load(b, n, texels, start, four):
    for i in range(n):
        # By way of signed numbers, which every CPU converts to in one step.
        texel = start + np.uintp(np.int64(b[TEXEL + i]))
        aside, below = np.uintp(np.int64(b[ASIDE + i])), np.uintp(np.int64(b[BELOW + i]))
        four[i], four[_SECOND + i] = texels[texel], texels[texel + aside]
        four[_THIRD + i], four[_FOURTH + i] = texels[texel + below], texels[texel + below + aside]


@compiled
def _add_decoded(b, four, shift, to):
    """Add an sRGB channel, in linear light."""
    for i in range(CHUNK):
        b[to + i] += (
            b[WEIGHT_0 + i] * _LINEAR[(four[i] >> shift) & _BYTE]
            + b[WEIGHT_1 + i] * _LINEAR[(four[_SECOND + i] >> shift) & _BYTE]
            + b[WEIGHT_2 + i] * _LINEAR[(four[_THIRD + i] >> shift) & _BYTE]
            + b[WEIGHT_3 + i] * _LINEAR[(four[_FOURTH + i] >> shift) & _BYTE]
        )


@compiled
def _add_plain(b, four, shift, to):
    """Add a channel as it is."""
    for i in range(CHUNK):
        b[to + i] += (
            b[WEIGHT_0 + i] * np.int32((four[i] >> shift) & _BYTE)
            + b[WEIGHT_1 + i] * np.int32((four[_SECOND + i] >> shift) & _BYTE)
            + b[WEIGHT_2 + i] * np.int32((four[_THIRD + i] >> shift) & _BYTE)
            + b[WEIGHT_3 + i] * np.int32((four[_FOURTH + i] >> shift) & _BYTE)
        )
