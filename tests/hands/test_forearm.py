import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.geometry import random_rotation
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.forearm import Limb, RingMesh, build_forearm, girth
from aih_builder.hands.sleeve import SLEEVE_MAP, Cut, build_sleeve
from aih_builder.hands.surface import SurfacePose, build_surface

LIMB = Limb(0.27, np.array([0.2, -0.1]))
HANDS = hand_pair(open_hand(), "native")
SURFACES = [build_surface(model.arrays) for model in HANDS]
FOREARMS = [build_forearm(model.arrays, surface) for model, surface in zip(HANDS, SURFACES, strict=True)]
SLEEVES = [build_sleeve(len(forearm.rim_rows)) for forearm in FOREARMS]


def posed(side: int, seed: int) -> tuple[np.ndarray, SurfacePose]:
    rng = np.random.default_rng(seed)
    pose = np.concatenate([rng.normal(size=3), rng.normal(size=45) * 0.3])
    vertices_m = HANDS[side].pose(pose, rng.normal(size=10), rng.normal(size=3)).vertices_m
    return vertices_m, SURFACES[side].pose(vertices_m)


def skin_of(side: int, seed: int, limb: Limb = LIMB) -> tuple[SurfacePose, SurfacePose]:
    """The hand's surface and its forearm's."""
    forearm, (vertices_m, hand) = FOREARMS[side], posed(side, seed)
    frame = forearm.frame(vertices_m)
    return hand, forearm.pose_skin(hand, frame, forearm.section(hand, frame), limb)


def cut(rng: np.random.Generator) -> Cut:
    folds = np.stack([np.full(4, 0.001), rng.integers(-2, 3, 4), rng.uniform(-26, 26, 4), rng.uniform(0, 6, 4)], axis=1)
    return Cut(rng.uniform(-0.02, 0.03), rng.uniform(0.03, 0.07), 0.004, rng.uniform(0.005, 0.015), 0.002, folds)


@pytest.mark.parametrize("side", [0, 1])
def test_the_forearm_starts_at_the_wrists_rim_with_the_hands_own_normals(side: int) -> None:
    hand, skin = skin_of(side, 0)
    forearm = FOREARMS[side]
    ring, column = np.divmod(forearm.skin.of_render, len(forearm.rim_rows))
    first = np.flatnonzero(ring == 1)
    rows = forearm.rim_rows[column[first]]
    assert forearm.stations_m[1] == 0
    assert np.allclose(skin.positions_m[first], hand.positions_m[rows], atol=1e-12)
    assert np.allclose(skin.normals[first], hand.normals[rows], atol=1e-12)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("sleeved", [False, True])
def test_faces_look_outward_and_close_at_the_elbow(side: int, sleeved: bool) -> None:
    """Closed at both ends, the mesh has a positive volume: that of an arm, in cubic metres."""
    forearm, (vertices_m, hand) = FOREARMS[side], posed(side, 1)
    frame = forearm.frame(vertices_m)
    section = forearm.section(hand, frame)
    mesh, surface = forearm.skin, forearm.pose_skin(hand, frame, section, LIMB)
    if sleeved:
        mesh = SLEEVES[side].mesh
        surface = SLEEVES[side].pose(frame, section, LIMB, cut(np.random.default_rng(0)))
    columns = len(forearm.rim_rows)
    points = np.zeros((mesh.grid_faces.max() + 1, 3))
    points[mesh.of_render] = surface.positions_m
    assert np.ptp(points[-columns:], axis=0).max() < 1e-8  # the last ring is a point
    fan = [[i, (i + 1) % columns, len(points)] for i in range(columns)]
    body = trimesh.Trimesh(
        np.concatenate([points, [points[:columns].mean(axis=0)]]), np.concatenate([mesh.grid_faces, fan]), process=False
    )
    assert body.is_winding_consistent
    assert 3e-4 < body.volume < 3e-3
    corners = surface.positions_m[mesh.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    some = np.linalg.norm(flat, axis=1) > 1e-9
    assert ((flat[:, None] * surface.normals[mesh.faces]).sum(axis=2)[some] > 0).mean() > 0.97


@given(st.integers(0, 2**32 - 1), st.integers(0, 1))
def test_a_forearm_moves_with_its_hand(seed: int, side: int) -> None:
    """A rigid motion of the hand is one of its forearm and its sleeve."""
    rng = np.random.default_rng(seed)
    rotation, shift = random_rotation(rng), rng.normal(size=3)
    vertices_m, _ = posed(side, 2)
    forearm, sleeve, how = FOREARMS[side], SLEEVES[side], cut(rng)
    found = []
    for points in (vertices_m @ rotation.T + shift, vertices_m):
        surface, frame = SURFACES[side].pose(points), forearm.frame(points)
        section = forearm.section(surface, frame)
        parts = forearm.pose_skin(surface, frame, section, LIMB), sleeve.pose(frame, section, LIMB, how)
        found.append(np.concatenate([part.positions_m for part in parts]))
    assert np.allclose(found[0], found[1] @ rotation.T + shift, atol=1e-9)


def test_the_left_forearm_is_the_mirrored_right() -> None:
    flip = np.array([-1.0, 1, 1])
    found = []
    for side in (0, 1):
        forearm, vertices_m = FOREARMS[side], HANDS[side].arrays.v_template
        hand, frame = SURFACES[side].pose(vertices_m), forearm.frame(vertices_m)
        skin = forearm.pose_skin(hand, frame, forearm.section(hand, frame), Limb(0.27, np.zeros(2)))
        found.append(skin.positions_m * (flip if side else 1))
    gap = np.linalg.norm(found[0][:, None] - found[1][None], axis=2).min(axis=1)
    assert gap.max() < 1e-6


def test_a_forearm_grows_from_wrist_to_muscle_and_never_jumps() -> None:
    thick = girth(np.linspace(0, 0.3, 61))
    assert thick[0] == 1
    assert 1.2 < girth(np.array([0.12]))[0] < 1.4
    assert (np.diff(thick) >= 0).all()
    assert np.diff(thick).max() < 0.02


@pytest.mark.parametrize("side", [0, 1])
def test_no_face_of_the_skin_is_torn_in_the_atlas(side: int) -> None:
    """Lengths in the texture and in space agree as they do on the hand."""
    mesh, (_, skin) = FOREARMS[side].skin, skin_of(side, 3, Limb(0.3, np.zeros(2)))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        in_uv = np.linalg.norm(mesh.uv[mesh.faces[:, a]] - mesh.uv[mesh.faces[:, b]], axis=1)
        in_space = np.linalg.norm(skin.positions_m[mesh.faces[:, a]] - skin.positions_m[mesh.faces[:, b]], axis=1)
        real = in_space > 1e-3  # rings beyond the elbow lie in one point
        assert (in_uv[real] <= 4 * mesh.uv_per_m * in_space[real] + 0.01).mean() > 0.95
        assert in_uv.max() < 0.08


@pytest.mark.parametrize("mesh", [FOREARMS[0].skin, SLEEVES[0].mesh])
def test_mirrored_textures_keep_a_tangent_at_every_fold(mesh: RingMesh) -> None:
    points = np.random.default_rng(0).normal(size=(mesh.grid_faces.max() + 1, 3))
    points[:, 2] += np.arange(len(points))
    tangents = mesh.pose(points).tangents
    assert np.allclose(np.linalg.norm(tangents[:, :3], axis=1), 1)
    assert set(np.unique(tangents[:, 3])) == {-1.0, 1.0}


def test_a_sleeve_stands_off_the_skin_and_shows_each_part_of_its_cloth() -> None:
    sleeve, forearm = SLEEVES[0], FOREARMS[0]
    vertices_m, hand = posed(0, 4)
    frame = forearm.frame(vertices_m)
    section = forearm.section(hand, frame)
    how = Cut(0.01, 0.05, 0.004, 0.008, 0.002, np.zeros((0, 4)))
    straight = Limb(0.29, np.zeros(2))
    points = sleeve.pose(frame, section, straight, how).positions_m
    skin = forearm.pose_skin(hand, frame, section, straight)
    body = trimesh.Trimesh(skin.positions_m, forearm.skin.faces, process=False)
    ring = sleeve.mesh.of_render // sleeve.columns
    outer = points[(ring >= 3) & (ring < 25)]
    gap_m = trimesh.proximity.closest_point(body, outer)[1]
    assert gap_m.min() > 0.0025
    assert gap_m.max() < 0.009
    v = sleeve.mesh.uv[:, 1]
    for low, high in SLEEVE_MAP:
        assert ((v >= low - 1e-9) & (v <= high + 1e-9)).any()
    inside = np.any([(v > low - 0.011) & (v < high + 0.011) for low, high in SLEEVE_MAP], axis=0)
    assert inside.all()
