#!/usr/bin/env python
"""Measure the pose solver and the contact measure: python tools/bench/poses.py [--out FILE.json].

Naive versions in the same run: candidates one at a time instead of 64 in a batch; penetration with trimesh.
"""

import argparse
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aih_builder.errors import Rejected
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.shards.tasks import one_thread
from aih_builder.sources.contact import close, measure_contact
from aih_builder.sources.interaction.build import PoseOrder, build_library
from aih_builder.sources.interaction.families import FAMILIES
from aih_builder.sources.interaction.solve import ROWS, Solver
from aih_builder.sources.pose_library import shipped_library
from tools.bench.timing import against, commit, interleaved, machine, report

_ALONE = 6  # candidates that the naive solver is given


def main() -> None:
    """Run all, print it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--count", type=int, default=240, help="poses of each library that is built")
    chosen = parser.parse_args()
    one_thread()
    content: dict[str, Any] = {"commit": commit(), "machine": machine()}
    content["solver"] = _solver()
    content["contact_per_pair"] = _contact()
    content["libraries"] = [_library(chosen.count, jobs) for jobs in chosen.processes]
    report(chosen.out, content)


def _solver() -> dict[str, Any]:
    """Milliseconds per candidate of three families: in a batch and alone, and by stage."""
    solver = Solver(hand_pair(open_hand(), "native"))
    found = {}
    solver.solve("clasp", 0, 1)  # compiles
    for family in ("clasp", "prayer", "counting"):
        started = time.perf_counter()
        starts = []
        for row in range(ROWS):
            with suppress(Rejected):  # no two arms reach it
                starts.append(solver._start(family, 2, row, 1))
        placed = time.perf_counter()
        solver._settle(family, starts, 0)
        settled = time.perf_counter()
        for start in starts[:_ALONE]:
            solver._settle(family, [start], 0)
        alone = time.perf_counter()
        solver.solve(family, 2, 1)
        whole = time.perf_counter() - alone
        taken = {"alone": 1000 * (alone - settled) / _ALONE, "batch": 1000 * (settled - placed) / len(starts)}
        found[family] = against("alone", {name: round(ms, 2) for name, ms in taken.items()})
        stages = {"start": placed - started, "settle": settled - placed}
        stages["check"] = max(whole - sum(stages.values()), 0.0)
        found[family]["share_of_a_block"] = {name: round(s / whole, 3) for name, s in stages.items()}
    return found


def _contact() -> dict[str, Any]:
    """Penetration and contact of a pair: exact and compiled, against trimesh's signed distances."""
    hands, library = hand_pair(open_hand(), "native"), shipped_library()
    surfaces = [close(hand.arrays.faces) for hand in hands]
    rows = list(range(0, len(library), len(library) // 8))[:8]
    meshes = [
        [
            h.pose(library.pose_rad[r, i], library.betas[r, i], library.trans_m[r, i]).vertices_m
            for i, h in enumerate(hands)
        ]
        for r in rows
    ]

    def naive(item: int) -> float:
        bodies = [trimesh.Trimesh(p, f, process=False) for p, f in zip(meshes[item], surfaces, strict=True)]
        return max(
            float(np.max(trimesh.proximity.ProximityQuery(bodies[1 - side]).signed_distance(meshes[item][side])))
            for side in (0, 1)
        )

    def ours(item: int) -> object:
        return measure_contact(meshes[item][0], meshes[item][1], surfaces[0], surfaces[1])

    return against("trimesh", interleaved({"trimesh": naive, "ours": ours}, len(rows), 3))


def _library(count: int, jobs: int) -> dict[str, Any]:
    """A library of all families, from an empty folder, with starting the workers."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        library = build_library(PoseOrder(count, seed=7), Path(folder) / "poses.npz", jobs=jobs)
        seconds = time.perf_counter() - started
    tried, accepted = (sum(m[key] for m in library.provenance["families"].values()) for key in ("tried", "accepted"))
    return {
        "processes": jobs,
        "families": len(FAMILIES),
        "poses": len(library),
        "candidates": tried,
        "accepted": accepted,
        "seconds": round(seconds, 1),
        "accepted_per_second": round(accepted / seconds, 2),
        "candidates_per_second": round(tried / seconds, 2),
    }


if __name__ == "__main__":
    main()
