"""FreiHAND's training pictures as a bank of right hands.

Its masks hold the arm, too. With the hand model that the fits belong to, alpha is the mask inside the fit's
silhouette, which ends at the wrist; a picture whose mask leaves out over a tenth of that (an object, a bad fit) cannot
serve, and pose and betas count as known where mask and silhouette agree to an IoU of 0.985. Without a model, the arm is
cut off along the joints: see freihand.beyond_wrist.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import HandArrays
from aih_builder.identity import SPLITS
from aih_builder.imaging import ImageU8, read_image, to_u8, warped
from aih_builder.sources.bank import BankEntry, BankHead, storage_for, write_bank
from aih_builder.sources.freihand import (
    FREIHAND_LICENCE,
    VERSIONS,
    FreihandSample,
    beyond_wrist,
    image_path,
    joints_px,
    mask_path,
    read_freihand,
)
from aih_builder.sources.licences import strictest
from aih_builder.sources.photo_joints import joint_fields
from aih_builder.sources.picture_crop import cut_out
from aih_builder.sources.pose_imports import MANO_LICENCE, MOST_FIT_ERROR_MM
from aih_builder.synth.fitted_pictures import Crop, Cutter, cutter_for, rounded, soft_rgba
from aih_builder.synth.picture_tasks import BadFile, LeftOut, Outcome, entries_of
from aih_builder.synth.renderers.base import AMODAL_ALPHA

log = logging.getLogger(__name__)

_RIGHT, _KNUCKLE = 0, 9
_LEAST_COVERED = 0.9  # of a silhouette by the mask
_AGREE = 0.985  # from this share on the mask is the silhouette: a dataset's check asks for 0.98
_JPEG_NOISE = 32  # levels of a mask's ends that its JPEG may have moved


@dataclass(frozen=True, slots=True)
class FreihandImages:
    """Which pictures are taken, and how."""

    root: Path
    every: int = 1  # take each n-th sample, with all its versions
    versions: tuple[str, ...] = VERSIONS
    skip_bad: bool = False  # missing and damaged files
    crop: Crop = field(default_factory=Crop)

    def __post_init__(self) -> None:
        if not self.versions or not {*self.versions} <= {*VERSIONS}:
            raise ConfigError(f"versions: {', '.join(self.versions)}: expected some of {', '.join(VERSIONS)}.")


class _Candidate(NamedTuple):
    sample: FreihandSample
    version: str
    rgb: Path
    mask: Path


def build_freihand_bank(
    path: Path,
    images: FreihandImages,
    hand: HandArrays | None = None,
    *,
    licensed: bool = True,
    jobs: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> LeftOut:
    """Write the bank; returns what was left out. `hand` is the right hand of the model that the fits belong to,
    licensed says whether MANO's licence binds it.

    Raises ConfigError and AssetError as read_freihand does, AssetError where a picture is missing or damaged (without
    skip_bad), or nothing is left.
    """
    samples = read_freihand(images.root, fits=hand is not None)
    taken = samples[:: images.every]
    candidates = [
        _Candidate(
            sample,
            version,
            image_path(images.root, sample.number, version, len(samples)),
            mask_path(images.root, sample.number),
        )
        for sample in taken
        for version in images.versions
    ]
    left_out = LeftOut()
    provenance = {
        "source": "FreiHAND", "every": images.every, "versions": images.versions, "factor": images.crop.factor,
        "samples": {split: sum(s.split == split for s in taken) for split in SPLITS}, "cut_by_fits": hand is not None,
    }  # fmt: skip
    licence = strictest(FREIHAND_LICENCE, *([MANO_LICENCE] if hand is not None and licensed else []))
    head = BankHead(
        size_px=images.crop.size_px,
        core_px=images.crop.core_px,
        licence=licence,
        hand="" if hand is None else hand.digest(),
        provenance=json.dumps(provenance, sort_keys=True),
    )
    entries = entries_of(
        partial(_work, hand, images.crop), candidates, left_out,
        skip_bad=images.skip_bad, jobs=jobs, on_progress=on_progress,
    )  # fmt: skip
    made = write_bank(path, head, left_out.told(entries, images.root), storage_for(len(candidates), head.size_px))
    log.info("%s: %d pictures of %d candidates", path, made, len(candidates))
    return left_out


def _work(hand: HandArrays | None, crop: Crop, candidates: Sequence[_Candidate]) -> list[Outcome]:
    cutter = None if hand is None else cutter_for(hand, crop)
    return [_outcome(cutter, crop, candidate) for candidate in candidates]


def _outcome(cutter: Cutter | None, crop: Crop, candidate: _Candidate) -> Outcome:
    sample = candidate.sample
    try:
        rgb = read_image(candidate.rgb)
        mask = _clean(read_image(candidate.mask)[..., 1])
    except AssetError as error:
        return BadFile(str(error))
    if mask.shape != rgb.shape[:2]:
        return BadFile(f"{candidate.mask}: {mask.shape}, expected the size of its image, {rgb.shape[:2]}.")
    cut = _by_joints(rgb, mask, sample, crop) if cutter is None else _by_fit(cutter, rgb, mask, sample)
    if isinstance(cut, str):
        return cut
    rgba, fields = cut
    return BankEntry(
        rgba=rgba, entry_id=f"fh-{sample.number:08d}-{candidate.version}", split=sample.split,
        source=f"FreiHAND/{sample.number:08d}", annotation="", skin_tone=0, pose_family="freihand",
        shape_id="", texture_id="", background_id="", **fields,
    )  # fmt: skip


def _clean(mask: ImageU8) -> ImageU8:
    """A mask without what JPEG does to its ends."""
    stretched = (mask.astype(np.float32) - _JPEG_NOISE) * (255.0 / (255 - 2 * _JPEG_NOISE))
    return to_u8(stretched)


def _by_fit(
    cutter: Cutter, rgb: ImageU8, mask: ImageU8, sample: FreihandSample
) -> tuple[ImageU8, dict[str, Any]] | str:
    """Picture and fields of a hand cut out by mask and fit, or why it cannot serve."""
    if sample.pose_rad is None or sample.betas is None:
        raise ConfigError("FreiHAND's fits were not read.")
    model = cutter.hands[_RIGHT]
    posed = model.pose(sample.pose_rad, sample.betas, np.zeros(3))
    trans_m = sample.joints_m[_KNUCKLE] - posed.joints_m[_KNUCKLE]
    away_m = posed.joints_m + trans_m - sample.joints_m
    if 1000.0 * float(np.sqrt((away_m**2).sum(axis=1)).mean()) > MOST_FIT_ERROR_MM:
        return "a fit more than 10 mm from the joints"
    cut = cutter.cut(rgb, rounded(_RIGHT, sample.pose_rad, sample.betas, trans_m), sample.K_px)
    if isinstance(cut, str):
        return cut
    seen = warped(mask[..., None], cut.to_px, cutter.crop.size_px).reshape(cut.alpha.shape)
    alpha = np.minimum(seen, cut.alpha)
    silhouette = int((cut.alpha >= AMODAL_ALPHA).sum())
    covered = int((alpha >= AMODAL_ALPHA).sum()) / max(silhouette, 1)
    if covered < _LEAST_COVERED:
        return "a mask that leaves out over a tenth of the fit's silhouette"
    unknown = {} if covered >= _AGREE else _no_pose()
    return soft_rgba(cut, alpha), cut.fields | unknown


def _by_joints(rgb: ImageU8, mask: ImageU8, sample: FreihandSample, crop: Crop) -> tuple[ImageU8, dict[str, Any]] | str:
    """Picture and fields of a hand cut out by mask and joints, or why it cannot serve."""
    mask = np.where(beyond_wrist(joints_px(sample), mask.shape), np.uint8(0), mask)
    made = cut_out(rgb, mask, crop.core_px, crop.factor, crop.size_px)
    if isinstance(made, str):
        return made
    rgba, to_px = made
    known = joint_fields({"cam_joints_m": sample.joints_m, "K_px": sample.K_px}, to_px)
    return rgba, {"side": _RIGHT} | known | _no_pose()


def _no_pose() -> dict[str, Any]:
    zeros = {name: np.zeros(n, np.float32) for name, n in (("mano_pose_rad", 48), ("mano_betas", 10))}
    return zeros | {"mano_trans_m": np.zeros(3, np.float32), "pose_valid": False}
