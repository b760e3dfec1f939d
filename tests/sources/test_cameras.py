import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.config import Camera
from aih_builder.geometry import project
from aih_builder.sources.cameras import CropJitter, crop_intrinsics, draw_crop_jitter, draw_standpoint

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
