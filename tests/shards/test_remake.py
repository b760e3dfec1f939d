"""A stored sample against the same one made again: what differs is named, and what cannot be compared says why."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aih_builder import Sample
from aih_builder.errors import ConfigError, ShardError
from aih_builder.shards.plan import load_plan
from aih_builder.shards.reader import ShardReader
from aih_builder.shards.remake import differences
from aih_builder.shards.tasks import make_sample
from tests.shards.planting import rewrite
from tests.shards.test_both_engines import SYNC

FIRST = "render/train/render-train-00000.h5"


@pytest.fixture
def copy(both_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both_dataset, tmp_path / "copy"))


def of(folder: Path, index: int) -> list[str]:
    plan = load_plan(folder)
    return differences(plan, plan.shard_of(index), index)


def darker(sample: Sample) -> Sample:
    """In the image alone: the right hand's target is a patch of its own."""
    image = sample.image_rgb.copy()
    image[:8] //= 2
    return replace(sample, image_rgb=image)


def grown(sample: Sample) -> Sample:
    amodal = sample.amodal_mask.copy()
    amodal[0, 0, 0] = not amodal[0, 0, 0]
    return replace(sample, amodal_mask=amodal)


CHANGES: dict[str, tuple[Callable[[Sample], Sample], list[str]]] = {
    "nothing": (lambda s: s, []),
    "the image": (darker, ["image"]),
    "a mask": (grown, ["masks"]),
    "a joint": (lambda s: replace(s, cam_joints_m=s.cam_joints_m + np.float32(1e-3)), ["cam_joints_m"]),
    "its name and its attempt": (lambda s: replace(s, pose_id="x", attempt=999), ["attempt", "pose_id"]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_exactly_the_parts_and_arrays_that_differ_are_named(copy: Path, what: str) -> None:
    change, named = CHANGES[what]
    plan = load_plan(copy)
    first = plan.shards()[0]
    made = [make_sample(plan, index) for index in first.indices]
    rewrite(copy, lambda _: [change(made[0]), made[1]])
    assert of(copy, first.indices[0]) == named
    assert of(copy, first.indices[1]) == []


@pytest.mark.parametrize(("file", "index"), [(FIRST, 16), (SYNC, 19)])
def test_one_flipped_bit_of_either_engines_target_is_named(copy: Path, file: str, index: int) -> None:
    path, plan = copy / file, load_plan(copy)
    reader = ShardReader(path)
    position = plan.shard_of(index).indices.index(index)
    encoded = dict(zip(reader.parts, reader.encoded(position), strict=True))
    part = max(("target_right", "target_left"), key=lambda name: len(encoded[name]))
    data = bytearray(path.read_bytes())
    data[data.index(encoded[part]) + len(encoded[part]) // 2] ^= 1
    assert of(copy, index) == []
    path.write_bytes(data)
    assert of(copy, index) == [part]


def test_a_shard_that_is_missing_damaged_or_of_another_length_says_what_to_do(copy: Path) -> None:
    rewrite(copy, lambda samples: samples[:1])
    for index in (0, 16):
        with pytest.raises(ShardError, match=r"holds 1 samples .* planned are 2 .* Run `aih repair`"):
            of(copy, index)
    depth = np.zeros((96, 96), np.uint16)
    rewrite(copy, lambda samples: [replace(s, depth=depth) for s in samples * 2], fields=("depth",))
    with pytest.raises(ShardError, match=r"with the optional fields \['depth'\], planned are 2 with \[\]"):
        of(copy, 0)
    (copy / FIRST).write_bytes((copy / FIRST).read_bytes()[:3000])
    with pytest.raises(ShardError, match=r"not a readable shard .* Run `aih repair`"):
        of(copy, 0)
    (copy / FIRST).unlink()
    with pytest.raises(ShardError, match=r"render-train-00000\.h5: is not there, .* Run `aih generate` to make it"):
        of(copy, 0)
    assert of(copy, 16 * 2) == []  # of another shard


def test_the_shard_of_every_index_is_the_one_that_lists_it(both_dataset: Path, small_dataset: Path) -> None:
    plan = load_plan(both_dataset)
    shards = plan.shards()
    assert [plan.shard_of(index) for shard in shards for index in shard.indices] == [
        shard for shard in shards for _ in shard.indices
    ]
    with pytest.raises(
        ConfigError, match=r"no sample with index 83: it would be number 5 of sync / train, which has 5"
    ):
        plan.shard_of(83)
    with pytest.raises(ConfigError, match=r"index 3: it would be number 0 of sync / train, which has 0"):
        load_plan(small_dataset).shard_of(3)
    with pytest.raises(ConfigError, match="index 15 belongs to no engine"):
        plan.shard_of(15)
