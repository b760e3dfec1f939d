"""Nearest vertices, for the solver's proxy of contact and penetration. Compiled, float32, one thread."""

import numpy as np

from aih_builder.compiled import compiled

_FAR = np.float32(1e6)


@compiled
def nearest_between(first_m, second_m, reach_m):
    """For each batch row, the nearest vertex of the other mesh to each vertex that has one within reach.

    first_m (n, V, 3), second_m (n, W, 3). Gives (n, V) and (n, W) indices, -1 where none is within reach_m.
    """
    n, v, w = first_m.shape[0], first_m.shape[1], second_m.shape[1]
    of_first = np.full((n, v), -1, np.int64)
    of_second = np.full((n, w), -1, np.int64)
    best_second = np.empty(w, np.float32)
    candidates = np.empty(w, np.int64)
    reach2 = np.float32(reach_m * reach_m)
    for row in range(n):
        one, two = first_m[row], second_m[row]
        low, high = np.full(3, _FAR), np.full(3, -_FAR)
        for i in range(v):
            for c in range(3):
                low[c], high[c] = min(low[c], one[i, c] - reach_m), max(high[c], one[i, c] + reach_m)
        count = 0
        for j in range(w):
            inside = True
            for c in range(3):
                inside &= low[c] <= two[j, c] <= high[c]
            if inside:
                candidates[count] = j
                count += 1
        best_second[:] = reach2
        for i in range(v):
            x, y, z = one[i, 0], one[i, 1], one[i, 2]
            best = reach2
            for k in range(count):
                j = candidates[k]
                dx, dy, dz = x - two[j, 0], y - two[j, 1], z - two[j, 2]
                square = dx * dx + dy * dy + dz * dz
                if square < best:
                    best = square
                    of_first[row, i] = j
                if square < best_second[j]:
                    best_second[j] = square
                    of_second[row, j] = i
    return of_first, of_second


@compiled
def nearest_of(queries_m, targets_m, query_ids, target_ids):
    """The nearest of the targets to each query vertex: indices (n, Q) into targets_m and distances (n, Q), metres."""
    n, q = queries_m.shape[0], query_ids.shape[0]
    found = np.empty((n, q), np.int64)
    distance_m = np.empty((n, q), np.float32)
    for row in range(n):
        for i in range(q):
            x = queries_m[row, query_ids[i], 0]
            y = queries_m[row, query_ids[i], 1]
            z = queries_m[row, query_ids[i], 2]
            best, at = _FAR, -1
            for k in range(target_ids.shape[0]):
                j = target_ids[k]
                dx, dy, dz = x - targets_m[row, j, 0], y - targets_m[row, j, 1], z - targets_m[row, j, 2]
                square = dx * dx + dy * dy + dz * dz
                if square < best:
                    best, at = square, j
            found[row, i] = at
            distance_m[row, i] = np.sqrt(best)
    return found, distance_m


@compiled
def vertex_normals(vertices_m, faces):
    """Unit vertex normals (n, V, 3) of a batch of meshes (n, V, 3) with common faces (F, 3)."""
    n = vertices_m.shape[0]
    normals = np.zeros_like(vertices_m)
    for row in range(n):
        mesh, out = vertices_m[row], normals[row]
        for f in range(faces.shape[0]):
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, az = mesh[j, 0] - mesh[i, 0], mesh[j, 1] - mesh[i, 1], mesh[j, 2] - mesh[i, 2]
            bx, by, bz = mesh[k, 0] - mesh[i, 0], mesh[k, 1] - mesh[i, 1], mesh[k, 2] - mesh[i, 2]
            nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
            for c in (i, j, k):
                out[c, 0] += nx
                out[c, 1] += ny
                out[c, 2] += nz
        for v in range(out.shape[0]):
            length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
            if length > 0.0:
                for c in range(3):
                    out[v, c] /= length
    return normals
