"""Running HDR over a dataset's samples and writing down what it finds, hand by hand."""

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from aih_builder.drawing import draw_masks, draw_skeleton
from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hdr.crops import Box, box_of_mask, cropped, cropped_masks, moved_points
from aih_builder.hdr.data import usable_hands
from aih_builder.hdr.metrics import mask_iou, region_error, ssim_map
from aih_builder.hdr.pipeline import FULL, SHPE_ALONE, HandMasks, HdrPipeline, Prediction, Stage, Switches
from aih_builder.hdr.scores import Hands
from aih_builder.imaging import ImageU8, encode_png
from aih_builder.sample import SIDES, Mask, Sample, hdr_masks
from aih_builder.shards.reader import Dataset

log = logging.getLogger(__name__)

_LEAST_REGION_PX = 16
Item = tuple[int, Sample, list[int]]  # place in the dataset, sample, its usable hands


class Variant(NamedTuple):
    """One way from an image to a pose."""

    masks: str  # predicted or true
    switches: Switches


ALONE, WITH_HDR = "SHPE alone", "HDR + SHPE"
NO_REMOVAL, NO_DEOCCLUSION = "HDR without removal", "HDR without de-occlusion"
TRUE_MASKS, TRUE_PICTURE = "HDR + SHPE, true masks", "SHPE on the true picture"
VARIANTS = {
    ALONE: Variant("predicted", SHPE_ALONE),
    NO_REMOVAL: Variant("predicted", Switches(deocclusion=True, removal=False)),
    NO_DEOCCLUSION: Variant("predicted", Switches(deocclusion=False, removal=True)),
    WITH_HDR: Variant("predicted", FULL),
    TRUE_MASKS: Variant("true", FULL),
}
PICTURE_MASKS = {"HDRM, predicted": "predicted", "HDRM, true": "true", "input copied": "true"}


def evaluate_samples(
    pipeline: HdrPipeline, samples: Dataset, *, limit: int | None = None, variants: Sequence[str] = tuple(VARIANTS),
    pictures: bool = True, examples: int = 0, least_occlusion: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Hands, list[dict[str, Any]], list[str]]:  # fmt: skip
    """Hands of up to `limit` evenly spaced samples, example pictures, and notes.

    Only hands count that are there, whose target is known and that the frame hardly cuts. HASM looks around the box of
    both hands' true masks: its crop in the paper is of true boxes, too. Raises ConfigError where no hand is left.
    """
    chosen = evenly_spaced(samples, limit)
    rows: dict[str, list[Any]] = {name: [] for name in ("sample", "side", "occlusion", "iou", "true_mm", "true_px")}
    found: dict[str, list[FloatArray]] = {name: [] for name in (*variants, TRUE_PICTURE)}
    found_px: dict[str, list[FloatArray]] = {name: [] for name in found}
    errors: dict[str, list[FloatArray]] = {name: [] for name in PICTURE_MASKS} if pictures else {}
    shown: list[dict[str, Any]] = []
    absent = [0, 0]
    for start in range(0, len(chosen), pipeline.batch):
        items = [_item(samples, i) for i in chosen[start : start + pipeline.batch]]
        images = [sample.image_rgb for _, sample, _ in items]
        true = [HandMasks(amodal=s.amodal_mask, visible=s.visible_mask) for _, s, _ in items]
        segmented = pipeline.segment(images, [_box(sample) for _, sample, _ in items])
        masks = {"true": true, "predicted": segmented}
        made = {name: pipeline.hands(images, masks[VARIANTS[name].masks], VARIANTS[name].switches) for name in variants}
        truth = _on_true_pictures(pipeline, items)
        for k, (place, sample, hands) in enumerate(items):
            for hand in np.flatnonzero(~sample.hand_present):
                absent[0] += 1
                absent[1] += bool(masks["predicted"][k].present[hand])
            for hand in hands:
                _note_hand(rows, place, sample, hand, masks["predicted"][k])
                each = {name: made[name][k] for name in variants} | {TRUE_PICTURE: truth[k, hand]}
                for name, prediction in each.items():
                    found[name].append(prediction.joints_bone[hand])
                    found_px[name].append(prediction.joints_px[hand])
                if pictures:
                    _note_pictures(errors, sample, hand, each)
                if (
                    len(shown) < examples
                    and sample.occlusion_rate[hand] > max(least_occlusion, 0.15)
                    and len(shown) * len(chosen) <= examples * (start + k)
                ):  # spread over the dataset
                    shown.append(_example(sample, hand, each))
        if progress is not None:
            progress(min(start + pipeline.batch, len(chosen)), len(chosen))
    if not rows["sample"]:
        raise ConfigError(f"{samples.folder}: none of {len(chosen)} samples shows a hand that can be scored.")
    stacked = {name: np.array(column) for name, column in rows.items()}
    hands = Hands(
        **stacked,
        found={n: np.stack(x) for n, x in found.items()},
        found_px={n: np.stack(x) for n, x in found_px.items()},
        pictures={n: np.stack(x) for n, x in errors.items()},
    )
    notes = [f"HASM found {absent[1]} of {absent[0]} hands that are not there."] if absent[0] else []
    if samples.left_out:
        notes.append(f"{len(samples.left_out)} flagged samples are left out.")
    return hands, shown, notes


def time_per_image(pipeline: HdrPipeline, samples: Dataset) -> Mapping[Stage, float]:
    """Milliseconds per image by stage, of all of HDR with boxes, over up to four batches, after one to warm up."""
    chosen = [samples[i] for i in evenly_spaced(samples, 4 * pipeline.batch)]
    images, boxes = [sample.image_rgb for sample in chosen], [_box(sample) for sample in chosen]
    pipeline(images[: pipeline.batch], boxes[: pipeline.batch])
    pipeline.forget_times()
    pipeline(images, boxes)
    return pipeline.timing_ms()


def _box(sample: Sample) -> Box:
    box = box_of_mask(sample.amodal_mask[0] | sample.amodal_mask[1])
    assert box is not None, "a sample shows at least one hand"
    return box


def evenly_spaced(samples: Dataset, limit: int | None) -> list[int]:
    """Places of up to `limit` samples, all over the dataset, rising; None for all."""
    count = len(samples) if limit is None else min(limit, len(samples))
    return [i * len(samples) // count for i in range(count)]


def _item(samples: Dataset, place: int) -> Item:
    sample = samples[place]
    names = ("hand_present", "target_valid", "joints_px", "joint2d_valid")
    fits = usable_hands({name: getattr(sample, name)[None] for name in names}, sample.image_rgb.shape[0])[0]
    fits &= (sample.joint3d_valid & sample.joint2d_valid).all(axis=1)
    return place, sample, np.flatnonzero(fits).tolist()


def _on_true_pictures(pipeline: HdrPipeline, items: Sequence[Item]) -> dict[tuple[int, int], Prediction]:
    """SHPE on what HDRM should have made: the bound that it leaves."""
    keys = [(k, hand) for k, (_, _, hands) in enumerate(items) for hand in hands]
    images = [items[k][1].target_rgb[hand] for k, hand in keys]
    masks = []
    for k, hand in keys:
        alone = items[k][1].amodal_mask & (np.arange(2) == hand)[:, None, None]
        masks.append(HandMasks(amodal=alone, visible=alone))
    return dict(zip(keys, pipeline.hands(images, masks, SHPE_ALONE), strict=True))


def _note_hand(rows: dict[str, list[Any]], place: int, sample: Sample, hand: int, found: HandMasks) -> None:
    hidden = sample.amodal_mask[hand] & ~sample.visible_mask[hand]
    invisible = np.nan
    if hidden.sum() >= _LEAST_REGION_PX:
        invisible = mask_iou(found.amodal[hand] & ~found.visible[hand], hidden)
    rows["sample"].append(place)
    rows["side"].append(hand)
    rows["occlusion"].append(float(sample.occlusion_rate[hand]))
    rows["iou"].append(
        [
            mask_iou(found.amodal[hand], sample.amodal_mask[hand]),
            mask_iou(found.visible[hand], sample.visible_mask[hand]),
            invisible,
        ]
    )
    rows["true_mm"].append(1000.0 * sample.cam_joints_m[hand].astype(np.float64))
    rows["true_px"].append(sample.joints_px[hand].astype(np.float64))


def _note_pictures(errors: dict[str, list[FloatArray]], sample: Sample, hand: int, made: dict[str, Prediction]) -> None:
    holes = np.stack(hdr_masks(sample, hand)[:2])
    for method, prediction in (("HDRM, predicted", made.get(WITH_HDR)), ("HDRM, true", made.get(TRUE_MASKS))):
        if prediction is None:
            errors[method].append(np.full((3, 3), np.nan))
            continue
        affine, size_px = prediction.affine_px[hand], prediction.crop_rgb.shape[1]
        target = cropped(sample.target_rgb[hand], affine, size_px)
        regions = [*cropped_masks(holes, affine, size_px), np.ones((size_px, size_px), bool)]
        errors[method].append(_region_errors(prediction.single_rgb[hand], target, regions))
        if method == "HDRM, true":
            errors["input copied"].append(_region_errors(prediction.crop_rgb[hand], target, regions))
    if TRUE_MASKS not in made:
        errors["input copied"].append(np.full((3, 3), np.nan))


def _region_errors(found: ImageU8, true: ImageU8, regions: Sequence[Mask]) -> FloatArray:
    rows = np.full((len(regions), 3), np.nan)
    ssim = ssim_map(found, true)
    for k, region in enumerate(regions):
        if region.sum() >= _LEAST_REGION_PX:
            rows[k] = region_error(found, true, region, ssim=ssim)[:3]
    return rows


def _example(sample: Sample, hand: int, made: dict[str, Prediction]) -> dict[str, Any]:
    alone, full = made[ALONE], made[WITH_HDR]
    affine, size_px = full.affine_px[hand], full.crop_rgb.shape[1]
    amodal, visible = (cropped_masks(m, affine, size_px) for m in (full.masks.amodal, full.masks.visible))
    pictures = [
        ("image", full.crop_rgb[hand]),
        ("masks found", draw_masks(full.crop_rgb[hand], amodal, visible)),
        ("alone, made", full.single_rgb[hand]),
        ("alone, true", cropped(sample.target_rgb[hand], affine, size_px)),
    ]
    for title, base, joints in (
        ("SHPE alone", full.crop_rgb, alone.joints_px),
        ("HDR + SHPE", full.single_rgb, full.joints_px),
        ("true joints", full.crop_rgb, sample.joints_px),
    ):
        picture = base[hand].copy()
        draw_skeleton(picture, moved_points(joints[hand], affine), np.ones(21, bool), None, hand)
        pictures.append((title, picture))
    kind = f"{sample.engine}, {SIDES[hand]} hand{' (mirrored)' if hand else ''}"
    hidden = f"{100 * sample.occlusion_rate[hand]:.0f} % hidden"
    return {
        "caption": f"#{sample.index}: {kind}, {hidden}",
        "pictures": [{"title": t, "png": base64.b64encode(encode_png(p)).decode()} for t, p in pictures],
    }
