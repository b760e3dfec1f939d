"""The solver and its parts. Blocks are solved for real: some 10 s each."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from aih_builder.errors import AssetError, ConfigError, GenerationError
from aih_builder.hands.anatomy import pose_from_angles
from aih_builder.hands.arrays import ARRAYS, open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.contact import close, measure_contact
from aih_builder.sources.handshapes import HAND_SHAPES, HandShapeSampler
from aih_builder.sources.interaction import build as building
from aih_builder.sources.interaction.build import PoseOrder, build_library
from aih_builder.sources.interaction.families import FAMILIES, SHAPES
from aih_builder.sources.interaction.nearest import nearest_between, nearest_of, vertex_normals
from aih_builder.sources.interaction.pair import PairReader
from aih_builder.sources.interaction.regions import regions_of
from aih_builder.sources.interaction.solve import ROWS, Block, Solver
from aih_builder.sources.pose_library import hands_digest, load_library, shipped_library

HANDS = hand_pair(open_hand(), "native")
LIBRARY = shipped_library()


def meshes_m(row: int) -> list[np.ndarray]:
    return [
        hand.pose(LIBRARY.pose_rad[row, i], LIBRARY.betas[row, i], LIBRARY.trans_m[row, i]).vertices_m
        for i, hand in enumerate(HANDS)
    ]


def test_regions_are_the_same_of_both_hands_and_lie_where_they_say() -> None:
    arrays = HANDS[0].arrays
    right, left = regions_of(arrays), regions_of(HANDS[1].arrays)
    assert right.keys() == left.keys()
    for name, vertices in right.items():
        assert len(vertices) > 8, name
        np.testing.assert_array_equal(vertices, left[name])
    for k, finger in enumerate(FINGERS):
        away_m = arrays.v_template[right[f"{finger}-tip"]] - arrays.v_template[arrays.tip_vertices[k]]
        assert np.linalg.norm(away_m, axis=1).min() < 0.006
        assert set(right[f"{finger}-tip"]) <= set(right[f"{finger}-shaft"]) <= set(right[finger])
        assert not set(right[f"{finger}-pad"]) & set(right[f"{finger}-dorsal"])
    assert not set(right["palmar"]) & set(right["dorsal"])
    assert arrays.v_template[right["palm"], 1].mean() < arrays.v_template[right["back"], 1].mean() - 0.01


def test_differentiable_skinning_gives_the_vertices_of_the_hand_model() -> None:
    torch = pytest.importorskip("torch")
    from aih_builder.sources.interaction.torch_skin import Motions, TorchSkin, rotations_of

    rng = np.random.default_rng(3)
    for hand in HANDS:
        sampler = HandShapeSampler(hand.arrays)
        angles = np.stack([sampler.draw(rng, name) for name in HAND_SHAPES])
        betas, turns = rng.normal(size=(len(angles), 10)), rng.normal(size=(len(angles), 3))
        shifts = rng.normal(size=(len(angles), 3))
        tensors = [torch.tensor(values, dtype=torch.float32) for values in (angles, turns, shifts)]
        made = TorchSkin(hand.arrays, betas).vertices_m(tensors[0], Motions(rotations_of(tensors[1]), tensors[2]))
        for k, row in enumerate(angles):
            still = np.concatenate([np.zeros(3), pose_from_angles(hand.arrays, row)])
            matrix = rotations_of(tensors[1][k : k + 1])[0].numpy().astype(np.float64)
            pose_rad, trans_m = hand.moved(still, betas[k], np.zeros(3), matrix, shifts[k])
            expected = hand.pose(pose_rad, betas[k], trans_m).vertices_m
            np.testing.assert_allclose(made[k].numpy(), expected, atol=2e-6)


def test_nearest_vertices_are_those_of_a_plain_search() -> None:
    rows = [3, 700, 1900]
    one, two = (np.stack(side).astype(np.float32) for side in zip(*map(meshes_m, rows), strict=True))
    of_one, of_two = nearest_between(one, two, np.float32(0.02))
    for k in range(len(rows)):
        distances = np.linalg.norm(one[k][:, None].astype(np.float64) - two[k][None], axis=2)
        for found, table in ((of_one[k], distances), (of_two[k], distances.T)):
            near = table.min(axis=1) < 0.02
            np.testing.assert_array_equal(found >= 0, near)
            np.testing.assert_allclose(table[near, found[near]], table.min(axis=1)[near], atol=1e-7)
    queries, targets = np.arange(0, 778, 5), np.arange(1, 778, 7)
    found, distance_m = nearest_of(one, two, queries, targets)
    table = np.linalg.norm(one[0][queries][:, None].astype(np.float64) - two[0][targets][None], axis=2)
    np.testing.assert_allclose(distance_m[0], table.min(axis=1), atol=1e-6)
    assert set(found.ravel()) <= set(targets)
    mesh = trimesh.Trimesh(one[0], HANDS[0].arrays.faces, process=False)
    weighted = mesh.faces_sparse.dot(mesh.face_normals * mesh.area_faces[:, None])
    weighted /= np.linalg.norm(weighted, axis=1, keepdims=True)
    np.testing.assert_allclose(vertex_normals(one, HANDS[0].arrays.faces)[0], weighted, atol=1e-4)


def test_gaps_and_shares_are_those_that_trimesh_measures() -> None:
    reader = PairReader(HANDS)
    for row in (10, 200, 900, 1500):
        pair = reader.read(LIBRARY.pose_rad[row], LIBRARY.betas[row], LIBRARY.trans_m[row])
        for region, other in (("palm", "palmar"), ("index-tip", "all"), ("all", "dorsal")):
            patch = trimesh.Trimesh(pair.vertices_m[1], reader.patch(1, other), process=False)
            queries = pair.vertices_m[0][reader.regions[0][region]]
            distance_mm = 1000.0 * trimesh.proximity.closest_point(patch, queries)[1]
            assert pair.share(0, region, other, 5.0) == pytest.approx((distance_mm < 5.0).mean())
            found = pair.distances_mm(0, region, other, 60.0)
            # trimesh is off by up to 1e-3 mm at slivers.
            np.testing.assert_allclose(found, np.minimum(distance_mm, 60.0), atol=2e-3)


def test_families_start_from_known_shapes_and_pull_at_known_regions() -> None:
    regions = regions_of(HANDS[0].arrays)
    assert sorted(family.number for family in FAMILIES.values()) == list(range(1, 13))
    for family in FAMILIES.values():
        for variant in family.variants.values():
            assert {*variant.arrangement.mover.shapes, *variant.arrangement.still.shapes} <= SHAPES.keys()
            assert all(region in regions for pull in variant.pulls for _, region in (pull.one, pull.two))


@pytest.fixture(scope="module")
def block() -> Block:
    pytest.importorskip("torch")
    return Solver(HANDS).solve("counting", 0, 5)


def test_every_candidate_of_a_block_is_accepted_or_refused_for_a_reason(block: Block) -> None:
    assert len(block.solved) + sum(block.refused.values()) == ROWS
    assert len(block.solved) >= 0.5 * ROWS
    rows = [int(solved.id.split("-")[-1]) for solved in block.solved]
    assert rows == sorted(set(rows))


def test_a_library_is_the_same_for_two_processes_and_after_an_interruption(tmp_path: Path, block: Block) -> None:
    """One block was solved before, in this process; the others are made by two workers."""
    path, whole = tmp_path / "a.npz", tmp_path / "b.npz"
    order = PoseOrder(12, seed=5, families=("counting",))
    made = build_library(order, whole, jobs=2)
    assert made.ids[:6].tolist() == [solved.id for solved in block.solved[:6]]
    assert [name[:14] for name in made.ids[6:]] == ["counting-00001"] * 6  # the left hand moves in odd blocks
    for k, solved in enumerate(block.solved[:6]):
        np.testing.assert_array_equal(made.pose_rad[k], solved.pose_rad)
        np.testing.assert_array_equal(made.trans_m[k], solved.trans_m)
    assert load_library(whole).digest() == made.digest()
    assert [p.name for p in tmp_path.iterdir()] == ["b.npz"]

    parts = path.with_name("a.npz.parts")
    parts.mkdir()
    building.write_json(parts / "head.json", building._head(order, HANDS))
    building.write_json(parts / "counting.00000.json", building._content_of(block))
    (parts / "counting.00001.json").write_text('{"solved": [')  # cut off
    again = build_library(order, path, jobs=1)
    assert again.digest() == made.digest()
    assert path.read_bytes() == whole.read_bytes()
    assert not parts.exists()


def test_a_second_build_of_one_library_is_told_of_the_first(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    order, parts = PoseOrder(12, seed=5, families=("counting",)), tmp_path / "a.npz.parts"
    with (
        building._own_parts(parts, building._head(order, HANDS)),
        pytest.raises(ConfigError, match="another build of this library is running"),
    ):
        build_library(order, tmp_path / "a.npz")
    assert not parts.exists()


def test_a_folder_that_a_killed_build_left_empty_is_taken_up(tmp_path: Path) -> None:
    parts, head = tmp_path / "a.npz.parts", building._head(PoseOrder(12, seed=5), HANDS)
    parts.mkdir()
    with building._own_parts(parts, head):
        assert json.loads((parts / "head.json").read_text()) == head
    parts.mkdir()
    (parts / "counting.00000.json").write_text("{}")
    with pytest.raises(ConfigError, match="Delete it"), building._own_parts(parts, head):
        pass
    assert (parts / "counting.00000.json").is_file()


def test_parts_of_another_library_are_left_alone(tmp_path: Path) -> None:
    parts = tmp_path / "a.npz.parts"
    parts.mkdir()
    (parts / "head.json").write_text(json.dumps(building._head(PoseOrder(24, seed=6), HANDS)))
    with pytest.raises(ConfigError, match="holds parts of another library"):
        build_library(PoseOrder(24, seed=5), tmp_path / "a.npz")
    assert (parts / "head.json").is_file()


@pytest.mark.parametrize(
    ("count", "families", "message"),
    [
        (24, ("counting", "clapp"), "unknown family 'clapp'"),
        (24, (), "at least one"),
        (24, ("clap", "clap"), "named once"),
        (1, ("clap", "clasp"), "expected at least 2"),
    ],
)
def test_an_order_that_cannot_be_is_refused(count: int, families: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PoseOrder(count, families=families)


def test_a_family_that_nothing_solves_ends_the_build() -> None:
    blocks = {k: Block([], building.Counter({"predicate": ROWS})) for k in range(6)}
    stream = building._Stream("clap", 1)
    with pytest.raises(GenerationError, match=r"family clap: 0 of 384 candidates .*'predicate': 384"):
        building._wanted({stream: blocks}, {stream: 5})


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(AssetError, match=r"pip install 'aih-builder\[hands\]'"):
        Solver(HANDS)


def test_another_hand_with_another_order_of_vertices_is_solved_on_its_own(tmp_path: Path) -> None:
    """A smaller hand whose vertices stand in another order: regions, faces and measures must follow the model."""
    pytest.importorskip("torch")
    given = HANDS[0].arrays
    order = np.random.default_rng(2).permutation(len(given.v_template))
    place = np.argsort(order)
    content = {name: getattr(given, name) for name in ARRAYS}
    content |= {name: 0.9 * content[name][order] for name in ("v_template", "shapedirs", "posedirs")}
    content |= {"weights": given.weights[order], "J_regressor": given.J_regressor[:, order]}
    content |= {"faces": place[given.faces], "tip_vertices": place[given.tip_vertices]}
    np.savez(tmp_path / "small.npz", **content)
    request = PoseOrder(8, seed=5, hand=tmp_path / "small.npz", families=("clasp",), licence="user")
    library = build_library(request, tmp_path / "poses.npz")
    small = hand_pair(request.arrays(), "native")
    assert (library.hand, library.licence) == (hands_digest(small), "user")
    assert library.hand != LIBRARY.hand
    surfaces = [close(hand.arrays.faces) for hand in small]
    reader = PairReader(small)
    for row in range(8):
        pair = reader.read(library.pose_rad[row], library.betas[row], library.trans_m[row])
        assert FAMILIES["clasp"].holds(pair, 0, "")
        found = measure_contact(pair.vertices_m[0], pair.vertices_m[1], surfaces[0], surfaces[1])
        assert found.penetration_mm == pytest.approx(library.penetration_mm[row], abs=1e-4)
        assert found.penetration_mm <= 3.0
