"""The shape space: sampled bodies, principal components, joint regressor."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import nnls

from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import N_BETAS, N_JOINTS
from tools.open_hand.frame import RestHand

_SUPPORT = 80  # vertices near a joint that may carry its regressor
_SUM_WEIGHT = 50.0  # how strongly a row of the regressor is held to sum 1


class ShapeSpace(NamedTuple):
    """Mean hand and scaled principal directions: vertices = mean + dirs @ betas, betas ~ N(0, 1)."""

    template_m: FloatArray  # (V, 3)
    shapedirs_m: FloatArray  # (V, 3, 10)
    explained: float  # share of the sampled variance that ten components hold


def principal_shapes(samples_m: FloatArray) -> ShapeSpace:
    """PCA of sampled vertices (N, V, 3). Sign: a positive beta enlarges what moves most in x."""
    n, v = samples_m.shape[:2]
    template_m = samples_m.mean(axis=0)
    offsets = (samples_m - template_m).reshape(n, -1)
    _, singular, directions = np.linalg.svd(offsets, full_matrices=False)
    directions = fixed_signs(directions[:N_BETAS])
    scaled = directions * (singular[:N_BETAS, None] / np.sqrt(n - 1))
    explained = float((singular[:N_BETAS] ** 2).sum() / (singular**2).sum())
    return ShapeSpace(
        template_m,
        np.ascontiguousarray(scaled.reshape(N_BETAS, v, 3).transpose(1, 2, 0)),
        explained,
    )


def fixed_signs(rows: FloatArray) -> FloatArray:
    """Rows negated where their largest entry is positive: an SVD leaves the signs open.

    The fingers point along -x, so the first shape direction then lengthens the hand.
    """
    largest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    return rows * -np.sign(largest)[:, None]


def joint_regressor(samples: list[RestHand], vertices_m: FloatArray) -> FloatArray:
    """(16, V): non-negative local weights that give the joints of all samples from their vertices.

    vertices_m (N, V, 3) are the samples on the final mesh.
    """
    joints_m = np.stack([sample.joints_m for sample in samples])
    mean_m, mean_joints_m = vertices_m.mean(axis=0), joints_m.mean(axis=0)
    regressor = np.zeros((N_JOINTS, vertices_m.shape[1]))
    for j in range(N_JOINTS):
        near = np.argsort(np.linalg.norm(mean_m - mean_joints_m[j], axis=1), kind="stable")
        near = near[:_SUPPORT]
        system = vertices_m[:, near].transpose(0, 2, 1).reshape(-1, _SUPPORT)
        system = np.vstack([system, np.full((1, _SUPPORT), _SUM_WEIGHT)])
        row, _ = nnls(system, np.append(joints_m[:, j].ravel(), _SUM_WEIGHT))
        regressor[j, near] = row / row.sum()
    return regressor
