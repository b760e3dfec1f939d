"""Poses of a scene: what both hands do, and how they are held against one another."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from aih_builder.errors import Rejected
from aih_builder.geometry import FloatArray, transform
from aih_builder.hands.anatomy import pose_from_angles
from aih_builder.hands.conventions import LEFT, N_JOINTS, RIGHT
from aih_builder.hands.model import HandModel, PosedHand
from aih_builder.identity import Split
from aih_builder.sources.arrangements import ARRANGEMENTS, draw_shapes
from aih_builder.sources.contact import SelfPenetration, close, measure_contact
from aih_builder.sources.handshapes import HAND_SHAPES, HandShapeSampler
from aih_builder.sources.licences import PUBLIC_DOMAIN
from aih_builder.sources.placement import hand_frame, place
from aih_builder.sources.shapes import ShapePool

MOST_PENETRATION_MM = 10.0
MOST_SELF_PENETRATION_MM = 3.0

_EASINGS = 5


@dataclass(frozen=True, slots=True, eq=False)
class PosePair:
    """Two posed hands of one person in a frame that the source chooses; side 0 right, 1 left.

    Of a hand that is not present, all rows are zero. Penetration and contact are those of
    contact.Contact; for a single hand they are 0 and interaction_valid is False.
    """

    present: np.ndarray  # (2,) bool
    shape_id: str
    betas: FloatArray  # (2, 10)
    pose_rad: FloatArray  # (2, 48), flat_hand_mean False
    trans_m: FloatArray  # (2, 3)
    family: str
    source_id: str
    penetration_mm: float
    contact_fraction: float
    interaction_valid: bool
    licence: str = PUBLIC_DOMAIN
    annotation: str = ""  # human, machine, or "" where no source tells


class PoseSource(ABC):
    """Where poses come from."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, split: Split, single: int | None) -> PosePair:
        """Two hands, or only that of side `single`, of a shape in `split`.

        Depends on the state of rng and nothing else. Raises Rejected where the draw is refused.
        """


class AnatomicalPoses(PoseSource):
    """Hand shapes within joint limits, two of them placed by an arrangement and slid into contact.

    Both hands share one shape of the pool. Rejects "self-penetration" (a finger more than 3 mm in
    another or in the palm), "penetration" (hands more than 10 mm in one another) and "reach" (no two
    arms of one body could do it).
    """

    def __init__(self, hands: tuple[HandModel, HandModel], shapes: ShapePool) -> None:
        self._hands = hands
        self._shapes = shapes
        arrays = (hands[RIGHT].arrays, hands[LEFT].arrays)
        self._samplers = tuple(HandShapeSampler(a) for a in arrays)
        self._self_penetration = tuple(SelfPenetration(a) for a in arrays)
        self._surfaces = (close(arrays[RIGHT].faces), close(arrays[LEFT].faces))
        self._frames = (hand_frame(arrays[RIGHT]), hand_frame(arrays[LEFT]))
        weights = np.array([a.weight for a in ARRANGEMENTS.values()])
        self._arrangements = list(ARRANGEMENTS)
        self._cumulative = np.cumsum(weights) / weights.sum()

    def draw(self, rng: np.random.Generator, split: Split, single: int | None) -> PosePair:
        """See PoseSource; family is "<arrangement>/<right shape>-<left shape>", or "single/<shape>"."""
        shape_id, betas = self._shapes.draw(rng, split)
        if single is not None:
            return self._draw_single(rng, single, shape_id, betas)
        name = self._arrangements[int(np.searchsorted(self._cumulative, rng.random(), "right"))]
        arrangement = ARRANGEMENTS[name]
        mover = int(rng.integers(2))
        shapes = draw_shapes(rng, arrangement)
        if mover == LEFT:
            shapes = shapes[::-1]
        drawn = [self._draw_hand(rng, side, betas, shapes[side]) for side in (RIGHT, LEFT)]
        posed = (drawn[RIGHT][1], drawn[LEFT][1])
        motions = place(rng, arrangement, mover, posed, self._frames, self._surfaces)

        right_m, left_m = (transform(hand.vertices_m, *motion) for hand, motion in zip(posed, motions, strict=True))
        contact = measure_contact(right_m, left_m, *self._surfaces)
        if contact.penetration_mm > MOST_PENETRATION_MM:
            raise Rejected("penetration")
        pose_rad, trans_m = np.zeros((2, 3 * N_JOINTS)), np.zeros((2, 3))
        for side in (RIGHT, LEFT):
            pose_rad[side], trans_m[side] = self._hands[side].moved(drawn[side][0], betas, np.zeros(3), *motions[side])
        return PosePair(
            present=np.ones(2, dtype=bool),
            shape_id=shape_id,
            betas=np.stack([betas, betas]),
            pose_rad=pose_rad,
            trans_m=trans_m,
            family=f"{name}/{shapes[RIGHT]}-{shapes[LEFT]}",
            source_id="anatomical",
            penetration_mm=contact.penetration_mm,
            contact_fraction=contact.contact_fraction,
            interaction_valid=True,
        )

    def _draw_single(self, rng: np.random.Generator, side: int, shape_id: str, betas: FloatArray) -> PosePair:
        name = list(HAND_SHAPES)[int(rng.integers(len(HAND_SHAPES)))]
        pose_rad, _ = self._draw_hand(rng, side, betas, name)
        one = np.arange(2) == side
        return PosePair(
            present=one,
            shape_id=shape_id,
            betas=one[:, None] * betas,
            pose_rad=one[:, None] * pose_rad,
            trans_m=np.zeros((2, 3)),
            family=f"single/{name}",
            source_id="anatomical",
            penetration_mm=0.0,
            contact_fraction=0.0,
            interaction_valid=False,
        )

    def _draw_hand(
        self, rng: np.random.Generator, side: int, betas: FloatArray, shape: str
    ) -> tuple[FloatArray, PosedHand]:
        """Pose (48,) with an unturned root, and the hand so posed.

        Fingers that run into others are straightened a little, a few times, before the draw is refused.
        """
        hand = self._hands[side]
        angles = self._samplers[side].draw(rng, shape)
        pose_rad = np.zeros(3 * N_JOINTS)
        for _ in range(_EASINGS):
            pose_rad[3:] = pose_from_angles(hand.arrays, angles)
            posed = hand.pose(pose_rad, betas, np.zeros(3))
            depths_mm = self._self_penetration[side].by_finger_mm(posed.vertices_m)
            if max(depths_mm.values()) <= MOST_SELF_PENETRATION_MM:
                return pose_rad, posed
            deep = [f for f, depth_mm in depths_mm.items() if depth_mm > MOST_SELF_PENETRATION_MM]
            angles = self._samplers[side].eased(angles, deep)
        raise Rejected("self-penetration")
