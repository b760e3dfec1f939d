"""Near-equal poses: clusters of entries that are closer than a radius, directly or through others between them."""

from typing import NamedTuple

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.sources.pools import linked

CLUSTER_RADIUS_MM = 8.0

_CHUNK = 256


def clusters_of(descriptor_mm: FloatArray, radius_mm: float) -> np.ndarray:
    """Cluster of each entry (N,) int64, as the number of its first entry, for descriptors (N, D).

    Entries nearer than the radius (root mean square over joints, see pose_distance.py) share a cluster, and so do
    entries linked by such steps: two entries of different clusters are always at least the radius apart.
    """
    count = len(descriptor_mm)
    rows, columns = [], []
    for first in range(0, count, _CHUNK):
        near = distances_mm(descriptor_mm[first : first + _CHUNK], descriptor_mm) < radius_mm
        row, column = np.nonzero(near)
        rows.append(row + first)
        columns.append(column)
    return linked(np.concatenate(rows), np.concatenate(columns), count)


def distances_mm(one: FloatArray, two: FloatArray) -> FloatArray:
    """Root mean square joint distances (N, M), mm, of descriptors (N, 3 J) and (M, 3 J)."""
    squares = np.zeros((len(one), len(two)))
    for k in range(one.shape[1]):
        squares += (one[:, k, None] - two[None, :, k]) ** 2
    return np.sqrt(squares / (one.shape[1] / 3))


class Nearest(NamedTuple):
    """Distances to the nearest entry of another split, mm."""

    least_mm: float
    median_mm: float


def nearest_across(descriptor_mm: FloatArray, one: np.ndarray, two: np.ndarray) -> Nearest | None:
    """From entries of mask `one` (N,) to the nearest of mask `two`; None where either is empty."""
    if not one.any() or not two.any():
        return None
    nearest = distances_mm(descriptor_mm[one], descriptor_mm[two]).min(axis=1)
    return Nearest(float(nearest.min()), float(np.median(nearest)))
