import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder.errors import AssetError
from aih_builder.geometry import random_rotation
from aih_builder.hands.anatomy import FLEXION, pose_from_angles
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import FINGERS, MIRROR, N_JOINTS
from aih_builder.hands.model import NativeHandModel
from aih_builder.sources.contact import Contact, SelfPenetration, close, measure_contact
from aih_builder.sources.mesh_queries import bin_shadows, travel_to_contact, winding_number

RIGHT = open_hand()
LEFT = RIGHT.mirrored()
SURFACES = (close(RIGHT.faces), close(LEFT.faces))
BALL = trimesh.creation.icosphere(subdivisions=3, radius=0.03)
BALL_SURFACE = close(np.asarray(BALL.faces))


def ball_m(x_m: float, radius_m: float = 0.03) -> np.ndarray:
    return np.asarray(BALL.vertices) * (radius_m / 0.03) + [x_m, 0.0, 0.0]


def posed_m(arrays: HandArrays, rng: np.random.Generator, trans_m: np.ndarray) -> np.ndarray:
    pose_rad = np.concatenate([2.0 * rng.normal(size=3), 0.3 * rng.normal(size=45)])
    return NativeHandModel(arrays).pose(pose_rad, rng.normal(size=10), trans_m).vertices_m


def pair_m(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two hands, their middles a few centimetres apart: most overlap, some deeply."""
    rng = np.random.default_rng(seed)
    right, left = posed_m(RIGHT, rng, np.zeros(3)), posed_m(LEFT, rng, np.zeros(3))
    return right - right.mean(axis=0), left - left.mean(axis=0) + 0.04 * rng.normal(size=3)


def solid_angle_winding(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Generalised winding number as a sum of solid angles (Van Oosterom and Strackee 1983)."""
    a, b, c = (corners[None, :, k] - points[:, None] for k in range(3))
    la, lb, lc = (np.linalg.norm(side, axis=2) for side in (a, b, c))
    numerator = (a * np.cross(b, c)).sum(axis=2)
    denominator = la * lb * lc + (a * b).sum(axis=2) * lc + (b * c).sum(axis=2) * la + (c * a).sum(axis=2) * lb
    return 2.0 * np.arctan2(numerator, denominator).sum(axis=1) / (4.0 * np.pi)


def independent_contact(first_m: np.ndarray, second_m: np.ndarray, surfaces: tuple[np.ndarray, np.ndarray]) -> Contact:
    depth_mm, touching = 0.0, 0
    for queries, points, surface in ((first_m, second_m, surfaces[1]), (second_m, first_m, surfaces[0])):
        inside = solid_angle_winding(queries, points[surface]) > 0.5
        closed = trimesh.Trimesh(points, surface, process=False)
        distance_m = trimesh.proximity.closest_point_naive(closed, queries)[1]
        depth_mm = max(depth_mm, 1000.0 * distance_m[inside].max(initial=0.0))
        touching += int((inside | (distance_m < 0.002)).sum())
    return Contact(depth_mm, touching / (len(first_m) + len(second_m)))


@pytest.mark.parametrize("seed", range(8))
def test_hands_measure_as_by_solid_angles_and_trimesh(seed: int) -> None:
    pair = pair_m(seed)
    measured, expected = measure_contact(*pair, *SURFACES), independent_contact(*pair, SURFACES)
    assert abs(measured.penetration_mm - expected.penetration_mm) < 2e-3  # trimesh merges near-degenerate regions
    assert abs(measured.contact_fraction - expected.contact_fraction) < 1e-3


def test_the_compared_hands_do_overlap() -> None:
    depths_mm = [measure_contact(*pair_m(seed), *SURFACES).penetration_mm for seed in range(8)]
    assert sum(depth > 1.0 for depth in depths_mm) >= 5


@given(overlap_mm=st.floats(0.1, 29.9))
def test_balls_measure_as_spheres(overlap_mm: float) -> None:
    """Vertices at +-x of both balls face one another, so the depth is their overlap, less the facets' sagitta."""
    measured = measure_contact(ball_m(0.0), ball_m(0.06 - overlap_mm / 1000.0), BALL_SURFACE, BALL_SURFACE)
    assert overlap_mm - 0.4 < measured.penetration_mm <= overlap_mm + 1e-9
    assert 0.0 < measured.contact_fraction < 0.5


@given(gap_mm=st.floats(0.001, 40.0))
def test_balls_apart_do_not_penetrate_and_touch_below_two_millimetres(gap_mm: float) -> None:
    measured = measure_contact(ball_m(0.0), ball_m(0.06 + gap_mm / 1000.0), BALL_SURFACE, BALL_SURFACE)
    assert measured.penetration_mm == 0.0
    assert (measured.contact_fraction > 0.0) == (gap_mm < 2.0)


def test_a_ball_inside_a_ball_is_as_deep_as_its_deepest_vertex() -> None:
    measured = measure_contact(ball_m(0.0), ball_m(0.0, 0.01), BALL_SURFACE, BALL_SURFACE)
    assert 19.0 < measured.penetration_mm < 20.0
    assert measured.contact_fraction == 0.5


def test_an_overlap_of_a_surface_with_itself_is_inside() -> None:
    twins = np.concatenate([ball_m(-0.01), ball_m(0.01)])
    faces = np.concatenate([BALL.faces, BALL.faces + len(BALL.vertices)])
    surface, bins = close(faces), bin_shadows(twins, faces)
    assert winding_number(np.zeros(3), twins, faces, np.ones(len(faces), bool), bins) == 2
    measured = measure_contact(twins, ball_m(0.0, 0.001), surface, BALL_SURFACE)
    assert 18.0 < measured.penetration_mm < 21.5


@settings(max_examples=300)
@given(st.tuples(*[st.integers(-3, 11)] * 3))
def test_rays_through_edges_and_corners_are_counted_once(place: tuple[int, int, int]) -> None:
    """A box cut at whole numbers, asked at quarter and whole numbers off its surface."""
    box = trimesh.creation.box(extents=(2, 2, 2)).subdivide()
    corners, faces = np.asarray(box.vertices), np.asarray(box.faces)
    point = np.array(place) / 4.0 - 1.0
    if np.abs(point).max() == 1.0:
        return
    expected = int(np.abs(point).max() < 1.0)
    used = np.ones(len(faces), bool)
    assert winding_number(point, corners, faces, used, bin_shadows(corners, faces)) == expected


@given(seed=st.integers(0, 2**32))
def test_contact_does_not_depend_on_the_frame_or_the_order(seed: int) -> None:
    right, left = pair_m(seed % 50)
    turn = random_rotation(np.random.default_rng(seed))
    turned = measure_contact(right @ turn.T + 0.3, left @ turn.T + 0.3, *SURFACES)
    swapped = measure_contact(left, right, SURFACES[1], SURFACES[0])
    mirrored = measure_contact(left * MIRROR, right * MIRROR, *SURFACES)
    still = measure_contact(right, left, *SURFACES)
    for other in (turned, swapped, mirrored):
        assert abs(other.penetration_mm - still.penetration_mm) < 1e-6
        assert abs(other.contact_fraction - still.contact_fraction) < 1e-3
    assert swapped == still


def test_the_open_wrist_is_closed_by_a_fan_without_new_vertices() -> None:
    for surface in SURFACES:
        assert len(surface) - len(RIGHT.faces) == 14
        assert surface.max() == len(RIGHT.v_template) - 1
    mesh = trimesh.Trimesh(RIGHT.v_template, SURFACES[0], process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert 2e-4 < mesh.volume < 6e-4


def test_every_hole_is_closed_and_a_closed_surface_is_left_alone() -> None:
    assert len(BALL_SURFACE) == len(BALL.faces)
    lids = np.abs(BALL.triangles_center[:, 2]) < 0.02
    tube = close(np.asarray(BALL.faces)[lids])
    assert trimesh.Trimesh(BALL.vertices, tube, process=False).is_watertight


def test_faces_that_are_wound_against_one_another_are_refused() -> None:
    faces = np.asarray(BALL.faces).copy()
    faces[5] = faces[5, ::-1]
    with pytest.raises(AssetError, match="same direction"):
        close(faces)


def along_x(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    right, left = posed_m(RIGHT, rng, np.zeros(3)), posed_m(LEFT, rng, np.zeros(3))
    return right - right.mean(axis=0), left - left.mean(axis=0)


@pytest.mark.parametrize("seed", range(12))
def test_a_slide_ends_at_first_contact(seed: int) -> None:
    moving, still = along_x(np.random.default_rng(seed))
    travel_m = travel_to_contact(moving, SURFACES[0], still, SURFACES[1])
    step = np.array([1.0, 0.0, 0.0])
    at_contact = measure_contact(moving + travel_m * step, still, *SURFACES)
    assert at_contact.penetration_mm < 1e-6
    assert at_contact.contact_fraction > 0.0
    for before_m in (0.0005, 0.003, 0.02, 0.1):
        assert measure_contact(moving + (travel_m - before_m) * step, still, *SURFACES).penetration_mm == 0.0
    pressed_mm = measure_contact(moving + (travel_m + 0.002) * step, still, *SURFACES).penetration_mm
    assert 0.0 < pressed_mm <= 2.0 + 1e-9


def test_a_slide_of_balls_ends_where_spheres_touch() -> None:
    travel_m = travel_to_contact(ball_m(-0.2), BALL.faces, ball_m(0.0), BALL.faces)
    assert abs(travel_m - (0.2 - 0.06)) < 1e-9
    aside = ball_m(0.0) + np.array([0.0, 0.0, 0.1])
    assert travel_to_contact(aside, BALL.faces, ball_m(0.0), BALL.faces) == np.inf


def fingers_m(angles: np.ndarray) -> np.ndarray:
    pose_rad = np.concatenate([np.zeros(3), pose_from_angles(RIGHT, angles)])
    return NativeHandModel(RIGHT).pose(pose_rad, np.zeros(10), np.zeros(3)).vertices_m


def test_an_open_hand_does_not_penetrate_itself() -> None:
    assert SelfPenetration(RIGHT).measure_mm(fingers_m(np.zeros((N_JOINTS, 3)))) == 0.0


def test_a_finger_bent_into_the_palm_is_found_and_named() -> None:
    angles = np.zeros((N_JOINTS, 3))
    angles[FINGERS["middle"] + np.arange(3), FLEXION] = np.deg2rad([88, 104, 70])
    depths_mm = SelfPenetration(RIGHT).by_finger_mm(fingers_m(angles))
    assert depths_mm["middle"] > 5.0
    assert all(depth == 0.0 for finger, depth in depths_mm.items() if finger != "middle")


def test_self_penetration_is_that_of_the_finger_in_the_rest_of_the_hand() -> None:
    """Checked by solid angles and trimesh on the hand without its index finger."""
    angles = np.zeros((N_JOINTS, 3))
    angles[FINGERS["index"] + np.arange(3), FLEXION] = np.deg2rad([88, 104, 70])
    vertices_m = fingers_m(angles)
    part = RIGHT.weights.argmax(axis=1)
    rest = RIGHT.faces[~np.isin(part, (1, 2, 3))[RIGHT.faces].any(axis=1)]
    outer = vertices_m[np.isin(part, (2, 3))]
    inside = outer[solid_angle_winding(outer, vertices_m[close(rest)]) > 0.5]
    skin = trimesh.Trimesh(vertices_m, rest, process=False)
    expected_mm = 1000.0 * trimesh.proximity.closest_point_naive(skin, inside)[1].max()
    assert abs(SelfPenetration(RIGHT).by_finger_mm(vertices_m)["index"] - expected_mm) < 2e-3
