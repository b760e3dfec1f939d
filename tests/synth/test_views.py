"""The compiled looks at a candidate view give the bits of the plain expressions: which view is taken hangs on them."""

import numpy as np
import pytest

from aih_builder.geometry import random_rotation, transform
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.surface import boundary_loop
from aih_builder.sources.cameras import CropJitter, crop_intrinsics
from aih_builder.synth.renderers.rasterize import project_to_grid, silhouette
from aih_builder.synth.views import ROUGH_PX, RoughLook, along_forearm, nearest_m

HAND = open_hand()
RIM = boundary_loop(HAND.faces)


@pytest.fixture(params=range(20))
def seen_m(request: pytest.FixtureRequest) -> np.ndarray:
    """The hand at rest, turned, before the camera (V, 3)."""
    rng = np.random.default_rng(request.param)
    rotation, shift_m = random_rotation(rng), np.array([0.0, 0.0, 0.6]) + rng.uniform(-0.05, 0.05, 3)
    x, y, z = HAND.v_template.T
    plain = np.stack([r[0] * x + r[1] * y + r[2] * z + t for r, t in zip(rotation, shift_m, strict=True)], axis=1)
    moved = transform(HAND.v_template, rotation, shift_m)
    assert np.array_equal(moved, plain)
    return moved


def test_nearest_point_and_forearm(seen_m: np.ndarray) -> None:
    rim_m = seen_m[RIM].mean(axis=0)
    along = rim_m - seen_m.mean(axis=0)
    cosine = -float((along * rim_m).sum()) / float(np.sqrt((along**2).sum() * (rim_m**2).sum()))
    assert along_forearm(seen_m, RIM) == cosine
    assert nearest_m(seen_m) == seen_m[:, 2].min()


def test_crop_and_projection(seen_m: np.ndarray) -> None:
    jitter = CropJitter(1.07, np.array([0.04, -0.09]))
    K_px = crop_intrinsics(seen_m, 2.0, jitter, ROUGH_PX)
    rays = seen_m[:, :2] / seen_m[:, 2:]
    low, high = rays.min(axis=0), rays.max(axis=0)
    side = 2.0 * float((high - low).max()) * jitter.scale
    centre = (low + high) / 2 + jitter.shift * side / 2
    assert np.array_equal(K_px[:2, 2], (ROUGH_PX - 1) / 2 - ROUGH_PX / side * centre)
    assert K_px[0, 0] == K_px[1, 1] == ROUGH_PX / side
    grid_xy, inverse_z = project_to_grid(seen_m, K_px, 3)
    x, y, z = seen_m.T
    assert np.array_equal(inverse_z, 1.0 / z)
    u, v = (K_px[0, 0] * x + K_px[0, 1] * y) * inverse_z + K_px[0, 2], K_px[1, 1] * y * inverse_z + K_px[1, 2]
    assert np.array_equal(grid_xy, np.stack([u, v], axis=1) * 3 + 1)


def test_a_hand_behind_another_is_hidden_where_their_silhouettes_overlap(seen_m: np.ndarray) -> None:
    before_m = seen_m * 0.5 + np.array([0.01, 0.0, 0.0])  # nearer at every pixel
    K_px = crop_intrinsics(seen_m, 2.0, CropJitter(1.0, np.zeros(2)), ROUGH_PX)
    behind, before = (silhouette(points, HAND.faces, K_px, ROUGH_PX, 1) for points in (seen_m, before_m))
    rate = RoughLook().occlusion_rate(seen_m, HAND.faces, before_m, HAND.faces, K_px)
    assert 0 < rate == np.count_nonzero(behind & before) / np.count_nonzero(behind)
