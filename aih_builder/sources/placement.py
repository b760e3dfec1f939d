"""Places two posed hands against one another: turned as arranged, then slid to first contact."""

from typing import NamedTuple

import numpy as np

from aih_builder.errors import Rejected
from aih_builder.geometry import FloatArray, rotation_matrix, transform
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS, KEYPOINT_NAMES, LEFT, RIGHT
from aih_builder.hands.model import PosedHand
from aih_builder.sources import arrangements as arr
from aih_builder.sources.mesh_queries import travel_to_contact
from aih_builder.sources.reach import reachable

_TRIES = 6  # orientations tried before the draw is given up
_CANDIDATES = 3  # approaches tried per orientation; the one that brings the anchors nearest wins
_APPROACH_DEG = 10.0  # deviation of the approach direction
_PRESSED, _CLOSE = 0.7, 0.85  # shares of draws: pressed together, up to 6 mm apart, and further
_PRESS_M, _CLOSE_M, _APART_M = 0.003, 0.006, 0.035

# Each anchor is the mean of keypoints.
_ANCHORS: dict[str, tuple[str, ...]] = {
    arr.PALM: ("wrist", "index1", "middle1", "middle1", "ring1"),
    arr.FINGERS: ("index2", "middle2", "ring2", "little2"),
    arr.TIPS: ("index4", "middle4", "ring4"),
    arr.WRIST: ("wrist",),
    arr.THUMB_EDGE: ("thumb2", "index1"),
    arr.LITTLE_EDGE: ("wrist", "little1", "little1"),
    arr.KNUCKLES: ("index1", "middle1", "ring1", "little1"),
    arr.PINCH: ("thumb4", "index4"),
    arr.GRASP: tuple(f"{finger}{joint}" for finger in ("index", "middle", "ring") for joint in (1, 2, 3, 4)),
    arr.INDEX_MIDDLE: ("index2", "middle2"),
    arr.MIDDLE_RING: ("middle2", "ring2"),
    **{f"{finger}-{joint}": (f"{finger}{joint}",) for finger in FINGERS for joint in (1, 2, 3)},
    **{f"{finger}-tip": (f"{finger}4",) for finger in FINGERS},
}


class Motion(NamedTuple):
    """x -> rotation @ x + translation_m, from a hand whose root is not turned to the body frame."""

    rotation: FloatArray  # (3, 3)
    translation_m: FloatArray  # (3,)


class HandFrame(NamedTuple):
    """Directions of a hand at rest, unit vectors (3,)."""

    distal: FloatArray  # wrist to middle knuckle
    palmar: FloatArray  # out of the palm


def hand_frame(arrays: HandArrays) -> HandFrame:
    """The frame of a hand model, from its joints and from the way its knuckles flex."""
    joints_m = np.einsum("jv,vc->jc", arrays.J_regressor, arrays.v_template)
    distal = _unit(joints_m[FINGERS["middle"]] - joints_m[0])
    knuckles = [FINGERS[finger] for finger in ("index", "middle", "ring", "little")]
    palmar = np.cross(arrays.dof_axes[knuckles, 0].sum(axis=0), distal)
    return HandFrame(distal, _unit(palmar - distal * (distal * palmar).sum()))


def place(
    rng: np.random.Generator,
    arrangement: arr.Arrangement,
    mover: int,
    hands: tuple[PosedHand, PosedHand],
    frames: tuple[HandFrame, HandFrame],
    surfaces: tuple[np.ndarray, np.ndarray],
) -> tuple[Motion, Motion]:
    """Motions of both hands, right and left, into the body frame; their roots are not turned yet.

    `surfaces` are the closed faces of both models.

    Raises Rejected("reach") where no try gives hands that two arms of one body can hold so.
    """
    for _ in range(_TRIES):
        turns, pair = _orientations(rng, arrangement, mover, frames)
        toward = pair @ arr.own_side_to_body(arrangement.approach, mover)
        if arrangement.slid:
            motion = _slide(rng, arrangement, mover, toward, hands, turns, surfaces)
        else:
            motion = _put(rng, arrangement, mover, toward, hands, turns)
        if motion is None:
            continue
        motions = (motion, Motion(turns[LEFT], np.zeros(3)))
        if mover == LEFT:
            motions = (Motion(turns[RIGHT], np.zeros(3)), motion)
        keypoints = np.stack([transform(hands[side].joints_m, *motions[side]) for side in (RIGHT, LEFT)])
        distal = np.stack([turns[side] @ frames[side].distal for side in (RIGHT, LEFT)])
        palmar = np.stack([turns[side] @ frames[side].palmar for side in (RIGHT, LEFT)])
        if reachable(keypoints[:, 0].copy(), distal, palmar, keypoints, arrangement.forearm_clear_m):
            return motions
    raise Rejected("reach")


def _orientations(
    rng: np.random.Generator,
    arrangement: arr.Arrangement,
    mover: int,
    frames: tuple[HandFrame, HandFrame],
) -> tuple[tuple[FloatArray, FloatArray], FloatArray]:
    """Rotations of right and left hand into the body frame, and the turn that both share."""
    pitch = rng.uniform(*np.deg2rad(arrangement.pitch_deg))
    yaw = np.deg2rad(arrangement.yaw_deg) * rng.normal()
    # +x turns y to z; raising the fingers, which point forward, turns z to y.
    pair = _about(1, yaw) @ _about(0, -pitch)
    turns = []
    for side in (RIGHT, LEFT):
        role = arrangement.mover if side == mover else arrangement.still
        distal = arr.own_side_to_body(role.distal, side)
        palmar = arr.own_side_to_body(role.palmar, side)
        palmar = _unit(palmar - distal * (distal * palmar).sum())
        own = rotation_matrix(np.deg2rad(arrangement.own_deg) * rng.normal(size=3))
        at_rest = _basis(*frames[side])
        turns.append(own @ pair @ _basis(distal, palmar) @ at_rest.T)
    return (turns[0], turns[1]), pair


def _slide(
    rng: np.random.Generator,
    arrangement: arr.Arrangement,
    mover: int,
    toward: FloatArray,
    hands: tuple[PosedHand, PosedHand],
    turns: tuple[FloatArray, FloatArray],
    surfaces: tuple[np.ndarray, np.ndarray],
) -> Motion | None:
    """The mover's motion: along `toward` to first contact with the other hand, and a bit on or back.

    None where no approach meets the other hand.
    """
    still = 1 - mover
    start = _anchor(hands[mover], arrangement.mover.anchor, turns[mover])
    goal = _anchor(hands[still], arrangement.still.anchor, turns[still])
    best, nearest = None, np.inf
    for _ in range(_CANDIDATES):
        deviation = rotation_matrix(np.deg2rad(_APPROACH_DEG) * rng.normal(size=3))
        direction = deviation @ toward
        basis = _basis_along(direction)
        across = np.array([0.0, *rng.normal(0.0, 1e-3 * arrangement.offset_mm, 2)])
        shift = goal - start + across @ basis
        travel = travel_to_contact(
            transform(hands[mover].vertices_m, basis @ turns[mover], basis @ shift),
            surfaces[mover],
            transform(hands[still].vertices_m, basis @ turns[still], np.zeros(3)),
            surfaces[still],
        )
        if abs(travel) < nearest:
            nearest = abs(travel)
            best = shift + travel * direction, direction
    beyond = _beyond_contact(rng)
    return None if best is None else Motion(turns[mover], best[0] + beyond * best[1])


def _put(
    rng: np.random.Generator,
    arrangement: arr.Arrangement,
    mover: int,
    toward: FloatArray,
    hands: tuple[PosedHand, PosedHand],
    turns: tuple[FloatArray, FloatArray],
) -> Motion:
    """The mover's motion that brings the anchors together, `apart_mm` short of it along `toward`, and off by chance."""
    still = 1 - mover
    start = _anchor(hands[mover], arrangement.mover.anchor, turns[mover])
    goal = _anchor(hands[still], arrangement.still.anchor, turns[still])
    apart = toward * 1e-3 * rng.uniform(*arrangement.apart_mm)
    return Motion(turns[mover], goal - start - apart + rng.normal(0.0, 1e-3 * arrangement.offset_mm, 3))


def _beyond_contact(rng: np.random.Generator) -> float:
    """Metres past first contact: pressed in a little, or (negative) a gap."""
    kind, share = rng.random(), rng.random()
    if kind < _PRESSED:
        return _PRESS_M * share
    if kind < _CLOSE:
        return -_CLOSE_M * share
    return -_CLOSE_M - (_APART_M - _CLOSE_M) * share * share


def _anchor(hand: PosedHand, name: str, turn: FloatArray) -> FloatArray:
    rows = [KEYPOINT_NAMES.index(keypoint) for keypoint in _ANCHORS[name]]
    return turn @ hand.joints_m[rows].mean(axis=0)


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.sqrt((vector**2).sum())


def _basis(distal: FloatArray, palmar: FloatArray) -> FloatArray:
    """Rotation (3, 3) whose columns are distal, palmar and their cross product."""
    return np.stack([distal, palmar, np.cross(distal, palmar)], axis=1)


def _basis_along(direction: FloatArray) -> FloatArray:
    """Rotation (3, 3) whose first row is a unit direction."""
    helper = np.eye(3)[int(np.argmin(np.abs(direction)))]
    second = _unit(np.cross(direction, helper))
    return np.stack([direction, second, np.cross(direction, second)])


def _about(axis: int, angle_rad: float) -> FloatArray:
    return rotation_matrix(angle_rad * np.eye(3)[axis])
