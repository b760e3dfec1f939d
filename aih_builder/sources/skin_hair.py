"""Hair on the back of the hand: short curved strokes, finer than a texel, drawn by how much of a texel they cover.

They lie towards the little finger and the fingertips, denser on the ulnar side and towards the arm, and on the first
bones of the fingers. Strokes are laid out on the surface in space, so they run on across chart borders.
"""

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.skin_anatomy import Skin, bump, smoothstep
from aih_builder.sources.skin_noise import noise

_PER_MM2 = 0.17  # strokes where hair is densest
_WIDTH_MM = (0.07, 0.13)
_THUMB = FINGERS["thumb"]
_REACH_MM = 3.0  # how far the skin may curve away from the plane that a stroke is drawn in


def hair(skin: Skin, density: float, rng: np.random.Generator) -> FloatArray:
    """The share of each texel (N,) that hairs cover. density 0 to 1."""
    dense = _PER_MM2 * density * growth(skin)
    areas_mm2 = 1e6 * skin.atlas.texel_m.prod(axis=1) * skin.atlas.inside
    count = int(np.floor((dense * areas_mm2).sum()))
    if not count:
        return np.zeros(len(skin.points))
    summed = np.cumsum(dense * areas_mm2)
    roots = np.searchsorted(summed, np.sort(rng.random(count)) * summed[-1]).clip(0, len(summed) - 1)
    along, across = _lie(skin, roots, rng)
    arm = smoothstep(-skin.points[roots, 0], -35.0, 20.0)
    finger = _finger_share(skin)[roots] > 0.5
    length_mm = rng.uniform(2.5, 6.0, count) * (1 + 0.9 * arm) * np.where(finger, 0.75, 1.0)
    bend = rng.normal(0.0, 0.13, count) + 0.1
    width_mm = rng.uniform(*_WIDTH_MM, count)
    order = np.argsort(skin.points[:, 0], kind="stable")
    covered = _cover(
        skin.points[order], skin.points[roots], along, across, skin.normals[roots], length_mm, bend, width_mm,
        0.5 * skin.texel_mm, _REACH_MM,
    )  # fmt: skip
    shares = np.empty(len(skin.points))
    shares[order] = covered
    return shares * (1 - skin.nail)


def growth(skin: Skin) -> FloatArray:
    """How thickly hair grows at each texel (N,), 0 to 1."""
    points, marks = skin.points, skin.anatomy
    x, z = points[:, 0], points[:, 2]
    ulnar = smoothstep(-z, -22.0, 26.0)
    arm = smoothstep(-x, -45.0, 15.0)
    hand = (0.10 + 0.75 * ulnar) * (1 - smoothstep(x, 68.0, 84.0))
    hand = np.maximum(hand, (0.45 + 0.55 * ulnar) * arm)
    hand *= smoothstep(skin.dorsal + 0.5 * arm, 0.25, 0.75)  # on the arm it reaches round the sides
    grown = hand * (1 - smoothstep(_finger_share(skin), 0.05, 0.4))
    back = smoothstep(skin.dorsal, 0.45, 0.85)
    for first, share in skin.fingers.items():
        for k, strength in enumerate((0.85, 0.12) if first != _THUMB else (0.0, 0.35)):
            start, end = marks.joints[first + k], marks.joints[first + k + 1]
            bone_mm = np.sqrt(((end - start) ** 2).sum())
            place = np.einsum("nc,c->n", points - start, marks.bones[first + k]) / bone_mm
            shaft = bump(place - 0.55, 0.2) * smoothstep(share, 0.3, 0.8)
            grown = np.maximum(grown, strength * shaft * back)
    return grown * np.clip(0.8 + 0.3 * noise(points, 16.0, 977), 0.2, 1.2)


def _finger_share(skin: Skin) -> FloatArray:
    return np.sum(list(skin.fingers.values()), axis=0)


def _lie(skin: Skin, roots: np.ndarray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Unit directions (H, 3) along the hairs and across them, in the surface at their roots."""
    normals, points = skin.normals[roots], skin.points[roots]
    towards = np.tile([0.75, 0.0, -0.65], (len(roots), 1))
    for first, share in skin.fingers.items():
        bone = skin.anatomy.bones[first]
        towards += share[roots, None] * (1.1 * bone - [0.6, 0.0, 0.0])
    turn = 0.35 * noise(points, 14.0, 311) + rng.normal(0.0, 0.22, len(roots))
    towards -= normals * (towards * normals).sum(axis=1, keepdims=True)
    towards /= np.maximum(np.sqrt((towards**2).sum(axis=1, keepdims=True)), 1e-9)
    side = np.cross(normals, towards)
    along = towards * np.cos(turn)[:, None] + side * np.sin(turn)[:, None]
    return along, np.cross(normals, along)


@compiled
def _cover(points, roots, along, across, normals, length_mm, bend, width_mm, blur_mm, reach_mm):
    """Covered share of each point (N,), which must be sorted by x."""
    bare = np.ones(points.shape[0])
    x = points[:, 0].copy()
    for h in range(roots.shape[0]):
        length = length_mm[h]
        first = np.searchsorted(x, roots[h, 0] - length - 1.0)
        last = np.searchsorted(x, roots[h, 0] + length + 1.0)
        for n in range(first, last):
            ox, oy, oz = points[n, 0] - roots[h, 0], points[n, 1] - roots[h, 1], points[n, 2] - roots[h, 2]
            u = ox * along[h, 0] + oy * along[h, 1] + oz * along[h, 2]
            if u < -0.5 or u > length + 0.5:
                continue
            away = ox * normals[h, 0] + oy * normals[h, 1] + oz * normals[h, 2]
            if abs(away) > reach_mm:
                continue
            v = ox * across[h, 0] + oy * across[h, 1] + oz * across[h, 2]
            place = min(max(u / length, 0.0), 1.0)
            slope = 2.0 * bend[h] * place
            d = (v - bend[h] * length * place * place) / np.sqrt(1.0 + slope * slope)
            width = width_mm[h] * (1.0 - 0.75 * place * place)
            sigma = np.sqrt(width * width + blur_mm * blur_mm)
            if abs(d) > 3.0 * sigma:
                continue
            beyond = max(max(-u, u - length), 0.0) / sigma
            share = width / (sigma * 1.7724539) * np.exp(-((d / sigma) ** 2) - beyond * beyond)
            bare[n] *= 1.0 - min(share, 0.95)
    return 1.0 - bare
