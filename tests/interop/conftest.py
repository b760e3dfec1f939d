"""A dataset that fills every list of the official tree, and that tree."""

from pathlib import Path

import pytest

from aih_builder import generate
from aih_builder.interop.official_aih import export_aih
from tests.builders import small_both_content, small_both_manifest


@pytest.fixture(scope="session")
def aih_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both engines at 256 px: 18 samples each in train, 5 in val and test, 8 a shard."""
    content = small_both_content(image_size_px=256, shard_samples=8)
    for engine in ("render", "sync"):
        content["streams"][engine]["count"] = {"train": 18, "val": 5, "test": 5}
    folder = tmp_path_factory.mktemp("aih") / "data set äöü"
    generate(small_both_manifest(**content), folder)
    return folder


@pytest.fixture(scope="session")
def aih_tree(aih_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export; tests that write work on a copy."""
    return export_aih(aih_dataset, tmp_path_factory.mktemp("tree") / "AIH dataset é").folder
