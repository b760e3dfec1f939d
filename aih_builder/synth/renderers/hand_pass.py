"""pyrender's renderer, with what it hard-codes replaced: framebuffer, lights, textures, shaders and read-back.

Importing this needs EGL: see gl_context.
"""

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyrender
from OpenGL import GL
from pyrender.shader_program import ShaderProgramCache

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.imaging import DISPLAY_GAMMA
from aih_builder.sources.lights import Lights
from aih_builder.synth.renderers.base import BLEED, FOLD_TINT, KNEE, SPECULAR_F0, WRAP
from aih_builder.synth.renderers.gl_textures import GpuPyramid

LIGHT_LIMIT = 8
COLOUR, NORMAL, BESIDE = 0, 1, 2  # what a pass draws: the hand alone, its normals, in the other hand's shade

_SHADERS = Path(__file__).parent / "shaders"
_DEFINITIONS = {
    "LIGHT_LIMIT": str(LIGHT_LIMIT),
    "FRESNEL_F0": str(SPECULAR_F0),
    "SHOULDER_KNEE": str(KNEE),
    "GAMMA_SHOWN": str(DISPLAY_GAMMA),
    "WRAP_RGB": f"vec3{WRAP}",
    "BLEED_RGB": f"vec3{BLEED}",
    "FOLD_TINT_RGB": f"vec3{FOLD_TINT}",
}
_UNITS = {"albedo_roughness": (0, GL.GL_TEXTURE0), "relief": (1, GL.GL_TEXTURE1)}


class ClipCamera(pyrender.Camera):
    """A camera that is its projection matrix (4, 4), from our camera frame to clip space."""

    matrix: FloatArray = np.eye(4)

    def get_projection_matrix(self, width: int | None = None, height: int | None = None) -> Any:
        """The matrix as it is."""
        del width, height
        return self.matrix


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """One pass over the hand that the scene shows. Buffers are for the box's samples, row 0 at the image's top."""

    side: int  # samples along the image's side
    box: tuple[int, int, int, int]  # x, y, width, height in samples
    lights: Lights
    pyramid: GpuPyramid
    level_of_detail: float
    wanted: int = COLOUR
    allowed: np.ndarray | None = None  # (h, w) float32 depth: where given, only what is not behind it is drawn
    per_pixel: int = 1  # samples along a pixel's side
    rgba: np.ndarray | None = None  # (h, w, 4) u8, to be filled
    depth: np.ndarray | None = None  # (h, w) float32, to be filled


class HandPass(pyrender.Renderer):
    """Draws a pyrender scene into a framebuffer with one sample per pixel, with this package's shaders."""

    _drawing: Drawing  # in progress, or the last one

    def __init__(self) -> None:
        super().__init__(1, 1)
        self._program_cache = ShaderProgramCache(shader_dir=str(_SHADERS))
        self._locations: dict[tuple[int, str], int] = {}
        self._capacity = 0

    def __del__(self) -> None:
        # At the interpreter's end PyOpenGL cannot work any more, and says so on stdout; even `sys` may be gone.
        if sys and not sys.is_finalizing():
            super().__del__()

    def draw(self, scene: pyrender.Scene, drawing: Drawing) -> None:
        """Draw the visible meshes of a scene, and fill the drawing's buffers."""
        n_lights = len(drawing.lights.directions)
        if n_lights > LIGHT_LIMIT:
            raise ConfigError(
                f"renderer pyrender: {n_lights} lights, expected at most {LIGHT_LIMIT}. Use renderer numba."
            )
        self._drawing = drawing
        self.viewport_width = self.viewport_height = drawing.side
        colourless = pyrender.RenderFlags.DEPTH_ONLY if drawing.rgba is None else 0
        self.render(scene, pyrender.RenderFlags.OFFSCREEN | colourless)

    def upload(self, primitive: pyrender.Primitive, vertices: np.ndarray) -> None:
        """Replace all vertices (R, floats per vertex), float32, of a primitive on the GPU."""
        if not primitive._in_context():
            return  # the first draw uploads what the primitive was made of
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, primitive._buffers[0])
        GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, vertices.nbytes, vertices)
        GL.glBindBuffer(GL.GL_ARRAY_BUFFER, 0)

    # What follows replaces methods of pyrender.Renderer.

    def _get_primitive_program(self, primitive: Any, flags: int, program_flags: int) -> Any:
        del primitive, program_flags
        shader = "depth.frag" if flags & pyrender.RenderFlags.DEPTH_ONLY else "mesh.frag"
        program = self._program_cache.get_program("mesh.vert", shader, defines=_DEFINITIONS)
        if not program._in_context():
            program._add_to_context()
        return program

    def _configure_forward_pass_viewport(self, flags: int) -> None:
        super()._configure_forward_pass_viewport(flags)
        drawing = self._drawing
        GL.glEnable(GL.GL_SCISSOR_TEST)
        GL.glScissor(*drawing.box)
        GL.glDisable(GL.GL_BLEND)
        GL.glEnable(GL.GL_CULL_FACE)
        GL.glCullFace(GL.GL_BACK)
        GL.glFrontFace(GL.GL_CW)  # the image's first row is at the bottom, so all is mirrored
        GL.glProvokingVertex(GL.GL_FIRST_VERTEX_CONVENTION)
        if drawing.allowed is not None:
            GL.glBindTexture(GL.GL_TEXTURE_2D, self._main_db)
            GL.glTexSubImage2D(GL.GL_TEXTURE_2D, 0, *drawing.box, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, drawing.allowed)
            GL.glDepthFunc(GL.GL_LEQUAL)
            GL.glDepthMask(GL.GL_FALSE)  # keeps what was just uploaded from being cleared, too

    def _configure_main_framebuffer(self) -> None:
        side = self.viewport_width
        if side <= self._capacity:
            return
        limit = int(GL.glGetIntegerv(GL.GL_MAX_RENDERBUFFER_SIZE))
        if side > limit:
            raise ConfigError(f"renderer pyrender: {side} samples a side, this device draws at most {limit}.")
        self._delete_main_framebuffer()
        self._main_cb, self._main_db = int(GL.glGenRenderbuffers(1)), int(GL.glGenTextures(1))
        GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, self._main_cb)
        GL.glRenderbufferStorage(GL.GL_RENDERBUFFER, GL.GL_RGBA8, side, side)
        GL.glBindTexture(GL.GL_TEXTURE_2D, self._main_db)
        GL.glTexImage2D(
            GL.GL_TEXTURE_2D, 0, GL.GL_DEPTH_COMPONENT32F, side, side, 0, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, None
        )
        for name in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
            GL.glTexParameteri(GL.GL_TEXTURE_2D, name, GL.GL_NEAREST)
        self._main_fb = self._main_fb_ms = int(GL.glGenFramebuffers(1))
        target = GL.GL_FRAMEBUFFER
        GL.glBindFramebuffer(target, self._main_fb)
        GL.glFramebufferRenderbuffer(target, GL.GL_COLOR_ATTACHMENT0, GL.GL_RENDERBUFFER, self._main_cb)
        GL.glFramebufferTexture2D(target, GL.GL_DEPTH_ATTACHMENT, GL.GL_TEXTURE_2D, self._main_db, 0)
        self._capacity = side

    def _delete_main_framebuffer(self) -> None:
        if self._main_fb is not None:
            GL.glDeleteFramebuffers(1, [self._main_fb])
            GL.glDeleteRenderbuffers(1, [self._main_cb])
            GL.glDeleteTextures([self._main_db])
        self._main_fb = self._main_fb_ms = self._main_cb = self._main_db = None
        self._capacity = 0

    def _bind_lighting(self, scene: Any, program: Any, node: Any, flags: int) -> None:
        del scene, node, flags
        drawing = self._drawing
        lights = drawing.lights
        n = len(lights.directions)
        GL.glUniform1i(self._location(program, "n_lights"), n)
        for name, values in (
            ("light_directions", lights.directions),
            ("light_radiance", lights.radiance_rgb),
            ("surroundings", lights.ambient_rgb),
        ):
            if len(values):
                values = np.ascontiguousarray(values, np.float32).reshape(-1, 3)
                GL.glUniform3fv(self._location(program, name), len(values), values)

    def _bind_and_draw_primitive(self, primitive: Any, pose: Any, program: Any, flags: int) -> None:
        del pose
        drawing = self._drawing
        if not flags & pyrender.RenderFlags.DEPTH_ONLY:
            self._bind_maps(program, drawing)
        primitive._bind()
        GL.glDrawElements(primitive.mode, primitive.indices.size, GL.GL_UNSIGNED_INT, ctypes.c_void_p(0))
        primitive._unbind()

    def _bind_maps(self, program: Any, drawing: Drawing) -> None:
        maps = {
            "albedo_roughness": drawing.pyramid.albedo_roughness,
            "relief": drawing.pyramid.relief,
        }
        for name, texture in maps.items():
            number, unit = _UNITS[name]
            GL.glActiveTexture(unit)
            GL.glBindTexture(GL.GL_TEXTURE_2D, texture)
            GL.glUniform1i(self._location(program, name), number)
        GL.glActiveTexture(GL.GL_TEXTURE0)
        GL.glUniform1f(self._location(program, "level_of_detail"), drawing.level_of_detail)
        GL.glUniform1i(self._location(program, "wanted"), drawing.wanted)

    def _read_main_framebuffer(self, scene: Any, flags: int) -> None:
        del scene, flags
        drawing = self._drawing
        GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb)
        GL.glPixelStorei(GL.GL_PACK_ALIGNMENT, 4)
        if drawing.depth is not None:
            GL.glReadPixels(*drawing.box, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT, drawing.depth)
        if drawing.rgba is not None:
            GL.glReadPixels(*drawing.box, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, drawing.rgba)

    def _location(self, program: Any, name: str) -> int:
        key = program._program_id, name
        if key not in self._locations:
            self._locations[key] = GL.glGetUniformLocation(program._program_id, name)
        return self._locations[key]
