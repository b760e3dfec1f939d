"""The command `aih plan`: what a manifest asks for, what it will cost, and a folder made ready for its parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from joblib import cpu_count

from aih_builder.cli.datasets import Json, ManifestPath
from aih_builder.cli.terminal import answer as say
from aih_builder.config import load_manifest
from aih_builder.shards.estimate import ASSUMES, Estimate, estimate
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import probe_acceptance


def register(app: typer.Typer) -> None:
    """Add this module's command to the app."""
    app.command()(plan)


def plan(
    manifest: ManifestPath,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Plan in this dataset folder, for `generate --shards`, and keep it."),
    ] = None,
    workers: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Hours for so many processes; may be repeated [this machine's cores]."),
    ] = None,
    measure: Annotated[int, typer.Option(min=1, help="Samples of each engine that are made to measure it.")] = 128,
    as_json: Json = False,
) -> None:
    """Shards, samples, acceptance of draws, bytes and hours of a manifest, from a rate that is measured here.

    Without --out it is planned in a temporary folder (below TMPDIR), and nothing is kept. Whether the dataset fits a
    disk: `aih doctor MANIFEST --out DIR`.
    """
    loaded = load_manifest(manifest)
    with _folder(out) as folder:
        made = make_plan(loaded, folder)
        shards = made.shards()
        acceptance = probe_acceptance(made, shards)
        cost = estimate(made, workers or [cpu_count()], measure)
        cache = sum(path.stat().st_size for path in made.cache.rglob("*") if path.is_file())
    answer = {
        "folder": None if out is None else str(out),
        "plan_hash": made.plan_hash,
        "renderer": made.renderer,
        "shards": len(shards),
        "samples": made.manifest.total(),
        "acceptance": round(acceptance, 4),
    }
    say(answer | _told(cost, cache, len(shards), as_json), as_json)


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    """Where to plan: the folder that is named, else one that goes when the block ends."""
    if out is not None:
        yield out
        return
    with TemporaryDirectory(prefix="aih-plan-") as folder:
        yield Path(folder)


def _told(cost: Estimate, cache: int, shards: int, as_json: bool) -> dict[str, Any]:
    """An estimate, rounded. hours and idle_workers (who finds no shard) are by number of workers."""
    hours = {str(number): _rounded(value) for number, value in cost.hours.items()}
    idle = {str(number): number - shards for number in cost.hours if number > shards}
    size = cost.bytes + cache
    told = {
        "measured": {engine: rate.samples for engine, rate in cost.rates.items()},
        "ms_per_sample": {engine: round(1000 * rate.seconds, 2) for engine, rate in cost.rates.items()},
        "core_share": {engine: round(rate.core_share, 2) for engine, rate in cost.rates.items()},
        "kib_per_sample": {engine: round(rate.sample_bytes / 1024, 2) for engine, rate in cost.rates.items()},
        "bytes": size,
        "core_hours": _rounded(cost.core_hours),
        "hours": hours,
        "idle_workers": idle,
    }
    if idle:
        told["idle_because"] = f"a shard is one worker's task, and there are {shards}: a lower shard_samples makes more"
    if not as_json:
        told["bytes"] = f"{size} ({_size(size)}, {_size(cache)} of it the plan's cache)"
        told["hours"] = {f"{number} workers": f"{value} ({_time(value)})" for number, value in hours.items()}
        told["idle_workers"] = ", ".join(f"{n} of {number}" for number, n in idle.items()) or None
    return told | {"assumes": ASSUMES}


def _rounded(hours: float) -> float:
    return float(f"{hours:.3g}")


def _time(hours: float) -> str:
    for unit, of_an_hour in (("days", 24), ("h", 1), ("min", 1 / 60)):
        if hours >= 2 * of_an_hour:
            return f"{hours / of_an_hour:.1f} {unit}"
    return f"{3600 * hours:.1f} s"


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
