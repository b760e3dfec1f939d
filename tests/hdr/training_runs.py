"""Small training runs and studies for tests."""

from pathlib import Path
from typing import Any

import yaml

from aih_builder.hdr.settings import Training, parse_training
from tests.builders import small_both_content


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


def write_study(folder: Path, **changes: Any) -> Path:
    """A study of two steps at 64 px on 18 samples."""
    (folder / "data.yaml").write_text(yaml.safe_dump(small_both_content()), encoding="utf-8")
    common = {
        "input_px": 64, "batch": 2, "steps": 2, "optimiser": {"learning_rate": 1e-3}, "device": "cpu", "threads": 1,
        "workers": 0, "hasm": {"encoder": "tiny", "head_width": 16}, "hdrm": {"size": "tiny"},
        "shpe": {"size": "tiny"},
    }  # fmt: skip
    content = {
        "schema": 1, "title": "Small", "data": "data.yaml", "seeds": [0, 1], "jobs": 1, "batch": 2, "examples": 1,
        "least_occlusion": 0.02, "device": "cpu", "hasm": {"training": common}, "hdrm": {"training": common},
        "shpe": {"training": common},
        "variants": [
            {"name": "without discriminator", "hdrm": {"hdrm_losses": {"adversarial": 0}}},
            {"name": "render only"} | {module: {"data": {"engines": ["render"]}} for module in ("hasm", "shpe")},
        ],
    } | changes  # fmt: skip
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder / "study.yaml"
