import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from aih_builder.errors import AssetError, ShardError
from aih_builder.imaging import (
    decode_image,
    decode_photo,
    decode_png,
    encode_jpeg,
    encode_png,
    grown,
    resize,
    shrunk,
    to_u8,
    warped,
)

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


def png(size_wh: tuple[int, int], bits: int, kind: int, row: bytes, palette: bytes = b"") -> bytes:
    """A PNG file from its parts; the row is repeated."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", *size_wh, bits, kind, 0, 0, 0)
    colours = chunk(b"PLTE", palette) if palette else b""
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * min(size_wh[1], 64)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + colours + pixels + chunk(b"IEND", b"")


def turned(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG file with EXIF's orientation."""
    entry = struct.pack(">HHHIHH", 1, 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + entry + b"\0\0\0\0"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


PHOTO = Path("photo")
BYTES = st.integers(1, 9)


@given(arrays(np.uint8, st.tuples(BYTES, BYTES)))
def test_a_grey_photo_is_repeated(grey: np.ndarray) -> None:
    assert np.array_equal(decode_photo(encode_png(grey), PHOTO), np.repeat(grey[..., None], 3, axis=2))


@given(arrays(np.uint16, st.one_of(st.tuples(BYTES, BYTES), st.tuples(BYTES, BYTES, st.sampled_from([3, 4])))))
def test_of_16_bits_the_upper_8_are_kept(values: np.ndarray) -> None:
    stored = cv2.imencode(".png", values[..., [2, 1, 0, 3][: values.shape[2]]] if values.ndim == 3 else values)[1]
    rgb = values[..., :3] if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    assert np.array_equal(decode_photo(stored.tobytes(), PHOTO), rgb >> 8)


@given(arrays(np.uint8, st.tuples(BYTES, BYTES, st.just(4))))
def test_alpha_is_dropped(rgba: np.ndarray) -> None:
    stored = cv2.imencode(".png", rgba[..., [2, 1, 0, 3]])[1].tobytes()
    assert np.array_equal(decode_photo(stored, PHOTO), rgba[..., :3])


def test_palettes_and_grey_with_alpha_are_looked_up() -> None:
    palette = png((3, 1), 8, 3, bytes([2, 0, 1]), bytes([255, 0, 0, 0, 255, 0, 0, 0, 250]))
    assert decode_photo(palette, PHOTO).tolist() == [[[0, 0, 250], [255, 0, 0], [0, 255, 0]]]
    assert decode_photo(png((2, 1), 8, 4, bytes([16, 0, 32, 255])), PHOTO).tolist() == [[[16] * 3, [32] * 3]]
    assert decode_photo(png((8, 1), 1, 0, b"\xaa"), PHOTO)[0, :, 0].tolist() == [255, 0] * 4


def test_grey_and_cmyk_jpegs_are_colour_images() -> None:
    grey = simplejpeg.encode_jpeg(np.full((9, 8, 1), 77, np.uint8), colorspace="GRAY", colorsubsampling="Gray")
    assert np.abs(decode_photo(grey, PHOTO).astype(int) - 77).max() <= 1
    ink = np.full((16, 16, 4), (255, 55, 55, 255), np.uint8)  # stored inverted, as Adobe does: 255 is no ink
    cmyk = simplejpeg.encode_jpeg(ink, colorspace="CMYK", colorsubsampling="444")
    assert np.abs(decode_photo(cmyk, PHOTO)[8, 8].astype(int) - (255, 55, 55)).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_says(orientation: int) -> None:
    ramp = np.add.outer(np.arange(20) * 8, np.arange(32) * 3).astype(np.uint8)
    stored = encode_jpeg(np.repeat(ramp[..., None], 3, axis=2))
    upright = [
        ramp, ramp[:, ::-1], ramp[::-1, ::-1], ramp[::-1],
        ramp.T, np.rot90(ramp, -1), ramp[::-1, ::-1].T, np.rot90(ramp),
    ][orientation - 1]  # fmt: skip
    found = decode_photo(turned(stored, orientation), PHOTO)[..., 0]
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).max() < 6


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
@pytest.mark.parametrize("size_hw", [(1, 1), (3, 2000), (2000, 3)])
def test_thin_photos_are_read(size_hw: tuple[int, int], suffix: str) -> None:
    stored = cv2.imencode(suffix, np.full((*size_hw, 3), 9, np.uint8))[1].tobytes()
    assert decode_photo(stored, PHOTO).shape == (*size_hw, 3)


@pytest.mark.parametrize("size_wh", [(20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_photo_that_states_a_huge_size_is_refused_before_it_is_decoded(size_wh: tuple[int, int]) -> None:
    with pytest.raises(AssetError, match=rf"photo: {size_wh[0]} x {size_wh[1]} pixels, expected at most 100,000,000"):
        decode_photo(png(size_wh, 8, 0, b""), PHOTO)


@pytest.mark.parametrize("data", [b"", b"no photo", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_photo_is_refused(data: bytes) -> None:
    with pytest.raises(AssetError, match="photo: "):
        decode_photo(data, PHOTO)


def test_what_shrinks_too_much_for_one_grid_keeps_its_place() -> None:
    side_px, size_px = 9001, 16
    image = (np.add.outer(np.arange(side_px), 2 * np.arange(side_px)) // 110).astype(np.uint8)
    zoom = size_px / side_px
    affine = np.array([[-zoom, 0, size_px - 0.5 - zoom / 2], [0, zoom, zoom / 2 - 0.5]])  # mirrored
    moved = warped(image, affine, size_px).astype(int)
    assert np.abs(moved - resize(image, (size_px, size_px))[:, ::-1])[1:-1, 1:-1].max() <= 1
    assert warped(image[:1, :1], np.array([[1e-5, 0, 0], [0, 1e-5, 0]]), size_px).shape == (size_px, size_px)
