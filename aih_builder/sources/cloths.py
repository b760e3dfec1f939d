"""Cloth for sleeves, baked from its number alone: colour, weave, stripes or checks, and a cuff.

A texture is laid out by hands.sleeve's SLEEVE_MAP. Its tile is mirrored at its ends, where whatever has a direction
must stand upright: waves meet them at a crest.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.sleeve import SLEEVE_MAP, TILE_M
from aih_builder.identity import Split
from aih_builder.imaging import DISPLAY_GAMMA, ImageU8, to_u8
from aih_builder.rng import Purpose, sample_rng
from aih_builder.sources.licences import PUBLIC_DOMAIN
from aih_builder.sources.pools import by_split, draw_item
from aih_builder.sources.skin_noise import fbm, noise
from aih_builder.sources.texture_set import TextureSet

KINDS = ("knit", "shirt", "jacket")
COUNT = 48
SIZE_PX = 256

_SEED = 0  # cloths are the same for every manifest, so that their ids mean the same
_GUARD = 0.02  # of v around each part: coarse levels of the pyramid blend neighbours
_DYES_RGB = np.array(
    [
        (236, 234, 228), (205, 203, 198), (150, 152, 154), (88, 90, 94), (38, 38, 42), (24, 28, 48),
        (40, 58, 104), (72, 104, 150), (134, 164, 198), (62, 76, 98), (146, 34, 38), (92, 26, 36),
        (40, 74, 56), (94, 100, 62), (196, 176, 138), (112, 82, 58), (194, 148, 58), (206, 150, 156),
        (104, 78, 124), (54, 116, 120),
    ],
    float,
)  # fmt: skip


def draw_cloth(rng: np.random.Generator, split: Split) -> str:
    """The id of a cloth of a split."""
    return draw_item(rng, _BY_SPLIT, split, "cloths")


def kind_of(cloth_id: str) -> str:
    """Which of KINDS a cloth is."""
    return cloth_id.split("-")[1]


@lru_cache(maxsize=COUNT)
def cloth(cloth_id: str) -> TextureSet:
    """The texture of a cloth; both albedos are the same."""
    _, kind, number = cloth_id.split("-")
    rng = sample_rng(_SEED, int(number), 1, Purpose.CLOTH)
    rows, columns = np.meshgrid(np.arange(SIZE_PX) + 0.5, np.arange(SIZE_PX) + 0.5, indexing="ij")
    u, v = columns / SIZE_PX, 1 - rows / SIZE_PX
    texels = np.stack([u.ravel(), v.ravel(), np.full(u.size, 0.5)], axis=1)
    colour, height_mm = _WEAVES[kind](rng, u, v)
    colour, cuff_mm = _cuff(rng, kind, u, v, colour)
    height_mm = np.where(_part(v, SLEEVE_MAP.cuff), cuff_mm, height_mm)
    worn = 1 + 0.05 * fbm(texels, 0.2, int(rng.integers(2**31)), octaves=4).reshape(u.shape)
    fibre = 1 + 0.05 * noise(texels, 2 / SIZE_PX, int(rng.integers(2**31))).reshape(u.shape)
    shade = np.where(_part(v, SLEEVE_MAP.inside), 0.22, 1.0)
    colour = np.clip(colour * (worn * fibre * shade)[..., None], 0, 1)
    roughness = {"knit": 0.95, "shirt": 0.85, "jacket": 0.7}[kind] + rng.uniform(-0.05, 0.05)
    return TextureSet(
        id=cloth_id,
        tone=1,
        licence=PUBLIC_DOMAIN,
        albedo_rgb=np.repeat(to_u8(255 * colour ** (1 / DISPLAY_GAMMA))[None], 2, axis=0),
        normal_rgb=_normals(height_mm),
        roughness=np.full(u.shape, to_u8(np.array(255 * roughness)), np.uint8),
    )


def _part(v: FloatArray, span: tuple[float, float]) -> np.ndarray:
    return (v >= span[0] - _GUARD) & (v <= span[1] + _GUARD)


def _dye(rng: np.random.Generator) -> FloatArray:
    """A garment's colour, linear (3,)."""
    srgb = np.clip(_DYES_RGB[rng.integers(len(_DYES_RGB))] * rng.uniform(0.85, 1.1) + rng.normal(0, 5, 3), 8, 245)
    return (srgb / 255) ** DISPLAY_GAMMA


def _crests(x: FloatArray, count: int) -> FloatArray:
    """A wave over 0 to 1, of values 0 to 1, with crests at both ends."""
    return 0.5 + 0.5 * np.cos(2 * np.pi * count * x)


def _along(v: FloatArray) -> FloatArray:
    low, high = SLEEVE_MAP.body
    return (v - low) / (high - low)


def _knit(rng: np.random.Generator, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Columns of stitches, each a V; sometimes broad ribs or rings of a second colour."""
    colour, second = _dye(rng), _dye(rng)
    wales = int(rng.integers(14, 24))
    courses = round(wales * 0.65 * rng.uniform(1.0, 1.4))
    lean = 0.35 * _crests(u, wales)
    stitch = 0.5 + 0.5 * np.cos(2 * np.pi * (courses * _along(v) + lean))
    rib = _crests(u, int(rng.integers(3, 6))) if rng.random() < 0.4 else np.ones_like(u)
    height_mm = 0.25 * _crests(u, wales) + 0.12 * stitch + 0.5 * rib
    shade = 0.72 + 0.28 * _crests(u, wales) * (0.6 + 0.4 * stitch)
    rings = rng.random() < 0.3
    mix = (_crests(_along(v), int(rng.integers(1, 3))) > rng.uniform(0.5, 0.8)) & rings
    return np.where(mix[..., None], second, colour) * shade[..., None], height_mm


def _shirt(rng: np.random.Generator, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A fine weave: plain, striped along the arm, or checked."""
    colour, second = _dye(rng), _dye(rng)
    pattern = rng.random()
    lines, edge = int(rng.integers(2, 7)), rng.uniform(0.5, 0.93)
    along_arm = 1 / (1 + np.exp(-40 * (_crests(u, lines) - edge)))
    around = 1 / (1 + np.exp(-40 * (_crests(_along(v), max(1, round(lines * 0.65))) - edge)))
    if pattern < 0.45:
        mix = np.zeros_like(u)
    elif pattern < 0.75:
        mix = along_arm
    else:
        mix = 0.5 * (along_arm + around)
    threads = _crests(u, 96) * _crests(_along(v), 62)
    tint = colour + (second - colour) * mix[..., None]
    return tint * (0.9 + 0.1 * threads)[..., None], 0.04 * threads


def _jacket(rng: np.random.Generator, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """A coarse, plain cloth: denim's twill, wool, or smooth."""
    colour = _dye(rng) * rng.uniform(0.6, 1.0)
    twill = 0.5 + 0.5 * np.cos(2 * np.pi * (40 * u + 26 * _along(v)))
    pale = rng.uniform(0.0, 0.35)
    shade = 1 - pale + pale * twill
    return colour[None, None] * shade[..., None] + 0.03 * pale * (1 - twill)[..., None], 0.08 * pale * twill


_WEAVES: dict[str, Callable[[np.random.Generator, FloatArray, FloatArray], tuple[FloatArray, FloatArray]]] = {
    "knit": _knit,
    "shirt": _shirt,
    "jacket": _jacket,
}


def _cuff(
    rng: np.random.Generator, kind: str, u: FloatArray, v: FloatArray, colour: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The cloth with its cuff (S, S, 3), and the cuff's height (S, S): ribbed on a knit, else hemmed with a seam."""
    low, high = SLEEVE_MAP.cuff
    along = np.clip((v - low) / (high - low), 0, 1)
    middle = colour[_part(v, SLEEVE_MAP.body)].mean(axis=0)
    middle = middle * rng.uniform(0.8, 1.05) if rng.random() < 0.7 else _dye(rng)
    if kind == "knit":
        ribs = _crests(u, int(rng.integers(8, 14)))
        shade, height_mm = 0.6 + 0.4 * ribs, 0.7 * ribs
        cuff = np.broadcast_to(middle, colour.shape) * shade[..., None]
    else:
        seam = np.exp(-(((along - 0.14) / 0.03) ** 2)) + np.exp(-(((along - 0.95) / 0.03) ** 2))
        stitches = seam * (0.5 + 0.5 * _crests(u, 22))
        shade, height_mm = 1 - 0.3 * seam, -0.3 * seam + 0.15 * stitches
        plain = np.broadcast_to(middle, colour.shape) if kind == "jacket" else colour
        cuff = plain * shade[..., None] + 0.12 * stitches[..., None] * middle
    return np.where(_part(v, SLEEVE_MAP.cuff)[..., None], cuff, colour), height_mm


def _normals(height_mm: FloatArray) -> ImageU8:
    """Tangent-space normals of a relief: x = +u, y = +v."""
    texel_mm = 1e3 * TILE_M / SIZE_PX
    down, right = np.gradient(height_mm, texel_mm)
    normal = np.stack([-right, down, np.ones_like(right)], axis=2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    return to_u8(255 * (normal / 2 + 0.5))


_BY_SPLIT = by_split([f"weave-{KINDS[number % len(KINDS)]}-{number:02d}" for number in range(COUNT)])
