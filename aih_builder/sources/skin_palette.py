"""Colours of one person's hands on the ten-step Monk scale, and how blood and melanin change them.

Colours are linear light, by the renderers' gamma. Pigments absorb: a colour is multiplied
by exp(-amount * absorption), so that layers add and never leave the gamut of skin.
"""

from dataclasses import dataclass

import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.imaging import DISPLAY_GAMMA

# sRGB of the back and of the palm of the hand for Monk tones 1 to 10. The scale's own swatches
# (1 f6ede4, 2 f3e7db, 3 f7ead0, 4 eadaba, 5 d7bd96, 6 a07e56, 7 825c43, 8 604134, 9 3a312a, 10 292420)
# are flat; hands of light people are redder and darker than theirs, hands of the darkest people a
# little lighter. Palms vary far less.
_BACK = (
    (233, 198, 181), (228, 189, 168), (221, 179, 149), (209, 165, 132), (192, 146, 110),
    (160, 115, 82), (131, 91, 65), (101, 68, 50), (73, 51, 40), (58, 41, 33),
)  # fmt: skip
_PALM = (
    (235, 195, 180), (232, 190, 174), (228, 184, 163), (221, 174, 150), (211, 161, 136),
    (194, 143, 117), (179, 128, 103), (164, 115, 92), (147, 103, 83), (134, 94, 77),
)  # fmt: skip
_NAIL = (
    (236, 190, 176), (232, 184, 168), (227, 178, 160), (219, 170, 150), (208, 158, 136),
    (190, 140, 117), (174, 125, 103), (157, 110, 90), (140, 97, 80), (126, 88, 74),
)  # fmt: skip
_MELANIN = (0.0, 0.04, 0.09, 0.17, 0.3, 0.48, 0.62, 0.77, 0.92, 1.0)

BLOOD = np.array([0.10, 0.62, 0.52])  # absorption of a strong flush
MELANIN = np.array([0.45, 0.70, 0.88])
VEIN = np.array([0.34, 0.15, 0.10])  # veins look bluish because skin above them scatters blue back


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """One person's skin. Colours (3,) linear; amounts are 0 to about 1."""

    back: FloatArray
    palm: FloatArray
    nail: FloatArray
    lunula: FloatArray
    nail_edge: FloatArray
    melanin: float
    flush: float  # how strongly blood shows
    mottle: float
    freckles: float
    vein: float
    crease: float  # how strongly creases and wrinkles are tinted
    age_spots: float
    hair: FloatArray


def draw_palette(tone: int, old: float, rng: np.random.Generator) -> Palette:
    """The colours of one person of Monk tone 1 to 10; old is 0 for the skin of the young, 1 for the very old.

    Raises ConfigError for another tone.
    """
    if not 1 <= tone <= 10:
        raise ConfigError(f"skin tone is {tone}, expected a Monk tone from 1 to 10.")
    melanin = _MELANIN[tone - 1]
    light = rng.uniform(-0.025, 0.025)
    warm = rng.normal(0.0, 1.0) * np.array([0.006, 0.0, -0.02])
    flush = rng.normal(0.0, 1.0) * np.array([0.0, -0.016, -0.012]) * (1 - 0.5 * melanin)
    cast = np.exp(light + warm + flush)
    nail = _linear(_NAIL[tone - 1]) * np.exp(rng.normal(0.0, 0.02, 3)) * np.exp(light)
    nail *= np.exp(-old * np.array([0.10, 0.14, 0.42]))  # old nails are yellower
    white = _linear((232, 216, 200)) * (1 - 0.35 * melanin) * np.exp(-old * np.array([0.05, 0.09, 0.3]))
    sallow = np.exp(-old * rng.uniform(0.3, 1.0) * np.array([0.07, 0.03, 0.11]))
    return Palette(
        back=_linear(_BACK[tone - 1]) * cast * sallow,
        palm=_linear(_PALM[tone - 1]) * cast * sallow,
        nail=nail,
        lunula=0.55 * nail + 0.45 * white,
        nail_edge=0.25 * nail + 0.75 * white,
        melanin=melanin,
        flush=rng.uniform(0.75, 1.2) * (1.1 - 0.35 * old),
        mottle=rng.uniform(0.7, 1.3) * (0.8 + 0.6 * old),
        freckles=float(rng.choice([0.0, 0.0, 0.3, 0.7])) * (1 - melanin) + 0.08,
        vein=rng.uniform(0.35, 1.0) * (1 - 0.75 * melanin) * (0.7 + 0.5 * old),
        crease=rng.uniform(0.8, 1.2) * (0.85 + 0.4 * old),
        age_spots=old * rng.uniform(0.25, 1.0) * (1 - 0.55 * melanin),
        hair=_hair_colour(melanin, old, rng),
    )


def _hair_colour(melanin: float, old: float, rng: np.random.Generator) -> FloatArray:
    """Black and brown, blond on light skin alone, and grey the oftener the older."""
    blond, grey = rng.random() < 0.35 * max(0.0, 1 - 5 * melanin), rng.random() < 0.9 * old
    colour = _linear((150, 112, 72)) if blond else _linear((52, 36, 27)) * (1 - 0.7 * melanin)
    share = rng.uniform(0.45, 0.95) if grey else 0.0
    return colour * (1 - share) + _linear((176, 171, 164)) * (1 - 0.55 * melanin) * share


def to_srgb(linear: FloatArray) -> FloatArray:
    """Linear colours as sRGB values 0 to 255, not rounded."""
    return 255.0 * np.clip(linear, 0.0, 1.0) ** (1 / DISPLAY_GAMMA)


def _linear(srgb: tuple[int, int, int]) -> FloatArray:
    return (np.array(srgb) / 255.0) ** DISPLAY_GAMMA
