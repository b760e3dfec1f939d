"""Square crops around hands, as affines of the image plane, and what moves with them. Numpy; no torch.

An affine (2, 3) takes image pixels to crop pixels; the centre of pixel (0, 0) lies at (0, 0) in both. A left hand's
crop is mirrored, so that every crop shows a right hand. Source: HDR (ECCV 2022), section 3; the released demo.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8, box_of, warped
from aih_builder.sample import Mask

Box = tuple[float, float, float, float]  # x0, y0, x1, y1: its outermost pixels' centres


class Square(NamedTuple):
    """A square of the image plane, turned about its centre."""

    x_px: float
    y_px: float
    side_px: float
    angle_rad: float = 0.0


class Jitter(NamedTuple):
    """How a square is moved away from where it belongs: shift in sides, gain of the side, turn."""

    shift_x: float = 0.0
    shift_y: float = 0.0
    gain: float = 1.0
    angle_rad: float = 0.0


NO_JITTER = Jitter()


def box_of_mask(mask: Mask) -> Box | None:
    """The tight box of a mask; None where it is empty."""
    top, bottom, left, right = box_of(mask.view(np.uint8))
    return None if bottom == top else (left, top, right - 1, bottom - 1)


def square_of_box(box_px: Box | FloatArray, factor: float) -> Square:
    """The square around a box, its side `factor` times the box's longer one; a box without extent counts as 2 px."""
    x0, y0, x1, y1 = (float(v) for v in box_px)
    side = max(x1 - x0, y1 - y0, 2.0)
    return Square((x0 + x1) / 2, (y0 + y1) / 2, factor * side)


def square_of_mask(mask: Mask, factor: float) -> Square | None:
    """The square around a mask's tight box; None where the mask is empty."""
    box = box_of_mask(mask)
    return None if box is None else square_of_box(box, factor)


def moved_square(square: Square, jitter: Jitter) -> Square:
    """The square, shifted, grown and turned."""
    side = square.side_px
    return Square(
        square.x_px + jitter.shift_x * side, square.y_px + jitter.shift_y * side, side * jitter.gain,
        square.angle_rad + jitter.angle_rad,
    )  # fmt: skip


def crop_affine(square: Square, size_px: int, mirror: bool) -> FloatArray:
    """The affine (2, 3) from image to crop pixels; the square's sides fall on the outer edges of the crop's pixels.

    mirror reflects x of the crop. The image turns by -angle_rad.
    """
    zoom = size_px / square.side_px
    c, s = np.cos(square.angle_rad), np.sin(square.angle_rad)
    linear = zoom * np.array([[c, s], [-s, c]])
    if mirror:
        linear = np.diag([-1.0, 1.0]) @ linear
    middle = np.full(2, (size_px - 1) / 2)
    return np.column_stack([linear, middle - linear @ [square.x_px, square.y_px]])


def inverse_affine(affine_px: FloatArray) -> FloatArray:
    """The affine that takes crop pixels back to image pixels."""
    linear = np.linalg.inv(affine_px[:, :2])
    return np.column_stack([linear, -linear @ affine_px[:, 2]])


def moved_points(points_px: FloatArray, affine_px: FloatArray) -> FloatArray:
    """Points (..., 2) under an affine (2, 3)."""
    return points_px @ affine_px[:, :2].T + affine_px[:, 2]


def cropped(image: ImageU8, affine_px: FloatArray, size_px: int) -> ImageU8:
    """The crop (size_px, size_px, C) of an image (H, W, C); black outside of it, averaged where it shrinks."""
    return warped(image, affine_px, size_px)


def cropped_masks(masks: Mask, affine_px: FloatArray, size_px: int) -> Mask:
    """Crops (N, size_px, size_px) of masks (N, H, W): where at least half of a crop's pixel is set."""
    stack = np.ascontiguousarray(np.moveaxis(masks, 0, -1)).astype(np.uint8) * 255
    moved = warped(stack, affine_px, size_px)
    moved = moved[..., None] if moved.ndim == 2 else moved
    return np.ascontiguousarray(np.moveaxis(moved >= 128, -1, 0))


def turned_joints(joints: NDArray[np.floating], angle_rad: float, mirror: bool) -> NDArray[np.floating]:
    """Camera-frame joints (..., 3), relative to the wrist, as a crop of that angle shows them.

    The turn is about the optical axis: exact for a hand on it, the usual approximation elsewhere.
    """
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    moved = joints @ turn.T
    return moved * [-1.0, 1.0, 1.0] if mirror else moved
