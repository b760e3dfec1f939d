"""Reading back what `aih predict` wrote for a dataset's samples. Numpy; no torch."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import read_json
from aih_builder.geometry import FloatArray
from aih_builder.hdr.predictions import FORMAT, HANDS_FILE, OVERLAY_FILE, SampleId, mask_files, single_files
from aih_builder.imaging import decode_png
from aih_builder.sample import SIDES, Mask
from aih_builder.shards.format import LISTING_FILE

log = logging.getLogger(__name__)

_DIGITS = 10  # an index is below 2^32
_REMEDY = "Run `aih predict` on the dataset again."


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Predicted:
    """What HDR made of a sample, as its files say. Hand axis 0 right, 1 left; rows of an absent hand are 0."""

    place: Path  # its folder
    sample: SampleId
    size_hw: tuple[int, int]  # of the image
    present: NDArray[np.bool_]  # (2,)
    amodal: Mask | None  # (2, H, W); None where it was written without pictures
    visible: Mask | None  # (2, H, W)
    joints_px: FloatArray  # (2, 21, 2), of the image
    joints_bone: FloatArray  # (2, 21, 3), from the wrist, camera axes, in lengths of the bone wrist to middle base
    joints_mm: FloatArray  # (2, 21, 3), from the wrist, with SHPE's mean bone length
    joints_mm_valid: NDArray[np.bool_]  # (2,): whether the hand is there and that length is known
    alone: tuple[Path | None, Path | None]  # pictures of each hand alone; None where there is none
    overlay: Path | None


class Found(NamedTuple):
    """A file hands.json and whose it is."""

    place: Path
    sample: SampleId | None  # None: of a picture
    error: ShardError | None = None  # it cannot be read


def folder_of(index: int) -> str:
    """The folder of a sample's prediction, below --out."""
    return f"{index:0{_DIGITS}}"


def dataset_hash(folder: Path) -> str:
    """The plan_hash that dataset.json states. Raises ShardError where it is damaged."""
    found = read_json(folder / LISTING_FILE).get("plan_hash")
    if not isinstance(found, str):
        raise ShardError(
            f"{folder / LISTING_FILE}: plan_hash is {found!r}, expected text. Run `aih generate` or `aih index`."
        )
    return found


def prediction_places(folder: Path) -> list[Path]:
    """The folders below one that hold a hands.json, in their names' order. Raises ConfigError where it is not there."""
    try:
        return sorted(place for place in folder.iterdir() if (place / HANDS_FILE).is_file())
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be read ({error.strerror or error}). Expected a folder that `aih predict DATASET --out` "
            "wrote."
        ) from error


def find_predictions(folder: Path, plan_hash: str) -> dict[int, Path]:
    """The folder of each predicted sample of a dataset, by index, ascending.

    A damaged hands.json counts where its folder's name is an index: reading it says what is wrong. Predictions of
    pictures, and of other datasets beside those meant, are left out and counted in the log. Raises ConfigError where
    the folder is not there, holds no prediction of samples, or only such of another dataset.
    """
    mine: dict[int, Path] = {}
    others: list[str] = []
    pictures = damaged = 0
    for place, sample, error in _looked_through(folder):
        if sample is not None and sample.plan_hash != plan_hash:
            others.append(sample.plan_hash)
        elif sample is not None:
            mine[sample.index] = place
        elif error is None:
            pictures += 1
        elif len(place.name) == _DIGITS and place.name.isascii() and place.name.isdigit():
            mine.setdefault(int(place.name), place)
        else:
            damaged += 1
            log.warning("left out: %s", error)
    if not mine and others:
        raise ConfigError(
            f"{folder}: holds {len(others)} predictions of a dataset with plan_hash {others[0][:12]}, expected "
            f"{plan_hash[:12]}. Name the folder that belongs to this dataset, or make one: `aih predict DATASET "
            "--out FOLDER`."
        )
    if not mine:
        raise ConfigError(
            f"{folder}: holds no prediction of a dataset's samples (found {pictures} of pictures, {damaged} damaged). "
            "Make some: `aih predict DATASET --out FOLDER`."
        )
    if pictures or others:
        log.info("%s: left out %d predictions of pictures, %d of other datasets", folder, pictures, len(others))
    return dict(sorted(mine.items()))


def read_prediction(place: Path) -> Predicted:
    """A sample's prediction from its folder. Raises ShardError where a file is missing, damaged or of a picture."""
    path = place / HANDS_FILE
    content = read_json(path)
    sample = _sample_id(content, path)
    if sample is None:
        raise ShardError(f"{path}: is of a picture ({content.get('image')!r}), expected one of a sample. {_REMEDY}")
    size = content.get("image_size_hw")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ShardError(f"{path}: image_size_hw is {size!r}, expected [height, width]. {_REMEDY}")
    hands = [_hand(content, side, path) for side in SIDES]
    present = np.array([hand["present"] for hand in hands])
    masks = _masks(place, (size[0], size[1]))
    joints_mm, known = zip(*(_joints(hand, "joints_mm", 3, path, optional=True) for hand in hands), strict=True)
    pictures = [place / file for file in (*single_files(), OVERLAY_FILE)]
    right, left, overlay = (picture if picture.is_file() else None for picture in pictures)
    return Predicted(
        place=place, sample=sample, size_hw=(size[0], size[1]), present=present,
        amodal=None if masks is None else masks[:, 0], visible=None if masks is None else masks[:, 1],
        joints_px=np.stack([_joints(hand, "joints_px", 2, path)[0] for hand in hands]),
        joints_bone=np.stack([_joints(hand, "joints_bone", 3, path)[0] for hand in hands]),
        joints_mm=np.stack(joints_mm), joints_mm_valid=np.array(known), alone=(right, left), overlay=overlay,
    )  # fmt: skip


def _looked_through(folder: Path) -> Iterator[Found]:
    for place in prediction_places(folder):
        path = place / HANDS_FILE
        try:
            yield Found(place, _sample_id(read_json(path), path))
        except ShardError as error:
            yield Found(place, None, error)


def _sample_id(content: dict[str, Any], path: Path) -> SampleId | None:
    """Which sample a hands.json is of; None where of a picture. Raises ShardError where it is damaged."""
    if content.get("format") != FORMAT:
        raise ShardError(f"{path}: format is {content.get('format')!r}, expected {FORMAT!r}. {_REMEDY}")
    if "sample" not in content:
        return None
    told = content["sample"]
    kinds = {"index": int, "attempt": int, "plan_hash": str}
    if not isinstance(told, dict) or not all(type(told.get(key)) is kind for key, kind in kinds.items()):
        raise ShardError(f"{path}: sample is {told!r}, expected index, attempt and plan_hash. {_REMEDY}")
    return SampleId(*(told[key] for key in kinds))


def _hand(content: dict[str, Any], side: str, path: Path) -> dict[str, Any]:
    hands = content.get("hands")
    hand = hands.get(side) if isinstance(hands, dict) else None
    if not isinstance(hand, dict) or type(hand.get("present")) is not bool:
        raise ShardError(f"{path}: hands.{side} is {str(hand)[:40]}, expected an object with `present`. {_REMEDY}")
    return hand


def _joints(hand: dict[str, Any], key: str, width: int, path: Path, optional: bool = False) -> tuple[FloatArray, bool]:
    """A hand's joints (21, width), zeros where there are none, and whether there are any."""
    rows = hand.get(key)
    if rows == [] and (optional or not hand["present"]):
        return np.zeros((21, width)), False
    try:
        values = np.array(rows, np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.empty(0)
    if values.shape != (21, width) or not np.isfinite(values).all():
        found = f"{values.shape}" if values.size else f"{str(rows)[:40]}"
        raise ShardError(f"{path}: {key} is {found}, expected 21 rows of {width} finite numbers. {_REMEDY}")
    return values, True


def _masks(place: Path, size_hw: tuple[int, int]) -> Mask | None:
    """Masks (hand, kind, H, W) of a folder; None where there is none at all."""
    paths = [place / file for file in mask_files()]
    missing = [path for path in paths if not path.is_file()]
    if len(missing) == len(paths):
        return None
    if missing:
        raise ShardError(f"{missing[0]}: is missing, its other masks are there. {_REMEDY}")
    masks = []
    for path in paths:
        try:
            mask = decode_png(path.read_bytes())
        except OSError as error:
            raise ShardError(f"{path}: cannot be read ({error.strerror or error}). {_REMEDY}") from error
        except ShardError as error:
            raise ShardError(f"{path}: {error} {_REMEDY}") from error
        if mask.dtype != np.uint8 or mask.shape != size_hw:
            raise ShardError(f"{path}: is {mask.dtype} {mask.shape}, expected uint8 {size_hw}. {_REMEDY}")
        masks.append(mask >= 128)
    return np.stack(masks).reshape(2, 2, *size_hw)
