"""AIH Builder: interacting-hand images with amodal masks, de-occlusion and removal targets.

The public names load on first use: `import aih_builder` itself imports no other library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from aih_builder.errors import (
    AihError,
    AssetError,
    ConfigError,
    GenerationError,
    Rejected,
    SampleError,
    ShardError,
    TrainingError,
)

if TYPE_CHECKING:
    from aih_builder.config import Manifest
    from aih_builder.hands.model import HandModel
    from aih_builder.hdr.data import AihDataset
    from aih_builder.hdr.pipeline import HdrPipeline
    from aih_builder.hdr.sampler import AihSampler
    from aih_builder.parallel.dask_pool import DaskPool
    from aih_builder.sample import Sample
    from aih_builder.shards.build import generate
    from aih_builder.shards.reader import open_dataset
    from aih_builder.shards.repair import repair
    from aih_builder.shards.validate import validate
    from aih_builder.sources.poses import PoseSource
    from aih_builder.synth.renderers.base import Renderer

__version__ = "0.1.0"

__all__ = [
    "AihDataset",
    "AihError",
    "AihSampler",
    "AssetError",
    "ConfigError",
    "DaskPool",
    "GenerationError",
    "HandModel",
    "HdrPipeline",
    "Manifest",
    "PoseSource",
    "Rejected",
    "Renderer",
    "Sample",
    "SampleError",
    "ShardError",
    "TrainingError",
    "__version__",
    "generate",
    "open_dataset",
    "repair",
    "validate",
]

_LAZY = {
    "AihDataset": "aih_builder.hdr.data",
    "AihSampler": "aih_builder.hdr.sampler",
    "DaskPool": "aih_builder.parallel.dask_pool",
    "HdrPipeline": "aih_builder.hdr.pipeline",
    "HandModel": "aih_builder.hands.model",
    "Manifest": "aih_builder.config",
    "PoseSource": "aih_builder.sources.poses",
    "Renderer": "aih_builder.synth.renderers.base",
    "Sample": "aih_builder.sample",
    "generate": "aih_builder.shards.build",
    "open_dataset": "aih_builder.shards.reader",
    "repair": "aih_builder.shards.repair",
    "validate": "aih_builder.shards.validate",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'aih_builder' has no attribute {name!r}.")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
