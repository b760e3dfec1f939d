import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.config import Camera
from aih_builder.config.scenes import ViewRanges
from aih_builder.geometry import FloatArray, project, random_rotation
from aih_builder.sources.cameras import CropJitter, crop_intrinsics, draw_crop_jitter, draw_standpoint, draw_view

SEEDS = st.integers(0, 2**32 - 1)
STILL = CropJitter(1.0, np.zeros(2))


def cloud_m(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    middle_m = np.array([*rng.uniform(-0.1, 0.1, 2), rng.uniform(0.4, 0.9)])
    return middle_m + rng.uniform(-0.1, 0.1, (50, 3))


@given(seed=SEEDS, factor=st.floats(1, 4), size_px=st.integers(32, 512))
def test_the_box_lies_in_the_middle_and_takes_its_share_of_the_side(seed: int, factor: float, size_px: int) -> None:
    points_px = project(cloud_m(seed), crop_intrinsics(cloud_m(seed), factor, STILL, size_px))
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    assert np.allclose((low + high) / 2, (size_px - 1) / 2)
    assert (high - low).max() == pytest.approx(size_px / factor)


@given(seed=SEEDS)
def test_every_size_shows_the_same_view(seed: int) -> None:
    """Pixel edges, half a pixel outside the outer centres, lie on the same rays."""
    points = cloud_m(seed)
    small, large = ((project(points, crop_intrinsics(points, 2.0, STILL, n)) + 0.5) / n for n in (64, 200))
    assert np.allclose(small, large)


def test_jitter_shifts_in_half_sides_and_scales_the_side() -> None:
    points, size_px = cloud_m(1), 100
    moved = crop_intrinsics(points, 2.0, CropJitter(1.25, np.array([0.1, -0.2])), size_px)
    still = crop_intrinsics(points, 2.0, STILL, size_px)
    assert moved[0, 0] == pytest.approx(still[0, 0] / 1.25)
    box = project(points, moved)
    assert np.allclose((box.min(axis=0) + box.max(axis=0)) / 2 - (size_px - 1) / 2, [-5.0, 10.0])


@given(seed=SEEDS)
def test_draws_stay_in_the_cameras_ranges(seed: int) -> None:
    camera, rng = Camera(distance_m=(0.4, 0.7), off_axis_deg=10, framing_jitter=0.2), np.random.default_rng(seed)
    place_m = draw_standpoint(rng, camera)
    distance_m = np.linalg.norm(place_m)
    assert 0.4 <= distance_m <= 0.7
    assert np.degrees(np.arccos(place_m[2] / distance_m)) <= 10 + 1e-6
    jitter = draw_crop_jitter(rng, camera)
    assert abs(jitter.scale - 1) <= 0.2
    assert np.abs(jitter.shift).max() <= 0.2


LEFT, UP, FORWARD = np.eye(3)  # the body's axes


def view(seed: int, **ranges: object) -> FloatArray:
    """R_cam_body of a camera with these ranges."""
    return draw_view(np.random.default_rng(seed), Camera(view=ViewRanges.model_validate(ranges)))


def place(R_cam_body: FloatArray) -> tuple[float, float]:
    """Azimuth and elevation, degrees, of where a camera that looks at the body stands."""
    x, y, z = -R_cam_body[2]
    return float(np.degrees(np.arctan2(x, z))), float(np.degrees(np.arcsin(np.clip(y, -1, 1))))


@given(seed=SEEDS, azimuth=st.floats(-170, 150), elevation=st.floats(-89, 70), roll_deg=st.floats(0, 180))
def test_a_view_is_a_rotation_from_within_its_ranges(
    seed: int, azimuth: float, elevation: float, roll_deg: float
) -> None:
    R = view(seed, azimuth_deg=(azimuth, azimuth + 20), elevation_deg=(elevation, elevation + 19), roll_deg=roll_deg)
    assert np.allclose(R @ R.T, np.eye(3))
    assert np.linalg.det(R) == pytest.approx(1)
    found_azimuth, found_elevation = place(R)
    assert azimuth - 1e-4 <= found_azimuth <= azimuth + 20 + 1e-4
    assert elevation - 1e-4 <= found_elevation <= elevation + 19 + 1e-4
    up = R @ UP  # image y points down
    assert abs(np.degrees(np.arctan2(up[0], -up[1]))) <= roll_deg + 1e-4


@given(seed=SEEDS, roll_deg=st.floats(0, 30))
def test_a_view_from_before_the_body_shows_its_right_on_the_left_and_upright(seed: int, roll_deg: float) -> None:
    """As one sees a person whom one faces."""
    R = view(seed, azimuth_deg=(-40, 40), elevation_deg=(-30, 30), roll_deg=roll_deg)
    right_hand, left_hand, head, feet = (R @ axis for axis in (-LEFT, LEFT, UP, -UP))
    assert right_hand[0] < 0 < left_hand[0]
    assert head[1] < 0 < feet[1]
    assert (R @ FORWARD)[2] < 0  # the body looks at the camera


@pytest.mark.parametrize(("azimuth", "image_right"), [(0, LEFT), (90, -FORWARD), (180, -LEFT), (-90, FORWARD)])
def test_a_level_view_has_level_axes(azimuth: float, image_right: FloatArray) -> None:
    R = view(0, azimuth_deg=(azimuth, azimuth), elevation_deg=(0, 0), roll_deg=0)
    assert np.allclose(R[0], image_right)
    assert np.allclose(R[1], -UP)


@pytest.mark.parametrize("elevation", [-90, 90])
def test_a_view_from_straight_above_or_below_is_a_rotation_too(elevation: float) -> None:
    R = view(3, azimuth_deg=(0, 0), elevation_deg=(elevation, elevation), roll_deg=0)
    assert np.allclose(R @ R.T, np.eye(3))
    assert np.allclose(R[2], -UP if elevation > 0 else UP)


def test_views_are_uniform_over_the_sphere_of_directions() -> None:
    """The sine of the elevation and the azimuth are uniform: each third holds a third of the draws."""
    rng = np.random.default_rng(1)
    camera = Camera(view=ViewRanges(azimuth_deg=(-90, 90), elevation_deg=(0, 90)))
    places = np.array([place(draw_view(rng, camera)) for _ in range(3000)])
    for values, end in ((places[:, 0] / 180 + 0.5, 1), (np.sin(np.radians(places[:, 1])), 1)):
        counts, _ = np.histogram(values, bins=3, range=(0, end))
        assert np.abs(counts / 3000 - 1 / 3).max() < 0.05


@given(seed=SEEDS)
def test_without_a_view_the_camera_looks_from_anywhere(seed: int) -> None:
    found = draw_view(np.random.default_rng(seed), Camera())
    assert np.array_equal(found, random_rotation(np.random.default_rng(seed)))
