"""Each tiny network learns eight samples by heart: what it cannot overfit, it cannot learn."""

from pathlib import Path
from typing import Any

import pytest

from aih_builder import generate
from aih_builder.hdr.train import train
from tests.builders import small_content, small_manifest
from tests.hdr.training_runs import small_training

pytestmark = pytest.mark.slow
_STILL = {
    "shift": 0, "scale": 0, "rotation_deg": 0, "flip_share": 0, "gain": 0, "brightness": 0, "contrast": 0,
    "blur_share": 0, "noise_share": 0, "jpeg_share": 0,
}  # fmt: skip


def write_dataset(folder: Path, samples: int) -> Path:
    """Samples of two hands each, at 128 px."""
    streams = small_content()["streams"]
    streams["render"] |= {"count": {"train": samples, "val": 0, "test": 0}, "single_hand_fraction": 0}
    generate(small_manifest(streams=streams, image_size_px=128, shard_samples=8), folder)
    return folder


def history(module: str, dataset: Path, out: Path, steps: int, rate: float, **changes: Any) -> dict[str, list[float]]:
    """Figures of a run on eight items that are also its validation."""
    training = small_training(
        module, dataset, input_px=128, augment=_STILL, steps=steps, batch=8, validate_every=steps,
        data={"path": str(dataset), "validation": "train"},
        optimiser={"learning_rate": rate, "warmup_steps": 20, "schedule": "cosine"}, **changes,
    )  # fmt: skip
    return train(training, out).history


def test_hasm_overfits_eight_samples(tmp_path: Path) -> None:
    eight = write_dataset(tmp_path / "data", samples=8)
    found = history(
        "hasm", eight, tmp_path / "run", 600, 2e-3, hasm={"encoder": "tiny", "head_width": 32, "drop_path": 0}
    )
    assert found["val amodal IoU, pooled"][-1] > 0.95


def test_hdrm_overfits_eight_hands(tmp_path: Path) -> None:
    eight = write_dataset(tmp_path / "data", samples=4)
    found = history("hdrm", eight, tmp_path / "run", 800, 2e-3)
    assert found["hole"][0] > 10 * found["hole"][-1]


def test_shpe_overfits_eight_hands(tmp_path: Path) -> None:
    eight = write_dataset(tmp_path / "data", samples=4)
    found = history("shpe", eight, tmp_path / "run", 700, 4e-3)
    assert found["val MPJPE mm, GT scale"][-1] < 5
