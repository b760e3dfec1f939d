"""The devices that EGL offers, and which of them a worker draws on. Nothing here makes a context in this process."""

import ctypes
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aih_builder.errors import ConfigError

log = logging.getLogger(__name__)

INSTALL = "Install a GPU driver with EGL, or Mesa (Debian, Ubuntu: apt-get install libegl1 libgl1-mesa-dri libgles2)."
_LIBRARY = "libEGL.so.1"
_EXTENSIONS = 0x3055  # EGL_EXTENSIONS
_DRM_FILE = 0x3233  # EGL_DRM_DEVICE_FILE_EXT
_CUDA_INDEX = 0x323A  # EGL_CUDA_DEVICE_NV
_SOFTWARE_NAMES = ("llvmpipe", "softpipe", "swrast")
_PROBE = (
    "from aih_builder.synth.renderers.gl_context import process_context; "
    "print(process_context(0, software_too=False).renderer)"
)
_PROBE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Device:
    """One EGL device. `index` is its place in EGL's list, which is not CUDA's."""

    index: int
    is_software: bool
    drm_file: str | None
    cuda_index: int | None


@cache
def devices() -> tuple[Device, ...]:
    """All devices in EGL's order; none where EGL, or its list of devices, is missing."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return ()
    library.eglGetProcAddress.restype = ctypes.c_void_p
    library.eglGetProcAddress.argtypes = [ctypes.c_char_p]

    def function(name: bytes, result: Any, *arguments: Any) -> Callable[..., Any] | None:
        address = library.eglGetProcAddress(name)
        return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None

    integer, pointer = ctypes.c_int, ctypes.c_void_p
    query = function(b"eglQueryDevicesEXT", ctypes.c_uint, integer, pointer, pointer)
    text_of = function(b"eglQueryDeviceStringEXT", ctypes.c_char_p, pointer, integer)
    number_of = function(b"eglQueryDeviceAttribEXT", ctypes.c_uint, pointer, integer, pointer)
    if query is None or text_of is None:
        return ()
    count = integer(0)
    if not query(0, None, ctypes.byref(count)) or count.value < 1:
        return ()
    handles = (pointer * count.value)()
    if not query(count.value, handles, ctypes.byref(count)):
        return ()
    found = []
    for index, handle in enumerate(handles[: count.value]):
        extensions = (text_of(handle, _EXTENSIONS) or b"").decode("ascii", "replace").split()
        drm = text_of(handle, _DRM_FILE) if "EGL_EXT_device_drm" in extensions else None
        cuda = ctypes.c_ssize_t(-1)  # EGLAttrib
        has_cuda = (
            "EGL_NV_device_cuda" in extensions
            and number_of is not None
            and bool(number_of(handle, _CUDA_INDEX, ctypes.byref(cuda)))
        )
        found.append(
            Device(
                index,
                "EGL_MESA_device_software" in extensions,
                drm.decode("utf-8", "replace") if drm else None,
                cuda.value if has_cuda else None,
            )
        )
    return tuple(found)


def choose_device(worker: int, *, software_too: bool = True) -> Device:
    """The device that a worker (0, 1, ...) draws on.

    EGL_DEVICE_ID where it is set; else the worker'th of the GPUs, counted round, of those that CUDA_VISIBLE_DEVICES
    lists if it lists numbers; else the device that draws in software. Raises ConfigError where there is none.
    """
    found = devices()
    wanted = os.environ.get("EGL_DEVICE_ID")
    if wanted is not None:
        if not wanted.isdecimal() or int(wanted) >= len(found):
            raise ConfigError(
                f"EGL_DEVICE_ID is {wanted!r}, expected a number below {len(found)}, the EGL devices here. Unset it."
            )
        return found[int(wanted)]
    gpus = _permitted([device for device in found if not device.is_software])
    if gpus:
        return gpus[worker % len(gpus)]
    software = software_device()
    if software is None or not software_too:
        raise ConfigError(f"renderer pyrender: EGL offers no device to draw on. {INSTALL}")
    return software


def software_device() -> Device | None:
    """The device that draws on the CPU, if there is one."""
    return next((device for device in devices() if device.is_software), None)


def is_software_name(gl_renderer: str) -> bool:
    """Whether OpenGL's name of a renderer is that of one that runs on the CPU."""
    return any(name in gl_renderer.lower() for name in _SOFTWARE_NAMES)


@cache
def gpu_available() -> bool:
    """Whether OpenGL really draws on a GPU here. Asked of a short process: a device node alone says little."""
    try:
        device = choose_device(0, software_too=False)
    except ConfigError as error:
        log.debug("no GPU for OpenGL: %s", error)
        return False
    if device.is_software:
        return False
    package_from = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, (package_from, os.environ.get("PYTHONPATH"))))
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env=os.environ | {"PYTHONPATH": path, "EGL_DEVICE_ID": str(device.index)},
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.info("no GPU for OpenGL: the probe of EGL device %d failed (%s)", device.index, error)
        return False
    name = probe.stdout.strip()
    if probe.returncode != 0 or not name or is_software_name(name):
        reason = f"it draws with {name}" if name else (probe.stderr.strip().splitlines() or ["no reason given"])[-1]
        log.info("no GPU for OpenGL: EGL device %d: %s", device.index, reason)
        return False
    return True


def _permitted(gpus: list[Device]) -> list[Device]:
    """The GPUs that CUDA_VISIBLE_DEVICES lists, in its order; all where it is unset or lists no numbers."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None or all(gpu.cuda_index is None for gpu in gpus):
        return gpus
    try:
        wanted = [int(part) for part in listed.split(",") if part.strip()]
    except ValueError:  # names such as GPU-5d1f... or MIG-...
        return gpus
    by_cuda = {gpu.cuda_index: gpu for gpu in gpus if gpu.cuda_index is not None}
    return [by_cuda[index] for index in wanted if index in by_cuda]
