"""What `aih predict` is given: pictures, folders of pictures, or a dataset folder."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import read_json
from aih_builder.hdr.predictions import SampleId, folder_names
from aih_builder.hdr.read_predictions import dataset_hash, folder_of
from aih_builder.identity import EngineName, Split
from aih_builder.imaging import IMAGE_SUFFIXES, ImageU8, read_image
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.reader import Dataset, open_dataset

log = logging.getLogger(__name__)

Box = tuple[float, float, float, float]


class Picture(NamedTuple):
    """An image to be read."""

    path: Path
    name: str  # relative to the folder that was named, or the file's name
    folder: str  # where its results go, below --out


class Loaded(NamedTuple):
    """An image that was read, and what its results are called."""

    image_rgb: ImageU8
    name: str
    folder: str
    box: Box | None = None
    sample: SampleId | None = None


class Input(NamedTuple):
    """An image that can be read."""

    told: str  # what it is called where it cannot
    read: Callable[[], Loaded]  # raises AssetError or ShardError


class Wanted(NamedTuple):
    """Which samples of a dataset."""

    split: str | None = None
    engine: str | None = None
    limit: int | None = None


def find_inputs(given: Sequence[Path], out: Path, boxes: Path | None, wanted: Wanted) -> list[Input]:
    """What is to be predicted: the samples of a dataset folder, or pictures.

    Raises ConfigError where a path is not there or holds nothing, where a dataset is not alone or not finished, and
    where an option is of the other kind.
    """
    if any(map(_is_dataset, given)):
        return _samples(given, out, boxes, wanted)
    if options := [f"--{name}" for name, value in wanted._asdict().items() if value is not None]:
        raise ConfigError(
            f"{', '.join(options)}: chooses samples of a dataset, but {given[0]} is none (it holds no {LISTING_FILE}). "
            "Name a dataset folder, or leave it out."
        )
    pictures = find_pictures(given, out)
    around = {} if boxes is None else read_boxes(boxes, pictures)
    return [Input(str(picture.path), partial(_read_picture, picture, around.get(picture.path))) for picture in pictures]


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
            raise ConfigError(f"{given}: is not there. Expected a picture or a folder of pictures, or a dataset.")
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


def _is_dataset(folder: Path) -> bool:
    """Whether a folder is a dataset's, finished or not: an unfinished one holds pictures, too, but not those meant."""
    unfinished = (folder / "plan.json").is_file() and (folder / "manifest.yaml").is_file()
    return unfinished or (folder / LISTING_FILE).is_file()


def _samples(given: Sequence[Path], out: Path, boxes: Path | None, wanted: Wanted) -> list[Input]:
    from aih_builder.hdr.evaluate import evenly_spaced  # heavy, and not every command's

    folder = next(filter(_is_dataset, given))
    if len(given) > 1:
        raise ConfigError(
            f"{folder}: is a dataset, and {len(given) - 1} other paths are named beside it. Expected one dataset "
            "alone, or pictures alone. Run it once for each."
        )
    if boxes is not None:
        raise ConfigError(f"--boxes {boxes}: is for pictures, but {folder} is a dataset. Leave it out: HASM looks.")
    if out.resolve() == folder.resolve():
        raise ConfigError(f"--out {out}: is the dataset itself. Name another folder for the results.")
    dataset = open_dataset(
        folder, split=cast("Split | None", wanted.split), engine=cast("EngineName | None", wanted.engine)
    )
    if not len(dataset):
        raise ConfigError(
            f"{folder}: holds no sample of split {wanted.split or 'any'} and engine {wanted.engine or 'any'}. Name "
            "others."
        )
    plan_hash = dataset_hash(folder)
    return [
        Input(f"{folder}: sample at place {place} of {len(dataset)}", partial(_read_sample, dataset, place, plan_hash))
        for place in evenly_spaced(dataset, wanted.limit)
    ]


def _read_picture(picture: Picture, box: Box | None) -> Loaded:
    return Loaded(read_image(picture.path), picture.name, picture.folder, box)


def _read_sample(dataset: Dataset, place: int, plan_hash: str) -> Loaded:
    sample = dataset[place]
    told = SampleId(sample.index, sample.attempt, plan_hash)
    return Loaded(sample.image_rgb, f"sample {sample.index}", folder_of(sample.index), sample=told)
