"""Small training configurations for tests."""

from pathlib import Path
from typing import Any

from aih_builder.hdr.settings import Training, parse_training


def small_training(module: str, dataset: Path, **changes: Any) -> Training:
    """Tiny networks at 64 px on a small dataset, in this process; top-level keys replaced."""
    content: dict[str, Any] = {
        "schema": 1,
        "module": module,
        "data": {"path": str(dataset), "validation": None},
        "input_px": 64,
        "hasm": {"encoder": "tiny", "head_width": 16},
        "hdrm": {"size": "tiny"},
        "shpe": {"size": "tiny"},
        "shpe_losses": {"kind": "sum", "heat": 0.05, "delta": 0.2, "location": 1.0},
        "batch": 2,
        "steps": 6,
        "optimiser": {"learning_rate": 1e-3},
        "device": "cpu",
        "threads": 1,
        "workers": 0,
        "log_every": 1,
    }
    return parse_training(content | changes, where=module, folder=dataset.parent)
