"""What skin shows at the joints: creases, wrinkles, flushed and darker regions, the moons of nails.

Lines are drawn wider than they are where texels are coarse, and fainter, so that no grid shows.
"""

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.skin_anatomy import Skin, bump, smoothstep
from aih_builder.sources.skin_noise import fbm, noise

_THUMB = FINGERS["thumb"]

# Across a finger's palm side, mm from a joint towards the tip: base, middle and end joint. The
# base creases lie at the web, this share of the first bone beyond the knuckle.
_WEB_SHARE = 0.36
_FINGER_CREASES = {0: (0.0, 2.3), 1: (-1.0, 1.3), 2: (0.2,)}
_THUMB_CREASES = {1: (-0.8, 1.8), 2: (-1.2, 0.8)}
# Across a finger's back: offsets of the wrinkles at the middle and end joint.
_KNUCKLE_WRINKLES = {1: (-4.4, -2.7, -1.3, 0.1, 1.5, 2.9, 4.5), 2: (-2.2, -0.8, 0.5, 1.9)}

_JITTER_MM = 0.35  # of a line's place along its finger

_LUNULAS = {  # height as a share of the nail, half width in mm
    "thumb": (0.24, 5.0),
    "index": (0.15, 3.5),
    "middle": (0.16, 3.5),
    "ring": (0.12, 3.2),
    "little": (0.05, 2.5),
}


def line_profile(distance: FloatArray, width: float, texel_mm: float) -> FloatArray:
    """A groove: 1 at distance 0 (mm), Gaussian, widened to what texels can carry."""
    drawn = np.sqrt(width**2 + (0.75 * texel_mm) ** 2)
    return (width / drawn) ** 0.7 * bump(distance, drawn)


def finger_creases(skin: Skin, rng: np.random.Generator) -> FloatArray:
    """Flexion creases on the palm side of the fingers (N,), 0 to about 1."""
    drawn = np.zeros(len(skin.points))
    warp = wobble(skin, rng)
    for first in FINGERS.values():
        share = skin.fingers[first]
        table = _THUMB_CREASES if first == _THUMB else _FINGER_CREASES
        for k, offsets in table.items():
            rows, along, across = _at_joint(skin, first, k, 22.0)
            if k == 0:
                bone = skin.anatomy.joints[first + 1] - skin.anatomy.joints[first]
                along = along - _WEB_SHARE * np.sqrt((bone**2).sum())
            side = smoothstep(-skin.dorsal[rows], -0.15, 0.4)
            side *= smoothstep(share[rows], 0.05, 0.4) if k else smoothstep(share[rows], 0.2, 0.6)
            patchy = np.clip(0.8 + 0.3 * noise(skin.points[rows], 5.0, draw_seed(rng)), 0.15, 1.2)
            for offset in offsets:
                at = offset + rng.normal(0.0, _JITTER_MM) + rng.normal(0.0, 0.02) * across
                strength = rng.uniform(0.7, 1.0) * (1.0 if offset == offsets[0] else 0.75)
                strength *= 0.6 if first == _THUMB and k == 1 else 1.0
                line = line_profile(along - at + warp[rows], 0.45, skin.texel_mm)
                drawn[rows] = np.maximum(drawn[rows], strength * line * side * patchy)
    return drawn


def knuckle_wrinkles(skin: Skin, rng: np.random.Generator) -> FloatArray:
    """Wrinkles on the backs of finger joints (N,), 0 to about 1: arcs that part around the joint."""
    drawn = np.zeros(len(skin.points))
    warp = wobble(skin, rng)
    for first in FINGERS.values():
        for k, offsets in _KNUCKLE_WRINKLES.items():
            rows, along, across = _at_joint(skin, first, k, 14.0)
            back = smoothstep(skin.dorsal[rows], 0.05, 0.5) * smoothstep(skin.fingers[first][rows], 0.1, 0.4)
            wide = (6.5 if k == 1 else 5.0) * (1.15 if first == _THUMB else 1.0)
            fine = fbm(_stretched(skin, rows, first, k, 4.0), 1.7, draw_seed(rng), 2)
            lattice = np.clip(np.abs(fine) * -1.6 + 0.8, 0.0, 1.0) * bump(along, wide * 1.1)
            drawn[rows] = np.maximum(drawn[rows], 0.45 * lattice * back * bump(across, wide * 1.3))
            for offset in offsets:
                at = offset + rng.normal(0.0, 0.7 * _JITTER_MM)
                shift, reach = rng.normal(0.0, 1.0), wide * rng.uniform(0.65, 1.1)
                bow = 1.0 - 0.4 * (across / wide) ** 2
                patchy = 0.75 + 0.4 * noise(skin.points[rows], 3.5, draw_seed(rng))
                line = line_profile(along - at * bow + 1.3 * warp[rows], 0.33, skin.texel_mm)
                line *= rng.uniform(0.5, 1.0) * bump(across - shift, reach) * np.clip(patchy, 0.0, 1.1)
                drawn[rows] = np.maximum(drawn[rows], line * back)
    return drawn


def knuckles(skin: Skin) -> FloatArray:
    """Backs of the finger joints (N,), 0 to 1."""
    marks, total = skin.anatomy, np.zeros(len(skin.points))
    back = smoothstep(skin.dorsal, 0.1, 0.6)
    for first, share in skin.fingers.items():
        for k, (strength, radius) in enumerate(((0.55, 11.0), (0.8, 9.0), (0.5, 6.5))):
            if k == 0 and first == FINGERS["thumb"]:
                continue
            top = marks.joints[first + k] + 7.0 * marks.dorsal[first + k]
            far = np.sqrt(((skin.points - top) ** 2).sum(axis=1))
            mine = smoothstep(share, 0.02, 0.2) if k == 0 else smoothstep(share, 0.05, 0.35)
            total += strength * bump(far, radius) * mine
    return np.minimum(total, 1.0) * back


def fingertips(skin: Skin) -> FloatArray:
    """Ends of the fingers, all around (N,), 0 to 1."""
    total = np.zeros(len(skin.points))
    for first, share in skin.fingers.items():
        far = np.sqrt(((skin.points - skin.anatomy.tips[first]) ** 2).sum(axis=1))
        total += bump(far, 13.0) * smoothstep(share, 0.1, 0.5)
    return total


def palm_pads(skin: Skin) -> FloatArray:
    """The balls of the thumb and of the little finger, and the pads under the knuckles (N,)."""
    joints, thumb = skin.anatomy.joints, FINGERS["thumb"]
    little, index = FINGERS["little"], FINGERS["index"]
    pads = [
        (0.6 * joints[thumb + 1] + 0.4 * joints[0], 20.0),
        (0.4 * joints[little] + 0.6 * joints[0] + (0.0, 0.0, -12.0), 22.0),
        (0.5 * joints[little] + 0.5 * joints[index] + (-4.0, -10.0, 0.0), 16.0),
    ]
    total = np.zeros(len(skin.points))
    for centre, radius in pads:
        total += bump(np.sqrt(((skin.points - centre) ** 2)[:, [0, 2]].sum(axis=1)), radius)
    return np.minimum(total, 1.0)


def lunula(skin: Skin, along: FloatArray) -> FloatArray:
    """The pale moon above the cuticle (N,): large on the thumb, hardly there on the little finger."""
    marks, moon = skin.anatomy, np.zeros(len(along))
    for name, first in FINGERS.items():
        height, half_mm = _LUNULAS[name]
        offset = skin.points - marks.joints[first + 2]
        across = np.einsum("nc,c->n", offset, marks.lateral[first + 2]) / half_mm
        top = height * (1 - across**2)
        moon += (skin.fingers[first] > 0.5) * (1 - smoothstep(along - top, -0.04, 0.04))
    return moon


def _at_joint(skin: Skin, first: int, k: int, reach_mm: float) -> tuple[np.ndarray, FloatArray, FloatArray]:
    """Texels near joint k of a finger, and their offsets along and across the finger, mm."""
    marks, joint = skin.anatomy, first + k
    before = marks.bones[joint - 1] if k else marks.bones[joint]
    forward = before + marks.bones[joint]
    forward = forward / np.sqrt((forward**2).sum())
    offset = skin.points - marks.joints[joint]
    near = (np.abs(offset) < reach_mm + 8.0).all(axis=1) & (skin.fingers[first] > 0.02)
    rows = np.flatnonzero(near)
    along = np.einsum("nc,c->n", offset[rows], forward)
    across = np.einsum("nc,c->n", offset[rows], marks.lateral[joint])
    return rows, along, across


def _stretched(skin: Skin, rows: np.ndarray, first: int, k: int, factor: float) -> FloatArray:
    """Texel positions, shrunk across the finger: noise of them runs across the finger."""
    marks, joint = skin.anatomy, first + k
    axes = np.stack([marks.bones[joint], marks.dorsal[joint] / factor, marks.lateral[joint] / factor])
    return np.einsum("ij,nj->ni", axes, skin.points[rows])


def wobble(skin: Skin, rng: np.random.Generator) -> FloatArray:
    """Displacement (N,) of about 0.25 mm that makes drawn lines waver."""
    slow = fbm(skin.points, 9.0, draw_seed(rng), 2)
    return 0.24 * slow + 0.1 * noise(skin.points, 2.6, draw_seed(rng))


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for the noise functions."""
    return int(rng.integers(2**62))
