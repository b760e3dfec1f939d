"""Pictures that show the same: one that was encoded anew, made smaller or mirrored is still the same picture."""

import numpy as np
from numpy.typing import NDArray

from aih_builder.imaging import ImageU8, resize
from aih_builder.sources.pools import linked

# Levels, root mean square over a thumbnail's luma. A copy, encoded anew at quality 40 and made smaller, is at most 1.2
# from its original, and 0.9 where there is little contrast. Different pictures of little contrast come within 2.
_SAME_WITHIN = (1.0, 3.0)  # least and most
_OF_CONTRAST = 0.15  # between them: the share of the standard deviation of the plainer of two thumbnails

_SIDE, _CHUNK = 16, 1024


def thumbnail(image_rgb: ImageU8) -> ImageU8:
    """Luma of an image (H, W, 3), averaged over 16 x 16 fields: (256,)."""
    small = resize(image_rgb, (_SIDE, _SIDE)).astype(np.int32)
    return ((299 * small[..., 0] + 587 * small[..., 1] + 114 * small[..., 2] + 500) // 1000).astype(np.uint8).ravel()


def same_pictures(thumbnails: ImageU8) -> NDArray[np.int64]:
    """For thumbnails (N, 256) the first of those that each shows the same as, directly or through others: (N,)."""
    # Sums of 256 products of bytes are below 2^24: exact in float32, in whatever order they are added.
    values = thumbnails.astype(np.float32)
    mirrored = np.ascontiguousarray(values.reshape(-1, _SIDE, _SIDE)[:, :, ::-1]).reshape(values.shape)
    squares = (values**2).sum(axis=1)
    contrast = np.sqrt(np.maximum(squares / _SIDE**2 - (values.sum(axis=1) / _SIDE**2) ** 2, 0.0))
    within = np.clip(_OF_CONTRAST * contrast, *_SAME_WITHIN) ** 2 * _SIDE**2
    rows, columns = [], []
    for first in range(0, len(values), _CHUNK):
        block = slice(first, first + _CHUNK)
        products = np.maximum(values[block] @ values.T, values[block] @ mirrored.T)
        apart = squares[block, None] + squares - 2 * products
        row, column = np.nonzero(apart < np.minimum(within[block, None], within))
        rows.append(row + first)
        columns.append(column)
    return linked(np.concatenate(rows), np.concatenate(columns), len(values))
