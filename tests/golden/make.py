"""Makes the golden samples anew, after a change that is meant to change them: `python -m tests.golden.make`."""

import tempfile
from pathlib import Path

import numpy as np

from aih_builder import Sample
from aih_builder.identity import ENGINE_NAMES, SampleName, index_of
from aih_builder.imaging import encode_png
from aih_builder.shards.plan import make_plan
from aih_builder.shards.tasks import make_sample
from tests.builders import small_both_manifest

FOLDER = Path(__file__).parent
NAMES = tuple(f"{engine}_{number}" for engine in ENGINE_NAMES for number in range(4))


def golden_samples() -> dict[str, Sample]:
    """The samples that are compared: the first of each engine's train split in the small manifest."""
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(small_both_manifest(renderer="numba"), Path(folder) / "dataset")
        return {
            f"{engine}_{number}": make_sample(plan, index_of(SampleName(engine, "train", number)))
            for engine in ENGINE_NAMES
            for number in range(4)
        }


def picture(sample: Sample) -> np.ndarray:
    """What is compared, (H, 4 W, 3): image, both targets, amodal masks in red and visible ones in green."""
    masks = np.zeros_like(sample.image_rgb)
    masks[..., 0] = 100 * sample.amodal_mask[0] + 50 * sample.amodal_mask[1]
    masks[..., 1] = 100 * sample.visible_mask[0] + 50 * sample.visible_mask[1]
    return np.concatenate([sample.image_rgb, *sample.target_rgb, masks], axis=1)


if __name__ == "__main__":
    for name, sample in golden_samples().items():
        (FOLDER / f"{name}.png").write_bytes(encode_png(picture(sample)))
