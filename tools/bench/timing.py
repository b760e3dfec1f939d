"""Timing of rivals in turns, and what the figures belong to."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]


def interleaved(rivals: Mapping[str, Callable[[int], object]], n_items: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of each rival over items 0 to n_items - 1, rivals taking turns item by item.

    A machine that slows down for a while then slows all of them. Each is run on every item once before.
    """
    for run in rivals.values():
        for item in range(n_items):
            run(item)
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for item in range(n_items):
            for name, run in rivals.items():
                started = time.perf_counter()
                run(item)
                taken[name].append(1000 * (time.perf_counter() - started))
    return {name: round(float(np.median(times)), 4) for name, times in taken.items()}


def against(naive: str, taken: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Milliseconds, and how many times faster than the naive version."""
    return {name: {"ms": ms, "ratio": round(taken[naive] / ms, 2)} for name, ms in taken.items()}


def machine() -> dict[str, Any]:
    """The machine, as far as it matters to the figures."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_at_start": [round(x, 2) for x in os.getloadavg()],
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def commit() -> str:
    """The checkout's commit, with a plus where files differ from it; `unknown` outside of git."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()


def report(path: Path | None, content: dict[str, Any]) -> None:
    """Print the figures, and write them where a path is given."""
    text = json.dumps(content, indent=2) + "\n"
    sys.stdout.write(text)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
