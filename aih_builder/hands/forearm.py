"""The forearm that a hand goes on in: a tube of rings from the open wrist's rim backwards, with the hand's own skin.

The first rings take the rim's outline and go on along the skin's own slope, so that neither silhouette nor shading
breaks there; farther back the section turns into an ellipse that grows as a real forearm does. The texture is the
hand's: the skin before the rim is mirrored at it, back and forth, so that colours meet at the wrist.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray, rotation_matrix, smooth01
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.lending import nearest
from aih_builder.hands.surface import HandSurface, SurfacePose, boundary_loop, frames

LONGEST_M = 0.30

_TURN_M = 0.05  # from the rim on, over which the section turns into an ellipse and the axis bends
_FULL_M = 0.20  # from the rim to where the forearm is thickest
_WIDER, _THICKER = 0.38, 0.50  # there, across and from palm to back; a wrist is flatter than a forearm
_BELLY = 0.16  # of half the wrist's thickness: how far the muscles shift the middle to the palm's side
_ELBOW_M = 0.045  # length of the rounded end
_STEEPEST = 0.30  # sideways per metre along: of the skin at the rim
_NEAR_STEP_M, _FAR_STEP_M, _NEAR_M = 0.006, 0.011, 0.05  # about the distances of rings
_INSIDE_M = 0.004  # the first ring lies this far inside the hand, and this deep under its skin:
_UNDER_M = 0.001
_MELT_M = 0.012  # over which normals turn from the hand's to the forearm's own
_SHARE_OF_STUB = 0.35  # of the skin between wrist and rim, that is mirrored


class ArmFrame(NamedTuple):
    """Where a forearm starts and runs to."""

    origin_m: FloatArray  # (3,) the middle of the rim
    axes: FloatArray  # (3, 3) rows: across, to the hand's back, along the forearm away from the hand


class Limb(NamedTuple):
    """The shape of one forearm."""

    length_m: float
    bend_rad: FloatArray  # (2,) about the axis across, and about the one to the hand's back


class Section(NamedTuple):
    """The rim of a posed hand, C points, in its ArmFrame: x across, y to the back, z along."""

    rim_m: FloatArray  # (C, 3)
    slope: FloatArray  # (C, 2) of the skin there: sideways per metre along
    middle_m: FloatArray  # (2,)
    half_m: FloatArray  # (2,) half the extent, across and to the back


@dataclass(frozen=True, slots=True, eq=False)
class RingMesh:
    """Rings of C points with texture coordinates. K rings, R >= K C render vertices, F faces."""

    grid_faces: NDArray[np.int64]  # (F, 3) into the K C points, ring by ring
    of_render: NDArray[np.int64]  # (R,) point of each render vertex
    first_of: NDArray[np.int64]  # (K C,) one render vertex of each point
    faces: NDArray[np.int32]  # (F, 3) into R
    uv: FloatArray  # (R, 2)
    uv_per_m: float

    def pose(self, points_m: FloatArray) -> SurfacePose:
        """Positions, normals and tangents of points (K C, 3)."""
        positions, normals, tangents = frames(
            points_m, self.grid_faces, len(self.grid_faces), self.of_render, len(self.of_render), self.faces, self.uv
        )
        return SurfacePose(positions, normals, tangents)

    def of_points(self, values: FloatArray) -> FloatArray:
        """What render vertices hold (R, ...), positions or normals, at the points (K C, ...)."""
        return values[self.first_of]


@dataclass(frozen=True, slots=True, eq=False)
class Forearm:
    """What a hand's forearms share."""

    rim_vertices: NDArray[np.int64]  # of the model, in the direction of the border's edges
    palmar: int  # the foremost of them on the palm's side, and on the back's
    dorsal: int
    rim_rows: NDArray[np.int64]  # (C,) render vertices of the drawn surface
    stub_m: float  # at rest, from the wrist joint to the rim
    stations_m: FloatArray  # (K,) where rings lie along the longest forearm
    skin: RingMesh

    def frame(self, vertices_m: FloatArray) -> ArmFrame:
        """The frame of a posed hand (V, 3)."""
        return ArmFrame(*_frame(vertices_m, self.rim_vertices, self.palmar, self.dorsal))

    def section(self, pose: SurfacePose, frame: ArmFrame) -> Section:
        """The rim of a posed surface."""
        return Section(*_section(pose.positions_m, pose.normals, self.rim_rows, frame.origin_m, frame.axes))

    def pose_skin(self, pose: SurfacePose, frame: ArmFrame, section: Section, limb: Limb) -> SurfacePose:
        """The bare forearm of a posed surface."""
        columns = len(self.rim_rows)
        off_m = np.zeros((len(self.stations_m), columns))
        off_m[0] = -_UNDER_M
        posed = self.skin.pose(ring_points(self.stations_m, off_m, frame, section, limb))
        _melt(posed.normals, self.skin.of_render, self.stations_m, pose.normals, self.rim_rows)
        return posed


def build_forearm(arrays: HandArrays, surface: HandSurface) -> Forearm:
    """Prepare the forearms of a hand. Raises AssetError where the mesh is not open at the wrist alone."""
    rim = boundary_loop(arrays.faces)
    height = arrays.v_template[rim, 1]  # the palm looks along -y
    palmar, dorsal = int(rim[height.argmin()]), int(rim[height.argmax()])
    loop = boundary_loop(surface.smooth_faces[: surface.n_open_faces])
    row_of = np.zeros(int(surface.of_render.max()) + 1, np.int64)
    row_of[surface.of_render[: surface.cap_from]] = np.arange(surface.cap_from)
    rest = surface.pose(arrays.v_template)
    frame = ArmFrame(*_frame(arrays.v_template, rim, palmar, dorsal))
    wrist = arrays.J_regressor[0] @ arrays.v_template
    stub_m = float((frame.origin_m - wrist) @ frame.axes[2])
    band_m = max(_SHARE_OF_STUB * stub_m, _NEAR_STEP_M)
    stations_m = _stations(band_m)
    section = Section(*_section(rest.positions_m, rest.normals, row_of[loop], frame.origin_m, frame.axes))
    skin = _skin_mesh(arrays, surface.uv_per_m, frame, section, stations_m, band_m)
    return Forearm(rim, palmar, dorsal, row_of[loop], stub_m, stations_m, skin)


def ring_mesh(face_uv: FloatArray, rings: int, columns: int, uv_per_m: float) -> RingMesh:
    """A mesh from the texture coordinates of its faces' corners (F, 3, 2), faces as grid_faces() orders them."""
    grid = grid_faces(rings, columns)
    # Faces on both sides of a fold share a point, but no render vertex: their tangents would cancel out.
    (u1, v1), (u2, v2) = ((face_uv[:, k] - face_uv[:, 0]).T for k in (1, 2))
    mirrored = np.repeat(u1 * v2 - u2 * v1 < 0, 3)
    corners = np.column_stack([grid.reshape(-1), mirrored, np.round(face_uv.reshape(-1, 2) * 2**20)])
    _, first, of_corner = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    of_render = grid.reshape(-1)[first]
    return RingMesh(
        grid_faces=grid,
        of_render=of_render,
        first_of=np.unique(of_render, return_index=True)[1],
        faces=of_corner.reshape(-1, 3).astype(np.int32),
        uv=np.ascontiguousarray(face_uv.reshape(-1, 2)[first]),
        uv_per_m=uv_per_m,
    )


def grid_faces(rings: int, columns: int) -> NDArray[np.int64]:
    """Faces (2 (rings - 1) columns, 3) between rings of points; they look outward where columns follow a hand's rim."""
    ring, column = (a.ravel() for a in np.meshgrid(np.arange(rings - 1), np.arange(columns), indexing="ij"))
    after = (column + 1) % columns
    a, b = ring * columns + column, ring * columns + after
    c, d = a + columns, b + columns
    return np.stack([np.stack([b, a, c], axis=1), np.stack([b, c, d], axis=1)], axis=1).reshape(-1, 3)


def ring_points(stations_m: FloatArray, off_m: FloatArray, frame: ArmFrame, section: Section, limb: Limb) -> FloatArray:
    """Points (K C, 3) of rings that lie at stations (K,) along a forearm and off (K, C) its skin.

    A ring beyond the forearm's end shrinks to a point there.
    """
    return _ring_points(
        stations_m, off_m, section.rim_m, section.slope, section.middle_m, section.half_m,
        limb.length_m, limb.bend_rad, frame.origin_m, frame.axes,
    )  # fmt: skip


def centre_line(stations_m: FloatArray, frame: ArmFrame, bend_rad: FloatArray) -> FloatArray:
    """Points (K, 3) of a forearm's axis."""
    return _centre_line(stations_m, bend_rad, frame.origin_m, frame.axes)


def girth(stations_m: FloatArray) -> FloatArray:
    """Mean half width (K,) of a forearm, in units of the rim's."""
    share = np.clip(stations_m / _FULL_M, 0, 1)
    return 1 + (_WIDER + _THICKER) / 2 * share * share * (3 - 2 * share)


def _stations(band_m: float) -> FloatArray:
    """Where rings lie: at every fold of the mirrored skin, and between."""

    def every(step_m: float) -> FloatArray:
        step_m = band_m / max(1, round(band_m / step_m))
        return np.arange(0, LONGEST_M + 2 * step_m, step_m)

    near, far = every(_NEAR_STEP_M), every(_FAR_STEP_M)
    start = band_m * np.ceil(_NEAR_M / band_m)
    return np.concatenate([[-_INSIDE_M], near[near < start - 1e-9], far[far > start - 1e-9]])


def _skin_mesh(
    arrays: HandArrays,
    uv_per_m: float,
    frame: ArmFrame,
    section: Section,
    stations_m: FloatArray,
    band_m: float,
) -> RingMesh:
    """Texture coordinates from the hand's skin, mirrored at the rim; a face keeps to one chart, so none is torn."""
    columns, rings = len(section.rim_m), len(stations_m)
    depth_m = band_m * np.abs((stations_m / band_m + 1) % 2 - 1)
    local = section.rim_m[None] - depth_m[:, None, None] * np.concatenate(
        [section.slope, np.ones((columns, 1))], axis=1
    )
    mirrored_m = (frame.origin_m + local @ frame.axes).reshape(-1, 3)
    corners = arrays.v_template[arrays.faces]
    chart_of = _charts_of(arrays.uv_faces, len(arrays.uv))
    faces = grid_faces(rings, columns)
    charts = chart_of[nearest(mirrored_m[faces].mean(axis=1), corners).face]
    uv = np.empty((len(faces), 3, 2))
    for chart in np.unique(charts):
        of_chart, mine = np.flatnonzero(chart_of == chart), charts == chart
        wanted, back = np.unique(faces[mine], return_inverse=True)
        found = nearest(mirrored_m[wanted], corners[of_chart]).blend(arrays.uv, arrays.uv_faces[of_chart])
        uv[mine] = found[back.reshape(-1, 3)]
    return ring_mesh(uv, rings, columns, uv_per_m)


def _charts_of(uv_faces: NDArray, count: int) -> NDArray[np.int32]:
    """The chart of each face: faces that share texture vertices lie in one."""
    ends = np.concatenate([uv_faces[:, [0, 1]], uv_faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(ends)), ends.T), (count, count))
    return connected_components(graph, directed=False)[1][uv_faces[:, 0]]


@compiled
def _frame(vertices, rim, palmar, dorsal):
    """Origin and axes: the normal of the rim, by its area, and the direction from palm to back across it."""
    origin, along = np.zeros(3), np.zeros(3)
    n = rim.shape[0]
    for i in range(n):
        for c in range(3):
            origin[c] += vertices[rim[i], c] / n
    for i in range(n):
        p, q = vertices[rim[i]] - origin, vertices[rim[(i + 1) % n]] - origin
        along[0] -= p[1] * q[2] - p[2] * q[1]
        along[1] -= p[2] * q[0] - p[0] * q[2]
        along[2] -= p[0] * q[1] - p[1] * q[0]
    along /= np.sqrt(along[0] ** 2 + along[1] ** 2 + along[2] ** 2)
    back = vertices[dorsal] - vertices[palmar]
    back = back - along * (back[0] * along[0] + back[1] * along[1] + back[2] * along[2])
    back /= np.sqrt(back[0] ** 2 + back[1] ** 2 + back[2] ** 2)
    axes = np.empty((3, 3))
    axes[0] = np.cross(back, along)
    axes[1], axes[2] = back, along
    return origin, axes


@compiled
def _section(positions, normals, rows, origin, axes):
    n = rows.shape[0]
    rim, slope = np.empty((n, 3)), np.empty((n, 2))
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for i in range(n):
        p, normal = positions[rows[i]] - origin, normals[rows[i]]
        turned = np.empty(3)
        for c in range(3):
            rim[i, c] = axes[c, 0] * p[0] + axes[c, 1] * p[1] + axes[c, 2] * p[2]
            turned[c] = axes[c, 0] * normal[0] + axes[c, 1] * normal[1] + axes[c, 2] * normal[2]
        # The skin's own direction along the arm: the axis less its share along the normal.
        rise = max(1.0 - turned[2] ** 2, 1e-6)
        for c in range(2):
            slope[i, c] = min(max(-turned[c] * turned[2] / rise, -_STEEPEST), _STEEPEST)
            low[c], high[c] = min(low[c], rim[i, c]), max(high[c], rim[i, c])
    return rim, slope, 0.5 * (low + high), 0.5 * (high - low)


@compiled
def _turn(s, bend):
    """Rotation (3, 3), in the arm's frame, of the section at s."""
    share = smooth01(s / _TURN_M)
    return rotation_matrix(np.array([bend[0] * share, bend[1] * share, 0.0]))


@compiled
def _place(s, bend):
    """Point (3,) of the axis at s, in the arm's frame."""
    point = np.zeros(3)
    if s <= 0.0:
        point[2] = s
        return point
    steps, curved = 12, min(s, _TURN_M)
    for k in range(steps):
        point += _turn(curved * (k + 0.5) / steps, bend)[:, 2] * (curved / steps)
    return point + _turn(_TURN_M, bend)[:, 2] * (s - curved)


@compiled
def _centre_line(stations, bend, origin, axes):
    points = np.empty((stations.shape[0], 3))
    for k in range(stations.shape[0]):
        p = _place(stations[k], bend)
        points[k] = origin + axes[0] * p[0] + axes[1] * p[1] + axes[2] * p[2]
    return points


@compiled
def _ring_points(stations, off, rim, slope, middle, half, length, bend, origin, axes):
    columns = rim.shape[0]
    points = np.empty((stations.shape[0] * columns, 3))
    for k in range(stations.shape[0]):
        s = min(stations[k], length)
        to_end = min(max((s - (length - _ELBOW_M)) / _ELBOW_M, 0.0), 1.0)
        shrunk = np.sqrt(1.0 - to_end * to_end)
        local, turn = _place(s, bend), _turn(s, bend)
        centre, to_camera = origin.copy(), np.zeros((3, 3))
        for c in range(3):
            for a in range(3):
                centre[c] += axes[a, c] * local[a]
                for b in range(3):
                    to_camera[c, b] += axes[a, c] * turn[a, b]
        turned, grown = smooth01(s / _TURN_M), smooth01(s / _FULL_M)
        wide, thick = half[0] * (1.0 + _WIDER * grown), half[1] * (1.0 + _THICKER * grown)
        belly = _BELLY * half[1] * grown
        for i in range(columns):
            x, y = (rim[i, 0] - middle[0]) / half[0], (rim[i, 1] - middle[1]) / half[1]
            round_by = max(np.sqrt(x * x + y * y), 1e-9)
            x = (1.0 - turned) * (rim[i, 0] + s * slope[i, 0] - middle[0]) + turned * wide * x / round_by
            y = (1.0 - turned) * (rim[i, 1] + s * slope[i, 1] - middle[1]) + turned * (thick * y / round_by - belly)
            away = shrunk * (1.0 + off[k, i] / max(np.sqrt(x * x + y * y), 1e-9))
            x, y, z = middle[0] + x * away, middle[1] + y * away, (1.0 - turned) * rim[i, 2]
            for c in range(3):
                points[k * columns + i, c] = centre[c] + to_camera[c, 0] * x + to_camera[c, 1] * y + to_camera[c, 2] * z
    return points


@compiled
def _melt(normals, of_render, stations, hand_normals, rows):
    """Turn the normals near the rim from the hand's to the forearm's own."""
    columns = rows.shape[0]
    for r in range(normals.shape[0]):
        s = stations[of_render[r] // columns]
        if s >= _MELT_M:
            continue
        share, hand = smooth01(s / _MELT_M), rows[of_render[r] % columns]
        length = 0.0
        for c in range(3):
            normals[r, c] = (1.0 - share) * hand_normals[hand, c] + share * normals[r, c]
            length += normals[r, c] ** 2
        for c in range(3):
            normals[r, c] /= max(np.sqrt(length), 1e-20)
