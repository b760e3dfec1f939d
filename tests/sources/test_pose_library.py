from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError, Rejected
from aih_builder.hands.anatomy import angles_from_pose
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.identity import SPLITS
from aih_builder.sources.contact import SelfPenetration, close, measure_contact
from aih_builder.sources.library_poses import LibraryPoses
from aih_builder.sources.pools import split_of
from aih_builder.sources.pose_clusters import clusters_of, distances_mm, nearest_across
from aih_builder.sources.pose_distance import pair_joints_mm
from aih_builder.sources.pose_library import PoseLibrary, load_library, shipped_library
from aih_builder.sources.poses import PosePair

HANDS = hand_pair(open_hand(), "native")
SHIPPED = shipped_library()
COLUMNS = (
    "ids", "family", "split", "cluster", "present", "pose_rad", "betas", "trans_m", "penetration_mm",
    "contact_fraction", "self_penetration_mm",
)  # fmt: skip


def part(rows: slice | np.ndarray, **changes: Any) -> PoseLibrary:
    return replace(SHIPPED, **{name: getattr(SHIPPED, name)[rows] for name in COLUMNS} | changes)


def drawn(source: LibraryPoses, single: int | None = None, count: int = 20) -> list[PosePair]:
    pairs = []
    for k in range(count):
        with suppress(Rejected):
            pairs.append(source.draw(np.random.default_rng(k), "train", single))
    return pairs


def test_a_library_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    library = part(slice(0, 40))
    library.save(tmp_path / "a.npz")
    again = load_library(tmp_path / "a.npz")
    assert again.digest() == library.digest()
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(library, name))
    assert (again.hand, again.licence, again.provenance) == (library.hand, library.licence, library.provenance)
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("name", COLUMNS)
def test_the_digest_hangs_on_every_column(name: str) -> None:
    library = part(slice(0, 5))
    column = getattr(library, name).copy()
    column[2] = "other" if column.dtype.kind == "U" else (~column[2] if column.dtype == bool else column[2] + 1)
    assert replace(library, **{name: column}).digest() != library.digest()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pose_rad": np.zeros((5, 2, 45), np.float32)}, r"column pose_rad is float32 \(5, 2, 45\)"),
        ({"betas": np.full((5, 2, 10), np.nan, np.float32)}, "betas holds NaN"),
        ({"ids": np.array(["a"] * 5)}, "same id"),
        ({"split": np.array(["dev"] * 5)}, "unknown split 'dev'"),
    ],
)
def test_a_library_that_is_not_one_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(AssetError, match=message):
        part(slice(0, 5), **changes).save(path)
    part(slice(0, 5)).save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, **(arrays | changes))
    with pytest.raises(AssetError, match=message):
        load_library(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(AssetError, match="not a readable pose library"):
        load_library(path)


def test_near_equal_poses_share_a_cluster_and_so_a_split() -> None:
    splits = SHIPPED.splits()
    of_cluster: dict[str, set[str]] = {}
    for cluster, split in zip(SHIPPED.cluster.tolist(), splits, strict=True):
        of_cluster.setdefault(cluster, set()).add(split)
    assert all(len(found) == 1 for found in of_cluster.values())
    assert all(split_of(cluster) in found for cluster, found in of_cluster.items())
    assert set(SHIPPED.cluster) <= set(SHIPPED.ids)


def test_poses_of_test_are_farther_from_train_than_the_radius_of_a_cluster() -> None:
    joints_mm = pair_joints_mm(HANDS, SHIPPED.pose_rad, SHIPPED.betas, SHIPPED.trans_m)
    radius_mm = SHIPPED.provenance["cluster_radius_mm"]
    splits = np.array(SHIPPED.splits())
    for one, two in (("test", "train"), ("val", "train"), ("test", "val")):
        nearest = nearest_across(joints_mm, splits == one, splits == two)
        assert nearest is not None
        assert nearest.least_mm >= radius_mm
    np.testing.assert_array_equal(SHIPPED.ids[clusters_of(joints_mm, radius_mm)], SHIPPED.cluster)


def test_clusters_are_chains_of_steps_below_the_radius() -> None:
    line = np.array([0.0, 0.9, 1.8, 5.0, 5.5, 9.0])
    descriptor = np.zeros((6, 6))
    descriptor[:, 0] = line * np.sqrt(2)  # two joints: the root mean square is over both
    assert clusters_of(descriptor, 1.0).tolist() == [0, 0, 0, 3, 3, 5]
    np.testing.assert_allclose(distances_mm(descriptor, descriptor), np.abs(line[:, None] - line[None]), atol=1e-12)
    assert nearest_across(descriptor, line < 1, line > 4) == pytest.approx((4.1, 4.55))
    assert nearest_across(descriptor, line < 1, line > 100) is None


def test_a_rigid_motion_of_the_pair_leaves_its_joints_as_they_are_seen_from_the_right_wrist() -> None:
    pose_rad, betas, trans_m = (c[:6].astype(np.float64) for c in (SHIPPED.pose_rad, SHIPPED.betas, SHIPPED.trans_m))
    before = pair_joints_mm(HANDS, pose_rad, betas, trans_m)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    for row in range(6):
        for i, hand in enumerate(HANDS):
            pose_rad[row, i], trans_m[row, i] = hand.moved(
                pose_rad[row, i], betas[row, i], trans_m[row, i], turn, np.array([0.3, -1.0, 2.0])
            )
    np.testing.assert_allclose(pair_joints_mm(HANDS, pose_rad, betas, trans_m), before, atol=1e-9)
    assert np.abs(before[:, :3]).max() == 0  # the right wrist


def test_draws_are_entries_of_the_split_as_they_are_stored() -> None:
    source, rows = LibraryPoses(SHIPPED, HANDS), {name: k for k, name in enumerate(SHIPPED.ids.tolist())}
    splits = SHIPPED.splits()
    for split in SPLITS:
        for k in range(20):
            pair = source.draw(np.random.default_rng(k), split, None)
            row = rows[pair.source_id]
            assert splits[row] == split
            np.testing.assert_array_equal(pair.pose_rad, SHIPPED.pose_rad[row])
            assert pair.penetration_mm == SHIPPED.penetration_mm[row]
            assert pair.family == SHIPPED.family[row]
            assert (pair.interaction_valid, pair.present.all(), pair.licence) == (True, True, "CC0-1.0")


def test_entries_are_drawn_alike_often() -> None:
    source = LibraryPoses(part(np.arange(0, 2000, 200)), HANDS)
    counts = Counter(pair.source_id for pair in drawn(source, count=1200))
    expected = 1200 / len(counts)
    assert len(counts) > 5
    assert max(counts.values()) < 1.4 * expected
    assert min(counts.values()) > 0.6 * expected


@pytest.mark.parametrize("side", [0, 1])
def test_a_single_hand_is_one_of_a_pair_without_the_other(side: int) -> None:
    for pair in drawn(LibraryPoses(SHIPPED, HANDS), single=side):
        assert pair.present.tolist() == [side == 0, side == 1]
        assert not pair.pose_rad[1 - side].any()
        assert pair.pose_rad[side].any()
        assert (pair.interaction_valid, pair.penetration_mm, pair.contact_fraction) == (False, 0.0, 0.0)
        assert pair.family.startswith("single/")
        assert len(pair.family.encode()) <= 48


def test_moved_fingers_stay_in_limits_and_are_measured_again() -> None:
    library, surfaces = part(slice(0, 2000, 37)), [close(hand.arrays.faces) for hand in HANDS]
    within = [SelfPenetration(hand.arrays) for hand in HANDS]
    pairs = drawn(LibraryPoses(library, HANDS, jitter_deg=2.0), count=60)
    assert len(pairs) > 20
    rows = {name: k for k, name in enumerate(library.ids.tolist())}
    for pair in pairs:
        row = rows[pair.source_id]
        assert (pair.pose_rad[:, 3:] != library.pose_rad[row][:, 3:]).any()
        np.testing.assert_array_equal(pair.pose_rad[:, :3], library.pose_rad[row][:, :3])
        meshes = [
            hand.pose(pair.pose_rad[i], pair.betas[i], pair.trans_m[i]).vertices_m for i, hand in enumerate(HANDS)
        ]
        contact = measure_contact(meshes[0], meshes[1], surfaces[0], surfaces[1])
        assert (pair.penetration_mm, pair.contact_fraction) == contact
        assert pair.penetration_mm <= 3.0
        for i, hand in enumerate(HANDS):
            assert within[i].measure_mm(meshes[i]) <= 3.0
            angles, limits = angles_from_pose(hand.arrays, pair.pose_rad[i, 3:]), hand.arrays.dof_limits_rad
            assert (angles >= limits[..., 0] - 1e-4).all()
            assert (angles <= limits[..., 1] + 1e-4).all()


def test_moved_fingers_that_run_into_the_other_hand_are_refused() -> None:
    touching = part(np.flatnonzero(SHIPPED.penetration_mm > 2.0)[:40])
    pairs = drawn(LibraryPoses(touching, HANDS, jitter_deg=8.0), count=40)
    assert len(pairs) < 30


def test_poses_of_another_hand_are_refused_or_marked() -> None:
    foreign = replace(SHIPPED, hand="mano")
    with pytest.raises(ConfigError, match="belong to the hand model mano"):
        LibraryPoses(foreign, HANDS)
    for pair in drawn(LibraryPoses(foreign, HANDS, other_hand="mark")):
        assert pair.source_id.endswith("+other-hand")


def test_poses_on_another_hand_are_measured_on_it() -> None:
    arrays = open_hand()
    larger = hand_pair(replace(arrays, v_template=1.1 * arrays.v_template), "native")
    surfaces = [close(hand.arrays.faces) for hand in larger]
    pairs = drawn(LibraryPoses(SHIPPED, larger, other_hand="mark"))
    for pair in pairs:
        right, left = (
            h.pose(pair.pose_rad[i], pair.betas[i], pair.trans_m[i]).vertices_m for i, h in enumerate(larger)
        )
        assert (pair.penetration_mm, pair.contact_fraction) == measure_contact(right, left, surfaces[0], surfaces[1])
    assert max(pair.penetration_mm for pair in pairs) > 3.0


def test_a_split_without_poses_is_refused() -> None:
    only_train = part(slice(0, 10), split=np.full(10, "train"), present=np.tile([True, False], (10, 1)))
    source = LibraryPoses(only_train, HANDS)
    source.require(["train"], pairs=False, singles=False)
    with pytest.raises(ConfigError, match="no pair of hands falls into split 'train'"):
        source.require(["train"], pairs=True, singles=False)
    with pytest.raises(ConfigError, match="no left hand falls into split 'train'"):
        source.require(["train"], pairs=False, singles=True)
    with pytest.raises(ConfigError, match="split 'test'"):
        source.draw(np.random.default_rng(0), "test", None)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a library", np.arange(4).tobytes()])
def test_a_file_that_is_no_library_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(AssetError, match="not a readable pose library"):
        load_library(path)
    with path.open("wb") as file:
        np.save(file, np.arange(4))  # a bare array is no archive
    with pytest.raises(AssetError, match="not a readable pose library"):
        load_library(path)
