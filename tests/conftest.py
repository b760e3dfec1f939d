"""Set up before any test module is imported."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from aih_builder import Sample

# Read when numpy loads, which is later. Workers of a build set the same.
for _pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_pool}_NUM_THREADS", "1")

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset of small_manifest(); tests that write work on a copy."""
    from aih_builder import generate
    from tests.builders import small_manifest

    folder = tmp_path_factory.mktemp("small") / "dataset"
    generate(small_manifest(), folder)
    return folder


@pytest.fixture(scope="session")
def both_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset of small_both_manifest(): nine samples of each engine in ten shards."""
    from aih_builder import generate
    from tests.builders import small_both_manifest

    folder = tmp_path_factory.mktemp("both") / "dataset"
    generate(small_both_manifest(), folder)
    return folder


@pytest.fixture(scope="session")
def samples(small_dataset: Path) -> "list[Sample]":
    """Its samples."""
    from aih_builder import open_dataset

    return list(open_dataset(small_dataset))
