"""TextureSet: what a renderer needs to colour the two hands of one person."""

from dataclasses import dataclass

from aih_builder.imaging import ImageU8


@dataclass(frozen=True, slots=True, eq=False)
class TextureSet:
    """Textures of the two hands of one person, S x S texels. Texel (r, c) lies at uv ((c+.5)/S, 1-(r+.5)/S)."""

    id: str
    tone: int  # Monk scale, 1 to 10
    licence: str  # an SPDX id
    albedo_rgb: ImageU8  # (2, S, S, 3): right, left
    normal_rgb: ImageU8  # (S, S, 3) tangent space: x = +u, y = +v, z out; value / 255 * 2 - 1
    roughness: ImageU8  # (S, S), value / 255
    age: float = 0.0  # years that the skin shows, 0 unknown
    creases: ImageU8 | None = None  # (S, S) how far a texel lies in a fold that flexion deepens or smooths, / 255
