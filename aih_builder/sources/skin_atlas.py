"""The texels of a UV atlas: which point of the hand each one shows, and what fills the rest.

Texel (row r, column c) of an S x S map has its centre at uv = ((c + 0.5) / S, 1 - (r + 0.5) / S).
"""

from dataclasses import dataclass

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays

# Charts are continued this far past their border, so that a bilinear lookup on a seam blends values
# of the surface itself and both sides of the seam show the same colour.
_MARGIN_TEXELS = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """The texels that carry skin, N of them. Positions and normals are those of the rest pose."""

    size_px: int
    index: np.ndarray  # (N,) int64: row * size + column
    inside: np.ndarray  # (N,) bool: the texel's centre lies in a chart, not in its margin
    face: np.ndarray  # (N,) int64
    points_m: FloatArray  # (N, 3)
    normals: FloatArray  # (N, 3)
    weights: FloatArray  # (N, 16)
    uv: FloatArray  # (N, 2) where the nail map shows the texel's place: of the open hand, if it lends its skin
    texel_m: FloatArray  # (N, 2): metres per texel along u and v

    def image(self, values: FloatArray) -> FloatArray:
        """Values (N, C) as an image (S, S, C), with the gutters between charts filled smoothly."""
        size = self.size_px
        image = np.zeros((size * size, values.shape[1]))
        known = np.zeros(size * size)
        image[self.index] = values
        known[self.index] = 1.0
        return fill_gutters(image.reshape(size, size, -1), known.reshape(size, size) > 0)


def make_atlas(hand: HandArrays, size_px: int) -> Atlas:
    """Rasterise a hand's UV charts at size_px. Raises AssetError where UVs leave [0, 1]."""
    if hand.uv.min() < 0 or hand.uv.max() > 1:
        raise AssetError(
            f"uv of the {hand.side} hand: values from {hand.uv.min():.3f} to {hand.uv.max():.3f}, "
            "expected [0, 1]. Unwrap the model again."
        )
    corners_px = np.stack([hand.uv[:, 0] * size_px - 0.5, (1 - hand.uv[:, 1]) * size_px - 0.5], axis=1)
    face_map, bary, outside = _rasterise(corners_px, hand.uv_faces, size_px, _MARGIN_TEXELS)
    index = np.flatnonzero(face_map >= 0)
    if not len(index):
        raise AssetError(f"uv of the {hand.side} hand: its charts cover no texel of {size_px}.")
    face = face_map.ravel()[index]
    bary = bary.reshape(-1, 3)[index]
    return Atlas(
        size_px=size_px,
        index=index,
        inside=outside.ravel()[index] <= 1e-6,
        face=face,
        points_m=_blend(hand.v_template, hand.faces, face, bary),
        normals=unit_rows(_blend(vertex_normals(hand), hand.faces, face, bary)),
        weights=_blend_weights(hand, face, bary),
        uv=_blend(hand.uv, hand.uv_faces, face, bary),
        texel_m=_texel_size(hand, size_px)[face],
    )


def vertex_normals(hand: HandArrays) -> FloatArray:
    """Area-weighted outward vertex normals (V, 3) of the rest pose."""
    a, b, c = (hand.v_template[hand.faces[:, k]] for k in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.zeros_like(hand.v_template)
    for k in range(3):
        np.add.at(normals, hand.faces[:, k], face_normals)
    return unit_rows(normals)


def fill_gutters(image: FloatArray, known: np.ndarray) -> FloatArray:
    """Fill the unknown texels of an image (S, S, C) from ever coarser averages of the known (S, S).

    Near a chart the filling equals its edge; far from all it is a smooth mean, which compresses well.
    """
    levels: list[tuple[FloatArray, FloatArray]] = [(image * known[..., None], known.astype(np.float64))]
    while levels[-1][1].size > 1:
        levels.append(_halve(*levels[-1]))
    colour, weight = levels[-1]
    filled = colour / np.maximum(weight, 1e-12)[..., None]
    for colour, weight in reversed(levels[:-1]):
        rows, cols = weight.shape
        coarse = _double(filled, rows, cols)
        share = np.minimum(weight, 1.0)[..., None]
        own = colour / np.maximum(weight, 1e-12)[..., None]
        filled = share * own + (1 - share) * coarse
    return filled


def _halve(colour: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sums over 2 x 2 blocks, weights capped at 1 so that one known texel settles a coarse one."""
    rows, cols = weight.shape
    pad = ((0, rows % 2), (0, cols % 2))
    colour, weight = np.pad(colour, (*pad, (0, 0))), np.pad(weight, pad)
    summed = weight[::2, ::2] + weight[1::2, ::2] + weight[::2, 1::2] + weight[1::2, 1::2]
    mixed = colour[::2, ::2] + colour[1::2, ::2] + colour[::2, 1::2] + colour[1::2, 1::2]
    scale = 1.0 / np.maximum(summed, 1.0)
    return mixed * scale[..., None], summed * scale


def _double(image: FloatArray, rows: int, cols: int) -> FloatArray:
    """Bilinear enlargement of (R, C, K) to (rows, cols, K), texel centres aligned."""
    r = np.clip((np.arange(rows) + 0.5) / 2 - 0.5, 0, image.shape[0] - 1)
    c = np.clip((np.arange(cols) + 0.5) / 2 - 0.5, 0, image.shape[1] - 1)
    r0, c0 = np.floor(r).astype(int), np.floor(c).astype(int)
    r1, c1 = np.minimum(r0 + 1, image.shape[0] - 1), np.minimum(c0 + 1, image.shape[1] - 1)
    fr, fc = (r - r0)[:, None, None], (c - c0)[None, :, None]
    tall = image[r0] * (1 - fr) + image[r1] * fr
    return tall[:, c0] * (1 - fc) + tall[:, c1] * fc


def _blend(values: FloatArray, triangles: np.ndarray, face: np.ndarray, bary: FloatArray) -> FloatArray:
    a, b, c = (values[triangles[face, k]] * bary[:, k : k + 1] for k in range(3))
    return a + b + c


def _blend_weights(hand: HandArrays, face: np.ndarray, bary: FloatArray) -> FloatArray:
    """Skinning weights; in the margin, where they extrapolate, clipped and made to sum to 1."""
    weights = np.maximum(_blend(hand.weights, hand.faces, face, bary), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def unit_rows(vectors: FloatArray) -> FloatArray:
    """Vectors (N, 3) at length 1."""
    return vectors / np.maximum(np.sqrt((vectors**2).sum(axis=1, keepdims=True)), 1e-12)


def _texel_size(hand: HandArrays, size_px: int) -> FloatArray:
    """Metres per texel along u and along v of each face (F, 2)."""
    a, b, c = (hand.v_template[hand.faces[:, k]] for k in range(3))
    p, q, r = (hand.uv[hand.uv_faces[:, k]] for k in range(3))
    e1, e2, d1, d2 = b - a, c - a, q - p, r - p
    det = d1[:, 0] * d2[:, 1] - d2[:, 0] * d1[:, 1]
    det = np.where(np.abs(det) < 1e-14, 1e-14, det)[:, None]
    along_u = (e1 * d2[:, 1:] - e2 * d1[:, 1:]) / det
    along_v = (e2 * d1[:, :1] - e1 * d2[:, :1]) / det
    return np.stack([np.sqrt((t**2).sum(axis=1)) for t in (along_u, along_v)], axis=1) / size_px


@compiled
def _rasterise(corners_px, triangles, size, margin):
    """Per texel: the face that covers it, or the nearest within the margin; -1 elsewhere.

    Returns the face map, barycentric coordinates (negative ones extrapolate) and the distance outside
    the face, in texels.
    """
    face_map = -np.ones((size, size), np.int64)
    bary = np.zeros((size, size, 3))
    outside = np.full((size, size), np.inf)
    lam = np.empty(3)
    height = np.empty(3)
    for f in range(triangles.shape[0]):
        ax, ay = corners_px[triangles[f, 0]]
        bx, by = corners_px[triangles[f, 1]]
        cx, cy = corners_px[triangles[f, 2]]
        det = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(det) < 1e-9:
            continue
        height[0] = abs(det) / max(1e-9, np.hypot(cx - bx, cy - by))
        height[1] = abs(det) / max(1e-9, np.hypot(cx - ax, cy - ay))
        height[2] = abs(det) / max(1e-9, np.hypot(bx - ax, by - ay))
        c0 = max(0, int(np.ceil(min(ax, bx, cx) - margin)))
        c1 = min(size - 1, int(np.floor(max(ax, bx, cx) + margin)))
        r0 = max(0, int(np.ceil(min(ay, by, cy) - margin)))
        r1 = min(size - 1, int(np.floor(max(ay, by, cy) + margin)))
        for r in range(r0, r1 + 1):
            for c in range(c0, c1 + 1):
                lam[1] = ((c - ax) * (cy - ay) - (cx - ax) * (r - ay)) / det
                lam[2] = ((bx - ax) * (r - ay) - (c - ax) * (by - ay)) / det
                lam[0] = 1.0 - lam[1] - lam[2]
                far = 0.0
                for k in range(3):
                    far = max(far, -lam[k] * height[k])
                if far <= margin and far < outside[r, c]:
                    outside[r, c] = far
                    face_map[r, c] = f
                    bary[r, c] = lam
    return face_map, bary, outside
