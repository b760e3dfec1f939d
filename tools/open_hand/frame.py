"""Puts every sampled hand into one rest frame: metres, right hand, fingers along -x, palm -y, thumb +z."""

from typing import NamedTuple

import numpy as np

from aih_builder.geometry import FloatArray, rotation_matrix
from aih_builder.hands.conventions import FINGERS, N_JOINTS
from tools.open_hand.skinning import skin

# MakeHuman's hands are long for their bodies; this brings the mean wrist-to-middle-tip length to 178 mm.
METRES_PER_UNIT = 0.1 * 0.94
WRIST_M = np.array([0.0955, 0.0063, 0.0062])

# How far the base of the thumb moves from MakeHuman's place (mid-palm) towards the wrist.
_THUMB_SHIFT = 0.42
_CURL_KEPT = 0.12
_PALMAR_KEPT, _FAN_KEPT = 0.25, 0.65  # of the fingers' slope out of the palm, and of their spread


class RestHand(NamedTuple):
    """One hand at rest."""

    vertices_m: FloatArray  # (V, 3)
    joints_m: FloatArray  # (16, 3)
    tips_m: FloatArray  # (5, 3): bone ends of index, middle, little, ring, thumb


def to_rest(vertices: FloatArray, joints: FloatArray, tips: FloatArray, weights: FloatArray) -> RestHand:
    """Scale, align at the wrist, straighten the four fingers. Input in MakeHuman's units and axes."""
    origin = joints[0]
    axes = _hand_axes(joints)
    vertices_m, joints_m, tips_m = (
        ((points - origin) * METRES_PER_UNIT) @ axes.T for points in (vertices, joints, tips)
    )
    rotations = _straightening(joints_m, tips_m)
    posed = skin(vertices_m, joints_m, rotations, weights)
    last = posed.joint_transforms[3::3]
    tips_m = np.einsum("fab,fb->fa", last[:, :3, :3], tips_m) + last[:, :3, 3]
    joints_m = posed.joints
    thumb = FINGERS["thumb"]
    joints_m[thumb] += _THUMB_SHIFT * (joints_m[0] - joints_m[thumb])
    return RestHand(posed.vertices + WRIST_M, joints_m + WRIST_M, tips_m + WRIST_M)


def _hand_axes(joints: FloatArray) -> FloatArray:
    """Rows x, y, z of the hand's frame: x from middle knuckle to wrist, z from little to index."""
    x = joints[0] - joints[FINGERS["middle"]]
    x = x / np.linalg.norm(x)
    z = joints[FINGERS["index"]] - joints[FINGERS["little"]]
    z = z - x * (z @ x)
    z = z / np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z])


def _straightening(joints_m: FloatArray, tips_m: FloatArray) -> FloatArray:
    """Local rotations (16, 3, 3) that flatten the fingers and narrow their fan; the thumb stays."""
    rotations = np.tile(np.eye(3), (N_JOINTS, 1, 1))
    for finger, first in enumerate((1, 4, 7, 10)):
        points = np.concatenate([joints_m[first : first + 3], tips_m[finger : finger + 1]])
        bones = np.diff(points, axis=0)
        goal = bones[0] / np.linalg.norm(bones[0]) * [1.0, _PALMAR_KEPT, _FAN_KEPT]
        goal /= np.linalg.norm(goal)
        turned = np.eye(3)
        for k, bone in enumerate(bones):
            now = turned @ bone / np.linalg.norm(bone)
            wanted = goal * (1 - _CURL_KEPT) + now * _CURL_KEPT
            before, turned = turned, _rotation_between(now, wanted) @ turned
            rotations[first + k] = before.T @ turned
    return rotations


def _rotation_between(a: FloatArray, b: FloatArray) -> FloatArray:
    """The shortest rotation that turns direction a to direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    if sine < 1e-8:
        return np.eye(3)
    return rotation_matrix(axis / sine * np.arctan2(sine, a @ b))
