"""Shadows of the key light: of simple things whose shadow is known, and of hands."""

import numpy as np
import pytest

from aih_builder.hands.arrays import open_hand
from aih_builder.hands.model import NativeHandModel
from aih_builder.hands.surface import build_surface
from aih_builder.synth.shadows import LightView, ShadowMaps, light_view

# A square of 40 mm at z = 0, seen from the light at +z, and points 50 mm below it along x.
SQUARE = np.array([[-0.02, -0.02, 0.0], [0.02, -0.02, 0], [0.02, 0.02, 0], [-0.02, 0.02, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
ACROSS = np.stack([np.linspace(-0.06, 0.06, 241), np.zeros(241), np.full(241, -0.05)], axis=1)
UP = np.array([0.0, 0.0, 1.0])


def view_of(direction: np.ndarray) -> tuple[ShadowMaps, LightView]:
    maps, view = ShadowMaps(), light_view(direction, [SQUARE, ACROSS])
    maps.draw(view, 0, SQUARE, FACES)
    return maps, view


@pytest.mark.parametrize("edge_m", [0.002, 0.006, 0.012])
def test_a_square_shades_what_lies_under_it_with_an_edge_as_soft_as_asked(edge_m: float) -> None:
    maps, view = view_of(UP)
    lit = maps.lit(view, 0, ACROSS, np.tile(UP, (len(ACROSS), 1)), edge_m, own=False)
    from_edge_m = np.abs(ACROSS[:, 0]) - 0.02
    room = edge_m + 0.002  # a texel is about a millimetre wide
    assert (lit[from_edge_m < -room] == 0).all()
    assert (lit[from_edge_m > room] == 1).all()
    assert abs(from_edge_m[(lit > 0.3) & (lit < 0.7)].mean()) < 0.0015
    soft = np.ptp(from_edge_m[(lit > 0.1) & (lit < 0.9)])
    assert soft < 2 * edge_m + 0.003


def test_a_slanting_light_moves_the_shadow_along() -> None:
    direction = np.array([0.6, 0.0, 0.8])
    maps, view = view_of(direction)
    lit = maps.lit(view, 0, ACROSS, np.tile(UP, (len(ACROSS), 1)), 0.002, own=False)
    assert ACROSS[lit < 0.5, 0].mean() == pytest.approx(-0.05 * 0.75, abs=0.002)


def test_what_lies_above_or_looks_away_is_not_shaded() -> None:
    maps, view = view_of(UP)
    above = ACROSS + np.array([0, 0, 0.06])
    normals = np.tile(UP, (len(ACROSS), 1))
    assert (maps.lit(view, 0, above, normals, 0.004, own=False) == 1).all()
    assert (maps.lit(view, 0, ACROSS, -normals, 0.004, own=False) == 1).all()  # n.l says it all


@pytest.mark.parametrize("direction", [(0, 1, 0), (0.31, 0.93, 0.2), (0.9, 0.4, 0.1), (0, -1, 0)])
def test_an_open_hand_hardly_shades_what_of_it_faces_the_light(direction) -> None:
    """No speckles: what faces the light is lit, but for what a thumb or a knuckle really hides."""
    hand = open_hand()
    flat = np.concatenate([np.zeros(3), -hand.hands_mean])
    vertices = NativeHandModel(hand).pose(flat, np.zeros(10), np.zeros(3)).vertices_m
    pose = build_surface(hand).pose(vertices)
    light = np.array(direction, float) / np.linalg.norm(direction)
    maps, view = ShadowMaps(), light_view(light, [vertices])
    maps.draw(view, 0, vertices, hand.faces)
    lit = maps.lit(view, 0, pose.positions_m, pose.normals, 0.006, own=True)
    facing = pose.normals @ light
    assert lit[facing > 0.4].mean() > 0.88
    assert (lit[facing > 0.7] < 0.7).mean() < 0.01
    assert (lit[facing < 0.05] == 1).all()
