import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage, sparse

from aih_builder.errors import AssetError
from aih_builder.hands.anatomy import FLEXION, pose_from_angles
from aih_builder.hands.arrays import HandArrays, load_hand_arrays, open_hand
from aih_builder.hands.conventions import FINGERS, N_BETAS, N_FACES, N_JOINTS, N_VERTICES, PARENTS
from aih_builder.hands.model import NativeHandModel
from aih_builder.paths import render_assets

FOLDER = render_assets() / "open_hand"
ATLAS_PX = 1024
LAST_JOINTS = {name: first + 2 for name, first in FINGERS.items()}


@pytest.fixture(scope="module")
def hand() -> HandArrays:
    return open_hand()


@pytest.fixture(scope="module")
def rest_joints_m(hand: HandArrays) -> np.ndarray:
    return hand.J_regressor @ hand.v_template


def directed_edges(faces: np.ndarray) -> list[tuple[int, int]]:
    return [(int(face[k]), int(face[(k + 1) % 3])) for face in faces for k in range(3)]


def test_the_counts_are_manos(hand: HandArrays) -> None:
    assert hand.v_template.shape == (N_VERTICES, 3)
    assert hand.faces.shape == hand.uv_faces.shape == (N_FACES, 3)
    assert hand.weights.shape == (N_VERTICES, N_JOINTS)
    assert hand.shapedirs.shape == (N_VERTICES, 3, N_BETAS)
    assert hand.posedirs.shape == (N_VERTICES, 3, 135)
    assert hand.J_regressor.shape == (N_JOINTS, N_VERTICES)
    assert hand.hands_mean.shape == (45,)
    assert hand.hands_components.shape == (45, 45)


def test_the_mesh_is_an_oriented_disk_with_a_wrist_of_16_edges(hand: HandArrays) -> None:
    edges = directed_edges(hand.faces)
    assert len(set(edges)) == len(edges)  # manifold, consistently wound
    following = {b: a for a, b in edges if (b, a) not in set(edges)}
    assert len(following) == 16
    loop = [min(following)]
    while following[loop[-1]] not in loop:
        loop.append(following[loop[-1]])
    assert len(loop) == 16  # and all 16 edges make one loop
    assert set(hand.faces.ravel()) == set(range(N_VERTICES))
    undirected = {tuple(sorted(edge)) for edge in edges}
    assert N_VERTICES - len(undirected) + N_FACES == 1


def test_faces_look_outward_on_both_hands(hand: HandArrays) -> None:
    for arrays in (hand, hand.mirrored()):
        corners = arrays.v_template[arrays.faces] - arrays.v_template.mean(axis=0)
        volume_m3 = np.einsum("fc,fc->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
        assert 2e-4 < volume_m3 < 5e-4


def test_weights_and_regressor_rows_are_convex(hand: HandArrays) -> None:
    for rows in (hand.weights, hand.J_regressor):
        assert rows.min() >= 0
        assert np.abs(rows.sum(axis=1) - 1).max() < 1e-6
    assert ((hand.weights > 0).sum(axis=1) <= 4).all()


def test_bones_have_the_lengths_of_a_hand(hand: HandArrays, rest_joints_m: np.ndarray) -> None:
    thumb = FINGERS["thumb"]
    metacarpal_mm = 1e3 * np.linalg.norm(rest_joints_m[thumb + 1] - rest_joints_m[thumb])
    assert 40 < metacarpal_mm < 48
    middle_tip_m = hand.v_template[hand.tip_vertices[2]]
    assert 165 < 1e3 * np.linalg.norm(middle_tip_m - rest_joints_m[0]) < 190


def test_the_loaders_tip_ids_are_the_ends_of_the_fingers(hand: HandArrays, rest_joints_m: np.ndarray) -> None:
    for name, ids in {
        "thumb": (745, 744),
        "index": (317, 320),
        "middle": (444, 445, 443),
        "ring": (556, 554),
        "little": (673, 671),
    }.items():
        joint = LAST_JOINTS[name]
        along = (hand.v_template - rest_joints_m[joint]) @ hand.dof_axes[joint, 2]
        own = hand.weights[:, joint] > 0.5
        assert (along[list(ids)] > along[own].max() - 0.004).all(), name
        assert own[list(ids)].all(), name


def test_the_loaders_palm_ids_lie_in_mid_palm_and_on_its_back(hand: HandArrays, rest_joints_m: np.ndarray) -> None:
    palm_m, back_m = hand.v_template[95], hand.v_template[22]
    middle_m = (rest_joints_m[0] + rest_joints_m[FINGERS["middle"]]) / 2
    assert palm_m[1] < middle_m[1] < back_m[1]
    assert np.abs((palm_m - middle_m)[[0, 2]]).max() < 0.02
    assert np.abs((back_m - middle_m)[[0, 2]]).max() < 0.02


def test_axes_are_right_handed_frames_along_the_bones(hand: HandArrays, rest_joints_m: np.ndarray) -> None:
    assert (hand.dof_axes[0] == 0).all()
    frames = hand.dof_axes[1:]
    assert np.abs(frames @ frames.transpose(0, 2, 1) - np.eye(3)).max() < 1e-9
    assert np.abs(np.linalg.det(frames) - 1).max() < 1e-9
    for j in range(2, N_JOINTS):
        if PARENTS[j]:
            bone_m = rest_joints_m[j] - rest_joints_m[PARENTS[j]]
            assert hand.dof_axes[PARENTS[j], 2] @ bone_m / np.linalg.norm(bone_m) > 0.99


def test_limits_hold_rest_and_hinges_only_bend(hand: HandArrays) -> None:
    low, high = hand.dof_limits_rad[..., 0], hand.dof_limits_rad[..., 1]
    assert (low <= 0).all()
    assert (high >= 0).all()
    assert (high - low)[1:, FLEXION].min() > np.radians(50)
    for name, first in FINGERS.items():
        hinges = [first + 2] if name == "thumb" else [first + 1, first + 2]
        assert (low[hinges, 1:] == 0).all()
        assert (high[hinges, 1:] == 0).all()


@pytest.mark.parametrize("finger", FINGERS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_bending_any_joint_brings_the_fingertip_closer_to_the_palm(hand: HandArrays, finger: str, side: str) -> None:
    arrays = hand if side == "right" else hand.mirrored()
    model = NativeHandModel(arrays)

    def gap_m(angles_rad: np.ndarray) -> float:
        pose_rad = np.concatenate([np.zeros(3), pose_from_angles(arrays, angles_rad)])
        vertices_m = model.pose(pose_rad, np.zeros(N_BETAS), np.zeros(3)).vertices_m
        tip = arrays.tip_vertices[list(FINGERS).index(finger)]
        return float(np.linalg.norm(vertices_m[tip] - vertices_m[95]))

    straight = np.zeros((N_JOINTS, 3))
    for joint in range(FINGERS[finger], FINGERS[finger] + 3):
        bent = straight.copy()
        bent[joint, FLEXION] = np.radians(30)
        assert gap_m(bent) < gap_m(straight) - 1e-3


def test_no_face_turns_over_within_the_reach_of_one_joint(hand: HandArrays) -> None:
    """Candy wrappers and spikes show as faces that collapse; only folds at a bent joint may shrink."""
    model = NativeHandModel(hand)

    def areas(angles_rad: np.ndarray) -> np.ndarray:
        pose_rad = np.concatenate([np.zeros(3), pose_from_angles(hand, angles_rad)])
        corners = model.pose(pose_rad, np.zeros(N_BETAS), np.zeros(3)).vertices_m[hand.faces]
        return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2

    rest = areas(np.zeros((N_JOINTS, 3)))
    for joint in range(1, N_JOINTS):
        angles = np.zeros((N_JOINTS, 3))
        angles[joint, FLEXION] = hand.dof_limits_rad[joint, FLEXION, 1]
        bent = areas(angles)
        assert 0.9 < bent.sum() / rest.sum() < 1.1
        assert (bent > 6 * rest).sum() == 0


def test_shape_directions_are_unit_steps_that_keep_the_hand_a_hand(hand: HandArrays) -> None:
    lengths = []
    for first in (-2.0, 2.0):
        betas = np.zeros(N_BETAS)
        betas[0] = first
        vertices_m = hand.v_template + hand.shapedirs @ betas
        joints_m = hand.J_regressor @ vertices_m
        lengths.append(np.linalg.norm(vertices_m[hand.tip_vertices[2]] - joints_m[0]))
    assert 0.14 < min(lengths) < 0.165
    assert 0.19 < max(lengths) < 0.22


def test_the_pose_prior_is_an_orthonormal_basis_about_a_curled_mean(hand: HandArrays) -> None:
    basis = hand.hands_components
    assert np.abs(basis @ basis.T - np.eye(45)).max() < 1e-5
    curl = np.einsum("jc,jc->j", hand.hands_mean.reshape(15, 3), hand.dof_axes[1:, FLEXION])
    assert (curl[:12] > np.radians(10)).all()


def texels(hand: HandArrays, chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How many faces, of all or of those in a mask, cover each texel centre, and the 3D point there."""
    faces, uv_faces = (f if chosen is None else f[chosen] for f in (hand.faces, hand.uv_faces))
    points = np.stack([hand.uv[:, 0] * ATLAS_PX - 0.5, (1 - hand.uv[:, 1]) * ATLAS_PX - 0.5], axis=1)
    count = np.zeros((ATLAS_PX, ATLAS_PX), np.int64)
    place_m = np.zeros((ATLAS_PX, ATLAS_PX, 3))
    for face, (a, b, c) in zip(faces, points[uv_faces], strict=True):
        low = np.floor(np.minimum(np.minimum(a, b), c)).astype(int)
        high = np.ceil(np.maximum(np.maximum(a, b), c)).astype(int)
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        v = ((x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])) / area
        w = ((y - a[1]) * (b[0] - a[0]) - (x - a[0]) * (b[1] - a[1])) / area
        inside = (v > 0) & (w > 0) & (v + w < 1)
        count[y[inside], x[inside]] += 1
        shares = np.stack([1 - v - w, v, w], axis=-1)[inside]
        place_m[y[inside], x[inside]] = shares @ hand.v_template[face]
    return count, place_m


def test_charts_do_not_overlap_and_keep_a_gutter(hand: HandArrays) -> None:
    assert hand.uv.min() > 0
    assert hand.uv.max() < 1
    count, _ = texels(hand)
    assert count.max() == 1
    assert (count > 0).mean() > 0.42
    ends = directed_edges(hand.uv_faces)
    graph = sparse.coo_matrix((np.ones(len(ends)), np.transpose(ends)), (len(hand.uv), len(hand.uv)))
    n_charts, chart_of = sparse.csgraph.connected_components(graph, directed=False)
    assert n_charts == 2
    first, second = (texels(hand, chart_of[hand.uv_faces[:, 0]] == chart)[0] > 0 for chart in range(2))
    assert min(first.mean(), second.mean()) > 0.15
    gap_px = np.asarray(ndimage.distance_transform_edt(~first))
    assert gap_px[second].min() >= 8


def test_texture_faces_are_not_mirrored_and_little_distorted(hand: HandArrays) -> None:
    flat, solid = hand.uv[hand.uv_faces], hand.v_template[hand.faces]
    ab, ac = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    uv_area = (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]) / 2
    area = np.linalg.norm(np.cross(solid[:, 1] - solid[:, 0], solid[:, 2] - solid[:, 0]), axis=1) / 2
    assert (uv_area > 0).all()
    density = uv_area / area / (uv_area.sum() / area.sum())
    assert np.percentile(density, 1) > 0.5
    assert density.max() < 2


def test_one_texture_vertex_belongs_to_one_vertex(hand: HandArrays) -> None:
    owner = np.full(len(hand.uv), -1)
    owner[hand.uv_faces.ravel()] = hand.faces.ravel()
    assert (owner[hand.uv_faces] == hand.faces).all()
    assert (owner >= 0).all()


@pytest.mark.parametrize(("finger", "shortest_mm"), [(name, 9 if name == "little" else 11) for name in FINGERS])
def test_every_finger_has_a_nail_on_its_back(
    hand: HandArrays, rest_joints_m: np.ndarray, finger: str, shortest_mm: float
) -> None:
    image = cv2.imread(str(FOLDER / "nails.png"))
    assert image is not None
    assert image.shape == (ATLAS_PX, ATLAS_PX, 3)
    count, place_m = texels(hand)
    joint = LAST_JOINTS[finger]
    local = (place_m - rest_joints_m[joint]) @ hand.dof_axes[joint].T  # across, up, along
    near = (count > 0) & (np.linalg.norm(local, axis=-1) < 0.035) & (np.abs(local[..., 0]) < 0.011)
    plate = near & (image[..., 2] > 127)
    assert (local[plate][:, 1] > -1e-3).all()
    across, along = (np.ptp(local[plate][:, axis]) * 1e3 for axis in (0, 2))
    assert shortest_mm - 0.7 < along < 14
    assert 6 < across < 12
    place = image[..., 0][plate] / 255  # blue runs from cuticle to free edge
    assert np.corrcoef(place, local[plate][:, 2])[0, 1] > 0.99
    assert (near & (image[..., 1] > 127)).sum() > 20


def test_provenance_names_source_licence_and_what_was_measured() -> None:
    text = (FOLDER / "provenance.json").read_text()
    provenance = json.loads(text)
    assert provenance["licence"] == "CC0-1.0"
    assert provenance["wheel"]["version"] == "0.6.2"
    assert all(len(digest) == 64 for digest in provenance["files_read_sha256"].values())
    assert provenance["counts"]["vertices"] == N_VERTICES
    assert provenance["measured"]["decimation_deviation_mean_mm"] < 0.2
    assert provenance["measured"]["posedirs_residual_with_mm"] < 0.15


def test_the_hand_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1.2e6


def test_mirroring_twice_gives_the_same_arrays(hand: HandArrays) -> None:
    assert hand.mirrored().side == "left"
    assert hand.mirrored().mirrored().digest() == hand.digest()
    assert hand.mirrored().digest() != hand.digest()


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


@pytest.mark.parametrize("spoil", [damaged, lambda data: data[:5000], lambda _: b"", lambda _: b"no zip file"])
def test_a_damaged_hand_file_is_refused(tmp_path: Path, spoil) -> None:
    path = tmp_path / "hand.npz"
    path.write_bytes(spoil((FOLDER / "hand.npz").read_bytes()))
    with pytest.raises(AssetError, match=r"hand\.npz: not a readable hand file"):
        load_hand_arrays(path)


def test_a_hand_file_without_an_array_is_refused(tmp_path: Path) -> None:
    with np.load(FOLDER / "hand.npz") as stored:
        arrays = {name: stored[name] for name in stored.files if name != "uv"}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    (tmp_path / "hand.npz").write_bytes(content.getvalue())
    with pytest.raises(AssetError, match="lacks uv"):
        load_hand_arrays(tmp_path / "hand.npz")
