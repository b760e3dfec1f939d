"""One shard task: reads a plan, writes one shard and the record beside it. Idempotent; runs in any process."""

import hashlib
import logging
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numba
from threadpoolctl import threadpool_limits

from aih_builder.errors import ConfigError, GenerationError, ShardError
from aih_builder.files import read_json, write_json, write_whole
from aih_builder.identity import EngineName, Split, name_of
from aih_builder.parallel.number import worker_number
from aih_builder.sample import Sample
from aih_builder.shards.overrides import OVERRIDES_FILE, as_json, first_attempts_of, read_overrides
from aih_builder.shards.plan import Plan, Shard, load_plan
from aih_builder.shards.plan_pools import require_planned_bank
from aih_builder.shards.plan_poses import require_planned_poses
from aih_builder.shards.writer import ShardHead, ShardWriter, library_versions
from aih_builder.synth.assets import load_assets
from aih_builder.synth.backends import ENGINES
from aih_builder.synth.engine import Engine, Tally
from aih_builder.synth.renderers.backends import RENDERERS
from aih_builder.synth.renderers.base import Renderer

log = logging.getLogger(__name__)

_RECORD_FORMAT = "aih-shard-record"
_RECORD = {
    "format": str, "file": str, "plan_hash": str, "sha256": str, "bytes": int, "samples": int,
    "renderer": str, "rejections": dict, "seconds": dict, "peak_rss_mib": float, "versions": dict,
}  # fmt: skip
_COUNTED = {"rejections": int, "seconds": float | int, "versions": str}  # the kind of their values
_MIN_ACCEPTANCE = 0.01
_PROBES, _PROBES_OF_A_KIND = 8, 2  # samples per engine and split
_PROBE_ATTEMPTS = 200
_LOOKED_AT = 5000  # indices per engine and split: a kind that is rarer than one in some thousand may be missed

# One engine per process and plan: a worker makes many shards.
_engines: dict[tuple[int, Path, str, EngineName], Engine] = {}
_renderers: dict[tuple[int, str], Renderer] = {}  # one for all plans: a GL context is made once and kept


class ShardState(NamedTuple):
    """What lies on disk for a shard: `done`, `torn` or `missing`, and why."""

    state: str
    reason: str


def one_thread() -> None:
    """Parallelism is by process: one thread for BLAS, OpenMP, OpenCV and numba, whatever the environment says."""
    threadpool_limits(limits=1)
    cv2.setNumThreads(1)
    numba.set_num_threads(1)


def engine_for(plan: Plan, name: EngineName) -> Engine:
    """This process's engine for a plan, made on first use."""
    of_plan = (os.getpid(), plan.folder.resolve(), plan.plan_hash)
    key = (*of_plan, name)
    if key not in _engines:
        one_thread()
        for other in [k for k in _engines if k[:-1] != of_plan]:
            del _engines[other]
        bank = plan.bank_file if name == "sync" else None
        if bank is not None and plan.bank is not None:
            require_planned_bank(bank, plan.bank)
        require_planned_poses(plan.cache, plan.digests["poses"])
        assets = load_assets(plan.manifest, plan.cache, plan.backgrounds, bank)
        _engines[key] = ENGINES[name](plan.manifest, assets, lambda: _renderer(plan))
    return _engines[key]


def _renderer(plan: Plan) -> Renderer:
    key = os.getpid(), plan.renderer
    if key not in _renderers:
        if plan.renderer not in RENDERERS:
            raise ConfigError(
                f"{plan.folder}: planned for renderer '{plan.renderer}', here there are {', '.join(RENDERERS)}. "
                "Run where that renderer is installed."
            )
        _renderers[key] = RENDERERS[plan.renderer](worker_number())
        log.info("renderer: %s", _renderers[key].description())
    return _renderers[key]


def make_sample(plan: Plan, index: int) -> Sample:
    """One sample of a plan, made alone."""
    first_attempt = plan.overrides.get(index, 1)
    return engine_for(plan, name_of(index).engine).make(index, Tally(), first_attempt=first_attempt)


def probe_acceptance(plan: Plan, shards: Sequence[Shard]) -> float:
    """Share of draws that are accepted, from a few samples of each engine and split that some shards of a plan hold.

    Raises ConfigError where it is under 1 % for any kind of sample that is asked for: a bin of the occlusion histogram
    that cannot be filled would hold up a run for ever. Also compiles, and caches on disk, all code that workers run.
    """
    accepted, drawn = 0, 0
    of_stream: dict[tuple[EngineName, Split], list[int]] = {}
    for shard in shards:
        of_stream.setdefault((shard.engine, shard.split), []).extend(shard.indices)
    for (name, split), indices in of_stream.items():
        engine = engine_for(plan, name)
        for kind, some in _by_kind(engine, indices).items():
            made, tally = 0, Tally()
            for index in some:
                try:
                    engine.make(index, tally, max_attempts=_PROBE_ATTEMPTS)
                except GenerationError as refusal:
                    log.debug("probe: %s", refusal)
                    continue
                made += 1
            tried = made + tally.rejections.total()
            if made < _MIN_ACCEPTANCE * tried:
                reasons = ", ".join(f"{reason}: {n}" for reason, n in tally.rejections.most_common())
                raise ConfigError(
                    f"{plan.folder}: {name} / {split} asks for {kind}; {made} of {tried} draws for it were accepted "
                    f"({made / tried:.2%}), expected at least {_MIN_ACCEPTANCE:.0%} ({reasons}). Leave it out of what "
                    f"streams.{name} asks for, or widen the ranges that it draws from, and plan into a new folder."
                )
            log.debug("%s / %s: %s, %d of %d draws accepted", name, split, kind, made, tried)
            accepted, drawn = accepted + made, drawn + tried
    return accepted / max(drawn, 1)


def _by_kind(engine: Engine, indices: Sequence[int]) -> dict[str, list[int]]:
    """The first few indices of each kind of sample, among those that are looked at."""
    kinds: dict[str, list[int]] = {}
    for index in indices[:_LOOKED_AT]:
        kinds.setdefault(engine.asked(index), []).append(index)
    each = max(_PROBES_OF_A_KIND, _PROBES // len(kinds))
    return {kind: some[:each] for kind, some in kinds.items()}


class Made(NamedTuple):
    """A finished shard."""

    record: dict[str, Any]  # which is written beside it
    fresh: bool  # whether it was made now


def make_shard(folder: Path, shard: Shard) -> Made:
    """Make one shard of the plan in a folder.

    A shard that is finished by now, by another run or by a worker that was killed before it could say so, is left.
    """
    plan = load_plan(folder)
    if shard_state(plan, shard).state == "done":
        return Made(read_record(folder, shard), fresh=False)
    engine, tally = engine_for(plan, shard.engine), Tally()
    writer, first_attempts = ShardWriter(head_of(plan, shard)), shard.first_attempts(plan.overrides)
    for index in shard.indices:
        sample = engine.make(index, tally, first_attempt=first_attempts.get(index, 1))
        with tally.stage("encode"):
            writer.add(sample)
    with tally.stage("write"):
        data = writer.to_bytes()
        if shard.first_attempts(read_overrides(folder)) != first_attempts:  # changed meanwhile: these are the old ones
            return make_shard(folder, shard)
        if shard_state(plan, shard).state == "done":
            return Made(read_record(folder, shard), fresh=False)
        write_whole(folder / shard.file, data)
    record = {
        "format": _RECORD_FORMAT,
        "file": shard.file,
        "plan_hash": plan.plan_hash,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "samples": shard.last - shard.first,
        "renderer": _renderer(plan).description() if shard.engine == "render" else "",
        "rejections": dict(sorted(tally.rejections.items())),
        "seconds": {stage: round(seconds, 4) for stage, seconds in tally.seconds.items()},
        "peak_rss_mib": _peak_rss_mib(),
        "versions": library_versions(),
    }
    if first_attempts:
        record["first_attempts"] = as_json(first_attempts)
    write_json(record_path(folder, shard), record)
    return Made(record, fresh=True)


def head_of(plan: Plan, shard: Shard) -> ShardHead:
    """What a shard of a plan says of itself."""
    manifest = plan.manifest
    fields = manifest.fields_of(shard.engine)
    return ShardHead(shard.engine, shard.split, shard.number, plan.plan_hash, fields, manifest.lossless)


def record_path(folder: Path, shard: Shard) -> Path:
    """The JSON record beside a shard."""
    return (folder / shard.file).with_suffix(".json")


def read_record(folder: Path, shard: Shard) -> dict[str, Any]:
    """The record beside a shard. Raises ShardError where it is missing or damaged."""
    path = record_path(folder, shard)
    record = read_json(path)
    bad = [key for key, kind in _RECORD.items() if not isinstance(record.get(key), kind)]
    bad = bad or [key for key, kind in _COUNTED.items() if not all(isinstance(v, kind) for v in record[key].values())]
    try:
        first_attempts_of(record.get("first_attempts", {}))
    except ValueError:
        bad = [*bad, "first_attempts"]
    if bad:
        raise ShardError(f"{path}: damaged, {bad[0]} is {record.get(bad[0])!r}.")
    return record


def shard_state(plan: Plan, shard: Shard) -> ShardState:
    """Whether a shard is finished, judged by its record and its size; `aih validate` reads the bytes."""
    file = plan.folder / shard.file
    there = file.is_file(), record_path(plan.folder, shard).is_file()
    if not any(there):
        return ShardState("missing", "")
    if not all(there):
        return ShardState("torn", "the shard or the record beside it is missing")
    try:
        record, size = read_record(plan.folder, shard), file.stat().st_size
    except FileNotFoundError:  # another run has just taken it away
        return ShardState("torn", "the shard is missing")
    except ShardError as error:
        return ShardState("torn", str(error))
    expected = {
        "format": _RECORD_FORMAT,
        "file": shard.file,
        "plan_hash": plan.plan_hash,
        "samples": shard.last - shard.first,
        "bytes": size,
    }
    for key, value in expected.items():
        if record[key] != value:
            return ShardState("torn", f"its record says {key} {record[key]}, expected {value}")
    made, wanted = record.get("first_attempts", {}), as_json(shard.first_attempts(plan.overrides))
    if made != wanted:
        index = min(int(i) for i in made.keys() | wanted.keys() if made.get(i) != wanted.get(i))
        before, now = (told.get(str(index), 1) for told in (made, wanted))
        reason = f"sample {index} was made from attempt {before} on, {OVERRIDES_FILE} asks for {now} on"
        return ShardState("torn", reason)
    return ShardState("done", "")


def _peak_rss_mib() -> float:
    """Most memory that this process has held."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        kib = int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError):  # not Linux; there, getrusage would count what the parent held before exec
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kib / 1024, 1)
