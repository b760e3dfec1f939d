"""Whether two arms of one body can bring two hands to where they are, roughly.

Body frame: x to the person's left, y up, z forward; metres. The right hand is at -x. A hand can be
reached if, for one of a few places of the pair before the chest, each arm has an elbow (on the circle
that shoulder and wrist leave it) from which the wrist is bent and the forearm turned no further than
people can, and neither forearm runs through the other hand or the other forearm. The wrist's ranges
of motion are those of Boone and Azen (1979) within 5 degrees; the forearm's turn is wider than
theirs, because the shoulder adds to it.
"""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray

_SHOULDERS_M = np.array([[-0.18, 0.0, 0.0], [0.18, 0.0, 0.0]])
_UPPER_ARM_M, _FOREARM_M = 0.30, 0.26
# Places of the hands' middle, seen from the middle of the shoulders.
_PLACES_M = np.array(
    [[x, y, z] for z in (0.32, 0.22, 0.42) for y in (-0.25, -0.05, -0.4, 0.1) for x in (0.0, -0.12, 0.12)]
)
_SWIVELS = 16
_MOST_FLEXED_RAD, _MOST_EXTENDED_RAD = np.deg2rad(75.0), np.deg2rad(70.0)
_MOST_ULNAR_RAD, _MOST_RADIAL_RAD = np.deg2rad(38.0), np.deg2rad(25.0)
_MOST_TURNED_RAD = np.deg2rad(95.0)
_TORSO_X_M, _TORSO_Z_M = 0.16, 0.11  # half axes of the ellipse that keeps elbows out, below the shoulders
_ELBOW_ABOVE_SHOULDER_M = 0.05
_SHOWN_M = 0.14  # length of forearm that must be clear of the other hand
_CLEAR_OF_FOREARM_M = 0.06  # between centre lines


@compiled
def reachable(
    wrists_m: FloatArray, distal: FloatArray, palmar: FloatArray, keypoints_m: FloatArray, clear_of_hand_m: float
):
    """Whether a body reaches both hands, given in the body frame's axes, anywhere; right first.

    wrists_m (2, 3), the hands' distal and palmar unit directions (2, 3), keypoints_m (2, 21, 3). A forearm's
    centre line keeps clear_of_hand_m from the keypoints of the other hand.
    """
    middle = 0.5 * (wrists_m[0] + wrists_m[1])
    forearms = np.empty((2, _SWIVELS, 3))
    counts = np.zeros(2, np.int64)
    for place in range(_PLACES_M.shape[0]):
        for side in range(2):
            wrist = wrists_m[side] - middle + _PLACES_M[place]
            counts[side] = _elbows(
                side,
                wrist,
                distal[side],
                palmar[side],
                keypoints_m[1 - side] - wrists_m[side] + wrist,
                clear_of_hand_m,
                forearms[side],
            )
            if counts[side] == 0:
                break
        if counts[0] == 0 or counts[1] == 0:
            continue
        for i in range(counts[0]):
            for j in range(counts[1]):
                if _forearms_clear(wrists_m[0], forearms[0, i], wrists_m[1], forearms[1, j]):
                    return True
    return False


@compiled
def _elbows(side, wrist, distal, palmar, others, clear_of_hand_m, found):
    """Fills `found` with directions wrist to elbow that the arm can take; how many."""
    shoulder = _SHOULDERS_M[side]
    reach = wrist - shoulder
    length = np.sqrt(reach[0] ** 2 + reach[1] ** 2 + reach[2] ** 2)
    if not abs(_UPPER_ARM_M - _FOREARM_M) + 0.08 < length < _UPPER_ARM_M + _FOREARM_M - 0.002:
        return 0
    axis = reach / length
    along = (_UPPER_ARM_M**2 - _FOREARM_M**2 + length**2) / (2.0 * length)
    radius = np.sqrt(max(_UPPER_ARM_M**2 - along**2, 0.0))
    outward = np.array([-1.0 if side == 0 else 1.0, -0.6, -0.3])
    first = outward - axis * (axis[0] * outward[0] + axis[1] * outward[1] + axis[2] * outward[2])
    first /= np.sqrt(first[0] ** 2 + first[1] ** 2 + first[2] ** 2)
    second = np.cross(axis, first)
    count = 0
    for k in range(_SWIVELS):
        turn = 2.0 * np.pi * k / _SWIVELS
        elbow = shoulder + axis * along + radius * (np.cos(turn) * first + np.sin(turn) * second)
        if elbow[1] > shoulder[1] + _ELBOW_ABOVE_SHOULDER_M:
            continue
        if (elbow[0] / _TORSO_X_M) ** 2 + (elbow[2] / _TORSO_Z_M) ** 2 < 1.0:
            continue
        upper, forearm = (elbow - shoulder) / _UPPER_ARM_M, (wrist - elbow) / _FOREARM_M
        if _wrist_bends(side, forearm, distal, palmar) and _forearm_turns(side, upper, forearm, palmar):
            clear = True
            for p in range(others.shape[0]):
                clear &= _distance_to_forearm(others[p], wrist, -forearm) > clear_of_hand_m
            if clear:
                found[count] = -forearm
                count += 1
    return count


@compiled
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def _wrist_bends(side, forearm, distal, palmar):
    """Whether the angles between forearm and hand are within the wrist's two ranges."""
    flexion = np.arctan2(-_dot(forearm, palmar), _dot(forearm, distal))
    # distal x palmar points to the thumb of a right hand and away from that of a left one.
    radial = (1.0 if side == 0 else -1.0) * np.cross(distal, palmar)
    deviation = np.arcsin(min(1.0, max(-1.0, -_dot(forearm, radial))))
    return (-_MOST_EXTENDED_RAD < flexion < _MOST_FLEXED_RAD) and (-_MOST_ULNAR_RAD < deviation < _MOST_RADIAL_RAD)


@compiled
def _forearm_turns(side, upper, forearm, palmar):
    """Whether pronation and supination can turn the palm so: from neutral, palm to the midline, either way."""
    sign = -1.0 if side == 0 else 1.0
    hinge = sign * np.cross(upper, forearm)
    square = _dot(hinge, hinge)
    if square < 1e-6:
        return True  # a straight arm turns at the shoulder
    hinge /= np.sqrt(square)
    across = palmar - forearm * _dot(forearm, palmar)
    square = _dot(across, across)
    if square < 1e-6:
        return False
    return _dot(across, hinge) / np.sqrt(square) > np.cos(_MOST_TURNED_RAD)


@compiled
def _distance_to_forearm(point, wrist, backward):
    """Distance from a point to the shown part of a forearm, which leaves the wrist along `backward`."""
    along = min(max(_dot(point - wrist, backward), 0.0), _SHOWN_M)
    away = point - wrist - along * backward
    return np.sqrt(_dot(away, away))


@compiled
def _forearms_clear(first_wrist, first, second_wrist, second):
    """Whether two forearms, sampled along their shown parts, keep apart."""
    for k in range(1, 6):
        point = first_wrist + (_SHOWN_M * k / 5.0) * first
        if _distance_to_forearm(point, second_wrist, second) < _CLEAR_OF_FOREARM_M:
            return False
    return True
