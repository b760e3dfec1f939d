"""Builds a library of interacting poses: blocks in parallel, resumed after an interruption, joined in a fixed order.

FILE.parts/ holds head.json, which says what the parts belong to, and one JSON file per finished block. The library
takes from each family as many poses as it is to hold, half with the right and half with the left hand as mover, in the
order of blocks and rows; so neither the number of processes nor an interruption changes it. The parts are deleted once
the library is written.
"""

import fcntl
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder import __version__
from aih_builder.errors import ConfigError, GenerationError, ShardError
from aih_builder.files import read_json, remove, remove_stale, write_json
from aih_builder.hands.arrays import HandArrays, load_hand_arrays, open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.conventions import LEFT, RIGHT
from aih_builder.hands.model import HandModel
from aih_builder.parallel.run import run_tasks
from aih_builder.sources.interaction.families import FAMILIES
from aih_builder.sources.interaction.solve import ROWS, Block, Solved, Solver
from aih_builder.sources.pose_clusters import CLUSTER_RADIUS_MM, clusters_of
from aih_builder.sources.pose_distance import pair_joints_mm
from aih_builder.sources.pose_library import PoseLibrary, hands_digest

log = logging.getLogger(__name__)

LICENCE = "CC0-1.0"  # of poses that are solved on the open hand

_FORMAT = "aih-pose-parts"
_LOCK = "lock"
_LEAST_ACCEPTANCE, _JUDGED_AFTER = 0.01, 6  # of the first blocks of a family and mover: fewer end the build
_MOST_AT_ONCE = 16  # blocks of a stream in one round

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


class _Stream(NamedTuple):
    """Blocks of one family with one moving hand; the blocks of the right hand are even, those of the left odd."""

    family: str
    mover: int

    def number(self, k: int) -> int:
        """The number of its k-th block."""
        return 2 * k + self.mover


def build_library(
    order: PoseOrder, path: Path, *, jobs: int = 1, on_progress: Callable[[int, int], None] | None = None
) -> PoseLibrary:
    """Solve, join, cluster and write a library to `path`; what FILE.parts/ holds of it is not solved again.

    Raises ConfigError where the parts belong to another order or another build is at work on them, GenerationError
    where a family cannot be solved, AssetError where torch is not installed.
    """
    hands = hand_pair(order.arrays(), "native")
    Solver.require_torch()
    quotas = {
        _Stream(family, mover): (quota + 1 - mover) // 2
        for family, quota in order.quotas().items()
        for mover in (RIGHT, LEFT)
    }
    with _own_parts(path.with_name(f"{path.name}.parts"), _head(order, hands)) as parts:
        done = {stream: _finished(parts, stream) for stream in quotas}
        report = on_progress or (lambda _done, _total: None)
        while todo := _wanted(done, quotas):
            task = partial(_solve_part, parts, order.hand, order.seed)
            items = [(stream.family, stream.number(k)) for stream, k in todo]
            with closing(run_tasks(task, items, jobs)) as results:
                for position, block in results:
                    stream, k = todo[position]
                    done[stream][k] = block
                    report(sum(min(_accepted(blocks.values()), quotas[s]) for s, blocks in done.items()), order.count)
        library = _joined(order, hands, {s: _prefix(blocks, quotas[s]) for s, blocks in done.items()}, quotas)
        library.save(path)
    return library


def _head(order: PoseOrder, hands: tuple[HandModel, HandModel]) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": __version__,
        "seed": order.seed,
        "hand": hands_digest(hands),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("numpy", "torch", "numba")}


@contextmanager
def _own_parts(parts: Path, head: dict[str, Any]) -> Iterator[Path]:
    """The folder of parts, held by this process alone; deleted where the block ends without an exception."""
    if parts.exists() and not parts.is_dir():
        raise ConfigError(f"{parts}: is a file, expected the folder of a library's parts. Write the library elsewhere.")
    parts.mkdir(parents=True, exist_ok=True)
    with (parts / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"{parts}: another build of this library is running. Let it end first.") from error
        remove_stale(parts)
        file = parts / "head.json"
        others = [part.name for part in parts.iterdir() if part.name != _LOCK]
        if not others:
            write_json(file, head)
        elif not file.is_file() or read_json(file) != head:
            raise ConfigError(
                f"{parts}: holds parts of another library (another seed, hand model or version of this package or of "
                "numpy, torch or numba). It was left untouched. Delete it, or write the library elsewhere."
            )
        yield parts
        for part in sorted(parts.iterdir(), key=lambda part: (part.name in ("head.json", _LOCK), part.name)):
            remove(part)  # the head goes after all that it speaks of
    parts.rmdir()


def _finished(parts: Path, stream: _Stream) -> dict[int, Block]:
    """The blocks of a stream that lie there whole, by their place in it."""
    found = {}
    for path in sorted(parts.glob(f"{stream.family}.*.json")):
        try:
            number = int(path.suffixes[-2][1:])
            if number % 2 == stream.mover:
                found[number // 2] = _block_of(read_json(path))
        except (ShardError, KeyError, TypeError, ValueError):
            log.warning("%s: damaged, solved again", path)
    return found


def _wanted(done: dict[_Stream, dict[int, Block]], quotas: dict[_Stream, int]) -> list[tuple[_Stream, int]]:
    """The blocks to solve next: as many of each stream as its acceptance so far lets expect."""
    todo = []
    for stream, quota in quotas.items():
        blocks = done[stream]
        reached = max(blocks, default=-1) + 1
        todo += [(stream, k) for k in range(reached) if k not in blocks]
        accepted, tried = _accepted(blocks.values()), ROWS * len(blocks)
        if accepted >= quota:
            continue
        first = [blocks[k] for k in range(_JUDGED_AFTER) if k in blocks]
        if len(first) == _JUDGED_AFTER and _accepted(first) < _LEAST_ACCEPTANCE * ROWS * _JUDGED_AFTER:
            reasons = sum((block.refused for block in first), Counter())
            raise GenerationError(
                f"family {stream.family}: {_accepted(first)} of {ROWS * _JUDGED_AFTER} candidates were accepted, "
                f"expected at least {_LEAST_ACCEPTANCE:.0%} (refused: {dict(reasons.most_common())}). "
                "Leave the family out."
            )
        rate = max(accepted / tried, _LEAST_ACCEPTANCE) if tried else 0.5
        more = -(-(quota - accepted) // round(rate * ROWS + 0.5))
        todo += [(stream, k) for k in range(reached, reached + min(more, _MOST_AT_ONCE))]
    return todo


def _accepted(blocks: Iterable[Block]) -> int:
    return sum(len(block.solved) for block in blocks)


def _prefix(blocks: dict[int, Block], quota: int) -> list[Block]:
    """The first blocks that fill a quota: what lies beyond them was solved for nothing, and does not count."""
    chosen: list[Block] = []
    for k in sorted(blocks):
        if _accepted(chosen) >= quota:
            break
        chosen.append(blocks[k])
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
    order: PoseOrder,
    hands: tuple[HandModel, HandModel],
    blocks: dict[_Stream, list[Block]],
    quotas: dict[_Stream, int],
) -> PoseLibrary:
    rows: list[Solved] = []
    counts = {family: {"tried": 0, "accepted": 0, "kept": 0, "refused": Counter()} for family in order.families}
    for stream, chosen in blocks.items():
        accepted = [row for block in chosen for row in block.solved]
        rows += accepted[: quotas[stream]]
        count = counts[stream.family]
        count["tried"] += ROWS * len(chosen)
        count["accepted"] += len(accepted)
        count["kept"] += quotas[stream]
        count["refused"] += sum((block.refused for block in chosen), Counter())
    for count in counts.values():
        count["refused"] = dict(sorted(count["refused"].items()))
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
            "versions": _versions(),
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
