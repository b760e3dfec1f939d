"""What the loader does to a picture: geometry, light, blur, noise, capture JPEG. Drawn from a generator, in numpy."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.hdr.crops import Jitter
from aih_builder.hdr.settings import Augment
from aih_builder.imaging import ImageU8, blurred, recoloured, through_jpeg, to_u8


class Look(NamedTuple):
    """What is done to the colours of the pictures of one sample: to image and target alike."""

    table: ImageU8  # (3, 256): level -> level
    blur_px: float  # sigma; 0 none
    noise: NDArray[np.int16] | None  # (H, W, 3), added
    jpeg_quality: int  # 0: none


def draw_jitter(augment: Augment, rng: np.random.Generator) -> Jitter:
    """Shift and scale, uniform; turn: a normal of sigma rotation_deg, cut at twice, in a share of the draws."""
    shift = rng.uniform(-augment.shift, augment.shift, 2)
    gain = 1.0 + rng.uniform(-augment.scale, augment.scale)
    turn = np.deg2rad(augment.rotation_deg) * float(np.clip(rng.normal(), -2, 2))
    turns = rng.random() < augment.rotation_share
    return Jitter(float(shift[0]), float(shift[1]), float(gain), turn if turns else 0.0)


def draw_look(augment: Augment, size_px: int, rng: np.random.Generator) -> Look:
    """Gain per channel, brightness and contrast, always; blur, sensor noise and JPEG in a share of the draws."""
    gain = 1.0 + rng.uniform(-augment.gain, augment.gain, 3)
    contrast = 1.0 + rng.uniform(-augment.contrast, augment.contrast)
    brightness = 255.0 * rng.uniform(-augment.brightness, augment.brightness)
    levels = np.arange(256.0)
    table = to_u8(np.outer(gain, levels - 127.5) * contrast + 127.5 * gain[:, None] + brightness)
    blur_px = float(rng.uniform(0.3, 1.2)) if rng.random() < augment.blur_share else 0.0
    noise = None
    if rng.random() < augment.noise_share:
        noise = np.rint(rng.normal(scale=rng.uniform(2, 8), size=(size_px, size_px, 3))).astype(np.int16)
    low, high = augment.jpeg_quality
    quality = int(rng.integers(low, high + 1)) if rng.random() < augment.jpeg_share else 0
    return Look(table, blur_px, noise, quality)


def looked_at(picture: ImageU8, look: Look) -> ImageU8:
    """A picture (H, W, 3) with that look."""
    picture = recoloured(picture, look.table)
    if look.blur_px:
        picture = blurred(picture, look.blur_px)
    if look.noise is not None:
        picture = np.clip(picture + look.noise, 0, 255).astype(np.uint8)
    return through_jpeg(picture, look.jpeg_quality) if look.jpeg_quality else picture
