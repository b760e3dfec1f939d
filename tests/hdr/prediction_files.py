"""Predictions as `aih predict` writes them, made from the truth or moved away from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.hdr.metrics import bone_length, root_relative
from aih_builder.hdr.pipeline import HandMasks, Prediction
from aih_builder.hdr.predictions import SampleId, write_prediction
from aih_builder.hdr.read_predictions import folder_of
from aih_builder.sample import Sample

BONE_MM, CROP_PX = 90.0, 16


def perfect(sample: Sample, **changes: Any) -> Prediction:
    """The truth as a prediction; fields replaced."""
    joints_m = sample.cam_joints_m.astype(np.float64)
    length_m = np.maximum(bone_length(joints_m), 1e-9)
    crops = np.zeros((2, CROP_PX, CROP_PX, 3), np.uint8)
    made = Prediction(
        masks=HandMasks(amodal=sample.amodal_mask, visible=sample.visible_mask),
        present=sample.hand_present,
        affine_px=np.tile(np.eye(2, 3), (2, 1, 1)),
        crop_rgb=crops,
        single_rgb=crops,
        joints_px=sample.joints_px.astype(np.float64),
        joints_bone=root_relative(joints_m) / length_m[:, None, None],
        score=np.ones((2, 21)),
    )
    return replace(made, **changes)


def write(
    folder: Path, sample: Sample, prediction: Prediction, plan_hash: str, *, later: int = 0, pictures: bool = True,
    mean_bone_mm: float | None = BONE_MM,
) -> Path:  # fmt: skip
    """Write it for the sample at an attempt `later` than its own; returns its folder."""
    return write_prediction(
        prediction, sample.image_rgb, folder, folder_of(sample.index), mean_bone_mm, pictures=pictures,
        source=f"sample {sample.index}", sample=SampleId(sample.index, sample.attempt + later, plan_hash),
    )  # fmt: skip
