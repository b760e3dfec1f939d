"""The engines by name. A new one is one file and one line here."""

from collections.abc import Callable

from aih_builder.config import Manifest
from aih_builder.identity import EngineName
from aih_builder.synth.assets import Assets
from aih_builder.synth.engine import Engine
from aih_builder.synth.render import RenderEngine
from aih_builder.synth.renderers.base import Renderer
from aih_builder.synth.sync import SyncEngine

# The renderer is made only for an engine that draws with it.
ENGINES: dict[EngineName, Callable[[Manifest, Assets, Callable[[], Renderer]], Engine]] = {
    "render": lambda manifest, assets, renderer: RenderEngine(manifest, assets, renderer()),
    "sync": lambda manifest, assets, _renderer: SyncEngine(manifest, assets),
}
