"""Planted near-misses: each is a shipped pose with the one thing undone that makes its family."""

from collections.abc import Callable

import numpy as np
import pytest

from aih_builder.geometry import rotation_matrix
from aih_builder.hands.anatomy import FLEXION, angles_from_pose, pose_from_angles
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.interaction.families import FAMILIES
from aih_builder.sources.interaction.pair import Pair, PairReader
from aih_builder.sources.pose_library import shipped_library

HANDS = hand_pair(open_hand(), "native")
READER = PairReader(HANDS)
LIBRARY = shipped_library()
FAMILY = np.array([str(name).partition("/")[0] for name in LIBRARY.family])
TRIED = 6


class Posed:
    """A shipped pair that can be changed."""

    def __init__(self, row: int) -> None:
        self.variant = str(LIBRARY.family[row]).partition("/")[2]
        self.mover = int(str(LIBRARY.ids[row]).split("-")[-2]) % 2
        self.still = 1 - self.mover
        self.pose_rad = LIBRARY.pose_rad[row].astype(np.float64)
        self.betas = LIBRARY.betas[row].astype(np.float64)
        self.trans_m = LIBRARY.trans_m[row].astype(np.float64)

    def pair(self) -> Pair:
        return READER.read(self.pose_rad, self.betas, self.trans_m)

    def shift(self, side: int, direction: np.ndarray, millimetres: float) -> None:
        self.trans_m[side] += 1e-3 * millimetres * direction / np.linalg.norm(direction)

    def apart(self, millimetres: float) -> None:
        pair = self.pair()
        away = pair.vertices_m[self.mover].mean(axis=0) - pair.vertices_m[self.still].mean(axis=0)
        self.shift(self.mover, away, millimetres)

    def turn(self, side: int, axis: np.ndarray, degrees: float, about_m: np.ndarray) -> None:
        rotation = rotation_matrix(np.deg2rad(degrees) * axis / np.linalg.norm(axis))
        self.pose_rad[side], self.trans_m[side] = HANDS[side].moved(
            self.pose_rad[side], self.betas[side], self.trans_m[side], rotation, about_m - rotation @ about_m
        )

    def bend(self, side: int, fingers: tuple[str, ...], degrees: float) -> None:
        """Set all flexions of some fingers."""
        arrays = HANDS[side].arrays
        angles = angles_from_pose(arrays, self.pose_rad[side, 3:])
        for finger in fingers:
            angles[FINGERS[finger] : FINGERS[finger] + 3, FLEXION] = np.deg2rad(degrees)
        self.pose_rad[side, 3:] = pose_from_angles(arrays, angles)


def rows_of(family: str) -> list[int]:
    rows = np.flatnonzero(family == FAMILY)
    return rows[np.linspace(0, len(rows) - 1, TRIED).astype(int)].tolist()


def holds(family: str, posed: Posed, variant: str | None = None) -> bool:
    return FAMILIES[family].holds(posed.pair(), posed.mover, posed.variant if variant is None else variant)


def crossed(posed: Posed) -> None:
    """One hand turned in the plane of its palm."""
    pair = posed.pair()
    posed.turn(posed.mover, pair.palmar[posed.mover], 40.0, pair.keypoint_m(posed.mover, "middle1"))


def bent(side_of: str) -> Callable[[Posed], None]:
    return lambda posed: posed.bend(getattr(posed, side_of), ("index", "middle"), 45.0)


def straightened(side_of: str) -> Callable[[Posed], None]:
    return lambda posed: posed.bend(getattr(posed, side_of), ("index", "middle", "ring", "little"), 2.0)


def uncrossed(posed: Posed) -> None:
    """One hand turned until the fingers of both point the same way."""
    pair = posed.pair()
    one, two = pair.distal[posed.mover], pair.distal[posed.still]
    angle = np.rad2deg(np.arccos(np.clip(one @ two, -1, 1)))
    posed.turn(posed.mover, np.cross(one, two), angle, pair.keypoint_m(posed.mover, "middle1"))


def drawn_out(posed: Posed) -> None:
    """The mover drawn back along its own fingers."""
    posed.shift(posed.mover, -posed.pair().distal[posed.mover], 90.0)


def turned_over(posed: Posed) -> None:
    """The still hand shows the other face, at the same place."""
    pair = posed.pair()
    posed.turn(posed.still, pair.distal[posed.still], 180.0, pair.vertices_m[posed.still].mean(axis=0))


def up_the_hand(posed: Posed) -> None:
    """From the wrist to the fingers."""
    posed.shift(posed.mover, posed.pair().distal[posed.still], 70.0)


def off_the_palm(posed: Posed) -> None:
    posed.shift(posed.mover, posed.pair().palmar[posed.still], 20.0)


def opened_pinch(posed: Posed) -> None:
    posed.bend(posed.still, ("index",), 0.0)


def apart(millimetres: float) -> Callable[[Posed], None]:
    return lambda posed: posed.apart(millimetres)


NEAR_MISSES: list[tuple[str, str, Callable[[Posed], None]]] = [
    ("clasp", "off the palm", off_the_palm),
    ("clasp", "fingers of one hand straight", straightened("mover")),
    ("prayer", "6 mm apart", apart(6.0)),
    ("prayer", "crossed", crossed),
    ("prayer", "fingers bent", bent("still")),
    ("interlock", "drawn out", drawn_out),
    ("fingertips", "6 mm apart", apart(6.0)),
    ("finger-in-fist", "drawn out", drawn_out),
    ("finger-in-fist", "the fist opened", straightened("still")),
    ("over", "8 mm apart", apart(8.0)),
    ("over", "on the palm instead", turned_over),
    ("wrist-grab", "up the hand", up_the_hand),
    ("wrist-grab", "fingers straight", straightened("mover")),
    ("handover", "25 mm apart", apart(25.0)),
    ("handover", "one pinch opened", opened_pinch),
    ("counting", "7 mm apart", apart(7.0)),
    ("counting", "the pointing finger bent", lambda posed: posed.bend(posed.mover, ("index",), 40.0)),
    ("clap", "8 mm apart", apart(8.0)),
    ("clap", "not crossed", uncrossed),
    ("clap", "fingers bent", bent("mover")),
    ("steeple", "6 mm apart", apart(6.0)),
    ("near-miss", "40 mm apart", apart(40.0)),
    ("near-miss", "touching", lambda posed: posed.apart(-35.0)),
]


@pytest.mark.parametrize(("family", "what", "undo"), NEAR_MISSES, ids=[f"{f}: {w}" for f, w, _ in NEAR_MISSES])
def test_a_planted_near_miss_is_refused(family: str, what: str, undo: Callable[[Posed], None]) -> None:
    del what
    for row in rows_of(family):
        posed = Posed(row)
        assert holds(family, posed)
        undo(posed)
        assert not holds(family, posed), LIBRARY.ids[row]


def test_a_finger_that_is_not_the_named_one_is_not_counted() -> None:
    for row in rows_of("counting"):
        posed = Posed(row)
        assert [finger for finger in FINGERS if holds("counting", posed, finger)] == [posed.variant]


def test_tips_other_than_the_named_ones_do_not_do() -> None:
    rows = np.flatnonzero(np.char.endswith(LIBRARY.family, "/middle-middle"))
    assert len(rows) > 20
    for row in rows.tolist():
        assert not holds("fingertips", Posed(row), "thumb-thumb")


EXCLUSIVE = ("prayer", "clap", "clasp", "interlock", "steeple", "over", "wrist-grab", "near-miss")


@pytest.mark.parametrize("family", EXCLUSIVE)
def test_poses_of_one_family_are_not_taken_for_those_of_another(family: str) -> None:
    """Hands may do two things at once; these they may not."""
    apart = {"prayer": ("clap", "over", "interlock", "steeple"), "clap": ("prayer", "over", "steeple")}
    for row in rows_of(family):
        posed = Posed(row)
        others = [o for o in EXCLUSIVE if o != family and (family == "near-miss" or o == "near-miss")]
        for other in (*others, *apart.get(family, ())):
            assert not holds(other, posed), (other, LIBRARY.ids[row])
