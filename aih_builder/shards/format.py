"""The shard format: which bytes stand for a sample.

A shard is an HDF5 file. Root attributes: format, schema, engine, split, number, plan_hash, lossless, fields (a JSON
list of the optional ones stored), versions (JSON); texts are of fixed length.
* `blob` (N,) u8, contiguous, holds all encoded parts; `offsets` (S, P + 1) i64: part p of sample i is
  blob[offsets[i, p] : offsets[i, p + 1]].
* one plain dataset of length S, contiguous, for each field without pixels, named as in the record.

Parts. image: JPEG 95 4:4:4 or, lossless, PNG. target_right, target_left: four u16 (top, bottom, left, right;
exclusive ends), the box of that target's changed_mask, then the image of that box of the target; empty where nothing
changes. It is pasted on read only inside changed_mask, so image and target are equal elsewhere. masks: zlib over
(H, W) u8, one bit per mask (MASK_BITS of the record). depth, normal, background: PNG (depth 16 bit; normal with 128
added), the background JPEG unless lossless.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from aih_builder.errors import ShardError
from aih_builder.imaging import (
    ImageU8,
    box_of,
    decode_image,
    decode_png,
    encode_jpeg,
    encode_png,
    paste,
    stated_size_hw,
)
from aih_builder.sample import MASK_BITS, SPECS, Array, Sample, packed_masks

FORMAT = "aih-shard"
LISTING_FILE, LISTING_FORMAT = "dataset.json", "aih-dataset"
COLUMNS_FILE = "columns.h5"  # small arrays of all shards, as the viewer keeps them; made again where it is away
STATS_FILE = "stats.json"  # figures of the dataset, kept and made again likewise
REQUIRED_PARTS = ("image", "target_right", "target_left", "masks")
OPTIONAL_PARTS = {
    "depth": "depth",
    "normal": "normal",
    "background": "background_rgb",
}  # part: field
PLAIN_FIELDS = tuple(name for name, spec in SPECS.items() if not spec.is_image)

MAX_SIDE_PX = 2048  # of an image, as in a manifest: damaged bytes that state more take no memory

_BOX_BYTES = 8
_NORMAL_ZERO = 128


def parts_for(fields: Sequence[str]) -> tuple[str, ...]:
    """Parts of each sample of a shard that stores these optional fields."""
    return (*REQUIRED_PARTS, *(part for part, field in OPTIONAL_PARTS.items() if field in fields))


def encode_parts(sample: Sample, parts: Sequence[str], *, lossless: bool) -> list[bytes]:
    """The encoded parts of a sample, in the order of `parts`."""
    encode = encode_png if lossless else encode_jpeg
    encoded = {
        "image": encode(sample.image_rgb),
        "target_right": _encode_target(sample, 0, lossless=lossless),
        "target_left": _encode_target(sample, 1, lossless=lossless),
        "masks": encode_masks(sample),
    }
    if sample.depth is not None:
        encoded["depth"] = encode_png(sample.depth)
    if sample.normal is not None:
        encoded["normal"] = encode_png(sample.normal.view(np.uint8) + np.uint8(_NORMAL_ZERO))
    if sample.background_rgb is not None:
        encoded["background"] = encode(sample.background_rgb)
    return [encoded[part] for part in parts]


def decode_parts(encoded: dict[str, memoryview], plain: dict[str, Any], fields: Sequence[str]) -> Sample:
    """A sample from its parts by name, its plain fields and the names of the optional fields stored. Raises
    ShardError or SampleError where they are damaged.
    """
    size_hw = stated_size_hw(encoded["image"])
    if max(size_hw) > MAX_SIDE_PX:
        raise ShardError(f"an image of {size_hw} pixels, expected at most {MAX_SIDE_PX} each way.")
    image = _decoded(encoded["image"], size_hw)
    masks = decode_masks(encoded["masks"], image.shape[:2], fields)
    targets = np.empty((2, *image.shape), np.uint8)
    for hand, part in enumerate(("target_right", "target_left")):
        if plain["target_valid"][hand]:
            targets[hand] = image
            _paste(targets[hand], encoded[part], masks["changed_mask"][hand])
        else:
            targets[hand] = 0
            if len(encoded[part]):
                raise ShardError(f"{part} is stored, yet marked unknown.")
    optional: dict[str, Array] = {}
    if "depth" in encoded:
        _require_size(encoded["depth"], size_hw)
        optional["depth"] = decode_png(encoded["depth"])
    if "normal" in encoded:
        shifted = _decoded(encoded["normal"], size_hw).astype(np.int16)
        optional["normal"] = (shifted - _NORMAL_ZERO).astype(np.int8)
    if "background" in encoded:
        optional["background_rgb"] = _decoded(encoded["background"], size_hw)
    return Sample(image_rgb=image, target_rgb=targets, **masks, **optional, **plain)


def _encode_target(sample: Sample, hand: int, *, lossless: bool) -> bytes:
    top, bottom, left, right = box = box_of(sample.changed_mask[hand].view(np.uint8))
    if not sample.target_valid[hand] or top == bottom:
        return b""
    patch = sample.target_rgb[hand, top:bottom, left:right]
    return np.array(box, "<u2").tobytes() + (encode_png if lossless else encode_jpeg)(patch)


def _paste(target: Array, data: memoryview, changed: Array) -> None:
    top, bottom, left, right = expected = box_of(changed.view(np.uint8))
    if bottom == 0:
        if len(data):
            raise ShardError("a target patch, yet nothing changes.")
        return
    if len(data) < _BOX_BYTES:
        raise ShardError("the patch of a target is missing.")
    top, bottom, left, right = box = tuple(np.frombuffer(data[:_BOX_BYTES], "<u2").tolist())
    if box != expected:
        raise ShardError(f"the box of a target patch is {box}, that of its changed_mask is {expected}.")
    patch = _decoded(data[_BOX_BYTES:], (bottom - top, right - left), "target patch")
    paste(patch, changed[top:bottom, left:right], target[top:bottom, left:right])


def _decoded(data: memoryview, size_hw: tuple[int, int], what: str = "picture") -> ImageU8:
    """A JPEG or PNG (H, W, 3). Raises ShardError where it is damaged or of another size, before memory is taken."""
    _require_size(data, size_hw, what)
    return decode_image(data)


def _require_size(data: memoryview, size_hw: tuple[int, int], what: str = "picture") -> None:
    if (stated := stated_size_hw(data)) != size_hw or 0 in stated:
        raise ShardError(f"a {what} of {stated} pixels, expected {size_hw}, or damaged JPEG or PNG data.")


def encode_masks(sample: Sample) -> bytes:
    """The part `masks` of a sample."""
    return zlib.compress(packed_masks(sample).data, 6)


def decode_masks(data: bytes | memoryview, shape: tuple[int, ...], fields: Sequence[str]) -> dict[str, Array]:
    """The masks of a part `masks` by name, (2, H, W) bool each; fields are the optional ones stored. Raises ShardError
    where it is damaged.
    """
    pixels, stream = shape[0] * shape[1], zlib.decompressobj()
    try:
        unpacked = stream.decompress(data, pixels + 1)
    except zlib.error as error:
        raise ShardError(f"damaged masks ({error}).") from error
    if len(unpacked) != pixels or not stream.eof:
        raise ShardError(f"damaged masks (they do not unpack to {pixels} bytes).")
    bits = np.frombuffer(unpacked, np.uint8).reshape(shape)
    stored = [name for name in MASK_BITS if name in fields or not SPECS[name].optional]
    planes = bits & np.array([MASK_BITS[name] for name in stored], np.uint8)[..., None, None]  # (masks, 2, H, W)
    return dict(zip(stored, np.not_equal(planes, 0, out=planes.view(np.bool_)), strict=True))
