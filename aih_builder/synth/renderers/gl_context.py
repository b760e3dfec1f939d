"""The one OpenGL context of a process: made on first use, never deleted.

EGL shares a display between contexts, and ending one ends the others. A forked child cannot use what its parent made:
workers are spawned.
"""

import importlib
import logging
import os
from dataclasses import dataclass
from typing import Any

from aih_builder.errors import AihError, ConfigError
from aih_builder.synth.renderers import egl

log = logging.getLogger(__name__)

_PLATFORM = "PYOPENGL_PLATFORM"
_context: "GlContext | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class GlContext:
    """A context and what it draws with."""

    platform: Any  # pyrender.platforms.egl.EGLPlatform
    device: egl.Device
    renderer: str  # GL_RENDERER
    version: str  # GL_VERSION
    pid: int

    def make_current(self) -> None:
        """Direct this thread's OpenGL calls at the context: other code may have made one of its own.

        Raises AihError where other code has ended the display that both share.
        """
        from OpenGL.error import Error as OpenGlError

        try:
            self.platform.make_current()
        except OpenGlError as error:
            raise AihError(
                f"renderer pyrender: the OpenGL context is lost ({type(error).__name__}). Other code in this process "
                "has ended EGL's display, as deleting a pyrender.OffscreenRenderer does. Draw in a process of its own."
            ) from error


def process_context(worker: int, *, software_too: bool = True) -> GlContext:
    """This process's context, on the device of the worker that asked first.

    Raises ConfigError where pyrender or EGL is missing, or that device gives no context: a GPU that was planned for is
    not replaced in silence.
    """
    global _context  # one per process is the point
    if _context is None:
        _check_platform()
        _context = _make(egl.choose_device(worker, software_too=software_too))
        log.debug("OpenGL: %s, %s, EGL device %d", _context.renderer, _context.version, _context.device.index)
    if _context.pid != os.getpid():
        raise ConfigError(
            "renderer pyrender: this process was forked from one that draws with OpenGL, which cannot work. "
            "Start workers with spawn or loky."
        )
    return _context


def _check_platform() -> None:
    """Set PyOpenGL's platform and Mesa's threads before they load."""
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa's: parallelism is by process
    if os.environ.setdefault(_PLATFORM, "egl") != "egl":
        raise ConfigError(f"{_PLATFORM} is {os.environ[_PLATFORM]!r}, expected 'egl'. Unset it, or use renderer numba.")
    if not egl.devices():
        raise ConfigError(f"renderer pyrender: EGL is not installed here, or lists no device. {egl.INSTALL}")
    try:
        importlib.import_module("pyrender")
    except ImportError as error:
        raise ConfigError(
            f"renderer pyrender: pyrender cannot be imported ({error}). Install pyrender-maintained and PyOpenGL."
        ) from error


def _listed() -> str:
    return ", ".join(f"{d.index}: {'software' if d.is_software else d.drm_file or 'GPU'}" for d in egl.devices())


def _make(device: egl.Device) -> GlContext:
    from OpenGL.error import Error as OpenGlError
    from OpenGL.GL import GL_RENDERER, GL_VERSION, glGetString
    from pyrender.platforms.egl import EGLPlatform, get_device_by_index

    platform = EGLPlatform(1, 1, device=get_device_by_index(device.index))
    try:
        platform.init_context()
        platform.make_current()
        renderer, version = (
            (glGetString(name) or b"").decode("utf-8", "replace") for name in (GL_RENDERER, GL_VERSION)
        )
    except (OpenGlError, AssertionError, AttributeError) as error:  # how PyOpenGL and pyrender report a refusal
        raise ConfigError(
            f"renderer pyrender: EGL device {device.index} ({device.drm_file or 'no device file'}) gives no OpenGL 4.1 "
            f"context ({type(error).__name__}). {egl.INSTALL} Or use renderer numba, or name another of EGL's devices "
            f"in EGL_DEVICE_ID ({_listed()})."
        ) from error
    return GlContext(platform, device, renderer, version, os.getpid())
