"""Makes the golden samples anew, after a change that is meant to change them: `python -m tests.golden.make`."""

import tempfile
from pathlib import Path

import numpy as np

from aih_builder import Sample
from aih_builder.identity import SampleName, index_of
from aih_builder.imaging import encode_png
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import make_sample
from tests.builders import small_manifest

FOLDER = Path(__file__).parent
NUMBERS = (0, 1, 2, 3)


def golden_samples() -> list[Sample]:
    """The samples that are compared: the first of the small manifest's train split."""
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(small_manifest(), Path(folder) / "dataset")
        return [make_sample(plan, index_of(SampleName("render", "train", k))) for k in NUMBERS]


def picture(sample: Sample) -> np.ndarray:
    """What is compared, (H, 4 W, 3): image, both targets, amodal masks in red and visible ones in green."""
    masks = np.zeros_like(sample.image_rgb)
    masks[..., 0] = 100 * sample.amodal_mask[0] + 50 * sample.amodal_mask[1]
    masks[..., 1] = 100 * sample.visible_mask[0] + 50 * sample.visible_mask[1]
    return np.concatenate([sample.image_rgb, *sample.target_rgb, masks], axis=1)


if __name__ == "__main__":
    for number, sample in zip(NUMBERS, golden_samples(), strict=True):
        (FOLDER / f"render_{number}.png").write_bytes(encode_png(picture(sample)))
