"""The 2,000 poses that ship, each measured again: what the library promises."""

from collections import Counter

import numpy as np
import pytest
import trimesh

from aih_builder.hands.anatomy import angles_from_pose, within_limits
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.sources.contact import SelfPenetration, close, measure_contact
from aih_builder.sources.interaction.families import FAMILIES
from aih_builder.sources.interaction.pair import PairReader
from aih_builder.sources.pose_library import hands_digest, shipped_library
from aih_builder.sources.reach import reachable

HANDS = hand_pair(open_hand(), "native")
LIBRARY = shipped_library()
READER = PairReader(HANDS)
ROWS = range(len(LIBRARY))
FAMILY = [str(name).partition("/")[0] for name in LIBRARY.family]


def meshes_m(row: int) -> list[np.ndarray]:
    return [
        hand.pose(LIBRARY.pose_rad[row, i], LIBRARY.betas[row, i], LIBRARY.trans_m[row, i]).vertices_m
        for i, hand in enumerate(HANDS)
    ]


def test_two_thousand_poses_of_the_open_hand_ship() -> None:
    assert len(LIBRARY) == 2000
    assert LIBRARY.hand == hands_digest(HANDS)
    assert LIBRARY.present.all()
    assert LIBRARY.licence == "CC0-1.0"


def test_twelve_families_share_them_evenly() -> None:
    counts = Counter(FAMILY)
    assert set(counts) == set(FAMILIES)
    assert max(counts.values()) <= 0.25 * len(LIBRARY)
    assert min(counts.values()) >= 166


def test_a_tenth_of_the_candidates_or_more_was_accepted_in_every_family() -> None:
    for name, counts in LIBRARY.provenance["families"].items():
        assert counts["accepted"] >= 0.1 * counts["tried"], name
        assert counts["accepted"] + sum(counts["refused"].values()) == counts["tried"]


def test_depths_and_contact_are_as_stored_and_within_bounds() -> None:
    """Hands at most 3 mm in one another in 99 %, 5 mm in all; fingers at most 3 mm in their own hand in 98 %."""
    surfaces, within = [close(h.arrays.faces) for h in HANDS], [SelfPenetration(h.arrays) for h in HANDS]
    contacts, depths_mm = [], []
    for row in ROWS:
        right, left = meshes_m(row)
        contacts.append(measure_contact(right, left, surfaces[0], surfaces[1]))
        depths_mm.append([within[0].measure_mm(right), within[1].measure_mm(left)])
    penetration_mm, contact = np.array(contacts).T
    np.testing.assert_allclose(LIBRARY.penetration_mm, penetration_mm, atol=1e-4)
    np.testing.assert_allclose(LIBRARY.contact_fraction, contact, atol=1e-6)
    np.testing.assert_allclose(LIBRARY.self_penetration_mm, depths_mm, atol=1e-4)
    assert (penetration_mm <= 3.0).mean() >= 0.99
    assert penetration_mm.max() <= 5.0
    assert (np.array(depths_mm).max(axis=1) <= 3.0).mean() >= 0.98
    assert (contact > 0).mean() >= 0.6


def test_depths_agree_with_those_that_trimesh_finds() -> None:
    """Of the deepest pairs and some others: the deepest vertex of either hand inside the other, closed at the wrist."""
    surfaces = [close(hand.arrays.faces) for hand in HANDS]
    deepest = np.argsort(-LIBRARY.penetration_mm)[:12].tolist()
    for row in [*deepest, *range(0, 2000, 125)]:
        points = meshes_m(row)
        bodies = [trimesh.Trimesh(p, f, process=False) for p, f in zip(points, surfaces, strict=True)]
        depth_mm = 0.0
        for side in (0, 1):
            query = trimesh.proximity.ProximityQuery(bodies[1 - side])
            depth_mm = max(depth_mm, 1000.0 * float(query.signed_distance(points[side]).max()))
        assert LIBRARY.penetration_mm[row] == pytest.approx(depth_mm, abs=2e-3), LIBRARY.ids[row]


def test_all_joints_are_within_their_limits() -> None:
    for row in ROWS:
        for i, hand in enumerate(HANDS):
            angles = angles_from_pose(hand.arrays, LIBRARY.pose_rad[row, i, 3:].astype(np.float64))
            assert within_limits(hand.arrays, angles, 1e-4), LIBRARY.ids[row]


def test_every_pose_is_what_its_family_says_and_two_arms_reach_it() -> None:
    for row in ROWS:
        pair = READER.read(LIBRARY.pose_rad[row], LIBRARY.betas[row], LIBRARY.trans_m[row])
        family = FAMILIES[FAMILY[row]]
        variant = str(LIBRARY.family[row]).partition("/")[2]
        mover = int(str(LIBRARY.ids[row]).split("-")[-2]) % 2
        assert family.holds(pair, mover, variant), LIBRARY.ids[row]
        joints_m, clear_m = np.stack(pair.joints_m), family.variants[variant].arrangement.forearm_clear_m
        wrists_m, distal, palmar = joints_m[:, 0].copy(), np.stack(pair.distal), np.stack(pair.palmar)
        assert reachable(wrists_m, distal, palmar, joints_m, clear_m), LIBRARY.ids[row]


def test_either_hand_moves_in_half_of_the_poses_of_each_family() -> None:
    movers = Counter(
        (family, int(str(name).split("-")[-2]) % 2) for family, name in zip(FAMILY, LIBRARY.ids, strict=True)
    )
    for family in FAMILIES:
        assert abs(movers[family, 0] - movers[family, 1]) <= 1
