#!/usr/bin/env python
"""What each effect of the look costs, and what it changes: python tools/bench/look.py [--out FILE.json].

The demo's AIH-Render stream, with one section of its `look` at a time, then with all: milliseconds per sample (whole,
and of drawing it alone), KiB per sample as stored, and how far changed_mask exceeds M_D and M_R.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aih_builder.config import Manifest
from aih_builder.identity import indices_of
from aih_builder.paths import manifests
from aih_builder.sample import Sample, hdr_masks
from aih_builder.shards.format import encode_parts, parts_for
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import one_thread
from aih_builder.synth.assets import load_assets
from aih_builder.synth.engine import Tally
from aih_builder.synth.render import RenderEngine
from aih_builder.synth.renderers.backends import RENDERERS
from tools.bench.scenes import demo_manifest
from tools.bench.timing import commit, interleaved, machine, report

PLAIN, ALL = "plain", "everything"
_CHOSEN = ("pose", "view", "background", "check")  # stages of a sample that are not drawing


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--renderer", default="numba", choices=list(RENDERERS))
    chosen = parser.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        engines = {
            name: _Measured(_manifest(look, chosen), Path(folder) / str(number))
            for number, (name, look) in enumerate(looks().items())
        }
        taken = interleaved({name: engine.make for name, engine in engines.items()}, chosen.samples, chosen.rounds)
        found = {name: {"ms": taken[name]} | engine.figures() for name, engine in engines.items()}
    for figures in found.values():
        figures["drawing_ratio"] = round(figures["drawing_ms"] / found[PLAIN]["drawing_ms"], 2)
        figures["ratio"] = round(figures["ms"] / found[PLAIN]["ms"], 2)
    arguments = {key: str(value) for key, value in vars(chosen).items() if key != "out"}
    report(chosen.out, {"commit": commit(), "machine": machine(), "arguments": arguments, "look": found})


def looks() -> dict[str, dict[str, Any]]:
    """Sections of a manifest by what they switch on: nothing, the demo's effects one by one, in all samples, and all
    of them as often as the demo has them.
    """
    demo = yaml.safe_load((manifests() / "demo.yaml").read_text(encoding="utf-8"))["look"]
    found: dict[str, dict[str, Any]] = {PLAIN: {}}
    no_shading = {"occlusion": False, "shadows": 0.0, "wrinkles": False}
    for name, full in {"occlusion": True, "shadows": 1.0, "wrinkles": True}.items():
        found[f"shading: {name}"] = {"shading": {**demo["shading"], **no_shading, name: full}}
    for name, sleeve in {"bare": 0.0, "sleeved": 1.0}.items():
        found[f"forearms: {name}"] = {"forearms": {**demo["forearms"], "share": 1.0, "sleeve": sleeve}}
    ranges = {name: value for name, value in demo["camera"].items() if name != "motion_share"}
    for name in ranges:
        found[f"camera: {name}"] = {"camera": {**dict.fromkeys(ranges), name: ranges[name], "motion_share": 1.0}}
    return {**found, ALL: demo}


def _manifest(look: dict[str, Any], chosen: argparse.Namespace) -> Manifest:
    streams = {"render": {"count": {"train": chosen.samples}}}
    return demo_manifest(chosen.size, renderer=chosen.renderer, look=look, streams=streams)


class _Measured:
    """An engine for one look, and what came of it."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        plan = make_plan(manifest, folder)
        assets = load_assets(plan.manifest, plan.cache, plan.backgrounds)
        self._engine = RenderEngine(plan.manifest, assets, RENDERERS[plan.renderer](0))
        self._indices = indices_of("render", "train", 0, plan.manifest.total())
        self._made: dict[int, Sample] = {}
        self._drawing: list[float] = []

    def make(self, number: int) -> None:
        """One sample; its figures are kept from the second time on, when all is loaded."""
        tally = Tally()
        sample = self._engine.make(self._indices[number], tally)
        if number in self._made:
            self._drawing.append(sum(s for stage, s in tally.seconds.items() if stage not in _CHOSEN))
        self._made[number] = sample

    def figures(self) -> dict[str, float]:
        """Medians of time, means of the rest."""
        samples = list(self._made.values())
        parts = parts_for(())
        kib = [sum(map(len, encode_parts(sample, parts, lossless=False))) / 1024 for sample in samples]
        beyond = [_beyond(sample, int(target)) for sample in samples for target in np.flatnonzero(sample.target_valid)]
        needed, excess = np.array(beyond).sum(axis=0)
        return {
            "drawing_ms": round(1e3 * float(np.median(self._drawing)), 3),
            "KiB": round(float(np.mean(kib)), 1),
            "changed_beyond_M_D_and_M_R": round(float(excess / needed), 3),
        }


def _beyond(sample: Sample, target: int) -> tuple[int, int]:
    """Pixels of M_D and M_R, and those of changed_mask outside them."""
    masks = hdr_masks(sample, target)
    must = masks.M_D | masks.M_R
    return int(must.sum()), int((sample.changed_mask[target] & ~must).sum())


if __name__ == "__main__":
    main()
