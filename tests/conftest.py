"""Set up before any test module is imported."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from aih_builder import Sample

# Read when numpy loads, which is later. Workers of a build set the same.
for _pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_pool}_NUM_THREADS", "1")

# Mesa draws in the process that asks, as in a worker. Read when it loads.
os.environ["LP_NUM_THREADS"] = "0"

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where there is no OpenGL or no browser their tests are skipped, but not by continuous integration."""
    from aih_builder.synth.renderers import egl

    missing = ""
    if item.get_closest_marker("gl") is not None and not egl.devices():
        missing = f"EGL offers no device. {egl.INSTALL}"
    if item.get_closest_marker("browser") is not None and shutil.which("chromium") is None:
        missing = "There is no chromium. On Debian: apt-get install chromium."
    if missing and os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    if missing:
        pytest.skip(missing)


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
def aih_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both engines at 256 px, enough for every list of the official AIH tree: 18 samples each in train, 5 in val and
    test, 8 a shard.
    """
    from aih_builder import generate
    from tests.builders import small_both_content, small_both_manifest

    content = small_both_content(image_size_px=256, shard_samples=8)
    for engine in ("render", "sync"):
        content["streams"][engine]["count"] = {"train": 18, "val": 5, "test": 5}
    folder = tmp_path_factory.mktemp("aih") / "data set äöü"
    generate(small_both_manifest(**content), folder)
    return folder


@pytest.fixture(scope="session")
def aih_tree(aih_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That tree; tests that write work on a copy."""
    from aih_builder.interop.official_aih import export_aih

    return export_aih(aih_dataset, tmp_path_factory.mktemp("tree") / "AIH dataset é").folder


@pytest.fixture(scope="session")
def singles_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of single hands in InterHand2.6M's layout with images; tests that write work on a copy."""
    from tests.interhand_capture import paint_images, write_singles

    root = write_singles(tmp_path_factory.mktemp("InterHand 2.6M größer"))
    paint_images(root)
    return root


@pytest.fixture(scope="session")
def samples(small_dataset: Path) -> "list[Sample]":
    """Its samples."""
    from aih_builder import open_dataset

    return list(open_dataset(small_dataset))


@pytest.fixture
def copy(small_dataset: Path, tmp_path: Path) -> Path:
    """A copy of small_dataset to write on."""
    from tests.builders import copied

    return copied(small_dataset, tmp_path / "copy")
