"""Pictures and label maps of the official AIH tree, and how its reader moves them."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from aih_builder.errors import AssetError, ShardError
from aih_builder.imaging import ImageU8, decode_image, decode_png, stated_size_hw
from aih_builder.interop.official_cfgs import Move
from aih_builder.interop.official_tree import SIZE_PX

_PNG = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3  # colour types of a PNG


def read_picture(path: Path) -> ImageU8:
    """A JPEG of 256 x 256 pixels as RGB. Raises AssetError."""
    data = _read(path)
    if data[:2] != b"\xff\xd8":
        raise AssetError(f"{path}: not a JPEG file. Fetch it again.")
    _require_size(data, path)
    try:
        return decode_image(data)
    except ShardError as error:
        raise AssetError(f"{path}: {error} Fetch it again.") from error


def read_labels(path: Path, most: int) -> ImageU8:
    """A PNG of 256 x 256 labels of 8 bits, 0 to `most` (H, W) u8; of a palette the indices count. Raises AssetError."""
    data = _read(path)
    if data[:8] != _PNG:
        raise AssetError(f"{path}: not a PNG file. Fetch it again.")
    _require_size(data, path)  # before anything is decompressed
    try:
        labels = decode_png(_as_grey(data))
    except (ValueError, ShardError) as error:
        raise AssetError(f"{path}: {error} Expected a PNG of one channel of 8 bits.") from error
    found = int(labels.max())
    if found > most:
        values = ", ".join(map(str, np.unique(labels)[:5]))
        raise AssetError(f"{path}: holds the values {values}, expected {' and '.join(map(str, range(most + 1)))}.")
    return labels


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror or error}). Fetch it again.") from error


def _require_size(data: bytes, path: Path) -> None:
    height, width = stated_size_hw(data)
    if (height, width) != (SIZE_PX, SIZE_PX):
        raise AssetError(f"{path}: {width} x {height} pixels, expected {SIZE_PX} x {SIZE_PX}.")


def _as_grey(data: bytes) -> bytes:
    """A PNG of palette indices as one of grey levels; one of grey levels as it is. Raises ValueError for any other
    kind, and where its parts are damaged: a decoder may go on with what it has.
    """
    kept = [_PNG]
    for kind, body in _chunks(data):
        if kind == b"IHDR":
            if len(body) != 13 or body[8] != 8 or body[9] not in (_GREY, _PALETTE):
                raise ValueError(f"{body[8]} bits of colour type {body[9]}." if len(body) == 13 else "damaged head.")
            body = body[:9] + bytes([_GREY]) + body[10:]
        elif kind not in (b"IDAT", b"IEND"):
            continue
        kept += [len(body).to_bytes(4, "big"), kind, body, zlib.crc32(kind + body).to_bytes(4, "big")]
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk of a PNG file."""
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body, check = data[at + 8 : at + 8 + length], data[at + 8 + length : at + 12 + length]
        if len(check) < 4:
            raise ValueError("its end is missing.")
        if zlib.crc32(kind + body) != int.from_bytes(check, "big"):
            raise ValueError(f"damaged, in its part {kind.decode('latin1')}.")
        yield kind, body
        at += 12 + length


def moved(picture: ImageU8, move: Move) -> ImageU8:
    """A picture or mask (256, 256, ...) where the official reader puts it: bilinear, black beyond its border.

    Its affine comes of three points in float32, and so must this one, so that masks are equal to the pixel.
    """
    half = np.float32(0.5 * 255 * move.scale)
    angle = np.pi * move.degrees / 180
    sine, cosine = np.sin(angle), np.cos(angle)
    centre = np.array([255 * shift + 0.5 * 255 for shift in move.shift], np.float32)
    down = np.array([-float(half) * sine, float(half) * cosine], np.float32)
    right = np.array([float(half) * cosine, float(half) * sine], np.float32)
    middle = SIZE_PX / 2
    into = np.array([[middle, middle], [middle, SIZE_PX], [SIZE_PX, middle]], np.float32)
    affine = cv2.getAffineTransform(np.stack([centre, centre + down, centre + right]), into).astype(np.float32)
    picture = np.ascontiguousarray(picture)
    return cv2.warpAffine(picture, affine, (SIZE_PX, SIZE_PX), flags=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
