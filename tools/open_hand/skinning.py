"""Skinning weights of the hand, and plain linear blend skinning for the builder's own use."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import FINGERS, N_JOINTS, PARENTS

_MAX_BONES = 4
_LEAST_WEIGHT = 0.004
_THUMB = FINGERS["thumb"]


class Skinned(NamedTuple):
    """Skinned vertices, joints, and the transforms that made them."""

    vertices: FloatArray  # (V, 3)
    joints: FloatArray  # (16, 3)
    joint_transforms: FloatArray  # (16, 4, 4), rest to posed
    vertex_transforms: FloatArray  # (V, 4, 4), rest to posed


def skin(vertices: FloatArray, joints: FloatArray, rotations: FloatArray, weights: FloatArray) -> Skinned:
    """Linear blend skinning by local joint rotations (16, 3, 3)."""
    chain = np.tile(np.eye(4), (N_JOINTS, 1, 1))
    for j, parent in enumerate(PARENTS):
        chain[j, :3, :3] = rotations[j]
        chain[j, :3, 3] = joints[j] - (joints[parent] if j else 0)
        if j:
            chain[j] = chain[parent] @ chain[j]
    posed_joints = chain[:, :3, 3].copy()
    chain[:, :3, 3] -= np.einsum("jab,jb->ja", chain[:, :3, :3], joints)
    blended = np.einsum("vj,jab->vab", weights, chain)
    posed = np.einsum("vab,vb->va", blended[:, :3, :3], vertices) + blended[:, :3, 3]
    return Skinned(posed, posed_joints, chain, blended)


def finished(weights: FloatArray, neighbours: sp.csr_matrix, passes: int = 2) -> FloatArray:
    """Smoothed weights with at most four joints per vertex, rows summing to 1."""
    out = weights / weights.sum(axis=1, keepdims=True)
    for _ in range(passes):
        out = 0.5 * out + 0.5 * (neighbours @ out)
    return sparse_rows(out)


def sparse_rows(weights: FloatArray) -> FloatArray:
    """Rows with their four largest entries only, summing to 1."""
    out = np.where(weights < _LEAST_WEIGHT, 0.0, weights)
    fourth = np.sort(out, axis=1)[:, -_MAX_BONES, None]
    out[out < fourth] = 0.0
    return out / out.sum(axis=1, keepdims=True)


def with_long_thumb(
    weights: FloatArray, vertices: FloatArray, joints: FloatArray, neighbours: sp.csr_matrix
) -> FloatArray:
    """Weights in which the first metacarpal moves the whole ball of the thumb.

    MakeHuman's first thumb bone starts in mid-palm. Once the joint is moved back to the wrist (see frame.py),
    the flesh around the longer bone must follow it: fully near its head, not at all behind its base, and less
    with the distance from the bone, so that the web and the palm stretch instead of folding.
    """
    base, head = joints[_THUMB], joints[_THUMB + 1]
    bone = head - base
    along = (vertices - base) @ bone / (bone @ bone)
    foot = base + np.clip(along, 0, 1.4)[:, None] * bone
    distance_m = np.linalg.norm(vertices - foot, axis=1)
    near = smoothstep(distance_m, 0.034, 0.011) * smoothstep(along, -0.30, 0.62)
    for _ in range(6):
        near = 0.5 * near + 0.5 * (neighbours @ near)
    old = weights[:, _THUMB : _THUMB + 3].sum(axis=1)
    new = np.maximum(old, near)
    out = weights * np.where(old < 1, (1 - new) / np.maximum(1 - old, 1e-9), 1.0)[:, None]
    out[:, _THUMB + 1 : _THUMB + 3] = weights[:, _THUMB + 1 : _THUMB + 3]
    out[:, _THUMB] = new - weights[:, _THUMB + 1 : _THUMB + 3].sum(axis=1)
    return sparse_rows(np.maximum(out, 0))


def smoothstep(x: FloatArray, zero_at: float, one_at: float) -> FloatArray:
    """0 at one end, 1 at the other, smooth between; zero_at may be the larger."""
    t = np.clip((x - zero_at) / (one_at - zero_at), 0, 1)
    return t * t * (3 - 2 * t)
