"""What is measured of the hands of a pose library's entry: depth in one another, contact, depth in oneself."""

from typing import NamedTuple

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import LEFT, RIGHT
from aih_builder.hands.model import HandModel
from aih_builder.sources.contact import SelfPenetration, close, measure_contact


class PairFigures(NamedTuple):
    """Figures of one entry; 0 where a hand is missing."""

    penetration_mm: float
    contact_fraction: float
    self_penetration_mm: tuple[float, float]  # right, left


class PairMeasure:
    """Measures on one pair of hand models, some 6 ms for two hands."""

    def __init__(self, hands: tuple[HandModel, HandModel]) -> None:
        self._hands = hands
        self._surfaces = (close(hands[RIGHT].arrays.faces), close(hands[LEFT].arrays.faces))
        self._within = (SelfPenetration(hands[RIGHT].arrays), SelfPenetration(hands[LEFT].arrays))

    def measure(self, present: np.ndarray, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> PairFigures:
        """Of present (2,), pose (2, 48), betas (2, 10) and translation (2, 3)."""
        within = [0.0, 0.0]
        meshes_m: list[FloatArray] = []
        for i in np.flatnonzero(present).tolist():
            meshes_m.append(self._hands[i].pose(pose_rad[i], betas[i], trans_m[i]).vertices_m)
            within[i] = self._within[i].measure_mm(meshes_m[-1])
        depth_mm, fraction = 0.0, 0.0
        if len(meshes_m) == 2:
            depth_mm, fraction = measure_contact(meshes_m[RIGHT], meshes_m[LEFT], *self._surfaces)
        return PairFigures(depth_mm, fraction, (within[RIGHT], within[LEFT]))
