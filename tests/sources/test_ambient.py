"""The light of the surroundings against the integral that it stands for."""

import numpy as np
import pytest

from aih_builder.sources.ambient import fitted, hemisphere, irradiance, picture_light

NORMALS = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1], [0.6, -0.48, 0.64]])


def sphere(count: int) -> np.ndarray:
    """Directions (count, 3), evenly spread: a spiral."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + np.sqrt(5)) * k
    return np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], axis=1)


def seen(light: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """What shines from each direction: the picture around its middle behind the hands, as fitted() describes it."""
    x, y, z = directions.T
    radius = np.sqrt(np.maximum(1 - np.abs(z), 0))  # of equal area
    turn = np.arctan2(y, x)
    quarter = np.round(turn / (np.pi / 2)).astype(int) % 4  # right, down, left, up of the middle
    aside = radius * (turn - np.round(turn / (np.pi / 2)) * (np.pi / 2)) / (np.pi / 4)
    left = np.choose(quarter, [radius, -aside, -radius, aside])
    down = np.choose(quarter, [aside, radius, -aside, -radius])
    column, row = (np.clip(((c + 1) * 4).astype(int), 0, 7) for c in (left, down))
    colour = light[row, column]
    return np.where(z[:, None] >= 0, colour, 0.5 * (colour + light.mean(axis=(0, 1))))


def test_the_nine_terms_are_near_the_integral_over_a_smooth_surrounding() -> None:
    y, x = np.mgrid[0:8, 0:8] / 7.0
    light = np.stack([0.4 + 0.4 * x, 0.5 + 0.2 * y, 0.6 - 0.3 * x * y], axis=2)
    directions = sphere(20_000)
    shining = seen(light, directions)
    for normal, found in zip(NORMALS, irradiance(fitted(light), NORMALS), strict=True):
        cosine = np.maximum(directions @ normal, 0)
        expected = 4 * (shining * cosine[:, None]).mean(axis=0)  # the integral over pi
        assert found == pytest.approx(expected, rel=0.04)


def test_an_even_surrounding_lights_every_side_alike() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    light = picture_light(grey)
    assert irradiance(fitted(light), NORMALS) == pytest.approx(
        np.broadcast_to(light[0, 0], (len(NORMALS), 3)), rel=0.015
    )


def test_no_side_is_black_however_hard_the_contrast() -> None:
    for seed in range(20):
        light = np.random.default_rng(seed).random((8, 8, 3)) ** 12
        found = irradiance(fitted(light), sphere(300))
        assert (found > 0.03 * light.mean(axis=(0, 1))).all()


def test_the_brighter_side_of_the_picture_lights_that_side_of_the_hand() -> None:
    picture = np.full((64, 64, 3), 10, np.uint8)
    picture[:16] = 240  # above
    right, below, behind, left, above, before, _ = irradiance(fitted(picture_light(picture)), NORMALS)[:, 0]
    assert above > max(right, left, behind, before) > below


def test_a_hemisphere_is_its_two_colours_at_its_poles() -> None:
    sky, ground, up = np.array([0.8, 0.9, 1.0]), np.array([0.3, 0.2, 0.1]), np.array([0.0, -0.6, 0.8])
    found = irradiance(hemisphere(sky, ground, up), np.stack([up, -up, [1.0, 0, 0]]))
    assert found == pytest.approx(np.stack([sky, ground, (sky + ground) / 2]))
