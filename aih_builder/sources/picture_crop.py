"""Square crops of photographs around a hand, for banks."""

import numpy as np

from aih_builder.imaging import ImageU8, box_of, feathered, padded, resize
from aih_builder.sample import Array

SMALLEST_BOX_PX = 32  # of a hand's longer side
MOST_ENLARGED = 2.0  # beyond, a picture shows its pixels, and its mask's steps
HAND_COVERAGE = 128  # coverage from which on a pixel belongs to the hand


def cropped(image: ImageU8, scale: float, centre_px: Array, size_px: int) -> tuple[ImageU8, Array]:
    """A square of a resized image around a point, and the affine (2, 3) from the image's pixels to it.

    Beyond the image its border pixels are repeated.
    """
    # What the square can show, and a little more: a photograph may be far larger.
    reach = size_px / scale / 2 + 2
    low = np.maximum(np.floor(centre_px - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre_px + reach) + 1, image.shape[1::-1]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    height, width = (max(1, round(side * scale)) for side in part.shape[:2])
    small = resize(part, (height, width)) if (height, width) != part.shape[:2] else part
    zoom = np.array([width / part.shape[1], height / part.shape[0]])
    middle = (centre_px - low + 0.5) * zoom - 0.5
    left, top = np.floor(middle - (size_px - 1) / 2 + 0.5).astype(int).tolist()
    before, after = (max(0, -top), max(0, -left)), (max(0, top + size_px - height), max(0, left + size_px - width))
    larger = padded(small, before[0], after[0], before[1], after[1])
    square = larger[top + before[0] :, left + before[1] :][:size_px, :size_px]
    offset = 0.5 * zoom - 0.5 - low * zoom - [left, top]
    to_px = np.array([[zoom[0], 0.0, offset[0]], [0.0, zoom[1], offset[1]]])
    return np.ascontiguousarray(square), to_px


def beyond(shape_hw: tuple[int, ...], to_px: Array, size_px: int) -> Array:
    """Which pixels of a crop (size, size) lie beyond the image."""
    pixels = np.arange(size_px)
    y, x = ((pixels - to_px[i, 2]) / to_px[i, i] for i in (1, 0))
    beyond_y, beyond_x = ((p < -0.5) | (p > side - 0.5) for p, side in zip((y, x), shape_hw, strict=True))
    return np.logical_or.outer(beyond_y, beyond_x)


def cut_out(rgb: ImageU8, mask: ImageU8, core_px: int, factor: float, size_px: int) -> tuple[ImageU8, Array] | str:
    """A hand's picture (size, size, 4) by its mask (H, W) of coverage, and the affine (2, 3) to it; or why it cannot
    serve. core_px is `factor` times the longer side of the hand's box.
    """
    top, bottom, left, right = box_of((mask >= HAND_COVERAGE).view(np.uint8))
    longer = max(bottom - top, right - left)
    if longer < SMALLEST_BOX_PX:
        return f"a hand of less than {SMALLEST_BOX_PX} px"
    if top == 0 or left == 0 or bottom == mask.shape[0] or right == mask.shape[1]:
        return "a hand cut by the picture's border"
    scale = core_px / (factor * longer)
    if scale > MOST_ENLARGED:
        return f"a hand that would be enlarged more than {MOST_ENLARGED:g} times"
    centre = np.array([left + right - 1, top + bottom - 1]) / 2
    picture, to_px = cropped(rgb, scale, centre, size_px)
    alpha, _ = cropped(mask, scale, centre, size_px)
    alpha = np.where(beyond(mask.shape, to_px, size_px), np.uint8(0), alpha)
    return np.dstack([picture, feathered(alpha)]), to_px
