"""What the solver minimises: pulls between regions, depth in one another and in oneself, distance from the start.

Penetration and distance are a proxy: between vertices and the nearest vertices, which are looked up anew every few
steps. What is accepted in the end is decided by sources/contact.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.interaction.families import MOVER, STILL, Pull
from aih_builder.sources.interaction.nearest import nearest_between, nearest_of, vertex_normals
from aih_builder.sources.interaction.regions import regions_of

if TYPE_CHECKING:
    from torch import Tensor

_REACH_M = 0.022  # penetration is looked for between vertices so near
_SELF_SLACK_MM = 0.5
_ROLES = (MOVER, STILL)


class HandParts:
    """What the energy needs to know of one model."""

    def __init__(self, arrays: HandArrays) -> None:
        self.faces = np.ascontiguousarray(arrays.faces)
        self.regions = regions_of(arrays)
        part = arrays.weights.argmax(axis=1)
        vertices = np.arange(len(part))
        # Outer phalanges of each finger against all but that finger.
        self.tested = [np.flatnonzero((part == base + 1) | (part == base + 2)) for base in FINGERS.values()]
        self.others = [vertices[(part < base) | (part > base + 2)] for base in FINGERS.values()]


class _Pairs:
    """Vertices of two meshes to be compared: indices into flattened batches, and the second's normals."""

    def __init__(self, one: np.ndarray, two: np.ndarray, normals: np.ndarray, row: np.ndarray) -> None:
        import torch

        self.one, self.two = torch.from_numpy(one), torch.from_numpy(two)
        self.row = torch.from_numpy(row)
        self.normals = torch.from_numpy(normals)

    def depth_mm(self, one_m: Tensor, two_m: Tensor) -> Tensor:
        """How far each point of the first lies below the tangent plane of the second."""
        away = one_m.reshape(-1, 3)[self.one] - two_m.reshape(-1, 3)[self.two]
        return -1000.0 * (away * self.normals).sum(dim=1)


class Energy:
    """The energy of a batch of n pairs. Roles: 0 mover, 1 still."""

    def __init__(
        self, parts: tuple[HandParts, HandParts], pulls: list[tuple[Pull, ...]], margin_mm: np.ndarray
    ) -> None:
        import torch

        self._parts = parts
        # Rows with the same pulls are looked up together.
        self._groups = [
            (pull, np.array([row for row, own in enumerate(pulls) if pull in own]))
            for pull in dict.fromkeys(p for own in pulls for p in own)
        ]
        self._margin_mm = torch.tensor(margin_mm, dtype=torch.float32)

    def look_up(self, vertices_m: tuple[np.ndarray, np.ndarray]) -> None:
        """Find anew what is near what, for vertices (n, V, 3) of mover and still."""
        normals = [vertex_normals(v, p.faces) for v, p in zip(vertices_m, self._parts, strict=True)]
        found = nearest_between(*vertices_m, np.float32(_REACH_M))
        self._between = [_paired(found[i], vertices_m[1 - i].shape[1], normals[1 - i]) for i in (0, 1)]
        self._within = [self._self_pairs(vertices_m[i], self._parts[i], normals[i]) for i in (0, 1)]
        self._pulled = [self._pulled_pairs(vertices_m, pull, rows) for pull, rows in self._groups]

    def _self_pairs(self, vertices_m: np.ndarray, parts: HandParts, normals: np.ndarray) -> _Pairs:
        v = vertices_m.shape[1]
        one, two = [], []
        for tested, others in zip(parts.tested, parts.others, strict=True):
            nearest, distance_m = nearest_of(vertices_m, vertices_m, tested, others)
            row, column = np.nonzero(distance_m < _REACH_M)
            one.append(row * v + tested[column])
            two.append(row * v + nearest[row, column])
        flat_one, flat_two = np.concatenate(one), np.concatenate(two)
        return _Pairs(flat_one, flat_two, normals.reshape(-1, 3)[flat_two], flat_one // v)

    def _pulled_pairs(
        self, vertices_m: tuple[np.ndarray, np.ndarray], pull: Pull, rows: np.ndarray
    ) -> tuple[int, int, Tensor, Tensor, Tensor]:
        import torch

        i, j = _ROLES.index(pull.one[0]), _ROLES.index(pull.two[0])
        queries, targets = self._parts[i].regions[pull.one[1]], self._parts[j].regions[pull.two[1]]
        nearest, distance_m = nearest_of(vertices_m[i][rows], vertices_m[j][rows], queries, targets)
        count = max(1, round(pull.share * len(queries)))
        best = np.argsort(distance_m, axis=1, kind="stable")[:, :count]
        one = rows[:, None] * vertices_m[i].shape[1] + queries[best]
        two = rows[:, None] * vertices_m[j].shape[1] + np.take_along_axis(nearest, best, axis=1)
        return i, j, torch.from_numpy(one), torch.from_numpy(two), torch.from_numpy(rows)

    def pull(self, vertices_m: tuple[Tensor, Tensor]) -> Tensor:
        """Mean squared excess distance, mm^2, of what is pulled: (n,)."""
        import torch

        total = torch.zeros(vertices_m[0].shape[0])
        for (pull, _), (i, j, one, two, rows) in zip(self._groups, self._pulled, strict=True):
            away = vertices_m[i].reshape(-1, 3)[one] - vertices_m[j].reshape(-1, 3)[two]
            distance_mm = 1000.0 * (away.square().sum(dim=2) + 1e-12).sqrt()
            gap_mm = pull.gap_mm + self._margin_mm[rows][:, None]
            # Beyond 12 mm the force is constant: what is far shall not tear at what is near.
            excess = torch.nn.functional.huber_loss(
                (distance_mm - gap_mm).clamp(min=0.0), torch.zeros_like(distance_mm), reduction="none", delta=12.0
            )
            total = total.index_add(0, rows, 2.0 * pull.weight * excess.mean(dim=1))
        return total

    def depth(self, vertices_m: tuple[Tensor, Tensor]) -> Tensor:
        """Squared depth of each hand in the other, beyond the margin, mm^2, summed over vertices: (n,)."""
        import torch

        total = torch.zeros(vertices_m[0].shape[0])
        for i, pairs in enumerate(self._between):
            deep = (pairs.depth_mm(vertices_m[i], vertices_m[1 - i]) + self._margin_mm[pairs.row]).clamp(min=0.0)
            total = total.index_add(0, pairs.row, deep.square())
        return total

    def self_depth(self, vertices_m: tuple[Tensor, Tensor]) -> Tensor:
        """Squared depth of fingers in other parts of their hand, mm^2, summed over vertices: (n,)."""
        import torch

        total = torch.zeros(vertices_m[0].shape[0])
        for i, pairs in enumerate(self._within):
            deep = (pairs.depth_mm(vertices_m[i], vertices_m[i]) - _SELF_SLACK_MM).clamp(min=0.0)
            total = total.index_add(0, pairs.row, deep.square())
        return total


def _paired(nearest: np.ndarray, width: int, normals: np.ndarray) -> _Pairs:
    row, column = np.nonzero(nearest >= 0)
    one = row * nearest.shape[1] + column
    two = row * width + nearest[row, column]
    return _Pairs(one, two, normals.reshape(-1, 3)[two], row)
