"""Finger nails: found on MakeHuman's mesh, drawn as clean plates into the texture atlas.

`nails.png`, 1024 x 1024, three channels of 8 bits, row 0 at v = 1:
  red    plate: 255 on the nail, antialiased at its edge;
  green  rim: 255 where the plate meets the skin (cuticle and side folds), falling to 0 at 2 mm outside; 0 on the
         plate and beyond the free edge;
  blue   place along the nail: 0 at the cuticle, 255 at the free edge, where plate or rim is above 0; 0 elsewhere.
All channels run on for 12 px past the borders of the charts.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from aih_builder.geometry import FloatArray
from tools.open_hand.frame import RestHand
from tools.open_hand.meshes import vertex_normals
from tools.open_hand.selection import HandCut

SIZE_PX = 1024
LAST_JOINTS = (3, 6, 9, 12, 15)  # index, middle, little, ring, thumb
_SUBDIVISION = 12  # points per face edge when MakeHuman's painted nails are looked up
_LEAST_LENGTH_M = (0.0115, 0.0115, 0.0095, 0.0115, 0.013)  # the painted ones are short on some fingers
_ROUNDNESS = 3.0  # exponent of the superellipse that bounds a plate
_RIM_M = 0.002
_PADDING_PX = 12


class PaintedNails(NamedTuple):
    """MakeHuman's nails as points in space, in order index, middle, little, ring, thumb."""

    normals: FloatArray  # (5, 3): mean outward normals
    points_m: list[FloatArray]  # five of (P, 3)


class NailPlate(NamedTuple):
    """One nail in the axes of its bone: across (flexion axis) and along, from the last joint."""

    centre_m: tuple[float, float]
    half_size_m: tuple[float, float]

    @property
    def length_m(self) -> float:
        """From cuticle to free edge."""
        return 2 * self.half_size_m[1]


def find_nails(mask: FloatArray, cut: HandCut, hand: RestHand, weights: FloatArray) -> PaintedNails:
    """Look MakeHuman's nail mask up at points strewn over the fine mesh."""
    steps = range(_SUBDIVISION + 1)
    grid = np.array([(i, j, _SUBDIVISION - i - j) for i in steps for j in steps if i + j <= _SUBDIVISION])
    grid = grid / _SUBDIVISION

    def strewn(values: FloatArray) -> FloatArray:  # (F, 3, C) at corners -> (F, S, C)
        return np.einsum("sk,fkc->fsc", grid, values)

    corners_m = hand.vertices_m[cut.faces]
    points_m = strewn(corners_m)
    normals = strewn(vertex_normals(hand.vertices_m, cut.faces)[cut.faces])
    bones = strewn(weights[cut.faces])
    uv = strewn(cut.source_uv)
    height, width = mask.shape
    rows, columns = (1 - uv[..., 1]) * height - 0.5, uv[..., 0] * width - 0.5
    painted = ndimage.map_coordinates(mask, [rows, columns], order=1) > 0.5
    sides_m = corners_m[:, 1:] - corners_m[:, :1]
    area = np.linalg.norm(np.cross(sides_m[:, 0], sides_m[:, 1]), axis=1)
    weighted = normals * area[:, None, None]
    means, clouds_m = [], []
    for joint in LAST_JOINTS:
        on_nail = painted & (bones[..., joint] > 0.5)
        mean = weighted[on_nail].sum(axis=0)
        means.append(mean / np.linalg.norm(mean))
        clouds_m.append(points_m[on_nail])
    return PaintedNails(np.array(means), clouds_m)


def nail_plates(nails: PaintedNails, joints_m: FloatArray, axes: FloatArray) -> list[NailPlate]:
    """A clean plate for each painted nail; those that are too short grow towards the cuticle."""
    plates = []
    for joint, points_m, least_m in zip(LAST_JOINTS, nails.points_m, _LEAST_LENGTH_M, strict=True):
        offsets_m = points_m - joints_m[joint]
        across, along = offsets_m @ axes[joint, 0], offsets_m @ axes[joint, 2]
        left, right = np.percentile(across, [0.5, 99.5])
        base, edge = np.percentile(along, [0.5, 99.5])
        base = min(base, edge - least_m)
        plates.append(NailPlate(((left + right) / 2, (base + edge) / 2), ((right - left) / 2, (edge - base) / 2)))
    return plates


class AtlasSurface(NamedTuple):
    """The mesh and its atlas."""

    vertices_m: FloatArray
    faces: np.ndarray
    uv: FloatArray
    uv_faces: np.ndarray
    weights: FloatArray


def draw_nails(surface: AtlasSurface, plates: list[NailPlate], joints_m: FloatArray, axes: FloatArray) -> np.ndarray:
    """The picture described above: u8 (1024, 1024, 3), red, green, blue."""
    face_of, barycentric = texel_faces(surface.uv, surface.uv_faces, SIZE_PX)
    rows, columns = np.nonzero(face_of >= 0)
    corners = surface.faces[face_of[rows, columns]]
    shares = barycentric[rows, columns]
    points_m = np.einsum("tk,tkc->tc", shares, surface.vertices_m[corners])
    bones = np.einsum("tk,tkj->tj", shares, surface.weights[corners])
    texel_m = _texel_size_m(surface)
    channels = np.zeros((len(rows), 3))
    for joint, plate in zip(LAST_JOINTS, plates, strict=True):
        across, up, along = ((points_m - joints_m[joint]) @ axes[joint].T).T
        outside_m = _distance_m(across - plate.centre_m[0], along - plate.centre_m[1], plate)
        place = (along - plate.centre_m[1]) / plate.length_m + 0.5
        on_back = (bones[:, joint] > 0.3) & (up > -0.001)
        covered = np.clip(0.5 - outside_m / texel_m, 0, 1) * on_back
        rim = np.clip(1 - outside_m / _RIM_M, 0, 1) * (1 - covered) * on_back
        rim *= np.clip((0.97 - place) / 0.12, 0, 1)
        near = (covered > 0) | (rim > 0)
        channels[near] = np.stack([covered, rim, np.clip(place, 0, 1)], axis=1)[near]
    image = np.zeros((SIZE_PX, SIZE_PX, 3))
    image[rows, columns] = channels
    return np.rint(_padded(image, face_of >= 0) * 255).astype(np.uint8)


def _padded(image: FloatArray, inside: np.ndarray) -> FloatArray:
    """The image with the values of the charts running on past their borders."""
    nearest = np.empty((2, *inside.shape), np.int32)
    away_px = ndimage.distance_transform_edt(~inside, return_indices=True, indices=nearest)
    return np.where((np.asarray(away_px) <= _PADDING_PX)[..., None], image[nearest[0], nearest[1]], 0)


def _distance_m(across: FloatArray, along: FloatArray, plate: NailPlate) -> FloatArray:
    """Distance to the plate's edge, negative inside: level of the superellipse over its slope."""
    width, length = plate.half_size_m
    s, t = np.abs(across) / width, np.abs(along) / length
    level = np.maximum((s**_ROUNDNESS + t**_ROUNDNESS) ** (1 / _ROUNDNESS), 1e-6)
    slope = level ** (1 - _ROUNDNESS) * np.hypot(s ** (_ROUNDNESS - 1) / width, t ** (_ROUNDNESS - 1) / length)
    return (level - 1) / np.maximum(slope, 1e-6)


def _texel_size_m(surface: AtlasSurface) -> float:
    """Side of a texel on the skin, on average."""

    def area(points: FloatArray, faces: np.ndarray) -> float:
        sides = points[faces[:, 1:]] - points[faces[:, :1]]
        gram = np.einsum("fac,fbc->fab", sides, sides)
        return float(np.sqrt(np.maximum(np.linalg.det(gram), 0)).sum() / 2)

    ratio = area(surface.vertices_m, surface.faces) / area(surface.uv, surface.uv_faces)
    return float(np.sqrt(ratio)) / SIZE_PX


def texel_faces(uv: FloatArray, uv_faces: np.ndarray, size_px: int) -> tuple[np.ndarray, FloatArray]:
    """For each texel centre its face, -1 outside the charts, and barycentric coordinates (S, S, 3)."""
    face_of = np.full((size_px, size_px), -1, np.int64)
    barycentric = np.zeros((size_px, size_px, 3))
    points = np.stack([uv[:, 0] * size_px - 0.5, (1 - uv[:, 1]) * size_px - 0.5], axis=1)
    for face, (a, b, c) in enumerate(points[uv_faces]):
        ab, ac = b - a, c - a
        area = ab[0] * ac[1] - ab[1] * ac[0]
        if abs(area) < 1e-9:
            continue
        low = np.maximum(np.floor(np.minimum(np.minimum(a, b), c)).astype(int), 0)
        high = np.minimum(np.ceil(np.maximum(np.maximum(a, b), c)).astype(int), size_px - 1)
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        second = ((x - a[0]) * ac[1] - (y - a[1]) * ac[0]) / area
        third = ((y - a[1]) * ab[0] - (x - a[0]) * ab[1]) / area
        shares = np.stack([1 - second - third, second, third], axis=-1)
        inside = (shares >= -1e-9).all(axis=-1)
        face_of[y[inside], x[inside]] = face
        barycentric[y[inside], x[inside]] = shares[inside]
    return face_of, barycentric
