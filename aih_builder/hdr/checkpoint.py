"""Checkpoints: weights, optimisers, random states, configuration, and what they were trained on. Written whole."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from aih_builder import __version__
from aih_builder.errors import ConfigError, TrainingError
from aih_builder.files import whole_file
from aih_builder.hdr.settings import ModuleName, Training, parse_training
from aih_builder.hdr.weight_files import UNREADABLE, read_weights
from aih_builder.sample import SCHEMA_VERSION

FORMAT = "aih-checkpoint 1"
LAST = "last.pt"


@dataclass(slots=True)
class Checkpoint:
    """The state of a run after `step` steps."""

    training: Training
    step: int
    networks: dict[str, dict[str, Any]]
    optimisers: dict[str, dict[str, Any]]
    random: list[dict[str, Any]]  # of each process
    data: dict[str, Any]  # the dataset's identity, schema, count and flagged samples
    history: dict[str, list[float]] = field(default_factory=dict)  # by name; "step" and the losses
    notes: list[str] = field(default_factory=list)

    @property
    def module(self) -> ModuleName:
        """Which of HDR's modules it holds."""
        return self.training.module


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint, whole. Raises ShardError where it cannot be written."""
    content = {
        "format": FORMAT,
        "version": __version__,
        "schema": SCHEMA_VERSION,
        "training": checkpoint.training.to_json(),
        **{name: getattr(checkpoint, name) for name in _STORED},
    }
    with whole_file(path) as temporary:
        torch.save(content, temporary)


_STORED = ("step", "networks", "optimisers", "random", "data", "history", "notes")


def load(path: Path, module: ModuleName | None = None) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises ConfigError where there is none, TrainingError where it is damaged, of another version or of another module.
    """
    if path.is_dir():
        path = path / LAST
    if not path.is_file():
        raise ConfigError(f"{path}: no checkpoint. Name one that `aih train` wrote, or its folder.")
    try:
        content = read_weights(path)
    except UNREADABLE as error:
        raise TrainingError(f"{path}: not a checkpoint that torch can load ({error}). Train again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TrainingError(f"{path}: not a checkpoint of this package (no format '{FORMAT}').")
    training = parse_training(content["training"], where=str(path), folder=path.parent)
    if module is not None and training.module != module:
        raise ConfigError(f"{path}: holds {training.module}, expected {module}. Name a checkpoint of {module}.")
    return Checkpoint(training=training, **{name: content[name] for name in _STORED})


def random_states() -> dict[str, Any]:
    """States of torch's generators in this process; the loader's draws need none."""
    states: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random(states: dict[str, Any]) -> None:
    """Set torch's generators as they were."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
