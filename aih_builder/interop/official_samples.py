"""A sample of the official AIH tree as our record."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, SampleError
from aih_builder.identity import name_of, shortened
from aih_builder.imaging import ImageU8, grown, paste
from aih_builder.interop.official_cfgs import Cfg
from aih_builder.interop.official_pictures import moved, read_labels, read_picture
from aih_builder.interop.official_tree import LEFT_LABEL, RIGHT_LABEL, SIZE_PX, Group
from aih_builder.invariants import RENDER_REACH_PX, require
from aih_builder.sample import MIN_HAND_PIXELS, SIDES, SPECS, Mask, Sample, mean_luma, occlusion_rates

_MOST_DRIFT = 8.0  # levels, on average, between IH and DR_gt where nothing is removed: JPEG's part is far less


class LeftOut(Exception):
    """A sound sample that the record has no place for; says why."""


class SynItem(NamedTuple):
    """A record of AIH_syn, and the ids of the files that it names."""

    group: Group
    place: int
    cfg: Cfg
    target_id: int
    other_id: int


class RenderItem(NamedTuple):
    """A sample of AIH_render."""

    group: Group
    target: int
    stem: str


class _Seen(NamedTuple):
    """What the tree tells."""

    image_rgb: ImageU8  # (H, W, 3)
    target_rgb: ImageU8  # (H, W, 3)
    changed: Mask  # (H, W) where the two differ
    amodal: Mask  # (2, H, W)
    visible: Mask  # (2, H, W)


def sample_of(tree: Path, item: SynItem | RenderItem, index: int, licence: str) -> Sample:
    """The sample of an item. Raises AssetError for a bad file, or files that do not fit together, LeftOut
    for what cannot be told.
    """
    if isinstance(item, SynItem):
        seen, target = _synthesized(tree, item), item.cfg.target
        ids = (item.target_id, item.other_id) if target == 0 else (item.other_id, item.target_id)
        texts = {"texture_id": f"aih-{ids[0]}+aih-{ids[1]}", "background_id": f"aih-{item.target_id}"}
        where = f"{item.group.cfg_file(tree)}: record {item.place}"
    else:
        seen, target = _rendered(tree, item), item.target
        texts = {"texture_id": "", "background_id": shortened(f"aih-{item.stem}", SPECS["background_id"].max_bytes)}
        where = str(item.group.render_image(tree, target, "IH") / f"{item.stem}.jpg")
    present = np.count_nonzero(seen.amodal, axis=(1, 2)) >= MIN_HAND_PIXELS
    if not present[target]:
        raise AssetError(f"{where}: its target shows fewer than {MIN_HAND_PIXELS} pixels.")
    sample = _record(seen, target, index, item.group.annotation, licence, present, texts)
    try:
        require(sample)
    except SampleError as error:
        raise AssetError(f"{where}: {error}") from error
    return sample


def _synthesized(tree: Path, item: SynItem) -> _Seen:
    """The hand on top, cut out by its mask, over the target's picture; if the target is a left hand, all of it in the
    mirror, where the record's moves are meant.
    """
    group, cfg, target = item.group, item.cfg, item.cfg.target
    layers = []
    for side, number, move in (
        (target, item.target_id, cfg.target_move),
        (1 - target, item.other_id, cfg.other_move),
    ):
        mask_file = group.syn_mask(tree, side) / f"{number}.png"
        picture, mask = read_picture(group.syn_image(tree, side) / f"{number}.jpg"), read_labels(mask_file, 1)
        if not mask.any():
            raise AssetError(f"{mask_file}: an empty mask.")
        turn = slice(None, None, -1 if target == 1 else 1)
        layers.append([moved(array[:, turn], move)[:, turn] for array in (picture, mask)])
    (below, target_mask), (above, other_mask) = layers
    below, on_top = np.ascontiguousarray(below), np.ascontiguousarray(other_mask).astype(bool)
    image = below.copy()
    paste(np.ascontiguousarray(above), on_top, image)
    amodal = np.zeros((2, SIZE_PX, SIZE_PX), bool)
    amodal[target], amodal[1 - target] = target_mask, on_top
    visible = amodal.copy()
    visible[target] &= ~on_top
    return _Seen(image, below, on_top, amodal, visible)


def _rendered(tree: Path, item: RenderItem) -> _Seen:
    """Image and target agree but for the other hand and a pixel around it: what else differs is JPEG's noise, and the
    image counts.
    """
    group, target, stem = item.group, item.target, item.stem
    image = read_picture(group.render_image(tree, target, "IH") / f"{stem}.jpg")
    alone_file = group.render_image(tree, target, "DR_gt") / f"{stem}.jpg"
    alone = read_picture(alone_file)
    whole = read_labels(group.render_mask(tree, target, "amodal") / f"{stem}.png", 1).astype(bool)
    labels = read_labels(group.render_mask(tree, target, "rl_visible") / f"{stem}.png", LEFT_LABEL)
    visible = np.stack([labels == RIGHT_LABEL, labels == LEFT_LABEL])
    other = visible[1 - target]
    changed = grown(other, RENDER_REACH_PX)
    drift = np.abs(image.astype(np.int16) - alone)[~changed]
    if drift.size and drift.mean() > _MOST_DRIFT:
        raise AssetError(
            f"{alone_file}: differs from its IH picture by {drift.mean():.1f} levels where nothing is removed, at most "
            f"{_MOST_DRIFT:g} are expected. They do not belong together."
        )
    if np.count_nonzero(other) < MIN_HAND_PIXELS:
        raise LeftOut(f"AIH_render: no {SIDES[1 - target]} hand is seen; whether there is one the tree does not tell")
    target_rgb = image.copy()
    paste(alone, changed, target_rgb)
    amodal = visible.copy()
    amodal[target] = whole
    return _Seen(image, target_rgb, changed, amodal, visible)


def _record(
    seen: _Seen, target: int, index: int, annotation: str, licence: str, present: Mask, texts: dict[str, Any]
) -> Sample:
    engine, split, _ = name_of(index)
    values: dict[str, Any] = {
        name: np.zeros([int(length) for length in spec.dims.split()], spec.dtype)
        for name, spec in SPECS.items()
        if spec.dims and not spec.is_image
    }
    valid = np.arange(2) == target
    target_rgb, changed = np.zeros((2, *seen.image_rgb.shape), np.uint8), np.zeros_like(seen.amodal)
    target_rgb[target], changed[target] = seen.target_rgb, seen.changed
    values |= {
        "image_rgb": seen.image_rgb, "target_rgb": target_rgb, "target_valid": valid, "changed_mask": changed,
        "hand_present": present, "amodal_mask": seen.amodal, "visible_mask": seen.visible,
        "occlusion_rate": occlusion_rates(seen.amodal, seen.visible),
        "penetration_mm": 0.0, "contact_fraction": 0.0, "interaction_valid": False,
        "framing": "target", "target_hand": target, "scene_id": index, "pose_family": "aih",
        "mean_luma": mean_luma(seen.image_rgb), "index": index, "seed": 0, "attempt": 1, "engine": engine,
        "split": split, "annotation": annotation, "shape_id": "", "pose_id": "", "licence": licence,
    }  # fmt: skip
    return Sample(**values | texts)
