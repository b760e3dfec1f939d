"""Procedural skin: albedo of both hands of one person, and the relief that persons of like age share.

Every texel is computed from the point of the rest hand that it shows, so chart seams do not appear.
Both hands are baked on the right hand's surface, which the left hand's texture coordinates share,
each with its own stream: one palette, one relief, two sets of blotches, spots and hairs.
"""

from functools import cached_property
from itertools import count, product
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.imaging import ImageU8, read_image, to_u8
from aih_builder.paths import render_assets
from aih_builder.rng import Purpose, sample_rng
from aih_builder.sources.licences import PUBLIC_DOMAIN
from aih_builder.sources.pools import split_of
from aih_builder.sources.skin_anatomy import Skin, map_skin, palm_share, smoothstep
from aih_builder.sources.skin_atlas import make_atlas
from aih_builder.sources.skin_features import draw_seed, fingertips, knuckles, lunula, palm_pads
from aih_builder.sources.skin_hair import hair
from aih_builder.sources.skin_noise import fbm, noise, spots
from aih_builder.sources.skin_palette import (
    BLOOD,
    MELANIN,
    VEIN,
    Palette,
    draw_palette,
    to_srgb,
)
from aih_builder.sources.skin_relief import (
    RELIEF_AGES,
    VARIANTS,
    Lines,
    Relief,
    agedness,
    bake_relief,
    crosshatch,
    draw_lines,
    nail_ridges,
)
from aih_builder.sources.skin_transfer import transferred
from aih_builder.sources.texture_set import TextureSet

# The tones whose sets number 1, 2, ... belong to test and to val; then again from the first.
_TEST_TONES = (3, 8, 5, 10, 1, 6, 2, 9, 4, 7)
_VAL_TONES = (8, 3, 10, 5, 6, 1, 9, 2, 7, 4)
# A set's item number in its pool is tone * 1000 + number, counted from where no other pool's numbers reach.
_FIRST_ITEM, _SET_NUMBERS = 1_000_000, 1000
AGES = (18, 80)  # years that can be baked


class Person(NamedTuple):
    """Whose skin it is. Number tells persons of one tone apart."""

    tone: int  # Monk scale, 1 to 10
    number: int
    age: int  # years, 18 to 80
    hair: int  # per cent of the densest that is drawn


def draw_person(tone: int, number: int, seed: int, ages: tuple[int, int], hairs: tuple[float, float]) -> Person:
    """A person of a tone with age and hair from these ranges: most have little hair, few have much."""
    age, much = _stream(tone, number, seed).random(2)
    years = ages[0] + int(np.floor(age * (ages[1] - ages[0] + 1)))
    share = hairs[0] + (hairs[1] - hairs[0]) * much**1.6
    return Person(tone, number, min(years, ages[1]), int(np.floor(100 * share + 0.5)))


def set_id(person: Person, seed: int, size_px: int) -> str:
    """The id of a procedural set. Its split is the hash of this: the last letters are chosen such that light and dark
    skin take turns in val and test.
    """
    tone, number, age, hairs = person
    turn = (number - 1) % len(_TEST_TONES)
    wanted = {_TEST_TONES[turn]: "test", _VAL_TONES[turn]: "val"}.get(tone, "train")
    stem = f"skin{tone:02d}-{number:03d}-age{age}-hair{hairs}-s{seed}-{size_px}px"
    tried = (stem + "".join(letters) for length in count() for letters in product(ascii_lowercase, repeat=length))
    return next(set_id for set_id in tried if split_of(set_id) == wanted)


def _stream(tone: int, number: int, seed: int) -> np.random.Generator:
    return sample_rng(seed, _FIRST_ITEM + tone * _SET_NUMBERS + number, 1, Purpose.POOL)


class Bakery:
    """Bakes sets for one hand model, a right one, at one size. Each set depends on (person, seed) alone.

    nails (Sn, Sn, 3) u8 is a map in the open hand's UV layout: nail plate, rim, and place along the nail
    from cuticle to tip. A hand of another layout gets the open hand's skin, transferred.
    Raises AssetError where the map is another kind of image.
    """

    def __init__(self, hand: HandArrays, nails: ImageU8, size_px: int) -> None:
        if nails.ndim != 3 or nails.shape[2] != 3 or nails.dtype != np.uint8:
            raise AssetError(f"nail map: {nails.dtype} {nails.shape}, expected uint8 (S, S, 3).")
        self._hand, self._nails, self.size_px = hand, nails, size_px
        self._lines: dict[int, Lines] = {}
        self._reliefs: dict[tuple[int, int], Relief] = {}

    @cached_property
    def skin(self) -> Skin:
        """The texels of the hand."""
        hand, lender, atlas = self._hand, open_hand(), make_atlas(self._hand, self.size_px)
        if hand.uv_digest() != lender.uv_digest():
            hand, atlas = lender, transferred(atlas, hand, lender)
        return map_skin(hand, atlas, self._nails / 255.0)

    def lines(self, variant: int) -> Lines:
        """Where the lines of a variant lie."""
        if variant not in self._lines:
            self._lines[variant] = draw_lines(self.skin, variant)
        return self._lines[variant]

    def relief(self, variant: int, age: int) -> Relief:
        """The maps of a variant at the nearest of RELIEF_AGES."""
        nearest = min(RELIEF_AGES, key=lambda years: abs(years - age))
        if (variant, nearest) not in self._reliefs:
            self._reliefs[variant, nearest] = bake_relief(self.skin, self.lines(variant), variant, nearest)
        return self._reliefs[variant, nearest]

    def bake_person(self, person: Person, seed: int) -> TextureSet:
        """Textures of one person. Raises ConfigError for a tone, an age, hair or a seed out of range."""
        if not AGES[0] <= person.age <= AGES[1]:
            raise ConfigError(f"skin age is {person.age}, expected {AGES[0]} to {AGES[1]} years.")
        if not 0 <= person.hair <= 100:
            raise ConfigError(f"hair is {person.hair} %, expected 0 to 100.")
        own, *hands = _stream(person.tone, person.number, seed).spawn(3)
        palette = draw_palette(person.tone, agedness(person.age), own)
        variant = person.number % VARIANTS
        lines = self.lines(variant)
        albedo_rgb = np.stack([bake_albedo(self.skin, lines, palette, person, rng) for rng in hands])
        relief = self.relief(variant, person.age)
        return TextureSet(
            set_id(person, seed, self.size_px), person.tone, PUBLIC_DOMAIN, albedo_rgb,
            relief.normal_rgb, relief.roughness, float(person.age), relief.creases,
        )  # fmt: skip


def open_hand_nails() -> ImageU8:
    """The nail map of the embedded hand (render_assets/open_hand/nails.png)."""
    return read_image(render_assets() / "open_hand" / "nails.png")


def bake_albedo(skin: Skin, lines: Lines, palette: Palette, person: Person, rng: np.random.Generator) -> ImageU8:
    """Albedo (S, S, 3) of one hand."""
    old = agedness(person.age)
    colour = _skin_colour(skin, lines, palette, old, rng)
    hairs = hair(skin, person.hair / 100 * (1 - 0.4 * palette.melanin), rng)[:, None]
    colour = colour * (1 - hairs) + palette.hair * hairs
    nail = skin.nail[:, None]
    colour = colour * (1 - nail) + _nail_colour(skin, palette, old, rng) * nail
    return to_u8(skin.atlas.image(to_srgb(colour)))


def _skin_colour(skin: Skin, lines: Lines, palette: Palette, old: float, rng: np.random.Generator) -> FloatArray:
    """Linear colour (N, 3) of all texels as if there were neither nails nor hair."""
    points, finest = skin.points, 1.5 * skin.texel_mm
    palm = palm_share(skin, draw_seed(rng))
    broad, middle = fbm(points, 34.0, draw_seed(rng), 3), fbm(points, 11.0, draw_seed(rng), 3)
    fine = fbm(points, 3.2, draw_seed(rng), 3, finest)
    grain = fbm(points, 1.5, draw_seed(rng), 2, finest)
    # The lines are the relief's; how strongly a hand shows each of them is its own.
    shown = np.clip(0.85 + 0.25 * noise(points, 12.0, draw_seed(rng)), 0.2, 1.25)
    creases, wrinkles, vein = lines.creases * shown, lines.wrinkles * shown * (0.95 + 0.3 * old), lines.veins * shown
    joints, back = knuckles(skin), smoothstep(skin.dorsal, 0.0, 0.5)

    blood = 0.55 * joints * (1.0 + 0.24 * middle + 0.12 * fine)
    blood += fingertips(skin) * (0.28 + 0.27 * palm) + 0.22 * lines.flush
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
    pigment += old * 0.16 * back * crosshatch(skin, draw_seed(rng))
    pigment += _spotted(skin, palette, rng) * back

    shade = (
        blood[:, None] * BLOOD
        + pigment[:, None] * MELANIN
        + (palette.vein * vein)[:, None] * VEIN
        + (0.16 * palette.crease * np.maximum(creases, 0.9 * wrinkles))[:, None]
    )
    base = palette.back ** (1 - palm[:, None]) * palette.palm ** palm[:, None]
    return base * np.exp(-shade)


def _spotted(skin: Skin, palette: Palette, rng: np.random.Generator) -> FloatArray:
    """Pigment (N,) of freckles, moles and age spots."""
    freckle = spots(skin.points, 7.0, draw_seed(rng), 0.5 * palette.freckles, 1.6)
    moles = spots(skin.points, 30.0, draw_seed(rng), 0.22, 1.3, 0.4)
    frayed = skin.points + 0.7 * np.stack([noise(skin.points, 3.0, draw_seed(rng)) for _ in range(3)], axis=1)
    aged = spots(frayed, 13.0, draw_seed(rng), 0.75 * palette.age_spots, 4.2, 0.75)
    return 0.45 * freckle + 0.9 * moles + 0.55 * smoothstep(aged, 0.02, 0.4) * (0.4 + 0.6 * palette.age_spots)


def _nail_colour(skin: Skin, palette: Palette, old: float, rng: np.random.Generator) -> FloatArray:
    """Linear colour (N, 3) of all texels as if everything were nail."""
    along = skin.nail_along + 0.015 * noise(skin.points, 4.0, draw_seed(rng))
    bed = palette.nail * np.exp(
        -0.03 * fbm(skin.points, 4.0, draw_seed(rng), 2)[:, None] * BLOOD
        - (0.25 * skin.nail_rim * (1 - smoothstep(along, 0.8, 0.95)))[:, None] * BLOOD
        - ((0.008 + 0.03 * old) * nail_ridges(skin, draw_seed(rng)))[:, None]
    )
    moon = 0.55 * lunula(skin, along)[:, None]
    edge = smoothstep(along, 0.87, 0.93)[:, None]
    colour = bed * (1 - moon) + palette.lunula * moon
    return colour * (1 - edge) + palette.nail_edge * edge
