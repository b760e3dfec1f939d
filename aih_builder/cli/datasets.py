"""Commands over dataset folders: generate, status, validate, repair, sheet, info, index, regenerate."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import typer

from aih_builder.cli.cards import leave_card
from aih_builder.cli.terminal import answer as say
from aih_builder.cli.terminal import bar
from aih_builder.cli.workers import ClusterFile, EngineOption, Jobs, Scheduler, workers
from aih_builder.config import load_manifest
from aih_builder.errors import ConfigError
from aih_builder.identity import EngineName
from aih_builder.shards import build, progress
from aih_builder.shards.imported import imported_listing
from aih_builder.shards.listing import listing
from aih_builder.shards.plan import Shard, load_plan
from aih_builder.shards.reader import ShardReader, open_dataset
from aih_builder.shards.remake import differences
from aih_builder.shards.repair import repair as mend
from aih_builder.shards.tasks import read_record
from aih_builder.shards.validate import validate as check
from aih_builder.viewer.columns import open_columns
from aih_builder.viewer.filters import Filters, View
from aih_builder.viewer.query import names_in
from aih_builder.viewer.sheet import sheet_indices, write_sheet

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A dataset folder.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The dataset folder to write.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
ManifestPath = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A YAML manifest, e.g. manifests/demo.yaml.")]

_SHOWN_PROBLEMS = 20


def register(app: typer.Typer) -> None:
    """Add this module's commands to the app."""
    for command in (generate, index, status, validate, repair, regenerate, sheet, info):
        app.command()(command)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def generate(
    manifest: ManifestPath,
    out: Out,
    jobs: Jobs = 1,
    shards: Annotated[
        str, typer.Option(metavar="A:B", help="Only shards A to B (exclusive) of the plan; or I/N, one of N parts.")
    ] = ":",
    engine: EngineOption = "local",
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    as_json: Json = False,
) -> None:
    """Make a dataset, or what is missing of it. Stop and start it as you like: finished shards are kept."""
    part = _part(shards)
    with workers(jobs, engine, scheduler, cluster) as pool, bar("samples") as show:
        built = build.generate(
            load_manifest(manifest),
            out,
            jobs=pool,
            shards=part,
            on_progress=lambda p: show(p.done, p.total),
        )
    if built.finished:
        leave_card(built.folder)
    answer = {
        "folder": str(built.folder),
        "shards_made": built.made,
        "shards_kept": built.skipped,
        "samples_made": built.samples,
        "seconds": round(built.seconds, 2),
        "finished": built.finished,
    }
    say(answer, as_json)


def _part(text: str) -> "slice | build.Part":
    try:
        if "/" in text:
            number, of = map(int, text.split("/"))
            return build.Part(number, of)
        first, last = (int(part) if part else None for part in text.split(":"))
    except ValueError as error:
        raise ConfigError(f"--shards {text}: expected A:B, such as 0:8, or I/N, such as 3/64.") from error
    return slice(first, last)


def index(folder: Folder) -> None:
    """Write dataset.json over finished shards: the last step after a cluster's array."""
    typer.echo(build.index(folder))
    leave_card(folder)


def status(folder: Folder, as_json: Json = False) -> None:
    """What is done, torn and missing; how fast it went lately and how long the rest takes at that rate."""
    found = progress.status(folder)
    answer = {
        "folder": str(folder),
        "shards": found.shards,
        "samples": found.samples,
        "torn": found.torn,
        "flagged": found.flagged,
        "indexed": found.indexed,
        "samples_per_second": None if found.per_second is None else round(found.per_second, 1),
        "workers": None if found.workers is None else round(found.workers, 1),
        "seconds_left": None if found.seconds_left is None else round(found.seconds_left),
    }
    say(answer, as_json)


def validate(
    folder: Folder,
    jobs: Jobs = 1,
    engine: EngineOption = "local",
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    as_json: Json = False,
) -> None:
    """Check every checksum and every invariant of every sample. Exit code 1 where anything is wrong."""
    with workers(jobs, engine, scheduler, cluster) as pool, bar("shards") as show:
        report = check(folder, jobs=pool, on_progress=show)
    problems = [{"file": p.file, "sample": p.sample, "message": p.message} for p in report.problems]
    if as_json:
        typer.echo(json.dumps({"shards": report.shards, "samples": report.samples, "problems": problems}, indent=2))
    else:
        for problem in report.problems[:_SHOWN_PROBLEMS]:
            typer.echo(f"BAD {problem}")
        if len(problems) > _SHOWN_PROBLEMS:
            typer.echo(f"... and {len(problems) - _SHOWN_PROBLEMS} more (--json lists all)")
        verdict = "all good" if not problems else f"{len(problems)} problems"
        typer.echo(f"{folder}: {report.shards} shards, {report.samples} samples read, {verdict}")
    if problems:
        raise typer.Exit(1)


def repair(
    folder: Folder,
    jobs: Jobs = 1,
    flagged: Annotated[
        bool,
        typer.Option(
            "--flagged",
            help="Make the samples that `aih flag` marked anew, from a later attempt, and take their flags away; all "
            "else is neither checked nor touched.",
        ),
    ] = False,
    engine: EngineOption = "local",
    scheduler: Scheduler = None,
    cluster: ClusterFile = None,
    as_json: Json = False,
) -> None:
    """Check as `validate` does, and make bad shards again, those alone. Exit code 1 where anything stays wrong."""
    with workers(jobs, engine, scheduler, cluster) as pool, bar("shards, samples") as show:
        done = mend(folder, jobs=pool, flagged=flagged, on_checked=show, on_progress=lambda p: show(p.done, p.total))
    if done.finished:
        leave_card(folder)
    answer: dict[str, Any] = {
        "folder": str(folder),
        "shards_checked": done.checked,
        "shards_remade": done.remade,
        "shards_not_made_yet": done.missing,
        "left": [str(problem) for problem in done.left],
        "finished": done.finished,
    }
    if flagged:
        answer["samples_made_anew"] = {str(index): sample._asdict() for index, sample in done.mended.items()}
    say(answer, as_json)
    if done.left:
        raise typer.Exit(1)


def regenerate(
    folder: Folder,
    index: Annotated[int, typer.Option("--index", "-i", min=0, help="Index of the sample.")],
) -> None:
    """Make one sample again, alone, and compare it with what is stored. Exit code 1 where they differ, and in what."""
    made = load_plan(folder)
    shard = made.shard_of(index)
    different = differences(made, shard, index)
    if not different:
        typer.echo(f"sample {index} ({shard.file}): equal to what is stored, byte for byte")
        return
    typer.echo(f"sample {index} ({shard.file}): DIFFERS from what is stored, in {', '.join(different)}")
    raise typer.Exit(1)


def sheet(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.")],
    count: Annotated[int, typer.Option(min=1, max=400, help="Samples to show.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="Which samples.")] = 0,
    engine: Annotated[str | None, typer.Option(help="render or sync: only its samples.")] = None,
    where: Annotated[str, typer.Option(metavar="QUERY", help="Only samples such as 'any(occlusion_rate > 0.5)'.")] = "",
    sort: Annotated[
        str, typer.Option(metavar="FIELD", help="The first ones by this; =-FIELD the greatest, e.g. --sort=-mean_luma.")
    ] = "",
) -> None:
    """A contact sheet: image, targets, masks and joints of samples from all over the dataset, or of those asked for."""
    dataset = open_dataset(folder, engine=cast("EngineName | None", engine))
    if where or sort:
        asked = Filters(engine=() if engine is None else (engine,), where=where, sort=sort, seed=seed)
        view = View(open_columns(folder), dataset.left_out)
        rows = view.rows(asked)
        if "flagged" not in names_in(where):
            rows = rows[~view.column("flagged")[rows]]
        dataset, found = view.columns.dataset, len(rows)
        chosen = [int(row) for row in (rows[:count] if sort else rows[sheet_indices(found, count, seed)])]
    else:
        chosen, found = sheet_indices(len(dataset), count, seed), len(dataset)
    write_sheet([dataset[i] for i in chosen], out)
    typer.echo(f"{out}: {len(chosen)} of {found} samples")


def info(folder: Folder, as_json: Json = False) -> None:
    """What a dataset holds: counts and bytes; by engine also rejections, occlusion and time by stage."""
    left_out = len(open_dataset(folder).left_out)
    if (imported := imported_listing(folder)) is not None:
        say(_of_import(folder, imported, left_out), as_json)
        return
    made = load_plan(folder)
    held = listing(made)
    samples = held["samples"]
    answer = {
        "name": held["name"],
        "samples": samples,
        "flagged": left_out,
        "made_anew": len(made.overrides),
        "counts": held["counts"],
        "shards": len(held["shards"]),
        "kib_per_sample": round(held["bytes"] / 1024 / max(samples, 1), 1),
        "mib_with_cache": round(_size(folder) / 2**20, 1),
    }
    records = {shard: read_record(folder, shard) for shard in made.shards()}
    for engine in held["counts"]:
        of_engine = {shard: record for shard, record in records.items() if shard.engine == engine}
        if of_engine:
            answer |= {f"{engine}_{key}": value for key, value in _of_engine(folder, of_engine).items()}
    answer |= {
        "peak_worker_mib": max((record["peak_rss_mib"] for record in records.values()), default=0.0),
        "renderer": held["renderer"],
        "seed": held["seed"],
        "sources": held["sources"],
        "licences": held["licences"],
        "plan_hash": held["plan_hash"],
    }
    say(answer, as_json)


def _of_import(folder: Path, held: dict[str, Any], left_out: int) -> dict[str, Any]:
    """What an imported dataset holds."""
    told = {key: held[key] for key in ("name", "origin", "samples", "counts", "sources", "licences", "plan_hash")}
    answer = told | {
        "flagged": left_out,
        "shards": len(held["shards"]),
        "kib_per_sample": round(held["bytes"] / 1024 / max(held["samples"], 1), 1),
    }
    for engine in held["counts"]:
        answer[f"{engine}_occlusion"] = _occlusion(folder, [s["file"] for s in held["shards"] if s["engine"] == engine])
    return answer


def _of_engine(folder: Path, records: dict[Shard, dict[str, Any]]) -> dict[str, Any]:
    """What the shards of one engine cost, and what is hidden in them."""
    seconds: Counter[str] = Counter()
    rejections: Counter[str] = Counter()
    for record in records.values():
        seconds.update(record["seconds"])
        rejections.update(record["rejections"])
    samples = sum(record["samples"] for record in records.values())
    return {
        "kib_per_sample": round(sum(record["bytes"] for record in records.values()) / 1024 / samples, 1),
        "acceptance": round(samples / (samples + rejections.total()), 3),
        "rejections": dict(rejections.most_common()),
        "occlusion": _occlusion(folder, [shard.file for shard in records]),
        "ms_per_sample": {stage: round(1000 * s / samples, 2) for stage, s in seconds.most_common()},
    }


def _occlusion(folder: Path, files: list[str]) -> dict[str, Any]:
    """Occlusion rates over the two-hand samples: of the target, and how they are spread for each hand."""
    rates, targets, deep = [], [], []
    for file in files:
        plain = ShardReader(folder / file).plain
        both = plain["hand_present"].all(axis=1) & (plain["target_hand"] >= 0)
        rates.append(plain["occlusion_rate"][both])
        targets.append(plain["target_hand"][both])
        deep.append(plain["penetration_mm"][both & plain["interaction_valid"]])
    rate, target, depth_mm = (np.concatenate(parts) for parts in (rates, targets, deep))
    if not len(rate):
        return {"two_hand_samples": 0}
    of_target = rate[np.arange(len(rate)), target]
    answer = {
        "two_hand_samples": len(rate),
        "target_between_0.05_and_0.8": round(float(((of_target >= 0.05) & (of_target <= 0.8)).mean()), 3),
    }
    for name, values in (("target", of_target), ("right", rate[:, 0]), ("left", rate[:, 1])):
        histogram = np.histogram(values, [0, 0.05, 0.2, 0.4, 0.8, 1.0001])[0] / len(rate)
        answer[f"{name}_0_0.05_0.2_0.4_0.8_1"] = [round(float(h), 3) for h in histogram]
    if len(depth_mm):
        quantiles = [round(float(np.quantile(depth_mm, q)), 2) for q in (0.5, 0.95, 1)]
        answer["penetration_mm_median_95_max"] = quantiles
    return answer
