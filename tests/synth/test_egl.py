"""Which device draws, and clear words where none does."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from aih_builder.errors import ConfigError
from aih_builder.synth.renderers import backends, egl, gl_context
from aih_builder.synth.renderers.egl import Device

SOFTWARE = Device(3, is_software=True, drm_file=None, cuda_index=None)
GPUS = tuple(Device(i, is_software=False, drm_file=f"/dev/dri/card{i}", cuda_index=2 - i) for i in range(3))
NODE = Device(0, is_software=False, drm_file="/dev/dri/card0", cuda_index=None)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch):
    """Sets the devices of this machine; the variables that choose among them are unset."""
    for name in ("EGL_DEVICE_ID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    egl.gpu_available.cache_clear()
    yield lambda *devices: monkeypatch.setattr(egl, "devices", lambda: devices)
    egl.gpu_available.cache_clear()


def test_workers_go_round_the_gpus(here) -> None:
    here(*GPUS, SOFTWARE)
    assert [egl.choose_device(worker).index for worker in range(5)] == [0, 1, 2, 0, 1]


def test_cuda_visible_devices_chooses_by_cuda_index(here, monkeypatch: pytest.MonkeyPatch) -> None:
    """EGL's order is not CUDA's: CUDA device 2 is EGL device 0."""
    here(*GPUS, SOFTWARE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,1")
    assert [egl.choose_device(worker).index for worker in range(3)] == [0, 1, 0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5d1f")
    assert egl.choose_device(2).index == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert egl.choose_device(0) == SOFTWARE
    here(NODE, SOFTWARE)  # another maker's GPU has no CUDA index
    assert egl.choose_device(0) == NODE


def test_egl_device_id_wins(here, monkeypatch: pytest.MonkeyPatch) -> None:
    here(*GPUS, SOFTWARE)
    monkeypatch.setenv("EGL_DEVICE_ID", "3")
    assert egl.choose_device(0) == SOFTWARE
    for wrong in ("4", "first", "-1"):
        monkeypatch.setenv("EGL_DEVICE_ID", wrong)
        with pytest.raises(ConfigError, match="expected a number below 4"):
            egl.choose_device(0)


def test_without_a_gpu_the_software_device_draws(here) -> None:
    here(SOFTWARE)
    assert egl.choose_device(7) == SOFTWARE
    assert not egl.gpu_available()
    assert backends.resolve("auto") == "numba"


def test_without_any_device_the_error_says_what_to_install(here, monkeypatch: pytest.MonkeyPatch) -> None:
    here()
    monkeypatch.setattr(gl_context, "_context", None)
    assert backends.resolve("auto") == "numba"
    for attempt in (lambda: egl.choose_device(0), lambda: backends.RENDERERS["pyrender"](0)):
        with pytest.raises(ConfigError, match="apt-get install libegl1"):
            attempt()


def test_no_libegl_means_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egl, "_LIBRARY", "libEGL-that-is-not-there.so")
    assert egl.devices.__wrapped__() == ()


@pytest.mark.gl
def test_a_device_that_draws_in_software_after_all_is_no_gpu(here) -> None:
    """The probe makes a context: a node in /dev/dri alone says little."""
    real = egl.devices()[-1]
    here(replace(real, is_software=False, drm_file="/dev/dri/card0"))
    if real.is_software:
        assert not egl.gpu_available()


@pytest.mark.parametrize(
    ("output", "code", "expected"),
    [
        ("NVIDIA H100/PCIe/SSE2", 0, True),
        ("llvmpipe (LLVM 15.0.6, 256 bits)", 0, False),
        ("softpipe", 0, False),
        ("", 1, False),
        ("NVIDIA H100/PCIe/SSE2", -11, False),
    ],
)
def test_what_the_probe_says_decides(here, monkeypatch, output: str, code: int, expected: bool) -> None:
    here(NODE, SOFTWARE)
    monkeypatch.setattr(
        subprocess, "run", lambda *_args, **_kwargs: subprocess.CompletedProcess([], code, output, "driver lost")
    )
    assert egl.gpu_available() is expected
    assert backends.resolve("auto") == ("pyrender" if expected else "numba")


def test_a_renderer_named_is_the_one_used() -> None:
    assert [backends.resolve(name) for name in ("numba", "pyrender")] == ["numba", "pyrender"]


def test_another_platform_of_pyopengl_is_refused(here, monkeypatch: pytest.MonkeyPatch) -> None:
    here(SOFTWARE)
    monkeypatch.setattr(gl_context, "_context", None)
    monkeypatch.setenv("PYOPENGL_PLATFORM", "osmesa")
    with pytest.raises(ConfigError, match="PYOPENGL_PLATFORM is 'osmesa', expected 'egl'"):
        gl_context.process_context(0)


def test_a_missing_pyrender_is_named(here, monkeypatch: pytest.MonkeyPatch) -> None:
    here(SOFTWARE)
    monkeypatch.setattr(gl_context, "_context", None)
    monkeypatch.setenv("PYOPENGL_PLATFORM", "egl")
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(ConfigError, match="Install pyrender-maintained"):
        gl_context.process_context(0)


@pytest.mark.gl
def test_a_context_made_before_a_fork_is_refused_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    context = gl_context.process_context(0)
    assert context.pid == os.getpid()
    monkeypatch.setattr(gl_context, "_context", replace(context, pid=context.pid + 1))
    with pytest.raises(ConfigError, match="forked"):
        gl_context.process_context(0)


@pytest.mark.gl
def test_a_gpu_that_gives_no_context_is_not_replaced_in_silence(here, monkeypatch) -> None:
    """The message lists the devices that EGL_DEVICE_ID can name."""
    from pyrender.platforms.egl import EGLPlatform

    gl_context.process_context(0)
    here(NODE, SOFTWARE)
    monkeypatch.setattr(gl_context, "_context", None)

    def refuse(self) -> None:
        del self
        raise AssertionError

    monkeypatch.setattr(EGLPlatform, "init_context", refuse)
    with pytest.raises(ConfigError, match=r"EGL device 0 .* gives no OpenGL 4.1.*EGL_DEVICE_ID \(0: .*, 3: software\)"):
        gl_context.process_context(0)


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, after one hand was drawn by `renderer`."""
    drawn = (
        "from aih_builder.synth.renderers.backends import RENDERERS\n"
        "from tests.synth.test_renderers import *\n"
        "renderer = RENDERERS['pyrender'](0)\n"
        "hand = hand_draw(0, (0.0, 0, 0.5), plain_texture())\n"
        "request = RenderRequest(SIZE, K_PX, ambient(0.5), (hand, None))\n"
        "renderer.render(request)\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", drawn + code], env=env, capture_output=True, text=True, check=False)


@pytest.mark.gl
def test_a_process_that_drew_ends_without_a_word() -> None:
    """PyOpenGL prints where it is called while the interpreter ends."""
    done = run("")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.gl
def test_a_context_that_other_code_has_ended_is_named() -> None:
    code = (
        "import pyrender\n"
        "pyrender.OffscreenRenderer(8, 8).delete()\n"
        "try:\n    renderer.render(request)\n"
        "except AihError as error:\n    print(error)\n"
    )
    done = run("from aih_builder.errors import AihError\n" + code)
    assert "the OpenGL context is lost (EGLError)" in done.stdout
