"""Running HDR over foreign test sets, and the tables that they are scored by."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hdr.benchmarks import BenchmarkImage
from aih_builder.hdr.evaluate import ALONE, WITH_HDR
from aih_builder.hdr.interhand_benchmark import interhand_table, read_interhand
from aih_builder.hdr.metrics import joint_errors_mm, with_bone_length, with_true_scale
from aih_builder.hdr.pipeline import FULL, SHPE_ALONE, HdrPipeline, Prediction
from aih_builder.hdr.study_settings import InterhandTest, TzionasTest
from aih_builder.hdr.tzionas_benchmark import read_tzionas, tzionas_epe_px
from aih_builder.imaging import ImageU8, read_image

log = logging.getLogger(__name__)

Figures = dict[str, Any]
_WAYS = {ALONE: SHPE_ALONE, WITH_HDR: FULL}
_MARGIN = 1.25  # Tzionas labels neither tips nor wrists: how much larger a hand's box is than its labelled joints'


def interhand_figures(pipeline: HdrPipeline, test: InterhandTest, progress: Callable[[int, int], None]) -> Figures:
    """SH, IH and ALL by the official averaging, with the truth's bone length and with the training set's mean one.

    Raises AssetError where the annotations or every image cannot be read, ConfigError where no image is left.
    """
    images = read_interhand(test.root, test.split, test.every)
    if test.annotation != "all":
        images = [image for image in images if image.annotation == test.annotation]
    if not images:
        raise ConfigError(f"{test.root}: no image of {test.split} is left to score ({test.annotation} annotations).")
    mean_bone_mm = pipeline.checkpoints["shpe"].data["mean_bone_mm"]
    unscalable = 0
    results: dict[str, list[Any]] = {f"{way}{scale}": [] for way in _WAYS for scale in ("", ", mean bone")}
    for image, predictions in _predicted(pipeline, images, progress):
        valid = image.joint3d_valid
        scalable = valid & image.bone_valid[:, None]  # the true bone's length is known
        unscalable += int((valid.any(axis=1) & ~image.bone_valid).sum())
        for way, prediction in predictions.items():
            errors = np.zeros((2, 2, 21))  # scale, hand, joint
            for hand in np.flatnonzero(valid.any(axis=1)):
                found, true = prediction.joints_bone[hand], image.cam_joints_mm[hand]
                if image.bone_valid[hand]:
                    errors[0, hand] = joint_errors_mm(with_true_scale(found, true), true)
                errors[1, hand] = joint_errors_mm(with_bone_length(found, mean_bone_mm), true - true[:1])
            results[way].append((image, errors[0], scalable))
            results[f"{way}, mean bone"].append((image, errors[1], valid))
    if unscalable:
        log.warning("InterHand2.6M: %d hands whose reference bone is unknown count in mean-bone rows alone", unscalable)
    rows = []
    for name, each in results.items():
        table = interhand_table(each)
        row: Figures = {"name": name} | {group: found.official_mm for group, found in table.items()}
        rows.append(row | {"pooled": table["ALL"].pooled_mm})
    return {"name": "InterHand2.6M", "split": test.split, "unit": "mm", "images": len(results[ALONE]), "rows": rows}


def tzionas_figures(pipeline: HdrPipeline, test: TzionasTest, progress: Callable[[int, int], None]) -> Figures:
    """End-point error in pixels of the original images, pooled over all labelled joints."""
    images = read_tzionas(test.root)
    results: dict[str, list[tuple[BenchmarkImage, FloatArray]]] = {way: [] for way in _WAYS}
    for image, predictions in _predicted(pipeline, images, progress, _MARGIN):
        for way, prediction in predictions.items():
            results[way].append((image, prediction.joints_px))
    rows = [{"name": name, "EPE": tzionas_epe_px(each)} for name, each in results.items()]
    return {"name": "Tzionas", "split": "", "unit": "px", "images": len(results[ALONE]), "rows": rows}


def _predicted(
    pipeline: HdrPipeline, images: Sequence[BenchmarkImage], progress: Callable[[int, int], None], margin: float = 1.0
) -> Iterator[tuple[BenchmarkImage, dict[str, Prediction]]]:
    """Each image with its predictions; images that cannot be read are left out and told of."""
    broken = 0
    for start in range(0, len(images), pipeline.batch):
        readable: list[tuple[BenchmarkImage, ImageU8]] = []
        for image in images[start : start + pipeline.batch]:
            try:
                readable.append((image, read_image(image.path)))
            except AssetError as error:
                broken += 1
                log.warning("%s", error)
        pictures = [picture for _, picture in readable]
        boxes = [_grown(image.box_px, margin) for image, _ in readable]
        masks = pipeline.segment(pictures, boxes)
        made = {way: pipeline.hands(pictures, masks, switches) for way, switches in _WAYS.items()}
        for k, (image, _) in enumerate(readable):
            yield image, {way: made[way][k] for way in _WAYS}
        progress(min(start + pipeline.batch, len(images)), len(images))
    if broken == len(images):
        raise AssetError(f"{images[0].path}: neither this image nor any of the {len(images) - 1} others can be read.")


def _grown(box_px: Iterable[float], factor: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box_px
    x, y, half_x, half_y = (x0 + x1) / 2, (y0 + y1) / 2, factor * (x1 - x0) / 2, factor * (y1 - y0) / 2
    return x - half_x, y - half_y, x + half_x, y + half_y
