"""Builds a library of interacting poses: blocks in parallel, resumed after an interruption, joined in a fixed order.

FILE.parts/ holds head.json, which says what the parts belong to, and one JSON file per finished block. The library
takes from each family, in the order of its blocks and rows, as many poses as it is to hold; so neither the number of
processes nor an interruption changes it. The parts are deleted once the library is written.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder import __version__
from aih_builder.errors import ConfigError, GenerationError, ShardError
from aih_builder.files import read_json, remove, remove_stale, write_json
from aih_builder.hands.arrays import HandArrays, load_hand_arrays, open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.model import HandModel
from aih_builder.parallel import run_tasks
from aih_builder.sources.interaction.families import FAMILIES
from aih_builder.sources.interaction.solve import ROWS, Block, Solved, Solver
from aih_builder.sources.pose_clusters import clusters_of
from aih_builder.sources.pose_distance import pair_joints_mm
from aih_builder.sources.pose_library import PoseLibrary, hands_digest

log = logging.getLogger(__name__)

CLUSTER_RADIUS_MM = 8.0
LICENCE = "CC0-1.0"  # of poses that are solved on the open hand

_FORMAT = "aih-pose-parts"
_LEAST_ACCEPTANCE, _JUDGED_AFTER = 0.01, 8  # blocks of a family after which a hopeless one ends the build

_solvers: dict[str, Solver] = {}


@dataclass(frozen=True, slots=True)
class PoseOrder:
    """What a library is to hold."""

    count: int
    seed: int = 0
    hand: Path | None = None  # a hand in the package's own .npz; None: the open hand
    families: tuple[str, ...] = tuple(FAMILIES)
    licence: str = LICENCE

    def __post_init__(self) -> None:
        if not self.families or len(set(self.families)) < len(self.families):
            raise ConfigError("families: expected at least one, each named once.")
        if unknown := [name for name in self.families if name not in FAMILIES]:
            raise ConfigError(f"unknown family '{unknown[0]}'. Choose among {', '.join(FAMILIES)}.")
        if self.count < len(self.families):
            raise ConfigError(f"count is {self.count}, expected at least {len(self.families)}: one of each family.")

    def arrays(self) -> HandArrays:
        """The right hand."""
        return open_hand() if self.hand is None else load_hand_arrays(self.hand)

    def quotas(self) -> dict[str, int]:
        """Poses of each family, as even as can be."""
        share, more = divmod(self.count, len(self.families))
        return {name: share + (k < more) for k, name in enumerate(self.families)}


def build_library(
    order: PoseOrder, path: Path, *, jobs: int = 1, on_progress: Callable[[int, int], None] | None = None
) -> PoseLibrary:
    """Solve, join, cluster and write a library to `path`; what FILE.parts/ holds of it is not solved again.

    Raises ConfigError where the parts belong to another order, GenerationError where a family cannot be solved,
    AssetError where torch is not installed.
    """
    hands = hand_pair(order.arrays(), "native")
    parts = path.with_name(f"{path.name}.parts")
    _open_parts(parts, _head(order, hands))
    remove_stale(parts)
    quotas = order.quotas()
    done: dict[str, dict[int, Block]] = {name: dict(_finished(parts, name)) for name in quotas}
    report = on_progress or (lambda _done, _total: None)
    while todo := _wanted(done, quotas):
        task = partial(_solve_part, parts, order.hand, order.seed)
        with closing(run_tasks(task, todo, jobs)) as results:
            for position, block in results:
                family, number = todo[position]
                done[family][number] = block
                report(sum(min(_accepted(blocks), quotas[name]) for name, blocks in done.items()), order.count)
    library = _joined(order, hands, {name: _prefix(blocks, quotas[name]) for name, blocks in done.items()}, quotas)
    library.save(path)
    for part in parts.iterdir():
        remove(part)
    parts.rmdir()
    return library


def _head(order: PoseOrder, hands: tuple[HandModel, HandModel]) -> dict[str, Any]:
    return {"format": _FORMAT, "version": __version__, "seed": order.seed, "hand": hands_digest(hands)}


def _open_parts(parts: Path, head: dict[str, Any]) -> None:
    if not parts.exists():
        write_json(parts / "head.json", head)
    elif not parts.is_dir() or read_json(parts / "head.json") != head:
        raise ConfigError(
            f"{parts}: holds parts of another library (another seed, hand model or version). "
            "It was left untouched. Delete it, or write the library elsewhere."
        )


def _finished(parts: Path, family: str) -> Iterator[tuple[int, Block]]:
    """The blocks of a family that lie there whole."""
    for path in sorted(parts.glob(f"{family}.*.json")):
        try:
            content = read_json(path)
            yield int(path.suffixes[-2][1:]), _block_of(content)
        except (ShardError, KeyError, TypeError, ValueError):
            log.warning("%s: damaged, solved again", path)


def _wanted(done: dict[str, dict[int, Block]], quotas: dict[str, int]) -> list[tuple[str, int]]:
    """The blocks to solve next: as many of each family as its acceptance so far lets expect."""
    todo = []
    for family, quota in quotas.items():
        blocks = done[family]
        accepted, tried = _accepted(blocks), ROWS * len(blocks)
        if len(blocks) >= _JUDGED_AFTER and accepted < _LEAST_ACCEPTANCE * tried:
            reasons = sum((block.refused for block in blocks.values()), Counter())
            raise GenerationError(
                f"family {family}: {accepted} of {tried} candidates were accepted, expected at least "
                f"{_LEAST_ACCEPTANCE:.0%} (refused: {dict(reasons.most_common())}). Leave the family out."
            )
        if accepted < quota or not _is_prefix(blocks):
            rate = max(accepted / tried, _LEAST_ACCEPTANCE) if tried else 0.5
            more = max(1, -(-(quota - accepted) // round(rate * ROWS + 0.5))) if accepted < quota else 0
            missing = [number for number in range(max(blocks, default=-1) + 1) if number not in blocks]
            first = max(blocks, default=-1) + 1
            todo += [(family, number) for number in [*missing, *range(first, first + min(more, 16))]]
    return todo


def _is_prefix(blocks: dict[int, Block]) -> bool:
    return len(blocks) == max(blocks, default=-1) + 1


def _accepted(blocks: dict[int, Block]) -> int:
    return sum(len(block.solved) for block in blocks.values())


def _prefix(blocks: dict[int, Block], quota: int) -> list[Block]:
    """The first blocks that fill a quota: what lies beyond them was solved for nothing, and does not count."""
    chosen: list[Block] = []
    for number in sorted(blocks):
        if sum(len(block.solved) for block in chosen) >= quota:
            break
        chosen.append(blocks[number])
    return chosen


def _solve_part(parts: Path, hand: Path | None, seed: int, item: tuple[str, int]) -> Block:
    """One block, solved and written. Runs in any process."""
    family, number = item
    key = str(hand)
    if key not in _solvers:
        arrays = open_hand() if hand is None else load_hand_arrays(hand)
        _solvers[key] = Solver(hand_pair(arrays, "native"))
    block = _solvers[key].solve(family, number, seed)
    write_json(parts / f"{family}.{number:05d}.json", _content_of(block))
    return block


def _content_of(block: Block) -> dict[str, Any]:
    rows = [
        {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in row._asdict().items()}
        for row in block.solved
    ]
    return {"solved": rows, "refused": dict(sorted(block.refused.items()))}


def _block_of(content: dict[str, Any]) -> Block:
    solved = [
        Solved(
            row["id"],
            row["family"],
            np.array(row["pose_rad"], np.float32),
            np.array(row["betas"], np.float32),
            np.array(row["trans_m"], np.float32),
            row["penetration_mm"],
            row["contact_fraction"],
            (row["self_penetration_mm"][0], row["self_penetration_mm"][1]),
        )
        for row in content["solved"]
    ]
    return Block(solved, Counter(content["refused"]))


def _joined(
    order: PoseOrder, hands: tuple[HandModel, HandModel], blocks: dict[str, list[Block]], quotas: dict[str, int]
) -> PoseLibrary:
    rows: list[Solved] = []
    counts = {}
    for family, chosen in blocks.items():
        accepted = [row for block in chosen for row in block.solved]
        rows += accepted[: quotas[family]]
        counts[family] = {
            "tried": ROWS * len(chosen),
            "accepted": len(accepted),
            "kept": quotas[family],
            "refused": dict(sorted(sum((block.refused for block in chosen), Counter()).items())),
        }
    ids = np.array([row.id for row in rows])
    pose_rad, betas, trans_m = _stacked(rows, "pose_rad"), _stacked(rows, "betas"), _stacked(rows, "trans_m")
    present = np.ones((len(rows), 2), bool)
    cluster = clusters_of(pair_joints_mm(hands, pose_rad, betas, trans_m), CLUSTER_RADIUS_MM)
    return PoseLibrary(
        hand=hands_digest(hands),
        licence=order.licence,
        provenance={
            "source": "interacting",
            "version": __version__,
            "seed": order.seed,
            "cluster_radius_mm": CLUSTER_RADIUS_MM,
            "families": counts,
            "versions": {name: version(name) for name in ("numpy", "torch", "numba")},
        },
        ids=ids,
        family=np.array([row.family for row in rows]),
        split=np.full(len(rows), "", "U5"),
        cluster=ids[cluster],
        present=present,
        pose_rad=pose_rad,
        betas=betas,
        trans_m=trans_m,
        penetration_mm=np.array([row.penetration_mm for row in rows], np.float32),
        contact_fraction=np.array([row.contact_fraction for row in rows], np.float32),
        self_penetration_mm=np.array([row.self_penetration_mm for row in rows], np.float32),
    )


def _stacked(rows: Sequence[Solved], name: str) -> np.ndarray:
    return np.stack([getattr(row, name) for row in rows])
