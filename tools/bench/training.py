#!/usr/bin/env python
"""Measure training steps: python tools/bench/training.py DATASET [--out FILE.json] [--size tiny|paper] [--device auto].

For each of HDR's modules: samples per second, and the share of the time spent waiting for data, with the loader in the
same process (the naive way) and with workers; both in one run. DATASET is a folder that `aih generate` made.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aih_builder.hdr.settings import MODULES, ModuleName, Training, parse_training
from aih_builder.hdr.train import train
from tools.bench.timing import commit, machine, report

_SIZES = {
    "tiny": {"hasm": {"encoder": "tiny", "weights": "none", "head_width": 32}, "hdrm": {"size": "tiny"},
             "shpe": {"size": "tiny"}},
    "b0": {"hasm": {"encoder": "b0", "weights": "none"}, "hdrm": {"size": "paper"}, "shpe": {"size": "paper"}},
    "paper": {"hasm": {"encoder": "b5", "weights": "none"}, "hdrm": {"size": "paper"}, "shpe": {"size": "paper"}},
}  # fmt: skip


def main() -> None:
    """Run all, print it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--size", choices=sorted(_SIZES), default="tiny")
    parser.add_argument("--input-px", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--device", choices=["auto", "cpu"], default="cpu")
    chosen = parser.parse_args()
    content: dict[str, Any] = {"commit": commit(), "machine": machine(), "torch": torch.__version__}
    content["options"] = {k: v for k, v in vars(chosen).items() if k not in ("dataset", "out")}
    if chosen.device == "auto" and torch.cuda.is_available():
        content["device"] = torch.cuda.get_device_name()
    content["training"] = {
        module: {f"{n} workers": _measured(module, n, chosen) for n in chosen.workers} for module in MODULES
    }
    report(chosen.out, content)


def _measured(module: ModuleName, workers: int, chosen: argparse.Namespace) -> dict[str, float]:
    """Of the second half of a run: the first half starts workers and warms up."""
    with tempfile.TemporaryDirectory() as folder:
        history = train(_training(module, workers, chosen), Path(folder)).history
    return {
        "samples_per_second": round(history["samples per second"][-1], 2),
        "share_waiting": round(history["share waiting"][-1], 4),
    }


def _training(module: ModuleName, workers: int, chosen: argparse.Namespace) -> Training:
    content = {
        "schema": 1, "module": module, "data": {"path": str(chosen.dataset.resolve()), "validation": None},
        "input_px": chosen.input_px, **_SIZES[chosen.size], "batch": chosen.batch, "steps": 2 * chosen.steps,
        "optimiser": {"learning_rate": 1e-4}, "precision": chosen.precision, "device": chosen.device,
        "workers": workers, "log_every": chosen.steps, "pictures_every": 10**9, "checkpoint_every": 10**9,
    }  # fmt: skip
    return parse_training(content, where="bench", folder=Path())


if __name__ == "__main__":
    main()
