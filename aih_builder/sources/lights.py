"""Lights of a scene: a key, fills, sometimes a rim, and surroundings that shine as the background does."""

from dataclasses import dataclass

import numpy as np

from aih_builder.config import LightRanges
from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8
from aih_builder.sources.ambient import GRID, fitted, hemisphere, irradiance, picture_light

# After exposure, a white matte ball in the hand's place shows a mean luma within EXPOSURE_RANGE. And no channel of it
# exceeds PEAK_LIMIT anywhere, unless the lower end of that range needs more: skin of a middle tone (linear albedo about
# 0.35) stays well below 1.
EXPOSURE_RANGE = (0.5, 1.4)
PEAK_LIMIT = 2.0

_LUMA = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB
# The camera's automatic exposure aims at this mean luma, takes out this share, in stops, of a scene's departure, and
# errs by a factor of this spread.
_AIM, _AUTO_EXPOSURE, _EXPOSURE_ERROR = 0.8, 0.6, 0.15
_COMMON_LUMA, _SCENE_SHARE = 0.15, 0.15  # a background of another luma moves the aim by this power of the ratio
_RIM_SHARE = 0.35
_ROLL_SPREAD_DEG = 60.0  # of the key's side around "above"
_SURE_OF_SIDE = 0.25  # how far the background's middle of brightness lies off centre where it tells the key's side
_AMBIENT_TINTS = (0.4, 2.0)  # per channel, against the luma: cameras take out a part of strong colours
_BRIGHTEST, _LEAN = GRID**2 // 10, 0.2  # of the background's texels, and how far tints lean to their colour

# Linear sRGB of black bodies of luma 1, by reciprocal temperature: 10000 K to 2500 K. From Planck's law and the
# CIE 1931 observer (fit of Wyman, Sloan and Shirley 2013).
_MIRED = np.array([100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0])
_BLACK_BODY_RGB = np.array(
    [
        [0.873, 0.994, 1.430],
        [1.029, 0.985, 1.060],
        [1.209, 0.962, 0.761],
        [1.406, 0.927, 0.532],
        [1.613, 0.882, 0.360],
        [1.826, 0.832, 0.233],
        [2.043, 0.777, 0.138],
    ]
)
_TINT_RANGE = (0.72, 1.38)  # per channel, against the camera's white


@dataclass(frozen=True, slots=True, eq=False)
class Lights:
    """Distant lights and the light of the surroundings, linear RGB, camera frame (x right, y down, z forward).

    A radiance of 1 that meets the surface head-on shows the albedo as it is. The first light is the key.
    """

    directions: FloatArray  # (L, 3) unit, from the surface to the light
    radiance_rgb: FloatArray  # (L, 3)
    ambient_rgb: FloatArray  # (9, 3) coefficients as sources.ambient defines them


def draw_lights(rng: np.random.Generator, ranges: LightRanges, background_rgb: ImageU8) -> Lights:
    """Lights for one scene before a background (H, W, 3).

    The surroundings shine as the background does. The key comes from the camera's side, mostly from above, and where
    the background is brighter on one side, from there; fills from the other side and weaker; a rim, where there is
    one, from behind. Strengths are drawn from the ranges and then scaled together, as a camera would expose them.
    """
    seen = picture_light(background_rgb)
    key, ambient = rng.uniform(*ranges.key), rng.uniform(*ranges.ambient)
    key_roll_deg = _key_roll_deg(rng, seen)
    tilts_deg, rolls_deg, strengths = [rng.uniform(5, 70)], [key_roll_deg], [key]
    n_fills = int(rng.integers(1, 3))
    for _ in range(n_fills):
        tilts_deg.append(rng.uniform(10, 80))
        rolls_deg.append(key_roll_deg + 180 + rng.uniform(-80, 80))
        strengths.append(rng.uniform(*ranges.fill) / n_fills)
    if rng.random() < _RIM_SHARE:
        tilts_deg.append(rng.uniform(110, 150))
        rolls_deg.append(key_roll_deg + 180 + rng.uniform(-60, 60))
        strengths.append(rng.uniform(0.2, 0.7) * key)
    lights = Lights(
        directions=_directions(np.array(tilts_deg), np.array(rolls_deg)),
        radiance_rgb=np.array(strengths)[:, None] * _tints(rng, len(strengths), seen),
        ambient_rgb=ambient * _ambient(rng, seen),
    )
    return _expose(rng, lights, seen)


def ball_rgb(lights: Lights) -> FloatArray:
    """Linear colour (N, 3) of a white matte ball at points spread evenly over its disc in the image."""
    light = np.maximum(_dots(_BALL_NORMALS, lights.directions), 0.0)
    direct = (light[:, :, None] * lights.radiance_rgb).sum(axis=1)
    return direct + irradiance(lights.ambient_rgb, _BALL_NORMALS)


def exposure(lights: Lights) -> float:
    """Mean luma of the white matte ball; 1 shows the albedo as it is, on average."""
    return float((ball_rgb(lights) * _LUMA).sum(axis=1).mean())


def _expose(rng: np.random.Generator, lights: Lights, seen: FloatArray) -> Lights:
    """The same lights at the camera's exposure: within EXPOSURE_RANGE and PEAK_LIMIT, brighter in bright places."""
    found = exposure(lights)
    low, high = EXPOSURE_RANGE
    aim = _AIM * ((seen * _LUMA).sum(axis=2).mean() / _COMMON_LUMA) ** _SCENE_SHARE
    wanted = aim * (found / aim) ** (1 - _AUTO_EXPOSURE) * np.exp(rng.normal(0, _EXPOSURE_ERROR))
    gain = min(min(wanted, high) / found, PEAK_LIMIT / float(ball_rgb(lights).max()))
    gain = max(gain, low / found)
    return Lights(lights.directions, gain * lights.radiance_rgb, gain * lights.ambient_rgb)


def _key_roll_deg(rng: np.random.Generator, seen: FloatArray) -> float:
    """About what side of the image the key stands, 0 = above: the brighter side of the background, if it has one."""
    luma = (seen * _LUMA).sum(axis=2)
    x, y = ((luma * axis).sum() / luma.sum() for axis in (_ACROSS, _ACROSS.T))
    share = min(np.hypot(x, y) / _SURE_OF_SIDE, 1.0)
    return _ROLL_SPREAD_DEG * (1 - share / 2) * rng.normal() + share * np.rad2deg(np.arctan2(x, -y))


def _tints(rng: np.random.Generator, count: int, seen: FloatArray) -> FloatArray:
    """Colours (count, 3) of luma 1: lamps or daylight, seen by a camera whose white balance is near the key's.

    They lean a little towards the colour of what is bright in the background.
    """
    mired = rng.uniform(125, 330) + np.concatenate([[0.0], rng.normal(0, 40, count - 1)])
    white = np.clip(mired[0] + rng.normal(0, 12), 100, 400)
    tints = _black_body(np.clip(mired, 100, 400)) / _black_body(np.array([white]))
    flat = seen.reshape(-1, 3)
    bright = flat[np.argsort((flat * _LUMA).sum(axis=1), kind="stable")[-_BRIGHTEST:]].mean(axis=0)
    tints = np.clip(tints * (bright / (bright * _LUMA).sum()) ** _LEAN, *_TINT_RANGE)
    return tints / (tints * _LUMA).sum(axis=1, keepdims=True)


def _black_body(mired: FloatArray) -> FloatArray:
    columns = [np.interp(mired, _MIRED, _BLACK_BODY_RGB[:, c]) for c in range(3)]
    return np.stack(columns, axis=1)


def _ambient(rng: np.random.Generator, seen: FloatArray) -> FloatArray:
    """Coefficients (9, 3) of mean luma 1: the background's, its tint and its contrast softened, brighter from above."""
    strength, contrast, from_above = rng.uniform(0.3, 0.9), rng.uniform(0.4, 1.0), rng.uniform(0.0, 0.5)
    luma = (seen * _LUMA).sum(axis=2, keepdims=True)
    light = luma * np.clip(1 + strength * (seen / luma - 1), *_AMBIENT_TINTS)
    mean = light.mean(axis=(0, 1))
    light = (mean + contrast * (light - mean)) / (mean * _LUMA).sum()
    ambient = (1 - from_above) * fitted(light)
    up = _directions(rng.uniform(30, 110, 1), np.zeros(1))[0]  # the camera looks down more often than up
    return ambient + hemisphere(2 * from_above * ambient[0] / (1 - from_above), np.zeros(3), up)


def _directions(tilt_deg: FloatArray, roll_deg: FloatArray) -> FloatArray:
    """Unit vectors (n, 3): tilted away from the direction to the camera, towards 0 = above, 90 = right in the image."""
    tilt, roll = np.deg2rad(tilt_deg), np.deg2rad(roll_deg)
    return np.stack([np.sin(tilt) * np.sin(roll), -np.sin(tilt) * np.cos(roll), -np.cos(tilt)], axis=1)


def _ball_normals(rings: int = 7) -> FloatArray:
    """Normals (N, 3) of a ball's visible side, even over its disc: N = 3 rings^2."""
    normals = []
    for ring in range(rings):
        count = 3 * (2 * ring + 1)
        radius = (ring + 0.5) / rings
        turns = (np.arange(count) + 0.5 * (ring % 2)) * (2 * np.pi / count)
        depth = np.full(count, -np.sqrt(1 - radius**2))
        normals.append(np.stack([radius * np.cos(turns), radius * np.sin(turns), depth], axis=1))
    return np.concatenate(normals)


def _dots(a: FloatArray, b: FloatArray) -> FloatArray:
    """Dot products (n, m) of vectors (n, 3) and (m, 3), in a fixed order of operations."""
    x, y, z = (a[:, None, c] * b[None, :, c] for c in range(3))
    return x + y + z


_BALL_NORMALS = _ball_normals()
_ACROSS = np.tile(np.linspace(-1.0, 1.0, GRID), (GRID, 1))  # x of the background's texels
