"""The command `aih predict`: HDR on pictures, or on the samples of a dataset."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aih_builder.cli.prediction_inputs import Input, Loaded, Wanted, find_inputs
from aih_builder.cli.terminal import answer as say
from aih_builder.cli.terminal import bar
from aih_builder.errors import AssetError, ConfigError, ShardError
from aih_builder.hdr.extra import require_training_libraries
from aih_builder.hdr.predictions import write_prediction
from aih_builder.sample import SIDES

if TYPE_CHECKING:
    from aih_builder.hdr.pipeline import HandMasks, HdrPipeline, Prediction, Switches

DEVICES = ("auto", "cpu", "cuda")
_MODULES = ("hasm", "hdrm", "shpe")


def register(app: typer.Typer) -> None:
    """Add this module's command to the app."""
    app.command()(predict)


Checkpoint = Annotated[Path | None, typer.Option(metavar="PATH", help="This checkpoint instead.")]


def predict(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Pictures, folders of them, or one dataset folder.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Gets a folder for each picture.")],
    models: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Holds hasm, hdrm and shpe, as `aih train` wrote them.")
    ] = None,
    hasm: Checkpoint = None,
    hdrm: Checkpoint = None,
    shpe: Checkpoint = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json", help="Of each picture x0, y0, x1, y1 around both hands; without, HASM looks."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of a dataset: train, val or test.")] = None,
    engine: Annotated[str | None, typer.Option(help="Of a dataset: render or sync.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Of a dataset: this many, evenly spaced.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the networks run.")] = "auto",
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Crops at a time.")] = 16,
    no_deocclusion: Annotated[bool, typer.Option("--no-deocclusion", help="Fill in no hidden parts.")] = False,
    no_removal: Annotated[bool, typer.Option("--no-removal", help="Leave the other hand in.")] = False,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Write hands.json alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Masks, single-hand pictures and joints of the hands in pictures, or in a dataset's samples.

    Exit code 1 where one cannot be read.
    """
    require_training_libraries("aih predict")
    if device not in DEVICES:
        raise ConfigError(f"--device {device}: expected {', '.join(DEVICES[:-1])} or {DEVICES[-1]}.")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file. Expected a folder for the results.")
    inputs = find_inputs(images, out, boxes, Wanted(split, engine, limit))
    paths = _checkpoints(
        models, {"hasm": hasm, "hdrm": hdrm, "shpe": shpe}, with_hdrm=not (no_deocclusion and no_removal)
    )

    from aih_builder.hdr.pipeline import HdrPipeline, Switches

    pipeline = HdrPipeline(paths["hasm"], paths["hdrm"], _given(paths["shpe"]), device=device, batch=batch)
    mean_bone_mm = pipeline.checkpoints["shpe"].data.get("mean_bone_mm")
    switches = Switches(deocclusion=not no_deocclusion, removal=not no_removal)
    hands, failed = dict.fromkeys(SIDES, 0), list[str]()
    with bar("pictures") as progress:
        for start in range(0, len(inputs), batch):
            read = list(_read(inputs[start : start + batch], failed))
            for loaded, found in zip(read, _predicted(pipeline, read, switches), strict=True):
                write_prediction(
                    found, loaded.image_rgb, out, loaded.folder, mean_bone_mm,
                    pictures=not no_pictures, source=loaded.name, sample=loaded.sample,
                )  # fmt: skip
                for side, present in zip(SIDES, found.present, strict=True):
                    hands[side] += bool(present)
            progress(min(start + batch, len(inputs)), len(inputs))
    summary = {
        "folder": str(out),
        "images": len(inputs) - len(failed),
        "failed": failed if as_json else len(failed),
        "hands": hands,
        "ms_per_image": {stage: round(ms, 2) for stage, ms in pipeline.timing_ms().items()},
        "device": str(pipeline.device),
    }
    say(summary, as_json)
    if failed:
        raise typer.Exit(1)


def _checkpoints(models: Path | None, named: dict[str, Path | None], with_hdrm: bool) -> dict[str, Path | None]:
    paths = {module: path or (models / module if models else None) for module, path in named.items()}
    if not with_hdrm:
        paths["hdrm"] = None
    missing = [f"--{module}" for module in _MODULES if paths[module] is None and (module != "hdrm" or with_hdrm)]
    if missing:
        raise ConfigError(f"no checkpoint for {', '.join(missing)}. Give --models FOLDER, or name each.")
    return paths


def _given(path: Path | None) -> Path:
    assert path is not None, "checked above"
    return path


def _read(inputs: Sequence[Input], failed: list[str]) -> Iterator[Loaded]:
    """Those that can be read; of the others it tells, and adds them to failed."""
    for given in inputs:
        try:
            yield given.read()
        except (AssetError, ShardError) as error:
            typer.echo(f"aih: {error}", err=True)
            failed.append(given.told)


def _predicted(pipeline: "HdrPipeline", read: Sequence[Loaded], switches: "Switches") -> "list[Prediction]":
    """Predictions in the order of the pictures, hands sought in its box where it has one. Raises ConfigError
    where memory is out.
    """
    import torch

    images = [loaded.image_rgb for loaded in read]
    masks: dict[int, HandMasks] = {}
    try:
        boxed = {i: loaded.box for i, loaded in enumerate(read) if loaded.box is not None}
        others = [i for i in range(len(read)) if i not in boxed]
        masks |= zip(boxed, pipeline.segment([images[i] for i in boxed], list(boxed.values())), strict=True)
        masks |= zip(others, pipeline.segment([images[i] for i in others]), strict=True)
        return pipeline.hands(images, [masks[i] for i in range(len(read))], switches)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ConfigError(
            f"--batch {pipeline.batch}: out of memory on {pipeline.device}. Lower it; what is written is kept."
        ) from error
