"""The commands `aih train`, `aih eval` and `aih study`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from aih_builder.cli.terminal import answer, bar
from aih_builder.errors import ConfigError
from aih_builder.hdr.extra import require_training_libraries
from aih_builder.hdr.settings import ModuleName, load_training
from aih_builder.hdr.study_settings import load_evaluation, load_study

_TRAINING = ("torch", "transformers", "accelerate", "tensorboard")
_PLOTTING = (*_TRAINING, "matplotlib")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the app."""
    app.command()(train)
    app.command(name="eval")(evaluate)
    app.command()(study)


def train(
    module: Annotated[ModuleName, typer.Argument(help="Which of HDR's modules.")],
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A configuration, as manifests/train/hasm.yaml.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Checkpoint, TensorBoard's events.")],
    as_json: AsJson = False,
) -> None:
    """Train one module on a dataset's samples. Run again, it goes on from its last checkpoint."""
    require_training_libraries("aih train", _TRAINING)
    training = load_training(config)
    if training.module != module:
        raise ConfigError(f"{config}: configures {training.module}, asked for was {module}. Name the other one.")
    from aih_builder.hdr.train import train as run

    with bar(f"{module} steps") as progress:
        checkpoint = run(training, out, progress=progress)
    figures = {name: values[-1] for name, values in checkpoint.history.items() if values}
    answer({"checkpoint": str(out / "last.pt"), **{k: round(v, 5) for k, v in figures.items()}}, as_json)


def evaluate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A configuration, as manifests/train/eval.yaml.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the report goes.")],
    as_json: AsJson = False,
) -> None:
    """Masks, images and poses of trained modules, measured; on our shards, InterHand2.6M or Tzionas et al."""
    require_training_libraries("aih eval", _PLOTTING)
    evaluation = load_evaluation(config)
    from aih_builder.hdr.eval_run import PAGE, run_evaluation

    with bar("images") as progress:
        record = run_evaluation(evaluation, out, progress)
    if as_json:
        typer.echo(json.dumps({k: v for k, v in record.items() if k != "examples"}, indent=2))
        return
    for line in _lines(record):
        typer.echo(line)
    typer.echo(str(out / PAGE))


def study(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A study, as manifests/train/study_cpu.yaml.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Data, runs and the report.")],
) -> None:
    """Make data, train the modules for each seed, and show whether HDR helps. Run again, it goes on."""
    require_training_libraries("aih study", _PLOTTING)
    chosen = load_study(config)
    from aih_builder.hdr.study import run_study

    page = run_study(chosen, config, out, say=lambda line: typer.echo(line, err=True))
    record = json.loads((out / "study.json").read_text(encoding="utf-8"))
    for line in _study_lines(record):
        typer.echo(line)
    typer.echo(str(page))


def _study_lines(record: dict[str, Any]) -> list[str]:
    lines = [f"{'MPJPE, mm':<28}{'paper':>8}{'mean':>8}   by seed, with intervals"]
    for row in record["rows"]:
        paper = "" if row["paper_mm"] is None else f"{row['paper_mm']:.2f}"
        seeds = "  ".join(
            f"{s['mpjpe_mm']:.2f} ({s['interval_mm'][0]:.2f} to {s['interval_mm'][1]:.2f})" for s in row["seeds"]
        )
        lines.append(f"{row['name']:<28}{paper:>8}{row['mean_mm']:>8.2f}   {seeds}")
    lines += ["", *(f"{f['name']}, seed {f['seed']}: {f['value']:.3f}, {f['floor']}" for f in record["floors"])]
    return [*lines, "", *record["verdict"], f"{record['minutes']['all']:.1f} minutes"]


def _lines(record: dict[str, Any]) -> list[str]:
    lines = []
    if "masks" in record:
        found = record["masks"]["all"]
        hidden = "" if found["invisible_iou"] is None else f", hidden part {found['invisible_iou']:.3f}"
        lines.append(f"IoU: amodal {found['amodal_iou']:.3f}, visible {found['visible_iou']:.3f}{hidden}")
    for row in record.get("images", {}).get("rows", []):
        places = [f"{r} {row[r]['l1']:.4f} / {row[r]['psnr_db']:.1f} dB" for r in ("M_D", "M_R", "whole") if r in row]
        lines.append(f"{row['method']}, {row['masks']} masks: L1 / PSNR {', '.join(places)}")
    for row in record.get("pose", {}).get("rows", []):
        low, high = row["interval_mm"]
        lines.append(
            f"{row['name']:<28}{row['mpjpe_mm']:7.2f} mm ({low:.2f} to {high:.2f}); PA {row['pa_mpjpe_mm']:.2f}"
        )
    for benchmark in record.get("benchmarks", []):
        for row in benchmark["rows"]:
            values = ", ".join(f"{k} {v:.2f}" for k, v in row.items() if k != "name")
            lines.append(f"{benchmark['name']}, {row['name']}: {values} {benchmark['unit']}")
    return lines
