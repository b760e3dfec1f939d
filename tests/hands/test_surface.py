import numpy as np
import pytest
import trimesh

from aih_builder import AssetError
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.model import NativeHandModel
from aih_builder.hands.surface import HandSurface, boundary_loop, build_surface


@pytest.fixture(scope="module")
def model() -> NativeHandModel:
    return NativeHandModel(open_hand())


@pytest.fixture(scope="module")
def surface(model: NativeHandModel) -> HandSurface:
    return build_surface(model.arrays)


def posed(model: NativeHandModel, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = np.concatenate([rng.normal(size=3), rng.normal(size=45) * 0.3])
    return model.pose(pose, rng.normal(size=10), rng.normal(size=3)).vertices_m


def test_the_surface_passes_exactly_through_the_models_vertices(model, surface) -> None:
    vertices_m = posed(model, 0)
    smooth = {int(v): r for r, v in reversed(list(enumerate(surface.of_render)))}
    through = surface.pose(vertices_m).positions_m[[smooth[v] for v in range(len(vertices_m))]]
    assert np.array_equal(through, vertices_m)


def test_the_surface_is_closed_and_faces_outward(model, surface) -> None:
    vertices_m = posed(model, 1)
    positions_m = surface.pose(vertices_m).positions_m
    mesh = trimesh.Trimesh(positions_m, surface.faces, process=True)
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 1e-4


def test_subdivision_stays_near_the_base_mesh(model, surface) -> None:
    vertices_m = posed(model, 2)
    base = trimesh.Trimesh(vertices_m, model.arrays.faces, process=False)
    open_part = surface.pose(vertices_m).positions_m[: surface.cap_from]
    distance_m = trimesh.proximity.closest_point(base, open_part)[1]
    assert distance_m.mean() < 2e-4
    assert distance_m.max() < 2.5e-3


def test_normals_and_tangents_are_unit_and_normals_point_out(model, surface) -> None:
    pose = surface.pose(posed(model, 3))
    assert np.allclose(np.linalg.norm(pose.normals, axis=1), 1)
    assert np.allclose(np.linalg.norm(pose.tangents[: surface.cap_from, :3], axis=1), 1)
    assert not pose.tangents[surface.cap_from :, :3].any()  # a plain cut has no relief
    assert set(np.unique(pose.tangents[:, 3])) <= {-1.0, 1.0}
    corners = pose.positions_m[surface.faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    agreement = np.einsum("fc,fc->f", flat, pose.normals[surface.faces].sum(axis=1))
    assert (agreement > 0).mean() > 0.99  # sharp folds apart


def test_the_cap_is_one_plain_disc(surface) -> None:
    cap = surface.uv[surface.cap_from :]
    assert (cap == cap[0]).all()
    assert len(surface.faces) == surface.n_open_faces + len(cap) - 2


def test_left_surface_is_the_mirrored_right(model, surface) -> None:
    left = NativeHandModel(model.arrays.mirrored())
    left_surface = build_surface(left.arrays)
    vertices_m = posed(model, 4)
    mirrored = left_surface.pose(vertices_m * [-1, 1, 1])
    mine, theirs = surface.pose(vertices_m), mirrored
    assert sorted_rows(theirs.positions_m * [-1, 1, 1]) == pytest.approx(sorted_rows(mine.positions_m), abs=1e-9)


def sorted_rows(points: np.ndarray) -> np.ndarray:
    rounded = np.round(points, 9)
    return rounded[np.lexsort(rounded.T)]


def test_a_mesh_without_one_open_wrist_is_refused() -> None:
    closed = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    with pytest.raises(AssetError, match="0 border edges do not form one loop"):
        boundary_loop(closed)
