"""Procedural skin: albedo of both hands of one person, and the relief that all persons share.

Every texel is computed from the point of the rest hand that it shows, so chart seams do not appear.
Both hands are baked on the right hand's surface, which the left hand's texture coordinates share,
each with its own stream: one palette, two sets of lines, veins and spots.
"""

from functools import cached_property

import numpy as np

from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.imaging import ImageU8, read_image, to_u8
from aih_builder.paths import render_assets
from aih_builder.rng import Purpose, sample_rng
from aih_builder.sources.licences import PUBLIC_DOMAIN
from aih_builder.sources.skin_anatomy import Skin, map_skin, palm_share, smoothstep
from aih_builder.sources.skin_atlas import make_atlas
from aih_builder.sources.skin_features import (
    draw_seed,
    finger_creases,
    fingertips,
    knuckle_wrinkles,
    knuckles,
    lunula,
    palm_pads,
)
from aih_builder.sources.skin_lines import palm_lines, veins
from aih_builder.sources.skin_noise import cells, fbm, noise, spots
from aih_builder.sources.skin_palette import (
    BLOOD,
    MELANIN,
    VEIN,
    Palette,
    draw_palette,
    to_srgb,
)
from aih_builder.sources.texture_set import TextureSet

# The relief is one for all persons and all seeds: it is drawn from this stream.
_RELIEF_SEED = 20
# A set's item number in its pool is tone * 1000 + number, counted from where no other pool's numbers reach.
_FIRST_ITEM, _SET_NUMBERS = 1_000_000, 1000


class Bakery:
    """Bakes sets for one hand model at one size. Each set depends on (seed, tone, number) alone.

    nails (Sn, Sn, 3) u8 is a map in the hand's UV layout: nail plate, rim, and place along the nail
    from cuticle to tip.
    Raises AssetError where it is another kind of image.
    """

    def __init__(self, hand: HandArrays, nails: ImageU8, size_px: int) -> None:
        if nails.ndim != 3 or nails.shape[2] != 3 or nails.dtype != np.uint8:
            raise AssetError(f"nail map: {nails.dtype} {nails.shape}, expected uint8 (S, S, 3).")
        self._hand, self._nails, self._size_px = hand, nails, size_px

    @cached_property
    def skin(self) -> Skin:
        """The texels of the hand."""
        return map_skin(self._hand, make_atlas(self._hand, self._size_px), self._nails / 255.0)

    @cached_property
    def relief(self) -> tuple[ImageU8, ImageU8]:
        """Normals and roughness, shared by all persons."""
        return bake_relief(self.skin)

    def bake_person(self, tone: int, number: int, seed: int) -> TextureSet:
        """Textures of one person. Raises ConfigError for a tone or seed out of range."""
        item = _FIRST_ITEM + tone * _SET_NUMBERS + number
        person, *hands = sample_rng(seed, item, 1, Purpose.POOL).spawn(3)
        palette = draw_palette(tone, person)
        albedo_rgb = np.stack([bake_albedo(self.skin, palette, rng) for rng in hands])
        return TextureSet(set_id(tone, number, seed, self._size_px), tone, PUBLIC_DOMAIN, albedo_rgb, *self.relief)


def set_id(tone: int, number: int, seed: int, size_px: int) -> str:
    """The id of a procedural set; its split is the hash of this."""
    return f"skin{tone:02d}-{number:03d}-seed{seed}-{size_px}px"


def open_hand_nails() -> ImageU8:
    """The nail map of the embedded hand (render_assets/open_hand/nails.png)."""
    return read_image(render_assets() / "open_hand" / "nails.png")


def bake_albedo(skin: Skin, palette: Palette, rng: np.random.Generator) -> ImageU8:
    """Albedo (S, S, 3) of one hand."""
    colour = _skin_colour(skin, palette, rng)
    nail = skin.nail[:, None]
    colour = colour * (1 - nail) + _nail_colour(skin, palette, rng) * nail
    return to_u8(skin.atlas.image(to_srgb(colour)))


def _skin_colour(skin: Skin, palette: Palette, rng: np.random.Generator) -> FloatArray:
    """Linear colour (N, 3) of all texels as if there were no nails."""
    points, finest = skin.points, 1.5 * skin.texel_mm
    palm = palm_share(skin, draw_seed(rng))
    broad, middle = fbm(points, 34.0, draw_seed(rng), 3), fbm(points, 11.0, draw_seed(rng), 3)
    fine = fbm(points, 3.2, draw_seed(rng), 3, finest)
    grain = fbm(points, 1.5, draw_seed(rng), 2, finest)

    lines, flush = palm_lines(skin, rng)
    creases = np.maximum(finger_creases(skin, rng, 0.35), lines)
    wrinkles = knuckle_wrinkles(skin, rng, 0.25)
    vein = veins(skin, rng)
    joints = knuckles(skin)

    blood = 0.55 * joints * (1.0 + 0.24 * middle + 0.12 * fine)
    blood += fingertips(skin) * (0.28 + 0.27 * palm) + 0.22 * flush
    blood += palm * (0.12 + 0.35 * palm_pads(skin)) + 0.25 * creases
    blood += palette.mottle * (0.04 * broad + 0.036 * middle + (0.012 + 0.032 * palm) * fine)
    blood += 0.3 * skin.nail_rim * (1 - skin.nail)
    blood *= palette.flush * (1 - 0.45 * palette.melanin)

    dark = palette.melanin
    pigment = palette.mottle * (1 - 0.6 * palm) * (0.024 * broad + 0.016 * middle + 0.012 * fine)
    pigment += (0.08 + 0.3 * dark) * joints * (1 + 0.15 * fine) * (1 - palm)
    pigment += (0.1 + 0.28 * dark) * creases * palette.crease
    pigment += (0.38 + 0.16 * dark) * wrinkles * palette.crease
    pigment += 0.03 * grain * (1 - 0.4 * palm)
    freckle = spots(points, 7.0, draw_seed(rng), 0.5 * palette.freckles, 1.6)
    moles = spots(points, 30.0, draw_seed(rng), 0.22, 1.3, 0.4)
    pigment += (0.45 * freckle + 0.9 * moles) * smoothstep(skin.dorsal, 0.0, 0.5)

    shade = (
        blood[:, None] * BLOOD
        + pigment[:, None] * MELANIN
        + (palette.vein * vein)[:, None] * VEIN
        + (0.16 * palette.crease * np.maximum(creases, 0.9 * wrinkles))[:, None]
    )
    base = palette.back ** (1 - palm[:, None]) * palette.palm ** palm[:, None]
    return base * np.exp(-shade)


def _nail_colour(skin: Skin, palette: Palette, rng: np.random.Generator) -> FloatArray:
    """Linear colour (N, 3) of all texels as if everything were nail."""
    along = skin.nail_along + 0.015 * noise(skin.points, 4.0, draw_seed(rng))
    bed = palette.nail * np.exp(
        -0.03 * fbm(skin.points, 4.0, draw_seed(rng), 2)[:, None] * BLOOD
        - (0.25 * skin.nail_rim * (1 - smoothstep(along, 0.8, 0.95)))[:, None] * BLOOD
    )
    moon = 0.55 * lunula(skin, along)[:, None]
    edge = smoothstep(along, 0.87, 0.93)[:, None]
    colour = bed * (1 - moon) + palette.lunula * moon
    return colour * (1 - edge) + palette.nail_edge * edge


def bake_relief(skin: Skin) -> tuple[ImageU8, ImageU8]:
    """The shared maps: tangent-space normals (S, S, 3) and roughness (S, S)."""
    rng = np.random.default_rng(_RELIEF_SEED)
    atlas, points = skin.atlas, skin.points
    palm = palm_share(skin, draw_seed(rng))
    creases = finger_creases(skin, rng, 0.0)
    wrinkles = knuckle_wrinkles(skin, rng, 0.0)
    cell = max(1.3, 2.6 * skin.texel_mm)
    height_mm = 0.055 * cells(points, cell, draw_seed(rng)) * (1 - 0.6 * palm)
    height_mm += 0.024 * fbm(points, 3.0, draw_seed(rng), 3, 2 * skin.texel_mm)
    height_mm -= 0.20 * creases + 0.13 * wrinkles
    height_mm = height_mm * (1 - skin.nail) - 0.05 * skin.nail_rim
    slopes = _slopes(skin, height_mm)
    normals = np.concatenate([-slopes, np.ones((len(slopes), 1))], axis=1)
    normals /= np.sqrt((normals**2).sum(axis=1, keepdims=True))

    rough = 0.58 + 0.04 * palm + 0.016 * fbm(points, 6.0, draw_seed(rng), 3) + 0.04 * creases
    rough = rough * (1 - skin.nail) + 0.36 * skin.nail
    maps = atlas.image(np.concatenate([127.5 * (normals + 1), 255 * rough[:, None]], axis=1))
    return to_u8(maps[..., :3]), to_u8(maps[..., 3])


def _slopes(skin: Skin, height_mm: FloatArray) -> FloatArray:
    """Slopes of a height field along u and v (N, 2): central differences in chart and margin."""
    atlas, size = skin.atlas, skin.atlas.size_px
    image = atlas.image(height_mm[:, None])[..., 0]
    step_mm = 1e3 * atlas.texel_m
    d_col = np.gradient(image, axis=1).reshape(size * size)[atlas.index]
    d_row = np.gradient(image, axis=0).reshape(size * size)[atlas.index]
    slopes = np.stack([d_col / step_mm[:, 0], -d_row / step_mm[:, 1]], axis=1)
    return np.clip(slopes, -1.0, 1.0)
