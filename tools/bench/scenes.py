"""Real scenes to draw: what AIH-Render asks of its renderer for the first two-hand samples of the demo."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from aih_builder.config import Manifest, parse_manifest
from aih_builder.errors import Rejected
from aih_builder.geometry import FloatArray
from aih_builder.hands.surface import HandSurface
from aih_builder.identity import SampleName, index_of
from aih_builder.imaging import ImageU8
from aih_builder.paths import manifests
from aih_builder.shards.plan import Plan, make_plan
from aih_builder.synth.assets import load_assets
from aih_builder.synth.engine import Tally
from aih_builder.synth.render import RenderEngine
from aih_builder.synth.renderers.base import Layer, Renderer, RenderRequest
from aih_builder.synth.renderers.numba_renderer import NumbaRenderer


class Scene(NamedTuple):
    """Two hands before a background, and the meshes that they are drawn from."""

    request: RenderRequest
    vertices_m: tuple[FloatArray, FloatArray]  # (778, 3) each, camera frame
    surfaces: tuple[HandSurface, HandSurface]
    background_rgb: ImageU8


class Recorder(Renderer):
    """Draws with numba and keeps what it was asked for."""

    def __init__(self) -> None:
        self._inner = NumbaRenderer()
        self.last: RenderRequest | None = None

    def render(self, request: RenderRequest) -> tuple[Layer | None, Layer | None]:
        """See Renderer.render."""
        self.last = request
        return self._inner.render(request)

    def description(self) -> str:
        """See Renderer.description."""
        return self._inner.description()


def demo_manifest(size_px: int, **changes: object) -> Manifest:
    """The demo at an image size, with plain shading and top-level keys replaced."""
    content = yaml.safe_load((manifests() / "demo.yaml").read_text(encoding="utf-8"))
    del content["look"]
    content.update(image_size_px=size_px, renderer="numba")
    content.update(changes)
    return parse_manifest(content, where="demo", folder=Path())


def render_only(size_px: int, count: int) -> Manifest:
    """The demo's AIH-Render stream alone: no bank is built."""
    return demo_manifest(size_px, streams={"render": {"count": {"train": count}}})


def scenes(size_px: int, count: int, folder: Path) -> list[Scene]:
    """The first accepted two-hand draws; the plan goes into a folder."""
    plan: Plan = make_plan(render_only(size_px, 1), folder)
    assets = load_assets(plan.manifest, plan.cache, plan.backgrounds)
    recorder = Recorder()
    engine = RenderEngine(plan.manifest, assets, recorder)
    found: list[Scene] = []
    number = 0
    while len(found) < count:
        index, attempt = index_of(SampleName("render", "train", number)), 1
        number += 1
        while True:
            try:
                drawn = engine.draw(index, attempt, "train", engine.design(index), Tally())
                break
            except Rejected:
                attempt += 1
        request = recorder.last
        if request is None or any(hand is None for hand in request.hands):
            continue
        vertices = tuple(_model_vertices(h, s) for h, s in zip(request.hands, assets.surfaces, strict=True))
        found.append(Scene(request, vertices, assets.surfaces, drawn.background_rgb))  # pyright: ignore
    return found


def _model_vertices(hand, surface: HandSurface) -> FloatArray:
    """The model's vertices (778, 3), through which the drawn surface passes."""
    n = 778
    place = np.full(n, -1)
    for render_vertex, vertex in enumerate(surface.of_render):
        if vertex < n:
            place[vertex] = render_vertex
    return np.ascontiguousarray(hand.positions_m[place])
