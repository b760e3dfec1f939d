import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from aih_builder.errors import ShardError
from aih_builder.imaging import decode_image, decode_png, encode_jpeg, encode_png, grown, resize, shrunk, to_u8

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))
SQUARE = np.ones((3, 3), bool)


def test_floats_are_rounded_half_up_and_clipped() -> None:
    assert to_u8(np.array([-3.0, 0.49, 0.5, 1.5, 2.5, 254.5, 300.0])).tolist() == [0, 0, 1, 2, 3, 255, 255]


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_png_of_colours_comes_back_as_it_was(image_rgb: np.ndarray) -> None:
    assert np.array_equal(decode_image(encode_png(image_rgb)), image_rgb)


@given(arrays(np.uint16, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_png_of_16_bits_comes_back_as_it_was(image: np.ndarray) -> None:
    assert np.array_equal(decode_png(encode_png(image)), image)


def test_jpeg_keeps_red_red_and_the_chroma_of_single_columns() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, ::2, 0], image[:, 1::2, 2] = 220, 220
    assert np.abs(decode_image(encode_jpeg(image)).astype(int) - image).max() < 12


def test_jpeg_gives_the_same_bytes_each_time() -> None:
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    assert encode_jpeg(image) == encode_jpeg(image[::-1][::-1])


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n", encode_png(np.zeros((4, 4), np.uint8))])
def test_damaged_or_grey_data_is_no_colour_image(data: bytes) -> None:
    with pytest.raises(ShardError):
        decode_image(data)


@given(MASKS, st.integers(0, 3))
def test_growing_and_shrinking_are_scipys(mask: np.ndarray, pixels: int) -> None:
    if pixels == 0:
        assert np.array_equal(grown(mask, 0), mask)
        assert np.array_equal(shrunk(mask, 0), mask)
        return
    assert np.array_equal(grown(mask, pixels), ndimage.binary_dilation(mask, SQUARE, pixels))
    assert np.array_equal(shrunk(mask, pixels), ndimage.binary_erosion(mask, SQUARE, pixels, border_value=1))


def test_shrinking_an_image_averages_its_blocks() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    expected = image.reshape(4, 2, 4, 2).mean(axis=(1, 3))
    assert np.abs(resize(image, (4, 4)) - expected).max() <= 0.5
