"""How samples stand for pixels: what every renderer's resolve step shares."""

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled

# Samples of a pixel by distance from its centre, as (row, column): the first covered one stands for the pixel.
ORDER: dict[int, NDArray[np.int64]] = {
    1: np.array([(0, 0)], np.int64),
    3: np.array([(1, 1), (0, 1), (1, 0), (1, 2), (2, 1), (0, 0), (0, 2), (2, 0), (2, 2)], np.int64),
}
_CREASE_M = 0.003  # a step in depth from which samples of one pixel show different surfaces


@compiled
def is_creased(near, y, x):
    """Whether the 3 x 3 samples around (y, x), all covered, lie apart in depth: 1/z of one plane is linear.

    near (H, W) is 1/z of the samples.
    """
    above, row, below = np.uintp(y - 1), np.uintp(y), np.uintp(y + 1)  # unsigned: no index that counts from the end
    left, column, right = np.uintp(x - 1), np.uintp(x), np.uintp(x + 1)
    middle = near[row, column]
    limit = _CREASE_M * middle * middle
    return (
        abs(2.0 * middle - near[row, left] - near[row, right]) > limit
        or abs(2.0 * middle - near[above, column] - near[below, column]) > limit
        or abs(2.0 * middle - near[above, left] - near[below, right]) > limit
        or abs(2.0 * middle - near[above, right] - near[below, left]) > limit
    )
