"""The command `aih predict`: HDR on pictures."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from aih_builder.cli.terminal import answer as say
from aih_builder.cli.terminal import bar
from aih_builder.errors import AssetError, ConfigError, ShardError
from aih_builder.files import read_json
from aih_builder.hdr.extra import require_training_libraries
from aih_builder.hdr.predictions import folder_names, write_prediction
from aih_builder.imaging import IMAGE_SUFFIXES, ImageU8, read_image
from aih_builder.sample import SIDES

if TYPE_CHECKING:
    from aih_builder.hdr.pipeline import HandMasks, HdrPipeline, Prediction, Switches

log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
DEVICES = ("auto", "cpu", "cuda")
_MODULES = ("hasm", "hdrm", "shpe")


class Picture(NamedTuple):
    """An image to be read."""

    path: Path
    name: str  # relative to the folder that was named, or the file's name
    folder: str  # where its results go, below --out


def register(app: typer.Typer) -> None:
    """Add this module's command to the app."""
    app.command()(predict)


Checkpoint = Annotated[Path | None, typer.Option(metavar="PATH", help="This checkpoint instead.")]


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures, or folders of them.")],
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
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the networks run.")] = "auto",
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Crops at a time.")] = 16,
    no_deocclusion: Annotated[bool, typer.Option("--no-deocclusion", help="Fill in no hidden parts.")] = False,
    no_removal: Annotated[bool, typer.Option("--no-removal", help="Leave the other hand in.")] = False,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Write hands.json alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Masks, single-hand pictures and joints of the hands in pictures. Exit code 1 where a picture cannot be read."""
    require_training_libraries("aih predict")
    if device not in DEVICES:
        raise ConfigError(f"--device {device}: expected {', '.join(DEVICES[:-1])} or {DEVICES[-1]}.")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file. Expected a folder for the results.")
    pictures = find_pictures(images, out)
    around = {} if boxes is None else read_boxes(boxes, pictures)
    paths = _checkpoints(
        models, {"hasm": hasm, "hdrm": hdrm, "shpe": shpe}, with_hdrm=not (no_deocclusion and no_removal)
    )

    from aih_builder.hdr.pipeline import HdrPipeline, Switches

    pipeline = HdrPipeline(paths["hasm"], paths["hdrm"], _given(paths["shpe"]), device=device, batch=batch)
    mean_bone_mm = pipeline.checkpoints["shpe"].data.get("mean_bone_mm")
    switches = Switches(deocclusion=not no_deocclusion, removal=not no_removal)
    hands, failed = dict.fromkeys(SIDES, 0), list[str]()
    with bar("pictures") as progress:
        for start in range(0, len(pictures), batch):
            read = list(_read(pictures[start : start + batch], failed))
            for (picture, image), found in zip(read, _predicted(pipeline, read, around, switches), strict=True):
                write_prediction(
                    found, image, out, picture.folder, mean_bone_mm, pictures=not no_pictures, source=picture.name
                )
                for side, present in zip(SIDES, found.present, strict=True):
                    hands[side] += bool(present)
            progress(min(start + batch, len(pictures)), len(pictures))
    summary = {
        "folder": str(out),
        "images": len(pictures) - len(failed),
        "failed": failed if as_json else len(failed),
        "hands": hands,
        "ms_per_image": {stage: round(ms, 2) for stage, ms in pipeline.timing_ms().items()},
        "device": str(pipeline.device),
    }
    say(summary, as_json)
    if failed:
        raise typer.Exit(1)


def find_pictures(images: Sequence[Path], out: Path) -> list[Picture]:
    """The pictures that were named and those of the folders that were, each once; results and hidden files left out.

    Raises ConfigError where a path is not there or a folder holds none.
    """
    found: dict[Path, tuple[Path, str]] = {}
    for given in images:
        if given.is_dir():
            inside = _pictures_in(given, out.resolve())
            if not inside:
                raise ConfigError(f"{given}: holds no picture ({', '.join(IMAGE_SUFFIXES)}). Name another folder.")
        elif given.exists():
            inside = [(given, given.name)]
        else:
            raise ConfigError(f"{given}: is not there. Expected a picture or a folder of pictures.")
        for path, name in inside:
            found.setdefault(path.resolve(), (path, name))
    paths, names = zip(*found.values(), strict=True)
    return [Picture(*row) for row in zip(paths, names, folder_names(paths), strict=True)]


def read_boxes(path: Path, pictures: Sequence[Picture]) -> dict[Path, Box]:
    """The box of each picture that a file {picture: [x0, y0, x1, y1]} names.

    A picture goes by its path as given, by its path below the folder that was named, or by its file name where no other
    has it. Raises ConfigError where the file is none, a box is none, or no picture is named.
    """
    try:
        content = read_json(path)
    except ShardError as error:
        raise ConfigError(f"--boxes {error} Expected {{picture: [x0, y0, x1, y1]}}.") from error
    boxes = {name: _box(value, f"{path}: {name}") for name, value in content.items()}
    file_names = [picture.path.name for picture in pictures]
    found: dict[Path, Box] = {}
    for picture in pictures:
        names = [picture.path.as_posix(), picture.name]
        if file_names.count(picture.path.name) == 1:
            names.append(picture.path.name)
        name = next((name for name in names if name in boxes), None)
        if name is not None:
            found[picture.path] = boxes[name]
    if boxes and not found:
        raise ConfigError(
            f"{path}: names none of the pictures, first {next(iter(boxes))!r}; expected names such as "
            f"{pictures[0].name!r}. Name them by file name or by path below the folder."
        )
    if len(found) < len(pictures):
        log.info("%s: %d of %d pictures have a box; HASM looks in the others", path, len(found), len(pictures))
    return found


def _box(value: Any, where: str) -> Box:
    numbers = isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) for v in value)
    if not numbers or not all(math.isfinite(v) for v in value) or not (value[0] < value[2] and value[1] < value[3]):
        raise ConfigError(f"{where}: got {value!r}, expected [x0, y0, x1, y1] in pixels, x0 < x1 and y0 < y1.")
    return value[0], value[1], value[2], value[3]


def _pictures_in(folder: Path, out: Path) -> list[tuple[Path, str]]:
    found = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file():
            if folder.resolve() != out and path.resolve().is_relative_to(out):
                continue  # what an earlier run made
            found.append((path, inside.as_posix()))
    return found


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


def _read(pictures: Sequence[Picture], failed: list[str]) -> Iterator[tuple[Picture, ImageU8]]:
    """Those that can be read; of the others it tells, and adds them to failed."""
    for picture in pictures:
        try:
            yield picture, read_image(picture.path)
        except AssetError as error:
            typer.echo(f"aih: {error}", err=True)
            failed.append(str(picture.path))


def _predicted(
    pipeline: "HdrPipeline", read: Sequence[tuple[Picture, ImageU8]], around: dict[Path, Box], switches: "Switches"
) -> "list[Prediction]":
    """Predictions in the order of the pictures, hands sought in its box where it has one. Raises ConfigError
    where memory is out.
    """
    import torch

    images = [image for _, image in read]
    masks: dict[int, HandMasks] = {}
    try:
        for boxed in (True, False):
            rows = [i for i, (picture, _) in enumerate(read) if (picture.path in around) == boxed]
            boxes = [around[read[i][0].path] for i in rows] if boxed else None
            masks |= zip(rows, pipeline.segment([images[i] for i in rows], boxes), strict=True)
        return pipeline.hands(images, [masks[i] for i in range(len(read))], switches)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ConfigError(
            f"--batch {pipeline.batch}: out of memory on {pipeline.device}. Lower it; what is written is kept."
        ) from error
