"""From a bank's picture to a layer: a hand cut out and pasted, or a photograph that is canvas and hand at once."""

from typing import NamedTuple

import cv2
import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8, box_of, to_u8, warped
from aih_builder.sample import Mask
from aih_builder.synth.renderers.base import AMODAL_ALPHA

_SOLID = 250  # alpha from which on a pixel shows nothing of what was behind the hand
_LOOK_PX = 6  # how far the colour of an edge pixel is looked for inside the hand

NO_GAIN = np.tile(np.arange(256, dtype=np.uint8), (3, 1))


class Canvas(NamedTuple):
    """A photograph moved into the frame."""

    rgb: ImageU8  # (W, W, 3) the photograph with its hand
    rgba: ImageU8  # (W, W, 4) the hand's layer, premultiplied; over rgb it changes nothing
    mirrored_px: int  # hand pixels that the mirror beyond the photograph's border would show


def gain_table(gain: FloatArray) -> ImageU8:
    """Output level of each input level (3, 256) for a gain of each channel."""
    return to_u8(np.arange(256)[None, :] * gain[:, None])


def paste(rgba: ImageU8, affine_px: FloatArray, size_px: int, gain: ImageU8) -> ImageU8:
    """The hand of a picture (S, S, 4), cut out, coloured and moved: a layer (size_px, size_px, 4), premultiplied.

    Edge pixels show hand and old background mixed: they take their colour from the hand beside them, else the old
    background would be a halo.
    """
    top, bottom, left, right = box_of(np.ascontiguousarray(rgba[..., 3]))
    top, left = max(top - 1, 0), max(left - 1, 0)
    box = rgba[top : bottom + 1, left : right + 1]
    cut = np.empty(box.shape, np.uint8)
    if _cut_out(box, gain, box[:0], cut):
        solid = box[..., 3] >= _SOLID
        if solid.any():
            _cut_out(box, gain, _nearest(box, solid), cut)
    moved = affine_px.copy()
    moved[:, 2] += affine_px[:, 0] * left + affine_px[:, 1] * top
    return warped(cut, moved, size_px)


def _nearest(rgba: ImageU8, solid: Mask) -> ImageU8:
    """For each pixel the nearest solid one: (h, w, 4)."""
    _, labels = cv2.distanceTransformWithLabels((~solid).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    number = np.asarray(labels, np.int64)
    of_label = np.zeros((int(number.max()) + 1, 4), np.uint8)
    of_label[number[solid]] = rgba[solid]
    return of_label[number]


def canvas(rgba: ImageU8, affine_px: FloatArray, size_px: int, gain: ImageU8, border: str) -> Canvas:
    """A whole picture (S, S, 4), coloured and moved; beyond its border lies its mirror image, or black."""
    picture = warped(rgba, affine_px, size_px, border=border)
    back = cv2.invertAffineTransform(affine_px)
    rgb, layer = np.empty((size_px, size_px, 3), np.uint8), np.empty((size_px, size_px, 4), np.uint8)
    mirrored = _split(picture, back, float(rgba.shape[0]), gain, rgb, layer)
    return Canvas(rgb, layer, int(mirrored))


def hidden_share(target_rgba: ImageU8, other_rgba: ImageU8) -> tuple[int, int, float]:
    """Amodal pixels of the target and of the hand in front of it, and the share of the target that this hides."""
    target, other, both = _count(target_rgba, other_rgba)
    return int(target), int(other), float(np.float32(both / max(target, 1)))


@compiled
def _count(target, other):
    n_target, n_other, n_both = 0, 0, 0
    for y in range(target.shape[0]):
        for x in range(target.shape[1]):
            a, b = target[y, x, 3] >= AMODAL_ALPHA, other[y, x, 3] >= AMODAL_ALPHA
            n_target += a
            n_other += b
            n_both += a and b
    return n_target, n_other, n_both


@compiled
def _cut_out(rgba, gain, far, out):
    """Returns how many edge pixels have no solid one within reach; they take their colour from far, if it has rows."""
    height, width = rgba.shape[:2]
    colour = np.empty(3, np.int64)
    lost = 0
    for y in range(height):
        for x in range(width):
            alpha = np.int64(rgba[y, x, 3])
            out[y, x, 3] = alpha
            if alpha == 0:
                out[y, x, 0], out[y, x, 1], out[y, x, 2] = 0, 0, 0
                continue
            count = 0
            if alpha < _SOLID:
                for reach in range(1, _LOOK_PX + 1):
                    colour[:] = 0
                    for v in range(max(y - reach, 0), min(y + reach + 1, height)):
                        for u in range(max(x - reach, 0), min(x + reach + 1, width)):
                            if rgba[v, u, 3] >= _SOLID:
                                count += 1
                                for c in range(3):
                                    colour[c] += rgba[v, u, c]
                    if count > 0:
                        break
                if count == 0:
                    lost += 1
                    if far.shape[0] > 0:
                        count = 1
                        for c in range(3):
                            colour[c] = far[y, x, c]
            for c in range(3):
                level = gain[c, (colour[c] + count // 2) // count if count > 0 else np.int64(rgba[y, x, c])]
                out[y, x, c] = (np.int64(level) * alpha + 127) // 255
    return lost


@compiled
def _split(picture, back, side, gain, rgb, layer):
    mirrored = 0
    size = picture.shape[0]
    for y in range(size):
        for x in range(size):
            u = back[0, 0] * x + back[0, 1] * y + back[0, 2]
            v = back[1, 0] * x + back[1, 1] * y + back[1, 2]
            alpha = np.int64(picture[y, x, 3])
            if alpha > 0 and (u < 0.0 or v < 0.0 or u > side - 1.0 or v > side - 1.0):
                mirrored += alpha >= AMODAL_ALPHA
                alpha = np.int64(0)
            layer[y, x, 3] = alpha
            for c in range(3):
                level = np.int64(gain[c, picture[y, x, c]])
                rgb[y, x, c] = level
                # What compose() adds to what shines through gives the level again, exactly.
                layer[y, x, c] = level - (level * (255 - alpha) + 127) // 255 if alpha > 0 else 0
    return mirrored
