"""The renderers by name. A new one is one file and one line here."""

from collections.abc import Callable

from aih_builder.synth.renderers.base import Renderer


def _numba() -> Renderer:
    from aih_builder.synth.renderers.numba_renderer import NumbaRenderer

    return NumbaRenderer()


RENDERERS: dict[str, Callable[[], Renderer]] = {"numba": _numba}


def resolve(name: str) -> str:
    """The renderer that a manifest's `auto` stands for on this machine: numba, the only one that needs no GPU."""
    return "numba" if name == "auto" else name
