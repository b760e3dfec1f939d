"""A hand's landmarks in a frame that fits every hand: joints, tips, bones, and which way is out of the back.

The palm frame: origin at the rest wrist, x towards the middle knuckle, y out of the back of the
hand, z towards the thumb; millimetres, scaled so that wrist to middle knuckle is 94.5 mm. Right and
left hands coincide in it.
"""

from dataclasses import dataclass

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS, N_JOINTS

_WRIST_TO_KNUCKLE_MM = 94.5
_THUMB = FINGERS["thumb"]


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A hand's landmarks in the palm frame, mm. A bone points to the next joint, or to the tip."""

    to_palm: FloatArray  # (3, 3) rows are the palm axes in the model's frame, times mm per metre
    wrist_m: FloatArray  # (3,)
    joints: FloatArray  # (16, 3)
    tips: dict[int, FloatArray]  # first joint of a finger -> (3,)
    bones: FloatArray  # (16, 3) unit
    dorsal: FloatArray  # (16, 3) unit, out of the back
    lateral: FloatArray  # (16, 3) unit flexion axes, across the finger


def anatomy(hand: HandArrays) -> Anatomy:
    """Landmarks of a hand of either side from its rest joints, fingertips and flexion axes."""
    joints_m = np.einsum("jv,vc->jc", hand.J_regressor, hand.v_template)
    tips_m = dict(zip(FINGERS.values(), hand.v_template[hand.tip_vertices], strict=True))
    bones = np.zeros((N_JOINTS, 3))
    for first in FINGERS.values():
        chain = [*joints_m[first : first + 3], tips_m[first]]
        for k in range(3):
            bones[first + k] = _unit(chain[k + 1] - chain[k])
    # Positive flexion moves a bone's end towards the palm, along flexion axis x bone.
    dorsal = np.cross(bones, hand.dof_axes[:, 0])
    knuckles = [FINGERS[name] for name in ("index", "middle", "ring", "little")]
    forward = _unit(joints_m[FINGERS["middle"]] - joints_m[0])
    back = dorsal[knuckles].mean(axis=0)
    back = _unit(back - forward * (back * forward).sum())
    radial = np.cross(forward, back)
    if (radial * (joints_m[_THUMB] - joints_m[0])).sum() < 0:
        radial = -radial
    dorsal[0], bones[0] = back, forward
    length = np.sqrt(((joints_m[FINGERS["middle"]] - joints_m[0]) ** 2).sum())
    axes = np.stack([forward, back, radial])
    dorsal, bones = (np.einsum("ij,nj->ni", axes, rows) for rows in (dorsal, bones))
    dorsal /= np.sqrt((dorsal**2).sum(axis=1, keepdims=True))
    to_palm = axes * (_WRIST_TO_KNUCKLE_MM / length)
    return Anatomy(
        to_palm=to_palm,
        wrist_m=joints_m[0],
        joints=np.einsum("ij,nj->ni", to_palm, joints_m - joints_m[0]),
        tips={first: np.einsum("ij,j->i", to_palm, tip - joints_m[0]) for first, tip in tips_m.items()},
        bones=bones,
        dorsal=dorsal,
        lateral=np.cross(dorsal, bones),
    )


def _unit(vector: FloatArray) -> FloatArray:
    return vector / np.sqrt((vector**2).sum())
