"""Samples are what they were, within bounds: another CPU type may differ in the last bit, a new draw differs by far."""

import numpy as np
import pytest

from aih_builder import Sample
from aih_builder.imaging import read_image
from tests.golden.make import FOLDER, NAMES, golden_samples, picture


@pytest.fixture(scope="module")
def made() -> dict[str, Sample]:
    return golden_samples()


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_the_one_it_was(made: dict[str, Sample], name: str) -> None:
    """After a change that is meant to change it: python -m tests.golden.make, and look at the pictures."""
    sample = made[name]
    width = sample.image_rgb.shape[1]
    was, now = read_image(FOLDER / f"{name}.png"), picture(sample)
    colour = np.abs(was[:, : 3 * width].astype(int) - now[:, : 3 * width])
    assert colour.mean() < 0.2
    assert (colour > 8).mean() < 0.002
    assert (was[:, 3 * width :] != now[:, 3 * width :]).any(axis=2).mean() < 0.001
