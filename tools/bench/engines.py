#!/usr/bin/env python
"""Measure both engines and all renderers against naive versions: python tools/bench/engines.py [--out FILE.json]."""

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aih_builder.errors import ConfigError
from aih_builder.identity import EngineName
from aih_builder.shards.tasks import one_thread
from aih_builder.synth.renderers import egl
from aih_builder.synth.renderers.backends import RENDERERS
from tools.bench import end_to_end, floor, render_bench, sync_bench
from tools.bench.timing import commit, machine, report

log = logging.getLogger(__name__)

_FLOOR_SAMPLES = 64


def main() -> None:
    """Run what is asked for, print it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--renderers", nargs="+", default=list(RENDERERS), choices=list(RENDERERS))
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=512, help="of each end-to-end run")
    parser.add_argument("--need-gpu", action="store_true", help="stop where EGL draws on no GPU")
    chosen = parser.parse_args()
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa draws in the calling thread: one core for each rival
    one_thread()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    if chosen.need_gpu and not egl.gpu_available():
        raise ConfigError(f"EGL offers no GPU here (devices: {egl.devices()}). Leave out --need-gpu to use Mesa.")
    content: dict[str, Any] = {
        "commit": commit(),
        "machine": machine() | {"egl_devices": [str(device) for device in egl.devices()]},
        "arguments": {key: str(value) for key, value in vars(chosen).items() if key != "out"},
    }
    with tempfile.TemporaryDirectory() as folder:
        content |= _measured(chosen, Path(folder))
    report(chosen.out, content)


def _measured(chosen: argparse.Namespace, folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = {"render": {}, "sync": {}, "end_to_end": []}
    for size in chosen.sizes:
        log.info("rendering at %d px", size)
        where = folder / f"render-{size}"
        content["render"][str(size)] = render_bench.measure(size, chosen.renderers, chosen.scenes, chosen.rounds, where)
    size = chosen.sizes[0]
    log.info("compositing at %d px", size)
    content["sync"][str(size)] = sync_bench.measure(size, chosen.scenes, chosen.rounds, folder / "sync")
    for renderer in [*chosen.renderers, ""]:
        engine: EngineName = "render" if renderer else "sync"
        log.info("whole datasets: %s %s", engine, renderer)
        where = folder / f"{engine}-{renderer}"
        found = end_to_end.measure(engine, renderer or "numba", size, chosen.samples, chosen.processes, 3, where)
        few, least = min(chosen.samples, _FLOOR_SAMPLES), folder / f"floor-{engine}-{renderer}"
        found["floor"] = floor.measure(engine, renderer or "numba", size, few, chosen.rounds, least)
        content["end_to_end"].append(found)
    log.info("bytes")
    content["bytes"] = end_to_end.bytes_against_raw(size, min(chosen.samples, 256), folder / "bytes")
    return content


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(f"engines.py: {error}")
