"""Cuts the right hand, with a short piece of forearm, out of the body."""

from typing import NamedTuple

import numpy as np

from aih_builder.geometry import FloatArray
from tools.open_hand.makehuman import BaseMesh
from tools.open_hand.meshes import compacted, largest_component

FOREARM = 0.60  # decimetres kept behind the wrist joint
_REACH = 3.2  # decimetres; beyond any finger
_ARM_BONES = ("finger", "metacarpal", "wrist", "lowerarm")

# MANO's finger order, in MakeHuman's numbers: index, middle, little, ring, thumb.
FINGER_NUMBERS = (2, 3, 5, 4, 1)
JOINT_CUBES = (
    "joint-r-hand",
    *(f"joint-r-finger-{finger}-{k}" for finger in FINGER_NUMBERS for k in (1, 2, 3)),
)
TIP_CUBES = tuple(f"joint-r-finger-{finger}-4" for finger in FINGER_NUMBERS)
_BONES = ("wrist", *(f"finger{finger}-{k}" for finger in FINGER_NUMBERS for k in (1, 2, 3)))


class HandCut(NamedTuple):
    """The hand's skin. Faces and weights number its own vertices."""

    vertex_ids: np.ndarray  # (V,) into the base mesh
    faces: np.ndarray  # (F, 3)
    source_uv: FloatArray  # (F, 3, 2): base mesh UVs at the faces' corners
    weights: FloatArray  # (V, 16), MakeHuman's, metacarpals merged into the wrist


def cut_hand(base: BaseMesh, rig: dict[str, list[tuple[int, float]]]) -> HandCut:
    """Select, triangulate and weigh the right hand of the base mesh."""
    kept = _arm_vertices(base, rig)
    faces, uv_faces = _triangles(base, kept)
    connected = largest_component(faces)
    vertex_ids, faces = compacted(faces[connected])
    source_uv = base.uv[uv_faces[connected]]
    return HandCut(vertex_ids, faces, source_uv, _bone_weights(rig, len(base.vertices))[vertex_ids])


def _arm_vertices(base: BaseMesh, rig: dict[str, list[tuple[int, float]]]) -> np.ndarray:
    """Mask (N,) of the base mesh's vertices that belong to the right hand and wrist."""
    v = base.vertices
    wrist = v[base.groups["joint-r-hand"]].mean(axis=0)
    forearm = wrist - v[base.groups["joint-r-elbow"]].mean(axis=0)
    forearm /= np.linalg.norm(forearm)
    arm_weight = np.zeros(len(v))
    for bone, pairs in rig.items():
        if bone.endswith(".R") and bone.startswith(_ARM_BONES):
            for vertex, weight in pairs:
                arm_weight[vertex] += weight
    return (
        ((v - wrist) @ forearm > -FOREARM)
        & (v[:, 0] < 0)
        & (np.linalg.norm(v - wrist, axis=1) < _REACH)
        & (arm_weight > 0.9)
    )


def _triangles(base: BaseMesh, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces whose vertices are all kept, quads split along their shorter diagonal."""
    faces, uv_faces = [], []
    for face, uv_face in zip(base.faces, base.uv_faces, strict=True):
        if not kept[face].all():
            continue
        corners = [(0, 1, 2)]
        if len(face) == 4:
            a, b, c, d = base.vertices[face]
            first = np.linalg.norm(a - c) <= np.linalg.norm(b - d)
            corners = [(0, 1, 2), (0, 2, 3)] if first else [(0, 1, 3), (1, 2, 3)]
        faces += [[face[k] for k in triangle] for triangle in corners]
        uv_faces += [[uv_face[k] for k in triangle] for triangle in corners]
    return np.array(faces), np.array(uv_faces)


def _bone_weights(rig: dict[str, list[tuple[int, float]]], n_vertices: int) -> FloatArray:
    """(N, 16): weights of MANO's joints; rows sum to 1 on the hand, to less elsewhere."""
    joint_of = {bone: joint for joint, bone in enumerate(_BONES)}
    weights = np.zeros((n_vertices, len(_BONES)))
    for name, pairs in rig.items():
        bone = name.removesuffix(".R")
        if bone == name:
            continue
        joint = joint_of.get(bone)
        if joint is None and bone.startswith(("metacarpal", "lowerarm")):
            joint = 0
        if joint is not None:
            for vertex, weight in pairs:
                weights[vertex, joint] += weight
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)
