"""Anatomical axes and clinical limits of the joints.

Each joint's rotation is R(flexion) R(abduction) R(twist): the twist acts first, about the bone; the abduction next,
about the dorsal normal; the flexion last, about the axis across the joint. All axes are unit vectors at rest.
On the right hand a positive angle turns by the right-hand rule, so that
  flexion    > 0 curls the bone towards the palm;
  abduction  > 0 tilts the bone towards its own radial side: fingers towards the thumb, the thumb out of the palm's
               plane to the front (palmar abduction);
  twist      > 0 turns about the direction from base to tip; the thumb's pronation, its pad towards the fingers, is
               negative.
The left hand is the mirror image: the same angles mean the same movement.
"""

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import N_JOINTS

_FIRST = (1, 4, 7, 10, 13)  # index, middle, little, ring, thumb
_THUMB = 4
_BACK_OF_HAND = np.array([0.0, 1.0, 0.0])

# Degrees (low, high) of flexion, abduction, twist, from base to tip. The rest pose is nearly straight and a little
# fanned: fingers close by abducting towards the middle finger.
_FINGER_LIMITS = (
    ((-25, 90), (-20, 20), (-6, 6)),
    ((0, 105), (0, 0), (0, 0)),
    ((-5, 75), (0, 0), (0, 0)),
)
_THUMB_LIMITS = (
    ((-20, 40), (-25, 35), (-20, 20)),
    ((-10, 60), (-8, 8), (0, 0)),
    ((-15, 80), (0, 0), (0, 0)),
)


def joint_axes(joints_m: FloatArray, tips_m: FloatArray, nail_normals: FloatArray) -> FloatArray:
    """(16, 3, 3): unit rows flexion, abduction, twist; zero for the wrist, which turns freely.

    nail_normals (5, 3) say where the back of each finger is; tips and nails in the order index, middle, little, ring,
    thumb.
    """
    axes = np.zeros((N_JOINTS, 3, 3))
    for finger, first in enumerate(_FIRST):
        points = np.concatenate([joints_m[first : first + 3], tips_m[finger : finger + 1]])
        for k, bone in enumerate(np.diff(points, axis=0)):
            along = bone / np.linalg.norm(bone)
            back = nail_normals[finger]
            if finger != _THUMB:  # a knuckle looks where the hand's back looks
                share = (0.5, 0.25, 0.0)[k]
                back = (1 - share) * back + share * _BACK_OF_HAND
            back = back - along * (back @ along)
            back = back / np.linalg.norm(back)
            axes[first + k] = [np.cross(back, along), back, along]
    return axes


def joint_limits_rad() -> FloatArray:
    """(16, 3, 2): lowest and highest angle about each axis; zero for the wrist."""
    limits = np.zeros((N_JOINTS, 3, 2))
    for finger, first in enumerate(_FIRST):
        limits[first : first + 3] = _THUMB_LIMITS if finger == _THUMB else _FINGER_LIMITS
    return np.radians(limits)
