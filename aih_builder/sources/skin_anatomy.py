"""Where on the hand a point of skin lies, in the palm frame of hands/landmarks.py."""

from dataclasses import dataclass

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import FINGERS
from aih_builder.hands.landmarks import Anatomy, anatomy
from aih_builder.sources.skin_atlas import Atlas
from aih_builder.sources.skin_noise import fbm


@dataclass(frozen=True, slots=True, eq=False)
class Skin:
    """Per-texel facts (N texels) that no seed changes."""

    atlas: Atlas
    anatomy: Anatomy
    points: FloatArray  # (N, 3) palm frame, mm
    normals: FloatArray  # (N, 3) palm frame, unit
    dorsal: FloatArray  # (N,) 1 on the back of hand and fingers, -1 on the palm side
    fingers: dict[int, FloatArray]  # first joint of a finger -> (N,) share of that finger
    nail: FloatArray  # (N,) 1 on nails
    nail_rim: FloatArray  # (N,) 1 where a nail meets the skin, 0 on the nail and 2 mm outside
    nail_along: FloatArray  # (N,) 0 at the cuticle, 1 at the free edge
    texel_mm: float  # typical width of a texel


def map_skin(hand: HandArrays, atlas: Atlas, nail_map: FloatArray) -> Skin:
    """Locate every texel on the hand. nail_map (Sn, Sn, 3), 0 to 1: plate, rim, place along."""
    marks = anatomy(hand)
    points = np.einsum("ij,nj->ni", marks.to_palm, atlas.points_m - marks.wrist_m)
    normals = np.einsum("ij,nj->ni", marks.to_palm, atlas.normals)
    normals /= np.sqrt((normals**2).sum(axis=1, keepdims=True))
    up = np.einsum("nj,jc->nc", atlas.weights, marks.dorsal)
    up /= np.maximum(np.sqrt((up**2).sum(axis=1, keepdims=True)), 1e-9)
    fingers = {f: atlas.weights[:, f : f + 3].sum(axis=1) for f in FINGERS.values()}
    texel_mm = float(np.sqrt(np.median(atlas.texel_m.prod(axis=1)))) * 1e3
    nails = sample_map(nail_map, atlas.uv)
    return Skin(
        atlas=atlas,
        anatomy=marks,
        points=points,
        normals=normals,
        dorsal=(normals * up).sum(axis=1),
        fingers=fingers,
        nail=nails[:, 0],
        nail_rim=nails[:, 1],
        nail_along=nails[:, 2],
        texel_mm=texel_mm,
    )


def smoothstep(x: FloatArray, low: float, high: float) -> FloatArray:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(distance: FloatArray, width: float) -> FloatArray:
    """exp(-(distance / width)^2)."""
    return np.exp(-((distance / width) ** 2))


def palm_share(skin: Skin, seed: int) -> FloatArray:
    """How far a texel has palm skin (N,), poor in melanin. Its border wavers with the seed."""
    waver = fbm(skin.points, 18.0, seed, 3)
    share = smoothstep(-skin.dorsal + 0.12 * waver, -0.34, 0.46)
    wrist = smoothstep(skin.points[:, 0] + 3.0 * waver, -34.0, 10.0)
    return share * (0.2 + 0.8 * wrist)


def sample_map(image: FloatArray, uv: FloatArray) -> FloatArray:
    """Bilinear samples (N, C) of a map (S, S, C) at uv (N, 2)."""
    rows, cols = image.shape[:2]
    c = np.clip(uv[:, 0] * cols - 0.5, 0, cols - 1)
    r = np.clip((1 - uv[:, 1]) * rows - 0.5, 0, rows - 1)
    c0, r0 = np.floor(c).astype(int), np.floor(r).astype(int)
    c1, r1 = np.minimum(c0 + 1, cols - 1), np.minimum(r0 + 1, rows - 1)
    fc, fr = (c - c0)[:, None], (r - r0)[:, None]
    top = image[r0, c0] * (1 - fc) + image[r0, c1] * fc
    bottom = image[r1, c0] * (1 - fc) + image[r1, c1] * fc
    return top * (1 - fr) + bottom * fr
