"""The renderers by name. A new one is one file and one line here."""

import logging
from collections.abc import Callable

from aih_builder.synth.renderers import egl
from aih_builder.synth.renderers.base import Renderer

log = logging.getLogger(__name__)


def _numba(_worker: int) -> Renderer:
    from aih_builder.synth.renderers.numba_renderer import NumbaRenderer

    return NumbaRenderer()


def _pyrender(worker: int) -> Renderer:
    from aih_builder.synth.renderers.pyrender_renderer import PyrenderRenderer

    return PyrenderRenderer(worker)


# Builders take the number of the worker, 0 and up, by which GPUs are shared out.
RENDERERS: dict[str, Callable[[int], Renderer]] = {"numba": _numba, "pyrender": _pyrender}


def resolve(name: str) -> str:
    """The renderer that a manifest's name stands for: `auto` is pyrender where EGL offers a GPU, else numba."""
    if name != "auto":
        return name
    if egl.gpu_available():
        log.info("renderer auto: pyrender, EGL offers a GPU")
        return "pyrender"
    log.info("renderer auto: numba, EGL offers no GPU")
    return "numba"
