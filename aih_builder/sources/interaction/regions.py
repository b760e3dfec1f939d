"""Named regions of a hand's skin, read off any model's weights, joints and flexion axes."""

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.anatomy import FLEXION
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.placement import hand_frame

FOUR = ("index", "middle", "ring", "little")
_FACING = 0.25  # cosine between a normal and the palmar direction
_WRIST_M = 0.012  # the wrist's region ends so far beyond the wrist joint
_TIP_FROM = 0.45  # a fingertip's region begins at this share of the last bone


def regions_of(arrays: HandArrays) -> dict[str, np.ndarray]:
    """Vertices of each region, sorted.

    palm, back: the two faces of the hand without its fingers; wrist: all around, up to 12 mm beyond the joint.
    For each finger F: F (all), F-pad (palmar, two outer phalanges), F-tip (pad and end of the last phalanx),
    F-shaft (two outer phalanges, all around), F-dorsal (back of the two inner phalanges).
    Unions: pads (four fingers), palmar (palm, pads and the inner phalanges' palmar side), dorsal (back and F-dorsal of
    four fingers), shafts (four fingers), all.
    """
    frame = hand_frame(arrays)
    normals = rest_normals(arrays)
    part = arrays.weights.argmax(axis=1)
    joints_m = arrays.J_regressor @ arrays.v_template
    along_m = (arrays.v_template - joints_m[0]) @ frame.distal
    facing = normals @ frame.palmar
    hand = (part == 0) & (along_m > _WRIST_M / 2)
    masks: dict[str, np.ndarray] = {
        "palm": hand & (facing > _FACING),
        "back": hand & (facing < -_FACING),
        "wrist": (part == 0) & (along_m < _WRIST_M),
        "all": np.ones(len(part), bool),
    }
    inner_palmar = np.zeros(len(part), bool)
    for finger, base in FINGERS.items():
        tip = arrays.v_template[arrays.tip_vertices[list(FINGERS).index(finger)]]
        ends = (*joints_m[base + 1 : base + 3], tip)
        palmar, dorsal, end = (np.zeros(len(part), bool) for _ in range(3))
        for k, joint in enumerate(range(base, base + 3)):
            bone = ends[k] - joints_m[joint]
            toward = np.cross(arrays.dof_axes[joint, FLEXION], bone)
            toward = toward / np.linalg.norm(toward)
            mine = part == joint
            palmar |= mine & (normals @ toward > _FACING)
            dorsal |= mine & (normals @ toward < -_FACING)
            if k == 2:
                share = (arrays.v_template - joints_m[joint]) @ bone / (bone @ bone)
                end = mine & (share > _TIP_FROM) & (normals @ toward > -_FACING)
        outer = (part == base + 1) | (part == base + 2)
        masks[finger] = (part >= base) & (part <= base + 2)
        masks[f"{finger}-pad"] = palmar & outer
        masks[f"{finger}-tip"] = end
        masks[f"{finger}-shaft"] = outer
        masks[f"{finger}-dorsal"] = dorsal & (part <= base + 1)
        if finger in FOUR:
            inner_palmar |= palmar & ~outer
    for union, members in (
        ("pads", [f"{f}-pad" for f in FOUR]),
        ("shafts", [f"{f}-shaft" for f in FOUR]),
        ("dorsal", ["back", *(f"{f}-dorsal" for f in FOUR)]),
    ):
        masks[union] = np.any([masks[m] for m in members], axis=0)
    masks["palmar"] = masks["palm"] | masks["pads"] | inner_palmar
    return {name: np.flatnonzero(mask) for name, mask in masks.items()}


def rest_normals(arrays: HandArrays) -> FloatArray:
    """Unit vertex normals (V, 3) of the mean hand at rest."""
    corners = arrays.v_template[arrays.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(arrays.v_template)
    for k in range(3):
        np.add.at(normals, arrays.faces[:, k], across)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)
