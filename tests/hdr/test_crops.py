import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.geometry import project
from aih_builder.hdr.crops import (
    NO_JITTER,
    Jitter,
    Square,
    crop_affine,
    cropped,
    cropped_masks,
    inverse_affine,
    moved_points,
    moved_square,
    square_of_box,
    square_of_mask,
    turned_joints,
)

COORDINATES = st.floats(-200, 200)
ANGLES = st.floats(-3.2, 3.2)
SQUARES = st.builds(Square, COORDINATES, COORDINATES, st.floats(4, 400), ANGLES)
JITTERS = st.builds(Jitter, st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.floats(0.3, 1.7), ANGLES)
SIZES = st.integers(16, 256)
MIRRORS = st.booleans()


def blobs(seed: int, count: int = 3, size_px: int = 80) -> np.ndarray:
    """Smooth masks (count, size_px, size_px) in the middle of the image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size_px, :size_px] - (size_px - 1) / 2
    turns = rng.uniform(0, np.pi, count)
    masks = [
        ((x * np.cos(t) + y * np.sin(t)) / 18) ** 2 + ((y * np.cos(t) - x * np.sin(t)) / 9) ** 2 < 1 for t in turns
    ]
    return np.stack(masks)


@given(square=SQUARES, size_px=SIZES, mirror=MIRRORS)
def test_the_squares_corners_are_the_outer_corners_of_the_crops_corner_pixels(
    square: Square, size_px: int, mirror: bool
) -> None:
    c, s = np.cos(square.angle_rad), np.sin(square.angle_rad)
    across, down = np.array([c, s]), np.array([-s, c])  # the square's own axes in the image
    ends = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    corners_px = [square.x_px, square.y_px] + square.side_px * (ends @ np.stack([across, down]))
    wanted = ends * [-1 if mirror else 1, 1] * size_px + (size_px - 1) / 2
    found = moved_points(corners_px, crop_affine(square, size_px, mirror))
    assert np.allclose(found, wanted, atol=1e-6)


def test_a_square_of_the_whole_image_crops_it_as_it_is_and_mirrored_to_its_reflection() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    whole = Square(11.5, 11.5, 24.0)
    assert np.array_equal(cropped(image, crop_affine(whole, 24, False), 24), image)
    assert np.array_equal(cropped(image, crop_affine(whole, 24, True), 24), image[:, ::-1])


def test_what_lies_outside_of_the_image_is_black_and_a_crop_that_shrinks_is_an_average() -> None:
    image = np.full((24, 24, 3), 200, np.uint8)
    crop = cropped(image, crop_affine(Square(11.5, 11.5, 48.0), 48, False), 48)
    assert (crop[12:36, 12:36] == 200).all()
    assert crop.sum() == 200 * 24 * 24 * 3
    stripes = np.zeros((24, 24, 3), np.uint8)
    stripes[::2] = 200
    assert (cropped(stripes, crop_affine(Square(11.5, 11.5, 24.0), 12, False), 12) == 100).all()


@given(square=SQUARES, size_px=SIZES, mirror=MIRRORS, x=COORDINATES, y=COORDINATES)
def test_the_inverse_takes_crop_pixels_back(square: Square, size_px: int, mirror: bool, x: float, y: float) -> None:
    affine = crop_affine(square, size_px, mirror)
    point = np.array([x, y])
    assert np.allclose(moved_points(moved_points(point, affine), inverse_affine(affine)), point, atol=1e-6)
    assert (np.linalg.det(affine[:, :2]) < 0) == mirror


@given(square=SQUARES, jitter=JITTERS, size_px=SIZES)
def test_jitter_shifts_in_sides_grows_and_turns_a_square_about_its_centre(
    square: Square, jitter: Jitter, size_px: int
) -> None:
    moved = moved_square(square, jitter)
    centre = moved_points(np.array([moved.x_px, moved.y_px]), crop_affine(moved, size_px, False))
    assert np.allclose(centre, (size_px - 1) / 2, atol=1e-6)
    assert (moved.x_px - square.x_px) / square.side_px == pytest.approx(jitter.shift_x, abs=1e-9)
    assert (moved.y_px - square.y_px) / square.side_px == pytest.approx(jitter.shift_y, abs=1e-9)
    assert moved.side_px == pytest.approx(square.side_px * jitter.gain)
    assert moved_square(square, NO_JITTER) == square


@given(left=st.integers(0, 30), top=st.integers(0, 30), width=st.integers(1, 30), height=st.integers(1, 30))
def test_a_masks_square_has_its_centre_and_its_longer_side_grown(left: int, top: int, width: int, height: int) -> None:
    mask = np.zeros((64, 64), bool)
    mask[top : top + height, left : left + width] = True
    square = square_of_mask(mask, 1.5)
    assert square is not None
    assert (square.x_px, square.y_px) == (left + (width - 1) / 2, top + (height - 1) / 2)
    assert square.side_px == 1.5 * max(width - 1, height - 1, 2)
    assert square == square_of_box((left, top, left + width - 1, top + height - 1), 1.5)
    transposed = square_of_mask(mask.T, 1.5)
    assert transposed is not None
    assert (transposed.x_px, transposed.y_px) == (square.y_px, square.x_px)


def test_an_empty_mask_has_no_square_and_a_point_has_one() -> None:
    assert square_of_mask(np.zeros((8, 8), bool), 2.0) is None
    assert square_of_box((3, 4, 3, 4), 2.0) == Square(3, 4, 4.0)


@given(angle_rad=st.floats(-1.5, 1.5), mirror=MIRRORS)
def test_a_point_of_light_moves_in_the_image_as_its_joint_moves(angle_rad: float, mirror: bool) -> None:
    image = np.zeros((65, 65, 3), np.uint8)
    spot = np.array([46.0, 27.0])
    image[27, 46] = 255
    affine = crop_affine(Square(32, 32, 65.0, angle_rad), 65, mirror)
    y, x = np.mgrid[:65, :65]
    light = cropped(image, affine, 65)[..., 0].astype(float)
    middle = np.array([(x * light).sum(), (y * light).sum()]) / light.sum()
    assert np.abs(middle - moved_points(spot, affine)).max() < 0.1


def test_a_turned_square_turns_the_image_the_other_way() -> None:
    quarter = crop_affine(Square(10, 10, 20, np.pi / 2), 20, False)
    right_of_centre = moved_points(np.array([15.0, 10.0]), quarter) - 9.5
    assert np.allclose(right_of_centre, [0, -5])  # up: the square's y axis, which is the crop's, points left


@given(seed=st.integers(0, 2**32 - 1), jitter=JITTERS, mirror=MIRRORS)
def test_the_crop_of_a_hand_on_the_axis_is_what_a_camera_sees_of_its_turned_joints(
    seed: int, jitter: Jitter, mirror: bool
) -> None:
    """Exact: project, crop, and the same joints turned, then projected with the crop's focal length."""
    rng = np.random.default_rng(seed)
    K_px = np.array([[300.0, 0, 40.0], [0, 300.0, 30.0], [0, 0, 1]])
    joints_m = rng.uniform(-0.08, 0.08, (21, 3)) * [1, 1, 0.5]
    joints_m -= joints_m[0]
    wrist_m = np.array([0, 0, 0.6])
    square = moved_square(Square(40.0, 30.0, 90.0), jitter)
    affine = crop_affine(square, 64, mirror)
    found = moved_points(project(joints_m + wrist_m, K_px), affine)
    turned = turned_joints(joints_m, jitter.angle_rad, mirror)
    crop_K_px = K_px.copy()
    crop_K_px[0, 0] = crop_K_px[1, 1] = 300.0 * 64 / square.side_px
    crop_K_px[:2, 2] = moved_points(K_px[:2, 2], affine)
    assert np.allclose(found, project(turned + wrist_m, crop_K_px), atol=1e-8)
    assert np.allclose(np.linalg.norm(turned, axis=1), np.linalg.norm(joints_m, axis=1))
    assert np.allclose(turned[:, 2], joints_m[:, 2])


@given(seed=st.integers(0, 2**16), angle_rad=ANGLES, mirror=MIRRORS)
def test_masks_come_back_from_a_finer_crop_but_for_their_rims(seed: int, angle_rad: float, mirror: bool) -> None:
    masks = blobs(seed)
    affine = crop_affine(Square(39.5, 39.5, 80.0, angle_rad), 160, mirror)
    there = cropped_masks(masks, affine, 160)
    back = cropped_masks(there, inverse_affine(affine), 80)
    for before, crop, after in zip(masks, there, back, strict=True):
        assert (before & after).sum() / (before | after).sum() > 0.93
        assert crop.sum() == pytest.approx(4 * before.sum(), rel=0.04)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_masks_are_cropped_each_for_itself(count: int) -> None:
    masks = blobs(3, count)
    affine = crop_affine(Square(30, 44, 70.0, 0.4), 48, True)
    together = cropped_masks(masks, affine, 48)
    assert together.shape == (count, 48, 48)
    assert together.dtype == bool
    assert together.flags.c_contiguous
    alone = np.concatenate([cropped_masks(mask[None], affine, 48) for mask in masks])
    # Equal, but OpenCV rounds coordinates to 1/32 pixel for 2 or 5 channels and, of late, not for 1, 3 or 4.
    assert (alone != together).sum() <= 3 * count


def test_a_pixel_of_a_cropped_mask_is_set_where_half_of_it_is() -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, 0], masks[1, 0, :2] = True, True  # a quarter and a half of the first pixel of 2 x 2
    crops = cropped_masks(masks, crop_affine(Square(1.5, 1.5, 4.0), 2, False), 2)
    assert crops.tolist() == [[[False, False], [False, False]], [[True, False], [False, False]]]
