"""Drawing one sample: two textured hands in, image, both targets, four masks and depth out."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from aih_builder.synth.compose import Composite, compose, front_surface, right_in_front_by_depth
from aih_builder.synth.renderers.backends import RENDERERS
from aih_builder.synth.renderers.base import Layer, Renderer
from tools.bench.naive_render import naive
from tools.bench.scenes import Scene, scenes
from tools.bench.timing import against, interleaved

Layers = tuple[Layer | None, Layer | None]


def measure(size_px: int, renderers: list[str], n_scenes: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Whole samples against the naive version, with (3 x 3) and without antialiasing (1), and the stages of each."""
    found = scenes(size_px, n_scenes, folder)
    made = {name: RENDERERS[name](0) for name in renderers}
    variants = [(name, fine) for name in renderers for fine in (1, 3)]
    whole: dict[str, Callable[[int], object]] = {"naive pyrender, MSAA 4": naive(found)}
    for name, fine in variants:
        whole[_called(name, fine)] = _whole(found, made[name], fine)
    stages: dict[str, Callable[[int], object]] = {"surface": lambda i: _surfaces(found[i])}
    layers = [made[renderers[0]].render(scene.request) for scene in found]
    for name, fine in variants:
        stages[f"render, {_called(name, fine)}"] = _render(found, made[name], fine)
    stages["compose"] = lambda i: _composited(layers[i], found[i])
    return {
        "scenes": n_scenes,
        "drawn_by": {name: renderer.description() for name, renderer in made.items()},
        "whole_sample": against("naive pyrender, MSAA 4", interleaved(whole, n_scenes, rounds)),
        "stages_ms": interleaved(stages, n_scenes, rounds),
    }


def _called(renderer: str, fine: int) -> str:
    return f"{renderer}, {'antialiased' if fine > 1 else 'not antialiased'}"


def _surfaces(scene: Scene) -> None:
    for surface, vertices_m in zip(scene.surfaces, scene.vertices_m, strict=True):
        surface.pose(vertices_m)


def _composited(layers: Layers, scene: Scene) -> tuple[Composite, object]:
    composite = compose(layers, right_in_front_by_depth(layers), scene.background_rgb)
    return composite, front_surface(layers, composite)


def _render(found: list[Scene], renderer: Renderer, fine: int) -> Callable[[int], object]:
    return lambda i: renderer.render(replace(found[i].request, supersamples=fine))


def _whole(found: list[Scene], renderer: Renderer, fine: int) -> Callable[[int], object]:
    """From the model's vertices to all outputs; the naive version gets the drawn surface for nothing."""

    def draw(i: int) -> object:
        _surfaces(found[i])
        return _composited(renderer.render(replace(found[i].request, supersamples=fine)), found[i])

    return draw
