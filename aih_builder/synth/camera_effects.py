"""What a camera does to a sample's pictures: lens blur, vignette, exposure, noise and tone, in linear light.

Image, targets and background meet the same camera: one field of noise, the same gains, the same blur. A pixel's result
follows from its neighbourhood alone, in one fixed order of operations. So where two pictures are equal within the
blur's reach, their results are equal to the byte, and only the box in which they differ is worked out again.
"""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8, to_u8
from aih_builder.sample import Mask
from aih_builder.synth.camera_settings import CameraSettings, blur_kernel, linear_of, srgb_of
from aih_builder.synth.compose import Composite

Box = tuple[int, int, int, int]  # top, bottom, left, right; ends are exclusive

_STEPS = 4096  # of the tone table, over the root of linear light: below a tenth of a level each
_TWO_BYTES = 2 * (256**2 - 1) / 12  # variance of a sum of two random bytes
_NOISE_VARIANCE = _TWO_BYTES * (1 + 5**2 + 1) ** 2  # of _noise, which spreads such sums by (1, 5, 1) each way


class _Camera(NamedTuple):
    """Settings as the kernels take them, for pictures of one size. A row holds n = 3 W values."""

    taps: NDArray[np.int64]  # (T, 2) offsets down and right, in the order in which they are added
    weights: NDArray[np.float32]  # (T,)
    reach: int  # of the taps
    gain: NDArray[np.float32]  # (n,) of linear light x: gain x / (1 + shoulder x)
    shoulder: NDArray[np.float32]  # (n,) keeps white white where a gain is above 1
    fall_y: NDArray[np.float32]  # (H,) the share that the vignette takes is fall_y + fall_x
    fall_x: NDArray[np.float32]  # (n,)
    noise: NDArray[np.int16]  # (H, n)
    shot: np.float32  # of linear light x, noise has the deviation sqrt(shot x + read) noise
    read: np.float32
    light: NDArray[np.float32]  # (256,) linear light of a level
    levels: ImageU8  # (_STEPS,) level of a root of linear light


def photographed(
    settings: CameraSettings,
    rng: np.random.Generator,
    composite: Composite,
    background_rgb: ImageU8,
    present: Mask,
    uncovered: Mask,
) -> tuple[Composite, ImageU8]:
    """A composite and its background (H, W, 3) as the camera sees them; rng draws the noise.

    The target of a hand that is not present (2,) stays as it is. uncovered (2, H, W) is M_D or M_R of each target,
    which changed_mask holds whether colours differ there or not.
    """
    height, width = background_rgb.shape[:2]
    camera, scene = _camera(settings, rng, height, width), composite.image_rgb
    image, background = np.empty_like(scene), np.empty_like(scene)
    targets, changed = composite.target_rgb.copy(), composite.changed_mask.copy()
    _develop(_rows(scene), (0, height, 0, width), *camera, _rows(image))
    _take(camera, scene, background_rgb, image, background)
    for hand in range(2):
        if present[hand]:
            box = _take(camera, scene, composite.target_rgb[hand], image, targets[hand])
            changed[hand] = uncovered[hand]
            _mark_differing(image, targets[hand], box, changed[hand])
    return replace(composite, image_rgb=image, target_rgb=targets, changed_mask=changed), background


def _take(camera: _Camera, scene: ImageU8, other: ImageU8, image: ImageU8, out: ImageU8) -> Box:
    """Develop into `out` a picture that differs from `scene`, whose own result is `image`: the box where out may."""
    top, bottom, left, right = _differing_box(_rows(scene), _rows(other))
    out[...] = image
    if top >= bottom:
        return 0, 0, 0, 0
    reach, (height, width) = camera.reach, scene.shape[:2]
    box = max(top - reach, 0), min(bottom + reach, height), max(left - reach, 0), min(right + reach, width)
    _develop(_rows(other), box, *camera, _rows(out))
    return box


def _rows(picture: ImageU8) -> ImageU8:
    return picture.reshape(picture.shape[0], -1)


def _camera(settings: CameraSettings, rng: np.random.Generator, height: int, width: int) -> _Camera:
    kernel = blur_kernel(settings.defocus_px, settings.motion_px, settings.turn_rad)
    reach = kernel.shape[0] // 2
    taps = np.argwhere(kernel > 0)
    x, y = (
        np.arange(side) / (side - 1) - middle for side, middle in zip((width, height), settings.centre, strict=True)
    )
    fall_x, fall_y = (settings.vignette * axis**2 / ((x**2).max() + (y**2).max()) for axis in (x, y))
    noise = np.zeros((height, 3 * width), np.int16)
    if settings.shot > 0:
        words = rng.integers(0, 2**64 - 1, (height + 2, (3 * width + 9) // 4), np.uint64, endpoint=True)
        _spread_noise(words.view(np.uint16), noise)
    return _Camera(
        taps=taps - reach, weights=kernel[tuple(taps.T)], reach=reach,
        gain=np.tile(settings.gain_rgb, width), shoulder=np.tile(np.maximum(settings.gain_rgb - 1, 0), width),
        fall_y=fall_y.astype(np.float32), fall_x=np.repeat(fall_x, 3).astype(np.float32),
        noise=noise, shot=np.float32(settings.shot / _NOISE_VARIANCE), read=np.float32(settings.read / _NOISE_VARIANCE),
        light=_light_of_levels(), levels=_toned(settings.contrast),
    )  # fmt: skip


@cache
def _light_of_levels() -> NDArray[np.float32]:
    return linear_of(np.arange(256) / 255).astype(np.float32)


@cache
def _srgb_of_steps() -> FloatArray:
    return srgb_of((np.arange(_STEPS) / (_STEPS - 1)) ** 2)


def _toned(contrast: float) -> ImageU8:
    """The tone table: sRGB, of which a share is the curve s^2 (3 - 2 s)."""
    s = _srgb_of_steps()
    return to_u8(255 * (s + contrast * (s * s * (3 - 2 * s) - s)))


@compiled
def _spread_noise(words, noise):
    """Integers (H, n) of mean 0 and variance _NOISE_VARIANCE, alike near one another, from words (H + 2, n + 6)."""
    height, n = noise.shape
    sums = np.empty(n + 6, np.int16)
    rows = np.empty((3, n), np.int16)
    for y in range(height + 2):
        for i in range(n + 6):
            sums[i] = np.int16(words[y, i] & np.uint16(255)) + np.int16(words[y, i] >> np.uint16(8)) - np.int16(255)
        row = rows[y % 3]
        for i in range(n):
            row[i] = sums[i] + np.int16(5) * sums[i + 3] + sums[i + 6]
        if y < 2:
            continue
        above, middle = rows[(y - 2) % 3], rows[(y - 1) % 3]
        for i in range(n):
            noise[y - 2, i] = above[i] + np.int16(5) * middle[i] + row[i]


@compiled
def _differing_box(one, other):
    """Top, bottom, left, right of the pixels at which rows (H, n) of two pictures differ; ends are exclusive."""
    height, n = one.shape
    top, bottom, first, last = height, 0, n, -1
    for y in range(height):
        difference = np.uint8(0)
        for i in range(n):
            difference |= one[y, i] ^ other[y, i]
        if difference == 0:
            continue
        top, bottom = min(top, y), y + 1
        i = 0
        while one[y, i] == other[y, i]:
            i += 1
        first, i = min(first, i), n - 1
        while one[y, i] == other[y, i]:
            i -= 1
        last = max(last, i)
    return top, bottom, first // 3, last // 3 + 1


@compiled
def _mark_differing(one, other, box, mask):
    """Set a mask (H, W) where two pictures (H, W, 3) differ inside a box."""
    for y in range(box[0], box[1]):
        for x in range(box[2], box[3]):
            for c in range(3):
                mask[y, x] |= one[y, x, c] != other[y, x, c]


@compiled
def _develop(
    picture, box, taps, weights, reach, gain, shoulder, fall_y, fall_x, noise, shot, read, light, levels, out
):  # fmt: skip
    """Write the camera's picture of rows (H, n) of levels into a box of out (H, n)."""
    top, bottom, left, right = box
    first, last, width, size = 3 * left, 3 * right, 3 * (right - left), 2 * reach + 1
    linear = np.empty((size, width + 6 * reach), np.float32)  # of the rows within reach of one, in turn
    values, places = np.empty(width, np.float32), np.empty(width, np.int32)
    # Slices, since an index that may count from the end keeps loops from being vectorised.
    gain_here, shoulder_here, fall_here = gain[first:last], shoulder[first:last], fall_x[first:last]
    for below in range(top - reach, bottom + reach):
        row = picture[min(max(below, 0), picture.shape[0] - 1)]
        _linear_row(row, left - reach, light, linear[(below - top + reach) % size])
        y = below - reach
        if y < top:
            continue
        values[:] = np.float32(0)
        for tap in range(taps.shape[0]):
            begin, weight = 3 * (reach + taps[tap, 1]), weights[tap]
            source = linear[(y - top + reach + taps[tap, 0]) % size, begin : begin + width]
            for i in range(width):
                values[i] += weight * source[i]
        kept = np.float32(1) - fall_y[y]
        for i in range(width):
            value = values[i] * (kept - fall_here[i])
            values[i] = np.divide(gain_here[i] * value, np.float32(1) + shoulder_here[i] * value)  # / looks for 0
        if shot > np.float32(0):
            noise_here = noise[y, first:last]
            for i in range(width):
                values[i] += np.sqrt(shot * values[i] + read) * np.float32(noise_here[i])
        for i in range(width):
            value = min(max(values[i], np.float32(0)), np.float32(1))
            places[i] = np.int32(np.sqrt(value) * np.float32(_STEPS - 1) + np.float32(0.5))
        out_here = out[y, first:last]
        for i in range(width):
            out_here[i] = levels[places[i]]


@compiled
def _linear_row(row, left, light, linear):
    """Linear light of a row of levels from a column on; what lies beyond the frame repeats its border."""
    columns = row.shape[0] // 3
    for x in range(linear.shape[0] // 3):
        source = 3 * min(max(left + x, 0), columns - 1)
        for c in range(3):
            linear[3 * x + c] = light[row[source + c]]
