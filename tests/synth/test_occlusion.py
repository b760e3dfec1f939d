"""Ambient occlusion against formulas, against counting, and beyond its reach."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree

from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.model import NativeHandModel
from aih_builder.hands.surface import build_surface
from aih_builder.synth.occlusion import _DISC_REACH_M, REACH_M, Patches, Solid, apart_m, openness, patches, solid
from aih_builder.synth.shadows import ShadowMaps, light_view

RIGHT, LEFT = open_hand(), open_hand().mirrored()
PATCHES = patches(RIGHT), patches(LEFT)
MODELS = NativeHandModel(RIGHT), NativeHandModel(LEFT)


def posed(side: int, shift_m=(0.0, 0.0, 0.0), bend: float = 0.0) -> np.ndarray:
    arrays: HandArrays = MODELS[side].arrays
    pose = np.concatenate([np.zeros((1, 3)), bend * arrays.dof_axes[1:, 0]]).ravel()
    return MODELS[side].pose(pose, np.zeros(10), np.array(shift_m)).vertices_m


def hand(side: int, shift_m=(0.0, 0.0, 0.0), bend: float = 0.0) -> Solid:
    return solid(posed(side, shift_m, bend), PATCHES[side])


def one_disc(radius_m: float, height_m: float) -> Solid:
    """A receiver at the origin that looks up (+z) at a disc that looks down."""
    points = np.zeros((6, 1), np.float32)
    points[5] = 1
    discs = np.array([[0, 0, height_m, 0, 0, -1, np.pi * radius_m**2]], np.float32).T
    return Solid(points, np.ascontiguousarray(discs), np.zeros(3), np.zeros(3))


@pytest.mark.parametrize("radius_m", [0.002, 0.01, 0.03])
@pytest.mark.parametrize("height_m", [0.005, 0.02, 0.05])
def test_a_disc_overhead_hides_what_its_form_factor_says_times_the_fade(radius_m: float, height_m: float) -> None:
    """The cosine-weighted share of the hemisphere behind a disc overhead is r^2 / (r^2 + h^2)."""
    found = one_disc(radius_m, height_m)
    share = radius_m**2 / (radius_m**2 + height_m**2) * max(0.0, 1 - (height_m / _DISC_REACH_M) ** 2)
    assert openness(found, None)[0] == pytest.approx(np.exp(-2.0 * share), rel=1e-4)


def test_a_disc_behind_the_surface_or_turned_away_hides_nothing() -> None:
    seen = one_disc(0.02, 0.01)
    seen.discs[5] = 1
    assert openness(seen, None)[0] == 1
    below = one_disc(0.02, -0.01)
    assert openness(below, None)[0] == 1


@given(gap_m=st.floats(REACH_M, 0.3), axis=st.integers(0, 2))
def test_beyond_its_reach_the_other_hand_hides_exactly_nothing(gap_m: float, axis: int) -> None:
    right, left = posed(0), posed(1)
    shift = np.zeros(3)
    shift[axis] = right[:, axis].max() - left[:, axis].min() + gap_m
    mine, other = solid(right, PATCHES[0]), solid(left + shift, PATCHES[1])
    alone, beside = openness(mine, other)
    assert apart_m(mine, other) >= REACH_M - 1e-9
    assert np.array_equal(alone, beside)


@pytest.mark.parametrize("gap_m", [-0.02, 0.0, 0.02, 0.045])
def test_drawn_skin_beyond_the_reach_keeps_its_light_to_the_bit(gap_m: float) -> None:
    """Measured from the render vertices to the other hand's skin; what is near is darker, what is far is not at all."""
    right = posed(0, bend=0.3)
    left = posed(1) + np.array([right[:, 0].min() - posed(1)[:, 0].max() + gap_m, 0, 0])
    surfaces = build_surface(RIGHT), build_surface(LEFT)
    pair = np.stack(openness(solid(right, PATCHES[0]), solid(left, PATCHES[1])), axis=1)
    shade = surfaces[0].spread(pair)
    skins = [surface.pose(vertices).positions_m for surface, vertices in zip(surfaces, (right, left), strict=True)]
    away = KDTree(skins[1]).query(skins[0])[0]
    beyond = away >= REACH_M - 0.002  # between the other skin's vertices a point may be a little nearer
    assert beyond.any()
    assert np.array_equal(shade[beyond, 0], shade[beyond, 1])
    assert (shade[:, 1] <= shade[:, 0] + 1e-9).all()
    if gap_m < 0.03:
        assert (shade[:, 0] - shade[:, 1]).max() > 0.01


def test_a_fist_is_darker_inside_than_an_open_hand_and_its_back_is_not() -> None:
    flat, fist = openness(hand(0), None)[0], openness(hand(0, bend=1.2), None)[0]
    fingers, palm_side = RIGHT.weights[:, 1:].sum(axis=1) > 0.9, hand(0).points[4] < -0.5  # the palm looks along -y
    assert fist[fingers & palm_side].mean() < flat[fingers & palm_side].mean() - 0.15
    back = (hand(0).points[4] > 0.8) & ~fingers
    assert fist[back].mean() > 0.9


def test_it_goes_with_what_is_counted_along_two_hundred_directions() -> None:
    """Reference: the cosine-weighted share of directions from which a half closed hand does not hide its vertex."""
    vertices = posed(0, bend=0.5)
    mine = solid(vertices, PATCHES[0])
    points, normals = vertices, mine.points[3:].T.astype(np.float64)
    seen, whole, maps = np.zeros(len(points)), np.zeros(len(points)), ShadowMaps()
    k = np.arange(200) + 0.5
    z, turn = 1 - k / 100, np.pi * (1 + np.sqrt(5)) * k
    for direction in np.stack([np.sqrt(1 - z * z) * np.cos(turn), np.sqrt(1 - z * z) * np.sin(turn), z], axis=1):
        view = light_view(direction, [vertices])
        maps.draw(view, 0, vertices, RIGHT.faces)
        cosine = np.maximum(normals @ direction, 0)
        seen += cosine * maps.lit(view, 0, points, normals, 0.001, own=False)
        whole += cosine
    counted = seen / whole
    found = openness(mine, None)[0]
    assert np.corrcoef(found, counted)[0, 1] > 0.85
    assert abs(found.mean() - counted.mean()) < 0.1


def test_patches_are_many_small_and_hold_every_face() -> None:
    fixed: Patches = PATCHES[0]
    sizes = np.bincount(fixed.disc_of, minlength=fixed.discs)
    assert sizes.sum() == len(RIGHT.faces)
    assert 150 <= fixed.discs <= 200
    assert 1 <= sizes.min() <= sizes.max() <= 25
    corners = RIGHT.v_template[RIGHT.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    flat = solid(RIGHT.v_template, fixed).discs[6].sum()
    assert 0.8 * area < flat <= area  # a bent patch shows less than its skin
