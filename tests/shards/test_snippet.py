"""A sample can be read without this package."""

import ast
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from aih_builder import generate, open_dataset
from tests.builders import small_manifest
from tools.snippets import read_without_package

NAMES = ("image_rgb", "target_rgb", "amodal_mask", "visible_mask", "changed_mask", "joints_px")
SOURCE = Path(read_without_package.__file__)


@pytest.mark.parametrize("lossless", [False, True])
def test_the_snippet_reads_what_open_dataset_reads(small_dataset: Path, tmp_path: Path, lossless: bool) -> None:
    folder = small_dataset
    if lossless:
        folder = tmp_path / "lossless"
        generate(small_manifest(lossless=True), folder)
    dataset, read = open_dataset(folder), []
    for shard in dataset.shards:
        with h5py.File(folder / shard["file"]) as opened:
            read += [read_without_package.read_sample(opened, i) for i in range(shard["samples"])]
    assert len(read) == len(dataset)
    for found, sample in zip(read, dataset, strict=True):
        for name, value in zip(NAMES, found, strict=True):
            assert value.dtype == getattr(sample, name).dtype
            assert np.array_equal(value, getattr(sample, name)), name


def test_the_snippet_runs_alone(small_dataset: Path) -> None:
    shard = next(small_dataset.glob("*/*/*.h5"))
    run = subprocess.run([sys.executable, "-I", SOURCE, shard], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("(96, 96, 3) (2, 96, 96, 3) ")


def test_the_snippet_needs_four_libraries_and_fits_a_page() -> None:
    source = SOURCE.read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"cv2", "h5py", "numpy", "sys", "zlib"}
    assert len(source.splitlines()) <= 40
