"""Noise in 3D space from hashed lattices: no tables, no state, the same bits for the same (points, seed).

Every function takes points (N, 3) in the unit of its cell size and returns float64 (N,). Seeds are independent.
"""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray

# Gradient noise of this kind has this standard deviation; noise() divides by it.
_GRADIENT_STD = 0.193


def noise(points: FloatArray, cell: float, seed: int) -> FloatArray:
    """Smooth noise of mean 0 and standard deviation 1 (N,); features are about one cell wide."""
    return _gradient_noise(np.ascontiguousarray(points) / cell, np.uint64(seed)) / _GRADIENT_STD


def fbm(points: FloatArray, cell: float, seed: int, octaves: int = 3, finest: float = 0.0) -> FloatArray:
    """Sum of octaves, each half as wide and half as strong (N,), standard deviation 1.

    Octaves with cells below `finest` are left out, so that no detail falls between texels.
    """
    total = np.zeros(len(points))
    power = 0.0
    for octave in range(octaves):
        if octave and cell / 2**octave < finest:
            break
        total += noise(points, cell / 2**octave, seed + 7919 * octave) * 0.5**octave
        power += 0.25**octave
    return total / np.sqrt(power)


def cells(points: FloatArray, cell: float, seed: int) -> FloatArray:
    """Cell pattern (N,): 0 on the borders between random cells, about 1 at their middle."""
    return _cell_borders(np.ascontiguousarray(points) / cell, np.uint64(seed))


def spots(
    points: FloatArray,
    cell: float,
    seed: int,
    share: float,
    radius: float,
    size_spread: float = 0.5,
) -> FloatArray:
    """Scattered soft round spots (N,), 0 to 1: one in each cell with probability `share`.

    radius is the largest radius; sizes go down to (1 - size_spread) of it, and strengths vary as sizes do.
    """
    return _spots(
        np.ascontiguousarray(points) / cell,
        np.uint64(seed),
        float(share),
        float(radius / cell),
        float(size_spread),
    )


@compiled
def _hash(i, j, k, seed):
    """Mix three lattice indices and a seed into 64 bits (multiply and xor-shift rounds)."""
    h = seed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
    h = (h ^ np.uint64(i)) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(29)) ^ np.uint64(j)) * np.uint64(0x94D049BB133111EB)
    h = (h ^ (h >> np.uint64(32)) ^ np.uint64(k)) * np.uint64(0xD6E8FEB86659FD93)
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0xBF58476D1CE4E5B9)
    return h ^ (h >> np.uint64(29))


@compiled
def _unit(h, shift):
    """16 of the 64 bits as a number in [0, 1)."""
    return float((h >> np.uint64(shift)) & np.uint64(0xFFFF)) / 65536.0


@compiled
def _corner(i, j, k, seed, x, y, z):
    """A random gradient at lattice corner (i, j, k), times the offset (x, y, z) from it."""
    h = _hash(i, j, k, seed)
    gx, gy, gz = 2 * _unit(h, 0) - 1, 2 * _unit(h, 16) - 1, 2 * _unit(h, 32) - 1
    return gx * x + gy * y + gz * z


@compiled
def _gradient_noise(points, seed):
    out = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        i = int(np.floor(points[n, 0]))
        j = int(np.floor(points[n, 1]))
        k = int(np.floor(points[n, 2]))
        x, y, z = points[n, 0] - i, points[n, 1] - j, points[n, 2] - k
        # Quintic weights: continuous curvature, so relief made of the noise has no lattice lines.
        u = x * x * x * (x * (6 * x - 15) + 10)
        v = y * y * y * (y * (6 * y - 15) + 10)
        w = z * z * z * (z * (6 * z - 15) + 10)
        total = 0.0
        for a in range(2):
            wa = u if a else 1 - u
            for b in range(2):
                wb = v if b else 1 - v
                for c in range(2):
                    wc = w if c else 1 - w
                    total += wa * wb * wc * _corner(i + a, j + b, k + c, seed, x - a, y - b, z - c)
        out[n] = total
    return out


@compiled
def _cell_borders(points, seed):
    out = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        i = int(np.floor(points[n, 0]))
        j = int(np.floor(points[n, 1]))
        k = int(np.floor(points[n, 2]))
        first, second = 1e9, 1e9
        for a in range(i - 1, i + 2):
            for b in range(j - 1, j + 2):
                for c in range(k - 1, k + 2):
                    h = _hash(a, b, c, seed)
                    dx = a + _unit(h, 0) - points[n, 0]
                    dy = b + _unit(h, 16) - points[n, 1]
                    dz = c + _unit(h, 32) - points[n, 2]
                    d = dx * dx + dy * dy + dz * dz
                    if d < first:
                        first, second = d, first
                    elif d < second:
                        second = d
        out[n] = min(1.0, 2.5 * (np.sqrt(second) - np.sqrt(first)))
    return out


@compiled
def _spots(points, seed, share, radius, size_spread):
    out = np.empty(points.shape[0])
    for n in range(points.shape[0]):
        i = int(np.floor(points[n, 0]))
        j = int(np.floor(points[n, 1]))
        k = int(np.floor(points[n, 2]))
        best = 0.0
        for a in range(i - 1, i + 2):
            for b in range(j - 1, j + 2):
                for c in range(k - 1, k + 2):
                    h = _hash(a, b, c, seed)
                    if _unit(h, 48) >= share:
                        continue
                    dx = a + _unit(h, 0) - points[n, 0]
                    dy = b + _unit(h, 16) - points[n, 1]
                    dz = c + _unit(h, 32) - points[n, 2]
                    size = 1.0 - size_spread * _unit(h, 24)
                    t = 1.0 - np.sqrt(dx * dx + dy * dy + dz * dz) / (radius * size)
                    if t > 0.0:
                        best = max(best, size * t * t * (3.0 - 2.0 * t))
        out[n] = best
    return out
