"""The relief of skin: where its lines lie, and the maps that persons of like age share.

Every relief has creases, wrinkles, veins and tendons in places of its own. The albedo tints the same lines, so that
a groove and its colour coincide.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8, to_u8
from aih_builder.sources.skin_anatomy import Skin, palm_share, smoothstep
from aih_builder.sources.skin_features import draw_seed, finger_creases, knuckle_wrinkles
from aih_builder.sources.skin_lines import palm_lines, tendons, veins
from aih_builder.sources.skin_noise import cells, fbm, noise

RELIEF_AGES = (24, 48, 72)  # years; a person takes the nearest
VARIANTS = 2  # reliefs with lines of their own, of each age
# Not sample_rng's streams: lines belong to no sample and to no seed of a manifest, and every shipped set was baked with
# these, so that any other stream moves all textures.
_SEED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Where the lines of one variant lie: per texel (N,), 0 to about 1."""

    creases: FloatArray  # the palm side's: of the fingers, the palm, the wrist
    flush: FloatArray  # the broad band along the palm's main lines
    wrinkles: FloatArray  # on the backs of the fingers' joints
    veins: FloatArray
    tendons: FloatArray


class Relief(NamedTuple):
    """The maps of skin that do not tell persons apart."""

    normal_rgb: ImageU8  # (S, S, 3) tangent space
    roughness: ImageU8  # (S, S)
    creases: ImageU8  # (S, S)


def agedness(age: float) -> float:
    """How old skin looks at an age in years: 0 up to 28, 1 from 78."""
    return float(smoothstep(np.array(float(age)), 28.0, 78.0))


def draw_lines(skin: Skin, variant: int) -> Lines:
    """The lines of one variant, 0 to VARIANTS - 1."""
    rng = np.random.default_rng([_SEED, variant, 1])
    palm, flush = palm_lines(skin, rng)
    return Lines(
        creases=np.maximum(finger_creases(skin, rng), palm),
        flush=flush,
        wrinkles=knuckle_wrinkles(skin, rng),
        veins=veins(skin, rng),
        tendons=tendons(skin),
    )


def bake_relief(skin: Skin, lines: Lines, variant: int, age: float) -> Relief:
    """The maps of one variant at an age in years."""
    rng, old = np.random.default_rng([_SEED, variant, 2]), agedness(age)
    palm = palm_share(skin, draw_seed(rng))
    slopes = _slopes(skin, _height_mm(skin, lines, palm, old, rng))
    normals = np.concatenate([-slopes, np.ones((len(slopes), 1))], axis=1)
    normals /= np.sqrt((normals**2).sum(axis=1, keepdims=True))

    rough = 0.58 + 0.04 * palm + 0.03 * old + 0.016 * fbm(skin.points, 6.0, draw_seed(rng), 3) + 0.04 * lines.creases
    rough = rough * (1 - skin.nail) + (0.34 + 0.07 * old) * skin.nail
    folds = np.maximum(lines.creases, lines.wrinkles) * (1 - skin.nail)
    stacked = np.concatenate([127.5 * (normals + 1), 255 * rough[:, None], 255 * folds[:, None]], axis=1)
    maps = to_u8(skin.atlas.image(stacked))
    return Relief(
        np.ascontiguousarray(maps[..., :3]), np.ascontiguousarray(maps[..., 3]), np.ascontiguousarray(maps[..., 4])
    )


def _height_mm(skin: Skin, lines: Lines, palm: FloatArray, old: float, rng: np.random.Generator) -> FloatArray:
    """Height of the skin over the mesh (N,)."""
    points, texel_mm = skin.points, skin.texel_mm
    cell = max(1.3, 2.6 * texel_mm)
    height = (0.04 + 0.035 * old) * cells(points, cell, draw_seed(rng)) * (1 - 0.6 * palm)
    height += (0.02 + 0.014 * old) * fbm(points, 3.0, draw_seed(rng), 3, 2 * texel_mm)
    height -= (0.17 + 0.08 * old) * lines.creases + (0.10 + 0.12 * old) * lines.wrinkles
    back = smoothstep(skin.dorsal, 0.1, 0.6)
    height -= (0.012 + 0.11 * old) * back * crosshatch(skin, draw_seed(rng))
    height += (0.05 + 0.34 * old) * lines.veins + (0.10 + 0.62 * old) * lines.tendons
    nail = (0.004 + 0.02 * old) * nail_ridges(skin, draw_seed(rng)) + 0.03
    return height * (1 - skin.nail) + nail * skin.nail - (0.05 + 0.02 * old) * skin.nail_rim * (1 - skin.nail)


def crosshatch(skin: Skin, seed: int) -> FloatArray:
    """The fine lattice of old skin (N,), 1 in its furrows: two slanted sets of lines that wander."""
    furrows, wide = np.zeros(len(skin.points)), max(2.0, 3.0 * skin.texel_mm)
    for k, degrees in enumerate((62.0, -58.0)):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        axes = np.array([[c, 0.0, s], [-0.3 * s, 0.0, 0.3 * c], [0.0, 0.6, 0.0]])
        field = noise(np.einsum("ij,nj->ni", axes, skin.points), wide, seed + k)
        furrows = np.maximum(furrows, np.clip(1.0 - 2.2 * np.abs(field), 0.0, 1.0))
    return furrows * np.clip(0.75 + 0.35 * noise(skin.points, 9.0, seed + 2), 0.1, 1.2)


def nail_ridges(skin: Skin, seed: int) -> FloatArray:
    """Ridges from the cuticle to the tip (N,), about -1 to 1."""
    ridges, marks = np.zeros(len(skin.points)), skin.anatomy
    for first, share in skin.fingers.items():
        mine = np.flatnonzero((share > 0.5) & (skin.nail > 0))
        across = np.einsum("nc,c->n", skin.points[mine] - marks.joints[first + 2], marks.lateral[first + 2])
        line = np.stack([across, np.full(len(mine), 7.0 * first), np.zeros(len(mine))], axis=1)
        ridges[mine] = 0.6 * noise(line, max(0.9, 2.0 * skin.texel_mm), seed)
    return np.clip(ridges, -1.5, 1.5)


def _slopes(skin: Skin, height_mm: FloatArray) -> FloatArray:
    """Slopes of a height field along u and v (N, 2): central differences in chart and margin."""
    atlas, size = skin.atlas, skin.atlas.size_px
    image = atlas.image(height_mm[:, None])[..., 0]
    step_mm = 1e3 * atlas.texel_m
    d_col = np.gradient(image, axis=1).reshape(size * size)[atlas.index]
    d_row = np.gradient(image, axis=0).reshape(size * size)[atlas.index]
    slopes = np.stack([d_col / step_mm[:, 0], -d_row / step_mm[:, 1]], axis=1)
    return np.clip(slopes, -1.0, 1.0)
