"""A dataset that was imported, here of fabricated shards: read and checked like any other, but not made again."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aih_builder import Sample, generate, open_dataset, validate
from aih_builder.errors import ConfigError
from aih_builder.identity import SampleName, index_of
from aih_builder.shards.imported import imported_listing, write_imported_listing
from aih_builder.shards.plan import identity_of, load_plan
from aih_builder.shards.repair import repair
from aih_builder.shards.writer import ShardHead, ShardWriter
from tests.builders import small_manifest

FILE = "render/train/render-train-00000.h5"


@pytest.fixture
def folder(samples: list[Sample], tmp_path: Path) -> Path:
    return made(tmp_path / "import", samples[:2])


def made(folder: Path, samples: list[Sample], first: int = 5) -> Path:
    """An import of one shard; its first sample is number `first` of its stream."""
    writer = ShardWriter(ShardHead("render", "train", 0, "import", (), False))
    for i, sample in enumerate(samples):
        index = index_of(SampleName("render", "train", first + i))
        writer.add(replace(sample, index=index, split="train", depth=None, normal=None, background_rgb=None))
    data = writer.to_bytes()
    (folder / FILE).parent.mkdir(parents=True)
    (folder / FILE).write_bytes(data)
    shard = {"file": FILE, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "samples": len(samples)}
    shard |= {"engine": "render", "split": "train", "first": first}
    source = {"kind": "a test", "licences": ["CC0-1.0"]}
    write_imported_listing(folder, [shard], name="made", size_px=96, source=source)
    return folder


def test_an_import_is_read_and_is_valid(folder: Path) -> None:
    assert [sample.index for sample in open_dataset(folder)] == [80, 96]
    report = validate(folder)
    assert (report.shards, report.samples, report.problems) == (1, 2, [])


def test_it_is_known_by_its_shards(folder: Path, samples: list[Sample], tmp_path: Path, small_dataset: Path) -> None:
    assert identity_of(folder) == identity_of(made(tmp_path / "again", samples[:2]))
    assert identity_of(folder) != identity_of(made(tmp_path / "other", samples[:1]))
    assert identity_of(small_dataset) == load_plan(small_dataset).identity
    assert imported_listing(small_dataset) is None
    assert imported_listing(tmp_path / "nowhere") is None


def test_what_needs_a_plan_says_that_there_is_none(folder: Path) -> None:
    for ask in (load_plan, repair):
        with pytest.raises(ConfigError, match="was imported, so there is no plan"):
            ask(folder)
    with pytest.raises(ConfigError, match="is not empty and holds no plan"):
        generate(small_manifest(), folder)


def test_a_changed_byte_is_found(folder: Path) -> None:
    data = bytearray((folder / FILE).read_bytes())
    data[-1] ^= 1
    (folder / FILE).write_bytes(data)
    (problem,) = validate(folder).problems
    assert str(problem).startswith(f"{FILE}: sha256 is ")
    assert not problem.mendable


def test_a_missing_shard_and_a_stranger_are_found(folder: Path) -> None:
    shutil.move(folder / FILE, folder / "render" / "stray.h5")
    messages = [str(problem) for problem in validate(folder).problems]
    assert messages[0] == "render/stray.h5: is not part of the import"
    assert "cannot be read" in messages[1]


def test_broken_invariants_and_numbers_that_do_not_fit_are_found(
    samples: list[Sample], tmp_path: Path, folder: Path
) -> None:
    bad = replace(samples[0], occlusion_rate=samples[0].occlusion_rate + 0.25)
    (problem,) = validate(made(tmp_path / "bad", [bad])).problems
    assert "occlusion rates are stored as" in problem.message
    listed = json.loads((folder / "dataset.json").read_text())
    listed["shards"][0]["first"] = 6
    (folder / "dataset.json").write_text(json.dumps(listed))
    (problem,) = validate(folder).problems
    assert problem.message == "sample indices are not those that dataset.json gives"
    listed["shards"][0]["first"], listed["image_size_px"] = 5, 256
    (folder / "dataset.json").write_text(json.dumps(listed))
    assert "expected 256 x 256" in validate(folder).problems[0].message
