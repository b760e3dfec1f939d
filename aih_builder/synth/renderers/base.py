"""The interface that all renderers share, and the definitions they must agree on.

Shading, per point, linear colour:  albedo * (ambient(n) * soft(open, albedo) + sum_l radiance_l * wrap(n.l) * seen_l)
+ sum_l specular_l
* ambient(n): nine terms, see sources.ambient
* wrap(x) = max(0, (x + w) / (1 + w)) with WRAP per channel: light bleeds red past the terminator, as in skin
* soft(v, w) = v * (1 + w * (1 - v)): what is half hidden gets light from the skin around it, or through the skin
* seen = soft(lit, BLEED) for the key, the first light, which casts shadows; soft(open, albedo) for the others, which
  are wide. open and lit are HandDraw.openness, between vertices linear in space
* specular: GGX, Smith-Schlick, F0 = SPECULAR_F0, up to 1 - roughness at grazing angles, scaled by max(0, n.l) * pi,
  times lit or open: radiance 1 shows the albedo as it is
* folds: where the texture's creases map is c and HandDraw.fold_gain g, the normal map's x and y are multiplied by
  1 + (g - 1) c, and the albedo is divided by 1 + FOLD_TINT (g - 1) c
* output = 255 * shoulder(c) ** (1 / DISPLAY_GAMMA). Up to KNEE the shoulder is c; beyond, it bends towards 1 as a
  camera's response does, so that bright skin keeps its shape: KNEE + (1 - KNEE) * (1 - exp(-(c - KNEE) / (1 - KNEE)))
Textures are filtered in linear light: bilinear in two neighbouring levels of a box-filtered pyramid, blended by a
level of detail that is constant over a hand: log2(texels per metre * distance / focal length), at least 0.
Coverage: 3 x 3 samples per pixel on an odd grid that holds the pixel's centre, so that coverage >= 0.5 is unbiased; or
the centre alone, without antialiasing. A pixel whose samples all lie on one surface takes the colour at its centre,
another the mean of its covered samples. Colour, coverage and depth come from the same samples.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8
from aih_builder.sources.lights import Lights
from aih_builder.sources.textures import TextureSet

KNEE = 0.6
SPECULAR_F0 = 0.028  # skin, index of refraction 1.4
WRAP = (0.20, 0.07, 0.04)
BLEED = (0.45, 0.12, 0.06)  # light that goes through skin past a shadow's edge
FOLD_TINT = (0.2, 0.34, 0.38)  # how much darker the albedo is where a fold is twice as deep
SUPERSAMPLES = 3  # along a pixel's side
AMODAL_ALPHA = 128  # alpha from here on counts as covered: 5 of 9 samples give 142, 4 give 113


@dataclass(frozen=True, slots=True, eq=False)
class HandDraw:
    """One hand to draw. R render vertices, F faces."""

    positions_m: FloatArray  # (R, 3) camera frame
    normals: FloatArray  # (R, 3) unit
    tangents: FloatArray  # (R, 4) unit, along +u; w is the handedness of (u, v, n)
    uv: FloatArray  # (R, 2)
    faces: NDArray[np.int32]  # (F, 3) outward by the right-hand rule
    uv_per_m: float  # length in the texture, in units of its side, per metre of surface
    texture: TextureSet
    side: int  # 0 right, 1 left: which albedo of the set
    # (R, 4) how open a vertex lies to the surroundings and to the key light, 0 to 1: this hand alone, then with what
    # the other hand takes away. None: all open.
    openness: FloatArray | None = None
    fold_gain: FloatArray | None = None  # (R,) of the texture's creases: 1 as at rest, 0 smooth, 2 twice as deep

    def is_shaded(self) -> bool:
        """Whether the other hand takes away from the light of any vertex."""
        return self.openness is not None and bool((self.openness[:, :2] != self.openness[:, 2:]).any())

    def openness_of_all(self) -> FloatArray:
        """Openness (R, 4); 1 where it is not given."""
        return np.ones((len(self.uv), 4)) if self.openness is None else self.openness

    def fold_gain_of_all(self) -> FloatArray:
        """The gain of folds (R,); 1 where it is not given."""
        return np.ones(len(self.uv)) if self.fold_gain is None else self.fold_gain


@dataclass(frozen=True, slots=True, eq=False)
class RenderRequest:
    """What to draw: a square image of the hands that are there, each on a layer of its own."""

    size_px: int
    K_px: FloatArray  # (3, 3)
    lights: Lights
    hands: tuple[HandDraw | None, HandDraw | None]  # right, left
    with_normals: bool = False
    supersamples: int = SUPERSAMPLES  # samples along a pixel's side: 3, or 1 for no antialiasing

    def __post_init__(self) -> None:
        if self.supersamples not in (1, SUPERSAMPLES):
            raise ConfigError(f"RenderRequest: supersamples is {self.supersamples}, expected 1 or {SUPERSAMPLES}.")


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One hand alone, resolved to pixels."""

    rgba: ImageU8  # (H, W, 4) sRGB, premultiplied by coverage
    depth_m: NDArray[np.float32]  # (H, W) z of the front surface where alpha > 0, else 0
    normal: NDArray[np.int8] | None = None  # (H, W, 3) unit normal x 127, camera frame
    beside_rgba: ImageU8 | None = None  # (H, W, 4) as rgba, in the other hand's shade; None: not shaded by it
    forearm: NDArray[np.bool_] | None = None  # (H, W) covered pixels that show the hand's forearm; None: it has none


class Renderer(ABC):
    """Turns a request into colour, coverage and depth per hand. Not shared between processes."""

    @abstractmethod
    def render(self, request: RenderRequest) -> tuple[Layer | None, Layer | None]:
        """The layers of the right and the left hand; None for a hand that is not there."""

    @abstractmethod
    def description(self) -> str:
        """Name, version and, where there is one, the device: for records and logs."""
