"""Flagged samples: marked in flags.json, left out by every reader."""

import json
import multiprocessing
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from aih_builder import AihDataset, open_dataset, repair
from aih_builder.errors import ConfigError, ShardError
from aih_builder.hdr.data import ViewName, pose_statistics
from aih_builder.shards.flags import Flag, add_flags, read_flags, remove_flags, remove_mended, standing
from aih_builder.shards.marking import flag_samples
from aih_builder.shards.progress import status
from aih_builder.shards.reader import Dataset
from tests.shards.planting import contents

VIEWS: tuple[ViewName, ...] = ("sample", "hasm", "hdrm", "shpe")
TRAIN_1 = "render/train/render-train-00001.h5"  # holds samples 32 and 48
TRAIN_2 = "render/train/render-train-00002.h5"  # the fifth, 64, alone


@pytest.fixture
def both(both_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both_dataset, tmp_path / "both"))


def indices(dataset: Dataset) -> list[int]:
    return [sample.index for sample in dataset]


def fill(folder: Path, first: int) -> None:
    for index in range(first, first + 320, 16):
        add_flags(folder, {index: Flag(f"from {first}", 1)})


# The file.


def test_flags_come_back_as_they_were_given_in_the_order_of_the_indices(tmp_path: Path) -> None:
    add_flags(tmp_path, {32: Flag(" too dark ", 3), 5: Flag("Fäuste", 1)})
    add_flags(tmp_path, {16: Flag("x" * 500, 1), 5: Flag("another reason", 2)})
    assert list(read_flags(tmp_path).items()) == [
        (5, Flag("another reason", 2)), (16, Flag("x" * 500, 1)), (32, Flag("too dark", 3)),
    ]  # fmt: skip
    assert remove_flags(tmp_path, [16, 5, 7]) == [5, 16]
    content = json.loads((tmp_path / "flags.json").read_text())
    assert content == {"format": "aih-flags", "flags": {"32": {"reason": "too dark", "attempt": 3}}}
    assert [path.name for path in tmp_path.iterdir()] == ["flags.json"]


def test_where_no_flag_is_left_there_is_no_file(tmp_path: Path) -> None:
    assert read_flags(tmp_path) == {}
    assert remove_flags(tmp_path, [1]) == []
    add_flags(tmp_path, {16: Flag("dark", 1), 32: Flag("dark", 4)})
    assert remove_mended(tmp_path, {16: 2, 32: 4}) == [16]
    assert remove_mended(tmp_path, {32: 5}) == [32]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({16: Flag("  ", 1)}, "sample 16: its reason has 0 characters, expected text of 1 to 500"),
        ({16: Flag("x" * 501, 1)}, "501 characters"),
        ({16: Flag(3, 1)}, "reason has 3, expected text"),  # pyright: ignore[reportArgumentType]
        ({16: Flag("dark", 0)}, "attempt is 0, expected"),
        ({16: Flag("dark", 1), 15: Flag("dark", 1)}, "index 15 belongs to no engine"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, flags: Mapping[int, Flag], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        add_flags(tmp_path, flags)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", '{"format": "aih-flags"}', '{"format": "aih-plan", "flags": {}}',
        '{"format": "aih-flags", "flags": {"x": {"reason": "a", "attempt": 1}}}',
        '{"format": "aih-flags", "flags": {"15": {"reason": "a", "attempt": 1}}}',
        '{"format": "aih-flags", "flags": {"16": {"reason": "a"}}}',
        '{"format": "aih-flags", "flags": {"16": {"reason": "", "attempt": 1}}}',
        '{"format": "aih-flags", "flags": {"16": {"reason": "a", "attempt": true}}}',
        '{"format": "aih-flags", "flags": {"16": "a"}}',
    ],
)  # fmt: skip
def test_damaged_flags_say_what_to_do_and_are_never_overwritten(copy: Path, text: str) -> None:
    (copy / "flags.json").write_text(text)
    before = contents(copy)
    for act in (
        lambda: read_flags(copy), lambda: open_dataset(copy), lambda: status(copy), lambda: repair(copy, flagged=True),
        lambda: add_flags(copy, {16: Flag("dark", 1)}), lambda: remove_flags(copy, [16]),
    ):  # fmt: skip
        with pytest.raises(ShardError, match=r"flags\.json: damaged .*\. Mend it by hand, or delete it"):
            act()
    assert len(open_dataset(copy, flagged=True)) == 9
    assert contents(copy) == before


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=fill, args=(tmp_path, first)) for first in (0, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert sorted(read_flags(tmp_path)) == sorted([*range(0, 320, 16), *range(1, 321, 16)])
    assert [path.name for path in tmp_path.iterdir()] == ["flags.json"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"nowhere: cannot be opened \(No such file"):
        add_flags(tmp_path / "nowhere", {16: Flag("dark", 1)})


def test_a_flag_keeps_the_attempt_that_is_stored_and_names_a_sample_that_is_there(copy: Path) -> None:
    attempts = {sample.index: sample.attempt for sample in open_dataset(copy)}
    assert flag_samples(copy, {48: "dark", 1: "cut"}) == {48: Flag("dark", attempts[48]), 1: Flag("cut", attempts[1])}
    with pytest.raises(ConfigError, match="holds no sample with index 80"):
        flag_samples(copy, {0: "dark", 80: "dark"})
    (copy / TRAIN_2).unlink()
    with pytest.raises(ShardError, match=r"00002\.h5: is not there, .* `aih generate`"):
        flag_samples(copy, {0: "dark", 64: "dark"})
    assert sorted(read_flags(copy)) == [1, 48]


# Readers.


def test_flagged_samples_are_left_out_of_the_sequence_and_of_the_small_arrays_alike(both: Path) -> None:
    every = indices(open_dataset(both))
    flag_samples(both, dict.fromkeys((64, 48, 3), "dark"))
    dataset = open_dataset(both)
    kept = [index for index in every if index not in (3, 48, 64)]
    assert indices(dataset) == kept
    assert len(dataset) == len(kept) == 15
    assert dataset.left_out == [3, 48, 64]
    assert [sample.index for sample in dataset[-3:]] == kept[-3:]
    arrays = list(dataset.small_arrays())
    assert np.concatenate([a["index"] for a in arrays]).tolist() == kept
    assert [len(a["index"]) for a in arrays] == [shard["samples"] for shard in dataset.shards]
    assert [shard["samples"] for shard in dataset.shards if shard["file"] == TRAIN_2] == [0]
    for sample, row in zip(
        dataset, (a["cam_joints_m"][i] for a in arrays for i in range(len(a["index"]))), strict=True
    ):
        assert np.array_equal(sample.cam_joints_m, row)
    whole = open_dataset(both, flagged=True)
    assert (indices(whole), whole.left_out) == (every, [])


def test_a_split_or_an_engine_counts_only_its_own_flagged_samples(both: Path) -> None:
    flag_samples(both, dict.fromkeys((64, 48, 3, 1), "dark"))
    assert open_dataset(both, split="train", engine="render").left_out == [48, 64]
    assert open_dataset(both, engine="sync").left_out == [3]
    assert open_dataset(both, split="val").left_out == [1]
    assert open_dataset(both, split="test").left_out == []


def test_shards_without_flags_are_read_without_copies(both: Path) -> None:
    flag_samples(both, {48: "dark"})
    dataset = open_dataset(both)
    owned = [
        arrays["index"].base is None
        for shard, arrays in zip(dataset.shards, dataset.small_arrays(), strict=True)
        if shard["file"] != TRAIN_1
    ]
    assert not any(owned)


def test_what_is_left_out_is_decided_when_a_dataset_is_opened_and_pickles_along(copy: Path) -> None:
    flag_samples(copy, {16: "dark"})
    dataset = open_dataset(copy)
    before = indices(dataset)
    flag_samples(copy, {48: "dark"})
    remove_flags(copy, [16])
    other = pickle.loads(pickle.dumps(dataset))
    assert indices(dataset) == indices(other) == before
    assert (other.left_out, len(other)) == ([16], 8)
    assert open_dataset(copy).left_out == [48]


def test_a_dataset_all_of_whose_samples_are_flagged_is_empty(copy: Path) -> None:
    flag_samples(copy, dict.fromkeys(indices(open_dataset(copy)), "dark"))
    dataset = open_dataset(copy)
    assert (len(dataset), list(dataset), len(dataset.left_out)) == (0, [], 9)
    assert sum(len(arrays["index"]) for arrays in dataset.small_arrays()) == 0
    with pytest.raises(ConfigError, match=r"holds no sample that hasm can take, .* \(5 flagged ones are left out\)"):
        AihDataset(copy, "hasm", split="train")


@pytest.mark.parametrize("module", VIEWS)
def test_every_view_of_the_training_loader_gives_exactly_what_is_not_flagged(both: Path, module: ViewName) -> None:
    """The first shard is flagged whole, so is the last; one of two samples elsewhere."""
    whole = AihDataset(both, module, split=None, input_px=64)
    place = [sample.index for sample in whole.samples]
    flagged = {0, 16, 48, 19, 21, 5, 1, 53}
    flag_samples(both, dict.fromkeys(flagged & set(place), "dark"))
    data = AihDataset(both, module, split=None, input_px=64)
    expected = [i for i, (at, _) in enumerate(whole.items) if place[at] not in flagged]
    assert 0 < len(data) == len(expected) < len(whole)
    assert data.fields == whole.fields
    for i, before in enumerate(expected):
        one, other = data[i], whole[before]
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)
    again = pickle.loads(pickle.dumps(data))
    assert all(np.array_equal(again[0][name], value) for name, value in data[0].items())


def test_statistics_of_the_pose_are_over_what_is_kept(both: Path) -> None:
    whole = AihDataset(both, "shpe", split="train")
    place = [sample.index for sample in whole.samples]
    first = place[whole.items[0][0]]
    alone = [item for item in whole.items if place[item[0]] != first]
    flag_samples(both, {first: "dark"})
    kept = AihDataset(both, "shpe", split="train")
    whole.items = alone
    assert pose_statistics(kept) == pose_statistics(whole)


def test_a_flag_stands_until_its_sample_is_drawn_from_a_later_attempt_on() -> None:
    flags = {16: Flag("a", 1), 3: Flag("b", 4), 32: Flag("c", 4)}
    assert standing(flags, {3: 5, 32: 4}) == [16, 32]
