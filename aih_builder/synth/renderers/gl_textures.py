"""Textures on the GPU: the pyramid that every renderer filters, decoded to linear light."""

import numpy as np
from OpenGL import GL

from aih_builder.imaging import ImageU8
from aih_builder.synth.renderers.shade import TO_LINEAR

_TEXEL_BYTES = 8 + 6  # of both maps, in half floats


class GpuPyramid:
    """One hand's maps: albedo and roughness; normal and crease. Needs a current context, free() too."""

    def __init__(self, texels: ImageU8, sides: np.ndarray) -> None:
        """Upload what texture_pyramid() gives: texels (N, 7), level by level, and each level's side."""
        self.n_bytes = len(texels) * _TEXEL_BYTES
        colour = np.empty((len(texels), 4), np.float16)
        colour[:, :3] = TO_LINEAR[texels[:, :3]]
        colour[:, 3] = texels[:, 5] / np.float32(255)
        relief = np.empty((len(texels), 3), np.float16)
        relief[:, :2] = texels[:, 3:5] / np.float32(127.5) - 1
        relief[:, 2] = texels[:, 6] / np.float32(255)
        self.albedo_roughness = _upload(colour, sides, GL.GL_RGBA16F, GL.GL_RGBA)
        self.relief = _upload(relief, sides, GL.GL_RGB16F, GL.GL_RGB)

    def free(self) -> None:
        """Give the GPU's memory back."""
        GL.glDeleteTextures([self.albedo_roughness, self.relief])


def _upload(texels: np.ndarray, sides: np.ndarray, stored_as: int, channels: int) -> int:
    texture = int(GL.glGenTextures(1))
    GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
    GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
    start = 0
    for level, side in enumerate(map(int, sides)):
        data = np.ascontiguousarray(texels[start : start + side * side])
        GL.glTexImage2D(GL.GL_TEXTURE_2D, level, stored_as, side, side, 0, channels, GL.GL_HALF_FLOAT, data)
        start += side * side
    settings = {
        GL.GL_TEXTURE_MAX_LEVEL: len(sides) - 1,
        GL.GL_TEXTURE_MIN_FILTER: GL.GL_LINEAR_MIPMAP_LINEAR,
        GL.GL_TEXTURE_MAG_FILTER: GL.GL_LINEAR,
        GL.GL_TEXTURE_WRAP_S: GL.GL_CLAMP_TO_EDGE,
        GL.GL_TEXTURE_WRAP_T: GL.GL_CLAMP_TO_EDGE,
    }
    for name, value in settings.items():
        GL.glTexParameteri(GL.GL_TEXTURE_2D, name, value)
    return texture
