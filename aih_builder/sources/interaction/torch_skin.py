"""Skinning that can be differentiated: anatomical angles in, vertices out, for a batch of hands of one side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS, N_JOINTS

if TYPE_CHECKING:
    from torch import Tensor

_BASES = np.array(list(FINGERS.values()))


class Motions(NamedTuple):
    """Rigid motions of a batch: x -> rotation @ x + translation_m."""

    rotation: Tensor  # (n, 3, 3)
    translation_m: Tensor  # (n, 3)


class TorchSkin:
    """One hand model in float32 torch, for a fixed batch of shapes, betas (n, 10)."""

    def __init__(self, arrays: HandArrays, betas: np.ndarray) -> None:
        import torch

        def tensor(array: np.ndarray) -> Tensor:
            return torch.tensor(np.ascontiguousarray(array), dtype=torch.float32)

        rest = arrays.v_template + np.einsum("vcb,nb->nvc", arrays.shapedirs, betas)
        self._rest_m = tensor(rest)  # (n, V, 3)
        self._joints_m = tensor(np.einsum("jv,nvc->njc", arrays.J_regressor, rest))  # (n, 16, 3)
        self._posedirs = tensor(arrays.posedirs.reshape(-1, 9 * (N_JOINTS - 1)).T)  # (135, 3 V)
        self._weights = tensor(arrays.weights)  # (V, 16)
        self._cross = tensor(_cross_matrices(arrays.dof_axes[1:]))  # (15, 3, 3, 3)
        self._eye = torch.eye(3)

    def vertices_m(self, angles_rad: Tensor, motions: Motions) -> Tensor:
        """Vertices (n, V, 3) of angles (n, 16, 3), the root unturned, then moved."""
        import torch

        local = self._local_rotations(angles_rad[:, 1:])  # (n, 15, 3, 3)
        n = local.shape[0]
        feature = (local - self._eye).reshape(n, -1)  # (n, 135)
        shaped = self._rest_m + (feature @ self._posedirs).reshape(n, -1, 3)
        rotations, offsets = self._chain(local)  # (n, 16, 3, 3), (n, 16, 3)
        moved = torch.einsum("nab,njbc->njac", motions.rotation, rotations)
        shift = torch.einsum("nab,njb->nja", motions.rotation, offsets) + motions.translation_m[:, None]
        full = torch.cat([moved.reshape(n, N_JOINTS, 9), shift], dim=2)  # (n, 16, 12)
        blended = torch.einsum("vj,njk->nvk", self._weights, full)  # (n, V, 12)
        turned = (blended[..., :9].reshape(n, -1, 3, 3) * shaped[:, :, None, :]).sum(dim=3)
        return turned + blended[..., 9:]

    def _local_rotations(self, angles_rad: Tensor) -> Tensor:
        """Rotations (n, 15, 3, 3): R(flexion) R(abduction) R(twist), each by Rodrigues' formula."""
        sine = angles_rad.sin()[..., None, None]
        versine = 1.0 - angles_rad.cos()[..., None, None]
        turns = self._eye + sine * self._cross + versine * (self._cross @ self._cross)  # (n, 15, 3, 3, 3)
        return turns[:, :, 0] @ turns[:, :, 1] @ turns[:, :, 2]

    def _chain(self, local: Tensor) -> tuple[Tensor, Tensor]:
        """Global rotation of each joint, and where it carries the origin: x -> R x + offset."""
        import torch

        n = local.shape[0]
        rotations = [self._eye.expand(n, 3, 3)] * N_JOINTS
        offsets = [torch.zeros(n, 3)] * N_JOINTS
        for depth in range(3):
            for base in _BASES:
                j = int(base) + depth
                turn = local[:, j - 1] if depth == 0 else rotations[j - 1] @ local[:, j - 1]
                place = self._joints_m[:, j]
                if depth > 0:
                    place = (rotations[j - 1] @ place[..., None])[..., 0] + offsets[j - 1]
                rotations[j] = turn
                offsets[j] = place - (turn @ self._joints_m[:, j][..., None])[..., 0]
        return torch.stack(rotations, dim=1), torch.stack(offsets, dim=1)


def rotations_of(rotvecs: Tensor) -> Tensor:
    """Rotation matrices (n, 3, 3) of axis-angle vectors (n, 3), differentiable at 0."""
    import torch

    x, y, z = rotvecs.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(-1, 3, 3)
    return torch.linalg.matrix_exp(cross)


def _cross_matrices(axes: np.ndarray) -> np.ndarray:
    """Cross-product matrices (15, 3, 3, 3) of unit axes (15, 3, 3)."""
    x, y, z = axes[..., 0], axes[..., 1], axes[..., 2]
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*axes.shape, 3)
