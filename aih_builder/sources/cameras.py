"""Where the hands stand in front of the camera, and the square crop that becomes the image.

A crop of a pinhole image is a pinhole image: cropping and resizing change K alone. The focal length therefore follows
from the distance and the crop; at 256 px and the default distances it lies between about 300 and 1,500 px.
"""

from typing import NamedTuple

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.config import Camera
from aih_builder.geometry import FloatArray, random_rotation


class CropJitter(NamedTuple):
    """How a crop deviates from the box it is made around."""

    scale: float  # of the crop's side
    shift: FloatArray  # (2,) in units of half the crop's side


def draw_view(rng: np.random.Generator, camera: Camera) -> FloatArray:
    """Rotation (3, 3) from the axes of the poses to those of the camera: uniform over all, or within camera.view.

    With camera.view the poses' axes are the body's: x to its left, y up, z forward.
    """
    if camera.view is None:
        return random_rotation(rng)
    view = camera.view
    azimuth = np.deg2rad(rng.uniform(*view.azimuth_deg))
    low, high = np.sin(np.deg2rad(view.elevation_deg))
    sine = rng.uniform(low, high)  # uniform over the sphere
    roll = np.deg2rad(rng.uniform(-view.roll_deg, view.roll_deg))
    cosine = np.sqrt(1.0 - sine**2)
    forward = -np.array([np.sin(azimuth) * cosine, sine, np.cos(azimuth) * cosine])
    right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])  # level
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward])


def draw_standpoint(rng: np.random.Generator, camera: Camera) -> FloatArray:
    """Where the scene's middle goes (3,), camera frame: within off_axis_deg of the optical axis, distance_m away."""
    distance_m = rng.uniform(*camera.distance_m)
    angle = np.deg2rad(camera.off_axis_deg) * np.sqrt(rng.random())
    turn = rng.uniform(0, 2 * np.pi)
    sine = np.sin(angle)
    return distance_m * np.array([sine * np.cos(turn), sine * np.sin(turn), np.cos(angle)])


def draw_crop_jitter(rng: np.random.Generator, camera: Camera) -> CropJitter:
    """Scale in 1 +- jitter, shift in +- jitter of half the side."""
    jitter = camera.framing_jitter
    return CropJitter(1.0 + rng.uniform(-jitter, jitter), rng.uniform(-jitter, jitter, size=2))


def crop_intrinsics(cam_points_m: FloatArray, factor: float, jitter: CropJitter, size_px: int) -> FloatArray:
    """K (3, 3) of the square image around points (N, 3): side = factor x the longer side of their box."""
    left, top, right, bottom = _ray_box(np.ascontiguousarray(cam_points_m, np.float64))
    side = factor * max(right - left, bottom - top) * jitter.scale
    shift_x, shift_y = jitter.shift.tolist()
    focal_px = size_px / side
    middle = (size_px - 1) / 2
    K_px = np.eye(3)
    K_px[0, 0] = K_px[1, 1] = focal_px
    K_px[0, 2] = middle - focal_px * ((left + right) / 2 + shift_x * side / 2)
    K_px[1, 2] = middle - focal_px * ((top + bottom) / 2 + shift_y * side / 2)
    return K_px


@compiled
def _ray_box(points):
    """Least x / z and y / z of points (N, 3), then the greatest."""
    left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
    for i in range(points.shape[0]):
        x, y = np.divide(points[i, 0], points[i, 2]), np.divide(points[i, 1], points[i, 2])
        left, top, right, bottom = min(left, x), min(top, y), max(right, x), max(bottom, y)
    return left, top, right, bottom
