from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import trimesh
from scipy.spatial import KDTree

from aih_builder.errors import Rejected
from aih_builder.hands.anatomy import angles_from_pose, within_limits
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.model import HandModel, NativeHandModel
from aih_builder.identity import SPLITS, Split
from aih_builder.rng import Purpose, sample_rng
from aih_builder.sources.arrangements import ARRANGEMENTS
from aih_builder.sources.backends import POSE_SOURCES
from aih_builder.sources.contact import SelfPenetration, close, measure_contact
from aih_builder.sources.handshapes import HAND_SHAPES
from aih_builder.sources.pools import split_of
from aih_builder.sources.poses import AnatomicalPoses, PosePair, PoseSource
from aih_builder.sources.shapes import ShapePool

_RIGHT = open_hand()
HANDS: tuple[HandModel, HandModel] = (NativeHandModel(_RIGHT), NativeHandModel(_RIGHT.mirrored()))
SURFACES = (close(HANDS[0].arrays.faces), close(HANDS[1].arrays.faces))
DRAWS = 260


def pool() -> ShapePool:
    return ShapePool(64, 2.0, 11, splits=SPLITS)


def pose_rng(index: int) -> np.random.Generator:
    return sample_rng(3, index, 1, Purpose.POSE)


def accepted(source: PoseSource, indices: range, single: int | None = None, split: Split = "train") -> list[PosePair]:
    pairs = []
    for index in indices:
        try:
            pairs.append(source.draw(pose_rng(index), split, single))
        except Rejected:
            continue
    return pairs


def vertices_m(pair: PosePair) -> tuple[np.ndarray, np.ndarray]:
    right, left = (HANDS[k].pose(pair.pose_rad[k], pair.betas[k], pair.trans_m[k]) for k in (0, 1))
    return right.vertices_m, left.vertices_m


class Drawn(NamedTuple):
    pairs: list[PosePair]
    vertices_m: list[tuple[np.ndarray, np.ndarray]]
    singles: list[PosePair]


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    source = AnatomicalPoses(HANDS, pool())
    pairs = accepted(source, range(DRAWS))
    singles = accepted(source, range(60), single=0) + accepted(source, range(60, 120), single=1)
    return Drawn(pairs, [vertices_m(pair) for pair in pairs], singles)


def test_joint_limits_hold_in_every_draw(drawn: Drawn) -> None:
    for pair in drawn.pairs + drawn.singles:
        for side in np.flatnonzero(pair.present):
            angles = angles_from_pose(HANDS[side].arrays, pair.pose_rad[side, 3:])
            assert within_limits(HANDS[side].arrays, angles)


def test_hands_are_never_deeper_in_one_another_than_ten_millimetres(drawn: Drawn) -> None:
    depths_mm = [measure_contact(*posed, *SURFACES).penetration_mm for posed in drawn.vertices_m]
    assert len(depths_mm) >= 200
    assert max(depths_mm) <= 10.0
    assert np.quantile(depths_mm, 0.95) <= 3.0  # a slide to contact presses by no more


def test_stored_interaction_is_that_of_the_posed_hands(drawn: Drawn) -> None:
    for pair, posed in zip(drawn.pairs, drawn.vertices_m, strict=True):
        measured = measure_contact(*posed, *SURFACES)
        assert abs(pair.penetration_mm - measured.penetration_mm) < 1e-4  # float32 weights sum to 1 within 1e-7
        assert abs(pair.contact_fraction - measured.contact_fraction) < 2e-3
        assert pair.interaction_valid


def test_penetration_agrees_with_trimesh_on_the_deepest_draws(drawn: Drawn) -> None:
    deepest = sorted(range(len(drawn.pairs)), key=lambda k: -drawn.pairs[k].penetration_mm)[:3]
    for k in deepest:
        expected_mm = 0.0
        for one, other in ((0, 1), (1, 0)):
            body = trimesh.Trimesh(drawn.vertices_m[k][other], SURFACES[other], process=False)
            # A vertex that is inside lies against the normal of the nearest face.
            queries = drawn.vertices_m[k][one]
            near = KDTree(body.vertices).query(queries)[0] < 0.015
            points, distance_m, face = trimesh.proximity.closest_point_naive(body, queries[near])
            inward = ((queries[near] - points) * body.face_normals[face]).sum(axis=1) < 0
            expected_mm = max(expected_mm, 1000.0 * distance_m[inward].max(initial=0.0))
        assert expected_mm > 1.5
        assert abs(drawn.pairs[k].penetration_mm - expected_mm) < 0.01


def test_hands_touch_or_come_near(drawn: Drawn) -> None:
    gaps_m = np.array([KDTree(right).query(left)[0].min() for right, left in drawn.vertices_m])
    touching = np.mean([pair.contact_fraction > 0 for pair in drawn.pairs])
    assert touching > 0.6
    assert (gaps_m < 0.012).mean() > 0.8  # between vertices, which are up to 7 mm apart on a hand
    assert gaps_m.max() < 0.06


def test_most_draws_are_accepted(drawn: Drawn) -> None:
    assert len(drawn.pairs) > 0.8 * DRAWS
    assert len(drawn.singles) > 0.8 * 120


def test_fingers_stay_out_of_one_another_and_of_the_palm(drawn: Drawn) -> None:
    measures = [SelfPenetration(hand.arrays) for hand in HANDS]
    for posed in drawn.vertices_m:
        assert max(measures[side].measure_mm(posed[side]) for side in (0, 1)) <= 3.0 + 1e-6


def test_every_arrangement_and_every_hand_shape_occurs(drawn: Drawn) -> None:
    arrangements = Counter(pair.family.split("/")[0] for pair in drawn.pairs)
    assert set(arrangements) == set(ARRANGEMENTS)
    assert max(arrangements.values()) < 0.25 * len(drawn.pairs)
    assert {pair.family for pair in drawn.singles} == {f"single/{shape}" for shape in HAND_SHAPES}


def test_either_hand_takes_either_part(drawn: Drawn) -> None:
    """In `touch` only the mover points."""
    touching = [pair.family.split("/")[1].split("-") for pair in drawn.pairs if pair.family.startswith("touch/")]
    assert {shapes.index("point") for shapes in touching if "point" in shapes} == {0, 1}


@pytest.mark.parametrize("name", POSE_SOURCES)
def test_a_draw_depends_on_its_stream_alone(name: str) -> None:
    one, two = (POSE_SOURCES[name](HANDS, pool()) for _ in range(2))
    accepted(two, range(100, 103))
    for index in range(6):
        for single in (None, index % 2):
            first, second = (accepted(source, range(index, index + 1), single) for source in (one, two))
            assert len(first) == len(second)
            for a, b in zip(first, second, strict=True):
                for field in PosePair.__dataclass_fields__:
                    left, right = np.asarray(getattr(a, field)), np.asarray(getattr(b, field))
                    assert left.dtype == right.dtype
                    assert left.tobytes() == right.tobytes()


@pytest.mark.parametrize("name", POSE_SOURCES)
@pytest.mark.parametrize("split", SPLITS)
def test_a_source_gives_two_hands_of_one_person_of_the_split(name: str, split: Split) -> None:
    pairs = accepted(POSE_SOURCES[name](HANDS, pool()), range(8), split=split)
    assert pairs
    for pair in pairs:
        assert pair.present.tolist() == [True, True]
        assert split_of(pair.shape_id) == split
        assert (pair.betas[0] == pair.betas[1]).all()
        assert pair.betas.shape == (2, 10)
        assert pair.pose_rad.shape == (2, 48)
        assert pair.trans_m.shape == (2, 3)
        assert all(np.isfinite(a).all() for a in (pair.betas, pair.pose_rad, pair.trans_m))
        assert pair.family.isascii()
        assert 0 < len(pair.family) <= 32
        assert pair.source_id == name
        assert 0.0 <= pair.penetration_mm <= 10.0
        assert 0.0 <= pair.contact_fraction <= 1.0


@pytest.mark.parametrize("name", POSE_SOURCES)
@pytest.mark.parametrize("side", [0, 1])
def test_a_single_hand_comes_alone(name: str, side: int) -> None:
    pairs = accepted(POSE_SOURCES[name](HANDS, pool()), range(8), single=side)
    assert pairs
    for pair in pairs:
        assert pair.present.tolist() == [side == 0, side == 1]
        assert not pair.interaction_valid
        assert pair.penetration_mm == pair.contact_fraction == 0.0
        for rows in (pair.betas, pair.pose_rad, pair.trans_m):
            assert not rows[1 - side].any()
        assert pair.pose_rad[side].any()
