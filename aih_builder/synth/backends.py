"""The engines by name. A new one is one file and one line here."""

from collections.abc import Callable

from aih_builder.config import Manifest
from aih_builder.identity import EngineName
from aih_builder.synth.assets import Assets
from aih_builder.synth.engine import Engine
from aih_builder.synth.render import RenderEngine
from aih_builder.synth.renderers.base import Renderer

ENGINES: dict[EngineName, Callable[[Manifest, Assets, Renderer], Engine]] = {"render": RenderEngine}
