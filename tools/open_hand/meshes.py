"""Triangle meshes as arrays: edges, boundaries, normals, smoothing, closest points."""

import numpy as np
import scipy.sparse as sp

from aih_builder.geometry import FloatArray


def directed_edges(faces: np.ndarray) -> np.ndarray:
    """(3 F, 2): the edges of each face in its own winding."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def edge_counts(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undirected edges (E, 2), low id first, and how many faces share each (E,)."""
    return np.unique(np.sort(directed_edges(faces), axis=1), axis=0, return_counts=True)


def boundary_edges(faces: np.ndarray) -> np.ndarray:
    """(B, 2): edges of one face only."""
    edges, counts = edge_counts(faces)
    return edges[counts == 1]


def compacted(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the vertices in use, ascending, and the faces renumbered to them."""
    used, renumbered = np.unique(faces, return_inverse=True)
    return used, renumbered.reshape(faces.shape)


def largest_component(faces: np.ndarray) -> np.ndarray:
    """Mask (F,) of the faces of the connected component that has most faces."""
    n = int(faces.max()) + 1
    edges = directed_edges(faces)
    graph = sp.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (n, n))
    _, labels = sp.csgraph.connected_components(graph, directed=False)
    return labels[faces[:, 0]] == np.bincount(labels[faces[:, 0]]).argmax()


def neighbour_mean(faces: np.ndarray, n_vertices: int) -> sp.csr_matrix:
    """Sparse (V, V): the mean over the vertices that share an edge."""
    edges = directed_edges(faces)
    adjacency = sp.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (n_vertices, n_vertices)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(np.float64)
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    return sp.csr_matrix(sp.diags(1.0 / degree) @ adjacency)


def face_neighbours(faces: np.ndarray) -> sp.csr_matrix:
    """Sparse (F, F): 1 where two faces share an edge."""
    owner = np.tile(np.arange(len(faces)), 3)
    edges, edge_of = np.unique(np.sort(directed_edges(faces), axis=1), axis=0, return_inverse=True)
    on_edge = sp.csr_matrix((np.ones(len(owner)), (owner, edge_of.ravel())), (len(faces), len(edges)))
    shared = sp.csr_matrix(on_edge @ on_edge.T)
    shared.setdiag(0)
    shared.eliminate_zeros()
    return shared


def face_normals(vertices: FloatArray, faces: np.ndarray) -> FloatArray:
    """Unit normals (F, 3)."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    normals = np.cross(b - a, c - a)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def vertex_normals(vertices: FloatArray, faces: np.ndarray) -> FloatArray:
    """Unit normals (V, 3), faces weighted by their area."""
    a, b, c = vertices[faces[:, 0]], vertices[faces[:, 1]], vertices[faces[:, 2]]
    face_normals = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def closest_points(
    points: FloatArray, vertices: FloatArray, faces: np.ndarray
) -> tuple[np.ndarray, FloatArray, FloatArray]:
    """For each point the nearest face (P,), barycentric coordinates on it (P, 3), distance (P,)."""
    corners = vertices[faces]
    face_ids = np.empty(len(points), np.int64)
    barycentric = np.empty((len(points), 3))
    distances = np.empty(len(points))
    for i, point in enumerate(points):
        weights = _closest_on_triangles(point, corners)
        offsets = np.einsum("fk,fkc->fc", weights, corners) - point
        squared = (offsets**2).sum(axis=1)
        best = int(squared.argmin())
        face_ids[i], barycentric[i], distances[i] = best, weights[best], np.sqrt(squared[best])
    return face_ids, barycentric, distances


def _closest_on_triangles(point: FloatArray, corners: FloatArray) -> FloatArray:
    """Barycentric coordinates (F, 3) of the point of each triangle that is nearest to one point."""
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    ap = point - a
    d00, d01, d11 = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    d20, d21 = (ap * ab).sum(1), (ap * ac).sum(1)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = np.stack([1 - v - w, v, w], axis=1)
    # Where the foot lies outside, the nearest point is on one of the three sides.
    candidates = [inside]
    for first, second in ((0, 1), (1, 2), (2, 0)):
        side = corners[:, second] - corners[:, first]
        t = ((point - corners[:, first]) * side).sum(1) / np.maximum((side * side).sum(1), 1e-30)
        t = np.clip(t, 0, 1)
        weights = np.zeros_like(inside)
        weights[:, first], weights[:, second] = 1 - t, t
        candidates.append(weights)
    stacked = np.stack(candidates)  # (4, F, 3)
    squared = ((np.einsum("nfk,fkc->nfc", stacked, corners) - point) ** 2).sum(-1)
    squared[0, (inside < 0).any(1)] = np.inf
    return stacked[squared.argmin(0), np.arange(len(corners))]
