import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.config import LightRanges
from aih_builder.sources.ambient import hemisphere, irradiance
from aih_builder.sources.lights import EXPOSURE_RANGE, PEAK_LIMIT, Lights, ball_rgb, draw_lights, exposure

EVERYWHERE = np.concatenate([np.eye(3), -np.eye(3), np.array([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1]]) / np.sqrt(3)])
SEEDS = st.integers(0, 2**32 - 1)
STRENGTHS = st.floats(1e-3, 1e3)


def stream(number: int) -> np.random.Generator:
    return np.random.default_rng([number, 1, 1, 6])


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((64, 64, 3), colour, np.uint8)


COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(plain)
RANGES = st.tuples(*[st.tuples(STRENGTHS, STRENGTHS).map(lambda pair: (min(pair), max(pair)))] * 3).map(
    lambda pairs: LightRanges(key=pairs[0], fill=pairs[1], ambient=pairs[2])
)


@given(seed=SEEDS, ranges=RANGES, background=COLOURS)
def test_exposure_stays_in_its_bounds_whatever_the_ranges(seed: int, ranges: LightRanges, background) -> None:
    found = exposure(draw_lights(stream(seed), ranges, background))
    assert EXPOSURE_RANGE[0] - 1e-9 <= found <= EXPOSURE_RANGE[1] + 1e-9


@given(seed=SEEDS, background=COLOURS)
def test_with_the_default_ranges_no_point_of_the_ball_is_burnt_out_for_a_middle_tone(seed: int, background) -> None:
    lights = draw_lights(stream(seed), LightRanges(), background)
    assert ball_rgb(lights).max() <= PEAK_LIMIT + 1e-9
    assert 0.35 * PEAK_LIMIT < 1
    assert ball_rgb(lights).min() > 0


@given(seed=SEEDS, ranges=RANGES, background=COLOURS)
def test_directions_are_unit_vectors_and_the_key_stands_on_the_cameras_side(
    seed: int, ranges: LightRanges, background
) -> None:
    lights = draw_lights(stream(seed), ranges, background)
    count = len(lights.directions)
    assert 2 <= count <= 4
    assert lights.radiance_rgb.shape == (count, 3)
    np.testing.assert_allclose(np.linalg.norm(lights.directions, axis=1), 1, atol=1e-12)
    assert lights.directions[0, 2] < -0.3
    for colours in (lights.radiance_rgb, irradiance(lights.ambient_rgb, EVERYWHERE)):
        assert np.isfinite(colours).all()
        assert (colours >= 0).all()


@given(seed=SEEDS)
def test_the_same_stream_gives_the_same_lights(seed: int) -> None:
    first, again = (draw_lights(stream(seed), LightRanges(), plain((90, 80, 70))) for _ in range(2))
    for name in ("directions", "radiance_rgb", "ambient_rgb"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()


def test_the_key_comes_mostly_from_above_and_is_the_strongest_by_far_mostly() -> None:
    drawn = [draw_lights(stream(i), LightRanges(), plain((90, 80, 70))) for i in range(500)]
    above = np.mean([lights.directions[0, 1] < 0 for lights in drawn])
    strongest = np.mean([lights.radiance_rgb.mean(axis=1).argmax() == 0 for lights in drawn])
    assert 0.75 < above < 0.98
    assert strongest > 0.9
    assert 0.2 < np.mean([(lights.directions[:, 2] > 0).any() for lights in drawn]) < 0.5  # a rim


def test_exposure_and_tint_vary_but_stay_plausible() -> None:
    drawn = [draw_lights(stream(i), LightRanges(), plain((120, 120, 120))) for i in range(500)]
    exposures = [exposure(lights) for lights in drawn]
    assert np.percentile(exposures, 95) > 1.5 * np.percentile(exposures, 5)
    tints = np.array([ball_rgb(lights).mean(axis=0) for lights in drawn])
    tints /= tints.mean(axis=1, keepdims=True)
    assert 0.6 < tints.min() < tints.max() < 1.5
    assert (tints[:, 0] - tints[:, 2]).max() > 0.2  # warm
    assert (tints[:, 0] - tints[:, 2]).min() < -0.2  # cool


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_the_ambient_takes_its_colour_from_the_background(channel: int) -> None:
    grey = plain((40, 40, 40))
    coloured = grey.copy()
    coloured[..., channel] = 220
    for number in range(20):
        tinted, white = (draw_lights(stream(number), LightRanges(), each) for each in (coloured, grey))
        found = [irradiance(lights.ambient_rgb, EVERYWHERE) for lights in (tinted, white)]
        shares = [colours[:, channel] / colours.sum(axis=1) for colours in found]
        assert (shares[0] > shares[1] + 0.05).all()


def test_the_key_mostly_comes_from_the_backgrounds_brighter_side_in_its_colour() -> None:
    background = plain((20, 20, 20))
    background[:, 48:] = (250, 200, 150)
    drawn = [draw_lights(stream(i), LightRanges(), background) for i in range(300)]
    assert np.mean([lights.directions[0, 0] > 0 for lights in drawn]) > 0.8
    grey = [draw_lights(stream(i), LightRanges(), plain((90, 90, 90))) for i in range(300)]
    warmth = [np.mean([each.radiance_rgb[0, 0] / each.radiance_rgb[0, 2] for each in some]) for some in (drawn, grey)]
    assert warmth[0] > 1.15 * warmth[1]


def test_a_light_is_seen_on_the_side_that_its_direction_names() -> None:
    """x right, y down, z forward: a light from the upper right of the camera's side brightens that part of a ball."""
    direction = np.array([[0.5, -0.6, -np.sqrt(1 - 0.25 - 0.36)]])
    nothing = np.zeros(3)
    lights = Lights(direction, np.ones((1, 3)), hemisphere(nothing, nothing, np.array([0.0, -1.0, 0.0])))
    brightness = ball_rgb(lights)[:, 0]
    assert 0.95 < brightness.max() <= 1
    assert exposure(lights) == pytest.approx(_lambert_ball(direction[0]), abs=0.01)


def _lambert_ball(direction: np.ndarray) -> float:
    """Mean over a ball's disc of max(0, n.l), by its phase function."""
    angle = np.arccos(-direction[2])
    return 2 / (3 * np.pi) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
