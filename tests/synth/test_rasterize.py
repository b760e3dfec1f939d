import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aih_builder.synth.renderers.rasterize import project_to_grid, rasterize, silhouette


def covered(grid_xy: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    near, triangle = np.empty((size, size), np.float32), np.empty((size, size), np.int32)
    rasterize(np.asarray(grid_xy, float), np.ones(len(grid_xy)), faces, near, triangle)
    assert ((triangle >= 0) == (near > 0)).all()
    return triangle >= 0


@settings(max_examples=200)
@given(
    corners=st.lists(st.tuples(st.integers(-2000, 10000), st.integers(-2000, 10000)), min_size=3, max_size=3),
    weights=st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)),
)
def test_faces_that_share_edges_neither_overlap_nor_leave_a_gap(corners, weights) -> None:
    """Split at an inner point, a triangle covers each sample exactly as often as it does whole."""
    a, b, c = np.array(corners)
    inner = (weights[0] * a + weights[1] * b + weights[2] * c) // sum(weights)
    points = np.array([a, b, c, inner])
    parts = ([0, 1, 3], [1, 2, 3], [2, 0, 3])
    turns = [np.sign(doubled_area(points[p])) for p in ([0, 1, 2], *parts)]
    assume(turns[0] != 0 and all(turn == turns[0] for turn in turns[1:]))
    order = slice(None) if turns[0] < 0 else slice(None, None, -1)  # towards the camera: clockwise, y down
    whole = covered(points / 256, np.array([[0, 1, 2][order]]), 32)
    count = sum(covered(points / 256, np.array([part[order]]), 32).astype(int) for part in parts)
    assert np.array_equal(count, whole)


def doubled_area(points: np.ndarray) -> int:
    (ax, ay), (bx, by), (cx, cy) = points.tolist()
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


def test_coverage_of_a_disc_is_unbiased() -> None:
    """Half of the pixels on an edge count: the area of a disc of 5 px is right to 1 %, whatever its position."""
    angles = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    K_px = np.array([[100.0, 0, 20], [0, 100, 20], [0, 0, 1]])
    faces = np.array([[256, i, (i + 1) % 256] for i in range(256)])
    faces = np.concatenate([faces, faces[:, ::-1]])
    rng, areas = np.random.default_rng(0), []
    for _ in range(100):
        centre = rng.uniform(-0.005, 0.005, 2)
        ring = centre + 0.05 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points = np.concatenate([np.vstack([ring, centre]), np.ones((257, 1))], axis=1)
        areas.append(silhouette(points, faces, K_px, 41).sum())
    assert np.mean(areas) == pytest.approx(np.pi * 25, rel=0.01)


def test_the_nearer_face_wins_whatever_the_order() -> None:
    grid_xy = np.array([[0, 0], [9, 0], [0, 9], [0, 0], [9, 0], [0, 9]], float)
    inverse_z = np.array([1, 1, 1, 2, 2, 2], float)
    for faces in (np.array([[0, 2, 1], [3, 5, 4]]), np.array([[3, 5, 4], [0, 2, 1]])):
        near, triangle = np.empty((10, 10), np.float32), np.empty((10, 10), np.int32)
        rasterize(grid_xy, inverse_z, faces, near, triangle)
        front = int(np.flatnonzero((faces == 3).any(axis=1))[0])
        assert set(np.unique(triangle)) == {-1, front}


def test_faces_that_turn_away_are_not_drawn() -> None:
    grid_xy = np.array([[0, 0], [9, 0], [0, 9]], float)
    assert covered(grid_xy, np.array([[0, 2, 1]]), 10).any()
    assert not covered(grid_xy, np.array([[0, 1, 2]]), 10).any()


def test_what_lies_outside_the_frame_is_clipped() -> None:
    grid_xy = np.array([[-1e5, -1e5], [1e5, -1e5], [0, 1e5]], float)
    assert covered(grid_xy, np.array([[0, 2, 1]]), 10).all()
    assert not covered(grid_xy + np.array([0, 3e5]), np.array([[0, 2, 1]]), 10).any()


def test_the_centre_of_a_pixel_lies_at_whole_coordinates() -> None:
    """A point that projects to (3, 2) sits on the middle sample of pixel column 3, row 2."""
    K_px = np.array([[50.0, 0, 3], [0, 50, 2], [0, 0, 1]])
    grid_xy, inverse_z = project_to_grid(np.array([[0.0, 0.0, 0.5]]), K_px, 3)
    assert grid_xy.tolist() == [[10.0, 7.0]]
    assert inverse_z.tolist() == [2.0]
