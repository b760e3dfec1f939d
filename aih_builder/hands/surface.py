"""From a model's 778 vertices to the surface that is drawn: smooth, capped at the wrist, with normals and tangents.

Loop subdivision shrinks a mesh, so annotations would drift off the picture. Here the control points x are first moved
such that the subdivided surface passes exactly through the model's vertices v: A x = v, A being the rows of the
subdivision matrix that belong to the vertices.
The open wrist is closed by a fan after subdivision, with vertices of its own, so that its rim stays sharp.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from aih_builder.compiled import compiled
from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays

_NEGLIGIBLE = 1e-4  # a weight below moves a point by less than 1e-4 x 0.2 m; all such together by 0.05 mm at most


class SurfacePose(NamedTuple):
    """A posed surface, R render vertices."""

    positions_m: FloatArray  # (R, 3)
    normals: FloatArray  # (R, 3) unit, from area-weighted face normals
    tangents: FloatArray  # (R, 4) unit, along +u; w is the handedness of (u, v, n)


@dataclass(frozen=True, slots=True, eq=False)
class HandSurface:
    """The fixed part of a drawn hand. S surface vertices without seams, R >= S with seams and cap, F faces."""

    weights: NDArray[np.float64]  # CSR data, columns and row starts of the (S, V) matrix from model vertices
    columns: NDArray[np.uint32]  # unsigned: no index that counts from the end, whose test takes time
    rows: NDArray[np.uint64]
    smooth_faces: NDArray[np.int64]  # (F, 3) into S; the cap is in it for depth, not for normals
    n_open_faces: int  # faces before the cap's
    of_render: NDArray[np.int64]  # (R,) surface vertex of each render vertex
    cap_from: int  # render vertices from here on belong to the cap
    faces: NDArray[np.int32]  # (F, 3) into R
    uv: FloatArray  # (R, 2)
    uv_per_m: float  # sqrt(area in the texture / area in space), at rest
    between: NDArray[np.uint32]  # (R, 3) the corners of the model's face in which each render vertex lies
    shares: FloatArray  # (R, 3) of them

    def spread(self, values: FloatArray) -> FloatArray:
        """What the model's vertices hold (V, K), at the render vertices (R, K): linear over the model's faces."""
        return _spread(self.between, self.shares, np.ascontiguousarray(values, np.float64))

    def pose(self, vertices_m: FloatArray) -> SurfacePose:
        """The surface through the model's vertices (V, 3)."""
        smooth = _apply(self.weights, self.columns, self.rows, np.ascontiguousarray(vertices_m, np.float64))
        positions, normals, tangents = frames(
            smooth,
            self.smooth_faces,
            self.n_open_faces,
            self.of_render,
            self.cap_from,
            self.faces,
            self.uv,
        )
        return SurfacePose(positions, normals, tangents)


def build_surface(arrays: HandArrays, levels: int = 1) -> HandSurface:
    """Prepare the drawn surface of a hand with `levels` (>= 0) subdivisions.

    Raises AssetError where the mesh does not have exactly one boundary loop.
    """
    n = len(arrays.v_template)
    matrix = flat = sparse.csr_matrix(sparse.identity(n))
    faces, uv, uv_faces = arrays.faces, arrays.uv, arrays.uv_faces
    for _ in range(levels):
        step, halving, faces, uv, uv_faces = _subdivide(faces, int(faces.max()) + 1, uv, uv_faces)
        matrix, flat = sparse.csr_matrix(step @ matrix), sparse.csr_matrix(halving @ flat)
    matrix = _interpolating(matrix, n)

    loop = boundary_loop(faces)
    cap = np.array([[loop[0], loop[i + 1], loop[i]] for i in range(1, len(loop) - 1)])
    corners, corner_of = np.unique(np.stack([faces.ravel(), uv_faces.ravel()], axis=1), axis=0, return_inverse=True)
    render_faces = corner_of.reshape(-1, 3)
    # The cap gets its own copies of the rim, all with one texture coordinate: a plain cut in the colour of the wrist's
    # back (the palm looks along -y), where skin has its own tone.
    back = loop[np.argmax((matrix @ arrays.v_template)[loop, 1])]
    rim_uv = uv[corners[np.flatnonzero(corners[:, 0] == back)[0], 1]]
    cap_vertex = {int(v): len(corners) + i for i, v in enumerate(loop)}
    cap_faces = np.array([[cap_vertex[int(v)] for v in face] for face in cap])
    of_render = np.concatenate([corners[:, 0], loop])
    render_uv = np.concatenate([uv[corners[:, 1]], np.tile(rim_uv, (len(loop), 1))])

    between, shares = _corners(flat[of_render])
    rest = matrix @ arrays.v_template
    area = np.linalg.norm(
        np.cross(rest[faces[:, 1]] - rest[faces[:, 0]], rest[faces[:, 2]] - rest[faces[:, 0]]),
        axis=1,
    )
    d1, d2 = uv[uv_faces[:, 1]] - uv[uv_faces[:, 0]], uv[uv_faces[:, 2]] - uv[uv_faces[:, 0]]
    uv_area = np.abs(d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0])
    return HandSurface(
        weights=matrix.data.astype(np.float64),
        columns=matrix.indices.astype(np.uint32),
        rows=matrix.indptr.astype(np.uint64),
        smooth_faces=np.concatenate([faces, cap]).astype(np.int64),
        n_open_faces=len(faces),
        of_render=of_render.astype(np.int64),
        cap_from=len(corners),
        faces=np.concatenate([render_faces, cap_faces]).astype(np.int32),
        uv=np.ascontiguousarray(render_uv, np.float64),
        uv_per_m=float(np.sqrt(uv_area.sum() / area.sum())),
        between=between,
        shares=shares,
    )


def boundary_loop(faces: NDArray) -> NDArray[np.int64]:
    """Vertices of the one open border, in the direction of the faces' edges.

    Raises AssetError where there is none, or more than one.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    directed = {(int(a), int(b)) for a, b in edges}
    following = {a: b for a, b in sorted(directed) if (b, a) not in directed}
    loop = [min(following, default=-1)]
    while following.get(loop[-1], loop[0]) != loop[0]:
        loop.append(following[loop[-1]])
    if len(loop) < 3 or len(loop) != len(following):
        raise AssetError(f"hand mesh: {len(following)} border edges do not form one loop; expected one open wrist.")
    return np.array(loop, np.int64)


def _subdivide(faces, n, uv, uv_faces):
    """One step of Loop's scheme: matrix (n + edges, n), that of the same split without smoothing, faces, and the same
    split of the texture mesh."""
    corners = [(0, 1), (1, 2), (2, 0)]
    pairs = np.concatenate([faces[:, c] for c in corners])
    edges, edge_of = np.unique(np.sort(pairs, axis=1), axis=0, return_inverse=True)
    opposite = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    border = np.bincount(edge_of, minlength=len(edges)) == 1

    inner_half = np.where(border[edge_of], 0.0, 1 / 8)
    ends = np.where(border, 1 / 2, 3 / 8)
    rows = [n + np.arange(len(edges)), n + np.arange(len(edges)), n + edge_of]
    columns, values = [edges[:, 0], edges[:, 1], opposite], [ends, ends, inner_half]

    border_edges = edges[border]
    on_border = np.zeros(n, bool)
    on_border[border_edges] = True
    degree = np.bincount(edges.ravel(), minlength=n)
    beta = np.where(degree == 3, 3 / 16, 3 / (8 * np.maximum(degree, 1)))
    for a, b in ((0, 1), (1, 0)):
        inner = edges[~on_border[edges[:, a]]]
        rows += [inner[:, a], border_edges[:, a]]
        columns += [inner[:, b], border_edges[:, b]]
        values += [beta[inner[:, a]], np.full(len(border_edges), 1 / 8)]
    rows.append(np.arange(n))
    columns.append(np.arange(n))
    values.append(np.where(on_border, 3 / 4, 1 - degree * beta))
    matrix = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(n + len(edges), n),
    )

    halves = np.full(len(edges), 0.5)
    at_edges = sparse.csr_matrix(
        (np.concatenate([halves, halves]), (np.tile(np.arange(len(edges)), 2), edges.T.ravel())), (len(edges), n)
    )
    halving = sparse.vstack([sparse.identity(n), at_edges])

    uv_pairs = np.concatenate([uv_faces[:, c] for c in corners])
    uv_edges, uv_edge_of = np.unique(np.sort(uv_pairs, axis=1), axis=0, return_inverse=True)
    new_uv = np.concatenate([uv, (uv[uv_edges[:, 0]] + uv[uv_edges[:, 1]]) / 2])
    return matrix, halving, _split(faces, edge_of, n), new_uv, _split(uv_faces, uv_edge_of, len(uv))


def _split(faces, edge_of, n):
    ab, bc, ca = (n + edge_of).reshape(3, -1)
    a, b, c = faces.T
    parts = [np.stack(corner, axis=1) for corner in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
    return np.stack(parts, axis=1).reshape(-1, 3)


def _corners(flat):
    """Columns and weights (R, 3) of a matrix that has at most three entries a row."""
    between, shares = np.zeros((flat.shape[0], 3), np.uint32), np.zeros((flat.shape[0], 3))
    for row in range(flat.shape[0]):
        found = slice(flat.indptr[row], flat.indptr[row + 1])
        between[row, : found.stop - found.start] = flat.indices[found]
        shares[row, : found.stop - found.start] = flat.data[found]
    return between, shares


def _interpolating(matrix, n):
    """The matrix whose first n rows are the identity: matrix @ inverse(its first n rows), small weights dropped."""
    if matrix.shape[0] == n:
        return matrix.tocsr()
    inverse = splu(matrix[:n].tocsc()).solve(np.eye(n))
    dense = matrix[n:] @ inverse
    dense[np.abs(dense) < _NEGLIGIBLE] = 0.0
    dense /= dense.sum(axis=1, keepdims=True)
    return sparse.vstack([sparse.identity(n, format="csr"), sparse.csr_matrix(dense)]).tocsr()


@compiled
def _apply(weights, columns, rows, points):
    out = np.empty((rows.shape[0] - 1, 3))
    for i in range(out.shape[0]):
        x, y, z = 0.0, 0.0, 0.0
        for k in range(rows[i], rows[i + 1]):
            weight, column = weights[k], columns[k]
            x += weight * points[column, 0]
            y += weight * points[column, 1]
            z += weight * points[column, 2]
        out[i, 0], out[i, 1], out[i, 2] = x, y, z
    return out


@compiled
def _spread(between, shares, values):
    out = np.empty((between.shape[0], values.shape[1]))
    for i in range(out.shape[0]):
        a, b, c = between[i, 0], between[i, 1], between[i, 2]
        for k in range(out.shape[1]):
            out[i, k] = shares[i, 0] * values[a, k] + shares[i, 1] * values[b, k] + shares[i, 2] * values[c, k]
    return out


@compiled
def _normalize(values, length):
    for i in range(values.shape[0]):
        norm = 0.0
        for c in range(length):
            norm += values[i, c] * values[i, c]
        norm = max(np.sqrt(norm), 1e-20)
        for c in range(length):
            values[i, c] /= norm


@compiled
def _add(to, row, values):
    to[row, 0] += values[0]
    to[row, 1] += values[1]
    to[row, 2] += values[2]


@compiled
def frames(smooth, smooth_faces, n_open_faces, of_render, cap_from, faces, uv):
    """Positions, unit normals and tangents of the render vertices."""
    smooth_normals = np.zeros_like(smooth)
    cap_normal = np.zeros(3)
    tangents = np.zeros((of_render.shape[0], 4))
    for f in range(smooth_faces.shape[0]):
        a, b, c = np.uintp(smooth_faces[f, 0]), np.uintp(smooth_faces[f, 1]), np.uintp(smooth_faces[f, 2])
        x1, y1, z1 = smooth[b, 0] - smooth[a, 0], smooth[b, 1] - smooth[a, 1], smooth[b, 2] - smooth[a, 2]
        x2, y2, z2 = smooth[c, 0] - smooth[a, 0], smooth[c, 1] - smooth[a, 1], smooth[c, 2] - smooth[a, 2]
        face_normal = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        if f < n_open_faces:
            for corner in (a, b, c):
                _add(smooth_normals, corner, face_normal)
        else:
            for i in range(3):
                cap_normal[i] += face_normal[i]
        ra, rb, rc = np.uintp(faces[f, 0]), np.uintp(faces[f, 1]), np.uintp(faces[f, 2])
        du1, dv1 = uv[rb, 0] - uv[ra, 0], uv[rb, 1] - uv[ra, 1]
        du2, dv2 = uv[rc, 0] - uv[ra, 0], uv[rc, 1] - uv[ra, 1]
        sign = 1.0 if du1 * dv2 - du2 * dv1 >= 0.0 else -1.0
        tangent = (x1 * dv2 - x2 * dv1) * sign, (y1 * dv2 - y2 * dv1) * sign, (z1 * dv2 - z2 * dv1) * sign
        for corner in (ra, rb, rc):
            _add(tangents, corner, tangent)
            tangents[corner, 3] = sign
    _normalize(smooth_normals, 3)
    norm = np.sqrt(cap_normal[0] ** 2 + cap_normal[1] ** 2 + cap_normal[2] ** 2)
    positions = np.empty((of_render.shape[0], 3))
    normals = np.empty((of_render.shape[0], 3))
    for r in range(of_render.shape[0]):
        for i in range(3):
            positions[r, i] = smooth[of_render[r], i]
            normals[r, i] = smooth_normals[of_render[r], i] if r < cap_from else cap_normal[i] / max(norm, 1e-20)
    _normalize(tangents, 3)
    return positions, normals, tangents
