"""What an evaluation adds up to: columns of hands in, the figures of a report out. Numpy; no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aih_builder.errors import ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hdr.metrics import (
    PCK_THRESHOLDS_MM,
    PoseScore,
    bootstrap_interval,
    joint_errors_mm,
    procrustes_aligned,
    with_bone_length,
    with_true_scale,
)

OCCLUSION_EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 1.0)
REGIONS = ("M_D", "M_R", "whole")
Figures = dict[str, Any]


@dataclass(slots=True)
class Hands:
    """Evaluated hands, a row each; NaN where a figure is not defined."""

    sample: NDArray[np.int64]  # (N,) place in the dataset: rows of one image share it
    side: NDArray[np.int64]  # (N,) 0 right, 1 left
    occlusion: FloatArray  # (N,)
    iou: FloatArray  # (N, 3): amodal, visible, what is hidden (M_D)
    true_mm: FloatArray  # (N, 21, 3), camera frame
    true_px: FloatArray  # (N, 21, 2)
    found: dict[str, FloatArray] = field(default_factory=dict)  # by variant: (N, 21, 3), of any scale
    found_px: dict[str, FloatArray] = field(default_factory=dict)  # (N, 21, 2)
    pictures: dict[str, FloatArray] = field(default_factory=dict)  # by method: (N, 3 regions, 3): L1, PSNR, SSIM

    def errors_mm(self, variant: str) -> FloatArray:
        """Errors (N, 21) with the wrist and the reference bone's length of the truth: HDR's own scoring."""
        return joint_errors_mm(with_true_scale(self.found[variant], self.true_mm), self.true_mm)


def scored(hands: Hands, least_occlusion: float) -> NDArray[np.bool_]:
    """The hands (N,) whose poses count: hidden by more than that; at 0 all. Raises ConfigError for none."""
    chosen = hands.occlusion > least_occlusion if least_occlusion else np.ones(len(hands.side), bool)
    if not chosen.any():
        raise ConfigError(
            f"least_occlusion: {least_occlusion}, but none of {len(chosen)} hands is hidden by more than that (at most "
            f"{hands.occlusion.max():.2f}). Lower it, or evaluate more samples."
        )
    return chosen


def mean_pose_mm(hands: Hands, mean_location: FloatArray) -> FloatArray:
    """Mean error (N,) of the training set's mean pose (21, 3), of a right hand, scaled as in Hands.errors_mm."""
    mirrored = mean_location * [-1.0, 1.0, 1.0]
    guess = np.where(hands.side[:, None, None] == 1, mirrored, mean_location)
    return joint_errors_mm(with_true_scale(guess, hands.true_mm), hands.true_mm).mean(axis=1)


def mask_figures(hands: Hands) -> Figures:
    """IoU of HASM's masks: over all hands, by mask, by occlusion."""
    by_mask = {}
    for side, name in enumerate(("right", "left")):
        for kind, mask in enumerate(("amodal", "visible")):
            if (hands.side == side).any():
                by_mask[f"{name} {mask}"] = float(hands.iou[hands.side == side, kind].mean())
    bins = [
        {"from": low, "to": high, **_ious(hands, chosen)}
        for low, high, chosen in _bins(hands.occlusion)
        if chosen.any()
    ]
    return {"all": _ious(hands, np.ones(len(hands.side), bool)), "by_mask": by_mask, "by_occlusion": bins}


def image_figures(hands: Hands, masks_of: Mapping[str, str]) -> Figures:
    """L1, PSNR and SSIM by method; masks_of says whether a method had true or predicted masks."""
    rows = []
    for method, errors in hands.pictures.items():
        row: Figures = {"method": method.partition(",")[0], "masks": masks_of[method]}
        for k, region in enumerate(REGIONS):
            known = np.isfinite(errors[:, k, 0])
            if known.any():
                l1, psnr_db, ssim = errors[known, k].mean(axis=0).tolist()
                row[region] = {"l1": l1, "psnr_db": psnr_db, "ssim": ssim, "hands": int(known.sum())}
        rows.append(row)
    return {"rows": rows}


def pose_figures(hands: Hands, chosen: NDArray[np.bool_], *, mean_bone_mm: float, seed: int) -> Figures:
    """Errors of every variant over the chosen hands; intervals are 95 % bootstrap ones over images."""
    rows, pck, curves = [], {}, {}
    true_mm, groups = hands.true_mm[chosen], hands.sample[chosen]
    for name, found in hands.found.items():
        errors = hands.errors_mm(name)
        each = errors[chosen]
        score = PoseScore()
        score.add(each, np.ones(each.shape, bool))
        low, high = bootstrap_interval(each.mean(axis=1), groups=groups, seed=seed)
        by_bone = with_bone_length(found[chosen], mean_bone_mm)
        by_bone = by_bone + true_mm[:, :1]
        aligned = procrustes_aligned(found[chosen], true_mm)
        away_px = np.linalg.norm(hands.found_px[name][chosen] - hands.true_px[chosen], axis=-1)
        rows.append(
            {
                "name": name,
                "hands": int(chosen.sum()),
                "mpjpe_mm": float(each.mean()),
                "interval_mm": [low, high],
                "mpjpe_mean_bone_mm": float(joint_errors_mm(by_bone, true_mm).mean()),
                "pa_mpjpe_mm": float(joint_errors_mm(aligned, true_mm).mean()),
                "auc": score.auc(),
                "epe_px": float(away_px.mean()),
            }
        )
        pck[name] = score.pck().tolist()
        curves[name] = [
            float(errors[inside].mean()) if inside.any() else None for _, _, inside in _bins(hands.occlusion)
        ]
    counts = [int(inside.sum()) for _, _, inside in _bins(hands.occlusion)]
    return {
        "rows": rows,
        "pck": {"thresholds_mm": PCK_THRESHOLDS_MM.tolist(), "curves": pck},
        "by_occlusion": {"edges": list(OCCLUSION_EDGES), "hands": counts, "curves": curves},
    }


def gain_figures(hands: Hands, chosen: NDArray[np.bool_], variant: str, against: str, seed: int) -> Figures:
    """How much less than `against` a variant's error is, in mm, paired by hand, with its 95 % bootstrap interval."""
    less = hands.errors_mm(against)[chosen].mean(axis=1) - hands.errors_mm(variant)[chosen].mean(axis=1)
    low, high = bootstrap_interval(less, groups=hands.sample[chosen], seed=seed)
    return {"less_than_shpe_mm": float(less.mean()), "less_interval_mm": [low, high]}


def _ious(hands: Hands, chosen: NDArray[np.bool_]) -> Figures:
    hidden = hands.iou[chosen, 2]
    known = np.isfinite(hidden)
    return {
        "hands": int(chosen.sum()),
        "amodal_iou": float(hands.iou[chosen, 0].mean()),
        "visible_iou": float(hands.iou[chosen, 1].mean()),
        "invisible_iou": float(hidden[known].mean()) if known.any() else None,
    }


def _bins(occlusion: FloatArray, edges: Sequence[float] = OCCLUSION_EDGES) -> list[tuple[float, float, Any]]:
    last = len(edges) - 2
    return [
        (low, high, (occlusion >= low) & ((occlusion < high) | ((k == last) & (occlusion <= high))))
        for k, (low, high) in enumerate(pairwise(edges))
    ]
