"""From hands and checkpoints to the records that report.py shows: `aih-evaluation 1`."""

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aih_builder import __version__
from aih_builder.files import read_json
from aih_builder.hdr.checkpoint import Checkpoint
from aih_builder.hdr.evaluate import ALONE, PICTURE_MASKS, TRUE_PICTURE, WITH_HDR, time_per_image
from aih_builder.hdr.pipeline import HdrPipeline
from aih_builder.hdr.scores import (
    Hands,
    gain_figures,
    image_figures,
    mask_figures,
    mean_pose_mm,
    pose_figures,
    scored,
)
from aih_builder.hdr.settings import ModuleName
from aih_builder.shards.format import LISTING_FILE
from aih_builder.shards.reader import Dataset

Figures = dict[str, Any]


def sample_figures(
    hands: Hands, pipeline: HdrPipeline, samples: Dataset, split: str, *, least_occlusion: float, seed: int
) -> Figures:
    """Data, masks, images, pose and time of an evaluation on our own samples."""
    chosen = scored(hands, least_occlusion)
    statistics = pipeline.checkpoints["shpe"].data
    pose = pose_figures(hands, chosen, mean_bone_mm=statistics["mean_bone_mm"], seed=seed)
    mean_mm = mean_pose_mm(hands, np.array(statistics["mean_location"]))
    pose |= {"mean_pose_mm": float(mean_mm[chosen].mean()), "subset": subset_of(least_occlusion)}
    if ALONE in hands.found and WITH_HDR in hands.found:
        pose["gain"] = gain_figures(hands, chosen, WITH_HDR, ALONE, seed)
    true_mm = hands.errors_mm(TRUE_PICTURE).mean(axis=1)
    pose["true_picture"] = {"mpjpe_mm": float(true_mm.mean()), "mean_pose_mm": float(mean_mm.mean())}
    held = read_json(samples.folder / LISTING_FILE)
    batch_ms = time_per_image(pipeline, samples)
    figures: Figures = {
        "data": {
            "name": held["name"],
            "split": split,
            "samples": len(np.unique(hands.sample)),
            "hands": len(hands.side),
            "image_size_px": held["image_size_px"],
        },
        "masks": mask_figures(hands),
        "pose": pose,
        "timing_ms": {
            "device": str(pipeline.device),
            "batch": pipeline.batch,
            "image": {stage: round(ms, 3) for stage, ms in batch_ms.items()},
        },
    }
    if hands.pictures:
        figures["images"] = image_figures(hands, PICTURE_MASKS)
    return figures


def subset_of(least_occlusion: float) -> str:
    """Which hands are scored, in words."""
    return f"held-out hands hidden by more than {100 * least_occlusion:.0f} %" if least_occlusion else "all hands"


def network_figures(checkpoints: Mapping[ModuleName, Checkpoint]) -> dict[str, Figures]:
    """Size, parameters and steps of each module's network."""
    found = {}
    for module, checkpoint in checkpoints.items():
        training = checkpoint.training
        weights = checkpoint.networks["generator" if module == "hdrm" else module]
        sizes = {"hasm": training.hasm.encoder, "hdrm": training.hdrm.size, "shpe": training.shpe.size}
        found[module] = {
            "size": sizes[module],
            "parameters": sum(w.numel() for name, w in weights.items() if not name.endswith(_BUFFERS)),
            "step": checkpoint.step,
            "steps": checkpoint.step,
            "batch": training.batch,
        }
    return found


_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def training_figures(checkpoints: Mapping[ModuleName, Checkpoint]) -> dict[str, Figures]:
    """The loss over the steps, by module."""
    found = {}
    for module, checkpoint in checkpoints.items():
        history = checkpoint.history
        apart = {"step", "rate", "samples per second", "share waiting", "discriminator", "val step"}
        terms = [values for name, values in history.items() if name not in apart and not name.startswith("val ")]
        if history.get("step") and terms:
            found[module] = {"step": history["step"], "loss": np.sum(terms, axis=0).tolist()}
    return found


def made_with(device: str) -> Figures:
    """What made the figures."""
    return {
        "version": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else device,
    }


def _commit() -> str | None:
    """Of the checkout that the package lies in; None where it lies in none."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    run = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return run.stdout.strip() or None


def _processor() -> str:
    names = Path("/proc/cpuinfo")
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()
