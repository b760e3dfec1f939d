"""Predictions that `aih predict` wrote for a dataset, held against its samples: figures, and the worst first.

Numpy; no torch. The table is kept beside the predictions, in scores.npz.
"""

import hashlib
import json
import logging
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.errors import AihError, ConfigError, ShardError
from aih_builder.files import whole_file
from aih_builder.geometry import FloatArray
from aih_builder.hdr.metrics import REFERENCE, ROOT, bone_length, joint_errors_mm, mask_iou, with_true_scale
from aih_builder.hdr.predictions import HANDS_FILE
from aih_builder.hdr.read_predictions import (
    Predicted,
    dataset_hash,
    find_predictions,
    prediction_places,
    read_prediction,
)
from aih_builder.identity import name_of
from aih_builder.sample import SIDES, Sample, amodal_known
from aih_builder.shards.reader import Dataset, ShardReader

log = logging.getLogger(__name__)

SCORES_FILE = "scores.npz"
_VERSION = 1  # of what is scored, and how: part of the key
Side = Literal["right", "left", "worse"]
Progress = Callable[[int, int], None]


class Scores(NamedTuple):
    """How far a prediction is from the truth: right, left, each (2,) float64, NaN where it does not apply."""

    amodal_iou: FloatArray  # of a hand that is there or was found; NaN without pictures
    visible_iou: FloatArray  # as above
    joints_px: FloatArray  # mean distance over known joints in the frame, of a hand that is there and was found
    mpjpe_mm: FloatArray  # the same hands, known joints: with the wrist and the reference bone's length of the truth
    presence_right: FloatArray  # 1 where found is what is so, else 0


class Measure(NamedTuple):
    """What a score is."""

    about: str
    unit: str
    higher_is_better: bool


MEASURES: dict[str, Measure] = {
    "amodal_iou": Measure("amodal mask, IoU", "", True),
    "visible_iou": Measure("visible mask, IoU", "", True),
    "joints_px": Measure("joints in the image, mean error", "px", False),
    "mpjpe_mm": Measure("joints in space, mean error at the true wrist and bone length", "mm", False),
    "presence_right": Measure("whether the hand was rightly found or not found", "", True),
}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Scored predictions, a row each, by ascending index. A row that is stale or not readable has NaN alone."""

    index: NDArray[np.int64]  # (N,)
    scores: Mapping[str, FloatArray]  # by the names of MEASURES, each (N, 2)
    stale: NDArray[np.bool_]  # (N,): of another attempt at the sample than the dataset now holds
    reason: NDArray[np.str_]  # (N,): why a row is stale or not readable; "" for others

    @property
    def unreadable(self) -> NDArray[np.bool_]:
        """(N,): the prediction or its sample is damaged, or not of the same size."""
        return (self.reason != "") & ~self.stale

    def __len__(self) -> int:
        return len(self.index)


class _Row(NamedTuple):
    scores: Scores
    stale: bool = False
    reason: str = ""
    lasting: bool = True  # whether the key changes when it is mended


class Truth:
    """The samples of a dataset by index, decoded one at a time; flagged ones, too. Keeps one shard open."""

    def __init__(self, dataset: Dataset) -> None:
        self.folder = dataset.folder
        self._streams: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for shard in dataset.shards:
            self._streams.setdefault((shard["engine"], shard["split"]), []).append((shard["first"], shard["file"]))
        for shards in self._streams.values():
            shards.sort()
        self._reader: ShardReader | None = None

    def file_of(self, index: int) -> str | None:
        """The shard in which a sample lies or would lie; None where the dataset has no such engine and split."""
        place = self._place(index)
        return None if place is None else place[0]

    def sample(self, index: int) -> Sample:
        """Raises ShardError where it cannot be read, ConfigError where the dataset does not hold it."""
        place = self._place(index)
        if place is not None:
            path = self.folder / place[0]
            if self._reader is None or self._reader.path != path:
                self._reader = ShardReader(path)
            if place[1] < len(self._reader):
                return self._reader.sample(place[1])
        raise ConfigError(f"{self.folder}: holds no sample {index}. Name the dataset that was predicted.")

    def _place(self, index: int) -> tuple[str, int] | None:
        """A shard's file, and the position in it."""
        try:
            engine, split, number = name_of(index)
        except ConfigError:
            return None
        shards = self._streams.get((engine, split), [])
        k = bisect_right(shards, number, key=lambda shard: shard[0]) - 1
        return None if k < 0 else (shards[k][1], number - shards[k][0])


def is_stale(predicted: Predicted, sample: Sample) -> bool:
    """Whether a prediction is of another attempt at the sample, hence of another picture."""
    return predicted.sample.attempt != sample.attempt


def score(predicted: Predicted, sample: Sample) -> Scores:
    """A prediction's scores against its sample.

    mpjpe_mm is evaluate's own (Hands.errors_mm, metrics.with_true_scale), in mm: the found hand gets the wrist and the
    reference bone's length of the true one, nothing is turned. Unlike there, hands that the frame cuts and hands
    without a target count, and HASM looked for the hands itself. Raises ConfigError where the prediction is of another
    sample or attempt, ShardError where it is of another size.
    """
    if predicted.sample.index != sample.index or is_stale(predicted, sample):
        raise ConfigError(
            f"{predicted.place}: is of attempt {predicted.sample.attempt} at sample {predicted.sample.index}, expected "
            f"attempt {sample.attempt} at sample {sample.index}. Run `aih predict` again."
        )
    size_hw = sample.image_rgb.shape[:2]
    if predicted.size_hw != size_hw:
        raise ShardError(
            f"{predicted.place}: is of an image of {predicted.size_hw}, expected {size_hw}. Run `aih predict` again."
        )
    found = _unknown()
    found.presence_right[:] = predicted.present == sample.hand_present
    known = amodal_known(sample.engine, sample.hand_present, sample.target_valid)
    for hand in np.flatnonzero(predicted.present | sample.hand_present).tolist():
        if predicted.amodal is not None and predicted.visible is not None:
            if known[hand]:
                found.amodal_iou[hand] = mask_iou(predicted.amodal[hand], sample.amodal_mask[hand])
            found.visible_iou[hand] = mask_iou(predicted.visible[hand], sample.visible_mask[hand])
    for hand in np.flatnonzero(predicted.present & sample.hand_present).tolist():
        found.joints_px[hand] = _mean_px(predicted, sample, hand)
        found.mpjpe_mm[hand] = _mean_mm(predicted, sample, hand)
    return found


def scored_table(folder: Path, dataset: Dataset, *, cache: bool = True, on_progress: Progress | None = None) -> Table:
    """Scores of all predictions in a folder whose samples the dataset holds; others are counted in the log.

    Kept in folder/scores.npz until dataset.json's shards or a hands.json change; a file that cannot be read or written
    is told in the log. on_progress gets predictions done and in all. Raises ConfigError as find_predictions does, or
    where no prediction is of the dataset's samples; ShardError where dataset.json is damaged.
    """
    plan_hash = dataset_hash(dataset.folder)
    key = _key(folder, plan_hash, dataset)
    if cache and (kept := _read(folder / SCORES_FILE, key)) is not None:
        return kept
    truth, places = Truth(dataset), find_predictions(folder, plan_hash)
    held = {index: file for index in places if (file := truth.file_of(index)) is not None}
    if len(held) < len(places):
        log.info("%s: left out %d predictions of other engines or splits", folder, len(places) - len(held))
    if not held:
        raise ConfigError(
            f"{folder}: {len(places)} predictions, none of the {len(dataset)} samples asked for. Name other engines or "
            "splits, or predict them."
        )
    rows: dict[int, _Row] = {}
    for index in sorted(held, key=lambda index: (held[index], index)):  # shard by shard
        rows[index] = _row(places[index], truth, index)
        if on_progress is not None:
            on_progress(len(rows), len(held))
    table = _table({index: rows[index] for index in held})
    if cache and all(row.lasting for row in rows.values()):
        _write(folder / SCORES_FILE, key, table)
    return table


def worst_first(table: Table, by: str, side: Side = "worse") -> NDArray[np.int64]:
    """Row numbers (N,), the worst first, ties by index, rows without that score last.

    side: which hand's score counts; the worse one that has one. Raises ConfigError for other names.
    """
    if by not in MEASURES:
        raise ConfigError(f"worst first by {by!r}: expected one of {', '.join(MEASURES)}.")
    if side not in (*SIDES, "worse"):
        raise ConfigError(f"side {side!r}: expected right, left or worse.")
    goodness = table.scores[by] * (1.0 if MEASURES[by].higher_is_better else -1.0)
    value = np.fmin(goodness[:, 0], goodness[:, 1]) if side == "worse" else goodness[:, SIDES.index(side)]
    return np.lexsort((table.index, np.where(np.isnan(value), np.inf, value)))


def _unknown() -> Scores:
    return Scores(*(np.full(2, np.nan) for _ in Scores._fields))


def _mean_px(predicted: Predicted, sample: Sample, hand: int) -> float:
    true_px = sample.joints_px[hand].astype(np.float64)
    inside = ((true_px > -0.5) & (true_px < np.array(sample.image_rgb.shape[1::-1]) - 0.5)).all(axis=1)
    counted = inside & sample.joint2d_valid[hand]
    if not counted.any():
        return float("nan")
    return float(np.linalg.norm(predicted.joints_px[hand] - true_px, axis=1)[counted].mean())


def _mean_mm(predicted: Predicted, sample: Sample, hand: int) -> float:
    known = sample.joint3d_valid[hand]
    true_mm = 1000.0 * sample.cam_joints_m[hand].astype(np.float64)
    if not known[[ROOT, REFERENCE]].all() or not bone_length(true_mm) > 0:
        return float("nan")
    return float(joint_errors_mm(with_true_scale(predicted.joints_bone[hand], true_mm), true_mm)[known].mean())


def _row(place: Path, truth: Truth, index: int) -> _Row:
    try:
        predicted = read_prediction(place)
    except ShardError as error:
        return _Row(_unknown(), reason=str(error))
    try:
        sample = truth.sample(index)
    except AihError as error:
        return _Row(_unknown(), reason=str(error), lasting=False)
    if is_stale(predicted, sample):
        told = (
            f"of attempt {predicted.sample.attempt}, the dataset now holds attempt {sample.attempt}: predict it again"
        )
        return _Row(_unknown(), stale=True, reason=told)
    try:
        return _Row(score(predicted, sample))
    except AihError as error:
        return _Row(_unknown(), reason=str(error))


def _table(rows: dict[int, _Row]) -> Table:
    each = rows.values()
    return Table(
        np.array(list(rows), np.int64),
        {name: np.stack([getattr(row.scores, name) for row in each]) for name in MEASURES},
        np.array([row.stale for row in each], bool),
        np.array([row.reason for row in each], np.str_),
    )


def _key(folder: Path, plan_hash: str, dataset: Dataset) -> str:
    """A digest of all that a table hangs on: the dataset's shards, and every hands.json by size and time."""
    shards = [{name: shard.get(name) for name in ("file", "first", "sha256")} for shard in dataset.shards]
    stamps: list[Any] = []
    for place in prediction_places(folder):
        try:
            status = (place / HANDS_FILE).stat()
        except OSError:  # it has just been taken away
            continue
        stamps.append([place.name, status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps([_VERSION, plan_hash, shards, stamps]).encode()).hexdigest()


def _read(path: Path, key: str) -> Table | None:
    """The table that is kept; None where there is none, or it is damaged or of another state."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if str(file["key"]) != key:
                log.info("%s: of another state of dataset or predictions; made again", path)
                return None
            scores = {name: file[name] for name in MEASURES}
            return Table(file["index"], scores, file["stale"], file["reason"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        log.warning("%s: damaged (%s); made again", path, error)
        return None


def _write(path: Path, key: str, table: Table) -> None:
    columns = {"key": np.array(key), "index": table.index, "stale": table.stale, "reason": table.reason}
    try:
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **columns, **table.scores)  # pyright: ignore[reportArgumentType]
    except ShardError as error:
        log.warning("the scores are not kept: %s", error)
