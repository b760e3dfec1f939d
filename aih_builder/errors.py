"""The errors of this package.

    AihError
    ├── ConfigError      a manifest, an argument or an input path is wrong     (exit code 2)
    ├── AssetError       a hand model, a texture or another asset is wrong
    ├── SampleError      a sample breaks the record or one of its invariants
    ├── Rejected         one draw was refused; the engine counts it and tries the next
    ├── GenerationError  no acceptable sample could be drawn
    ├── TrainingError    a training run cannot go on: not finite, out of memory, a checkpoint that does not fit
    └── ShardError       a shard or a dataset folder is damaged, foreign or cannot be written

Each message says where, what was found, what was expected and what to do.
"""

from typing import ClassVar


class AihError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(AihError):
    """A manifest, a command-line argument or an input path is wrong."""

    exit_code: ClassVar[int] = 2


class AssetError(AihError):
    """A hand model, texture, background or other asset is missing or malformed."""


class SampleError(AihError):
    """A sample breaks the record's types, shapes or invariants."""


class Rejected(AihError):
    """One random draw was refused. `reason` is a short key by which refusals are counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"draw rejected: {reason}")
        self.reason = reason


class GenerationError(AihError):
    """No acceptable sample could be drawn within the allowed attempts."""


class ShardError(AihError):
    """A shard or a dataset folder is damaged, foreign, or cannot be written."""


class TrainingError(AihError):
    """A training run cannot go on: a loss is not finite, memory is out, or a checkpoint does not fit."""
