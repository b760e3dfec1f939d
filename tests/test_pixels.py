"""Each compiled count says what the plain expression says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.imaging import grown
from aih_builder.pixels import byte_counts, departure, differing, near_mask, put_where, set_bits

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 100)  # both shorter and longer than what the kernels look at in one go


def pictures(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two images (height, width, 3), equal but in a box, and a mask, empty but in a box."""
    rng = np.random.default_rng(seed)
    one = rng.integers(0, 256, (height, width, 3), np.uint8)
    other, mask = one.copy(), np.zeros((height, width), bool)
    a, b, c, d = (int(v) for v in rng.integers(0, [height, width, height, width]))
    other[a : a + 9, b : b + 9] ^= rng.integers(0, 2, other[a : a + 9, b : b + 9].shape, np.uint8)
    mask[c : c + 9, d : d + 9] = rng.random(mask[c : c + 9, d : d + 9].shape) < 0.5
    return one, other, mask


@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_pixels_that_differ_but_for_a_mask_are_counted(seed: int, height: int, width: int) -> None:
    one, other, mask = pictures(seed, height, width)
    assert differing(one, other, mask) == np.count_nonzero((one != other).any(axis=2) & ~mask)


@given(seed=SEEDS, height=SIDES, width=SIDES, limit=st.integers(0, 2))
def test_the_departure_over_a_mask_is_that_of_the_farthest_channel(
    seed: int, height: int, width: int, limit: int
) -> None:
    one, other, mask = pictures(seed, height, width)
    far = np.abs(one.astype(int) - other).max(axis=2)[mask]
    found = departure(one, other, mask, limit)
    assert found == (len(far), far.sum() / max(len(far), 1), np.count_nonzero(far > limit) / max(len(far), 1))


@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_a_point_is_near_a_mask_if_its_pixel_lies_in_the_mask_grown_by_one(seed: int, height: int, width: int) -> None:
    _, _, mask = pictures(seed, height, width)
    points_px = np.random.default_rng(seed).uniform(-3, 103, (50, 2)).astype(np.float32)
    points_px[:2] = [[np.nan, 1], [1, 1e20]]
    pixels = np.floor(np.nan_to_num(points_px.astype(np.float64), nan=-9) + 0.5)
    inside = np.all((pixels >= 0) & (pixels < [width, height]), axis=1)
    x, y = np.where(inside[:, None], pixels, 0).astype(int).T
    assert np.array_equal(near_mask(points_px, mask), inside & grown(mask, 1)[y, x])


@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_values_are_put_where_a_mask_is_set_and_nowhere_else(seed: int, height: int, width: int) -> None:
    one, other, mask = pictures(seed, height, width)
    expected = np.where(mask[..., None], other, one)
    put_where(mask, other, one)
    assert np.array_equal(one, expected)


@given(seed=SEEDS, height=SIDES, width=SIDES)
def test_packed_masks_and_their_counts_are_those_of_numpy(seed: int, height: int, width: int) -> None:
    masks = np.stack([pictures(seed, height, width)[2], pictures(seed + 1, height, width)[2]])
    bits = np.full((height, width), 4, np.uint8)
    set_bits(bits, masks, 1, 128)
    assert np.array_equal(bits, 4 + masks[0] + 128 * masks[1].astype(np.uint8))
    assert np.array_equal(byte_counts(bits), np.bincount(bits.ravel(), minlength=256))
