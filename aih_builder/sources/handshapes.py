"""Finger poses within joint limits: named hand shapes, blended and perturbed the way fingers move together.

Fingers do not move one by one: neighbours share a curl, the last joint follows the one before it at
about 0.6 of its angle, and fingers cannot spread once they are bent at the knuckle. Angles here are
degrees, with the signs of hands/anatomy.py. Spread is a share: 0 as at rest, -1 closed until
parallel to the middle finger, +1 opened by 12 degrees.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.anatomy import ABDUCTION, FLEXION, TWIST
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS, N_JOINTS

_FOUR = ("index", "middle", "ring", "little")
_OPENING_DEG = 12.0
_DIP_PER_PIP = 0.6

_BLENDED = 0.6  # share of draws that lean towards a second shape
_MOST_BLENDED = 0.45
_CURL_DEG = 5.0  # of all fingers at once
_KNUCKLE_DEG, _MIDDLE_JOINT_DEG, _LAST_JOINT_DEG = 5.0, 7.0, 4.0  # finger by finger
_NEIGHBOURS = 0.7  # correlation of one finger's deviation with its neighbour's
_THUMB_DEG = 4.0
_EASED, _LIFTED_DEG = 0.08, 2.5  # share of flexion taken off at a time, and the thumb's lift


class HandShape(NamedTuple):
    """What a hand shape asks of the joints, degrees; four values run from index to little finger."""

    mcp: tuple[float, float, float, float]  # knuckles
    pip: tuple[float, float, float, float]  # middle joints
    spread: tuple[float, float, float, float]
    # Thumb: flexion, abduction and twist at its base, flexion of its middle and of its last joint.
    thumb: tuple[float, float, float, float, float]


def _same(value: float) -> tuple[float, float, float, float]:
    return (value, value, value, value)


_THUMB_OUT = (-12.0, 8.0, 0.0, 2.0, 2.0)
_THUMB_BESIDE = (2.0, -16.0, 0.0, 6.0, 8.0)
_THUMB_ACROSS = (8.0, 4.0, -6.0, 30.0, 50.0)  # over the index and middle fingers' middle phalanges

HAND_SHAPES: dict[str, HandShape] = {
    "open": HandShape(_same(2), _same(6), _same(0), (-4, 2, 0, 4, 4)),
    "flat": HandShape(_same(3), _same(4), _same(-0.85), _THUMB_BESIDE),
    "spread": HandShape(_same(-8), _same(4), _same(0.9), _THUMB_OUT),
    "relaxed": HandShape((14, 20, 25, 28), (24, 28, 30, 32), _same(-0.35), (6, 2, -4, 12, 15)),
    "cupped": HandShape((28, 30, 32, 34), (34, 35, 35, 34), _same(-0.6), (6, 6, -8, 12, 14)),
    "claw": HandShape(_same(2), (56, 58, 58, 54), _same(0.4), (2, 10, -6, 14, 28)),
    "grip": HandShape((46, 50, 52, 54), (56, 58, 58, 56), _same(-0.4), (12, 14, -10, 20, 24)),
    "hook": HandShape((12, 14, 14, 14), (88, 90, 90, 86), _same(-0.6), (4, -6, 0, 10, 14)),
    "fist": HandShape((74, 76, 76, 76), (81, 90, 86, 77), _same(-0.7), _THUMB_ACROSS),
    "thumb-up": HandShape((73, 75, 75, 75), (80, 89, 85, 76), _same(-0.7), (-14, -8, 0, -2, -4)),
    "point": HandShape((6, 76, 76, 76), (6, 89, 85, 77), _same(-0.4), (9, 0, -6, 32, 54)),
    "two": HandShape((4, 4, 76, 76), (6, 6, 85, 77), (0.6, -0.3, -0.6, -0.6), (20, 0, -6, 34, 54)),
    "three": HandShape((3, 3, 3, 74), (6, 6, 8, 77), (0.3, 0, 0, -0.6), (32, 2, -4, 34, 52)),
    "four": HandShape(_same(2), _same(5), _same(0.2), (26, 0, -4, 32, 36)),
    "pinch": HandShape((56, 30, 22, 18), (43, 32, 25, 20), _same(-0.2), (17, 16, -11, 8, 42)),
    "tripod": HandShape((54, 50, 46, 44), (52, 56, 60, 62), _same(-0.7), (6, 20, -10, 38, 26)),
}


class HandShapeSampler:
    """Draws anatomical angles (16, 3) of one hand, always within its joint limits."""

    def __init__(self, arrays: HandArrays) -> None:
        self._low, self._high = arrays.dof_limits_rad[..., 0], arrays.dof_limits_rad[..., 1]
        self._closing_rad, self._opening_rad = _spread_ranges(arrays)

    def draw(self, rng: np.random.Generator, name: str) -> FloatArray:
        """Angles (16, 3) in radians of the named hand shape, perturbed, at times leaning towards another."""
        other = list(HAND_SHAPES)[int(rng.integers(len(HAND_SHAPES)))]
        lean = rng.uniform(0.0, _MOST_BLENDED) if rng.random() < _BLENDED else 0.0
        mcp, pip, spread, thumb = (
            (1.0 - lean) * np.array(a, np.float64) + lean * np.array(b, np.float64)
            for a, b in zip(HAND_SHAPES[name], HAND_SHAPES[other], strict=True)
        )
        return self._perturbed(rng, mcp, pip, spread, thumb)

    def near(self, rng: np.random.Generator, shape: HandShape) -> FloatArray:
        """Angles (16, 3) in radians of a hand shape, perturbed."""
        return self._perturbed(rng, *(np.array(values, np.float64) for values in shape))

    def _perturbed(
        self, rng: np.random.Generator, mcp: FloatArray, pip: FloatArray, spread: FloatArray, thumb: FloatArray
    ) -> FloatArray:
        angles = np.zeros((N_JOINTS, 3))
        self._set_fingers(rng, angles, mcp, pip, spread)
        self._set_thumb(rng, angles, thumb)
        return np.clip(angles, self._low, self._high)

    def eased(self, angles_rad: FloatArray, fingers: Iterable[str]) -> FloatArray:
        """Angles (16, 3) with the named fingers a little straighter, the thumb also lifted off the palm."""
        eased = angles_rad.copy()
        for finger in fingers:
            bones = np.arange(3) + FINGERS[finger]
            eased[bones, FLEXION] -= _EASED * np.maximum(eased[bones, FLEXION], 0.0)
            if finger == "thumb":
                eased[bones[0], ABDUCTION] += np.deg2rad(_LIFTED_DEG)
        return np.clip(eased, self._low, self._high)

    def _set_fingers(
        self,
        rng: np.random.Generator,
        angles: FloatArray,
        mcp: FloatArray,
        pip: FloatArray,
        spread: FloatArray,
    ) -> None:
        curl = rng.normal(0.0, _CURL_DEG)
        own = _along_neighbours(rng)
        mcp = mcp + curl + _KNUCKLE_DEG * own
        pip = pip + curl + _MIDDLE_JOINT_DEG * _along_neighbours(rng)
        dip = _DIP_PER_PIP * pip + rng.normal(0.0, _LAST_JOINT_DEG, 4)
        spread = spread + rng.normal(0.0, 0.2) + rng.normal(0.0, 0.12, 4)
        # The knuckles' side ligaments are taut when they are bent.
        spread = spread * (1.0 - 0.8 * np.clip(mcp / 70.0, 0.0, 1.0))
        twist = rng.normal(0.0, 1.0, 4)
        for k, finger in enumerate(_FOUR):
            base = FINGERS[finger]
            angles[base, FLEXION] = np.deg2rad(mcp[k])
            angles[base, TWIST] = np.deg2rad(twist[k])
            angles[base + 1, FLEXION] = np.deg2rad(pip[k])
            angles[base + 2, FLEXION] = np.deg2rad(dip[k])
            reach = self._closing_rad[k] if spread[k] < 0 else self._opening_rad[k]
            angles[base, ABDUCTION] = abs(spread[k]) * reach

    def _set_thumb(self, rng: np.random.Generator, angles: FloatArray, thumb: FloatArray) -> None:
        turns = np.deg2rad(thumb + _THUMB_DEG * rng.normal(size=5))
        base = FINGERS["thumb"]
        angles[base, (FLEXION, ABDUCTION, TWIST)] = turns[:3]
        angles[base + 1, FLEXION] = turns[3]
        angles[base + 2, FLEXION] = turns[4]


def _along_neighbours(rng: np.random.Generator) -> FloatArray:
    """Four standard normal values, index to little, each correlated with the one before it."""
    values = rng.normal(size=4)
    for k in range(1, 4):
        values[k] = _NEIGHBOURS * values[k - 1] + np.sqrt(1.0 - _NEIGHBOURS**2) * values[k]
    return values


def _spread_ranges(arrays: HandArrays) -> tuple[FloatArray, FloatArray]:
    """Signed abduction angles (4,), (4,) that close each finger to the middle one, and that open it.

    Read off the rest pose, so that the sign and the zero of a model's abduction axes do not matter.
    The middle finger itself does neither.
    """
    bones = arrays.weights.argmax(axis=1)
    directions, axes = [], []
    for finger in _FOUR:
        base = FINGERS[finger]
        last = arrays.v_template[bones == base + 2].mean(axis=0)
        first = arrays.v_template[bones == base].mean(axis=0)
        directions.append((last - first) / np.sqrt(((last - first) ** 2).sum()))
        axes.append(arrays.dof_axes[base, ABDUCTION])
    closing, opening = np.zeros(4), np.zeros(4)
    for k in (0, 2, 3):
        across = directions[1] - axes[k] * (axes[k] * directions[1]).sum()
        own = directions[k] - axes[k] * (axes[k] * directions[k]).sum()
        sine, cosine = (axes[k] * np.cross(own, across)).sum(), (own * across).sum()
        closing[k] = np.arctan2(sine, cosine)
        opening[k] = -np.sign(closing[k]) * np.deg2rad(_OPENING_DEG)
    return closing, opening
