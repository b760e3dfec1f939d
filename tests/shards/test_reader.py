import contextlib
import json
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import h5py
import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder import Sample, open_dataset
from aih_builder.errors import AihError, ConfigError, ShardError
from aih_builder.sample import SPECS
from aih_builder.shards.reader import Dataset, ShardReader
from aih_builder.shards.writer import ShardHead, ShardWriter
from tests.shards.fabricate import fabricate


@pytest.fixture(scope="module")
def dataset(small_dataset: Path) -> Dataset:
    return open_dataset(small_dataset)


def as_bytes(sample: Sample) -> bytes:
    return pickle.dumps([getattr(sample, name) for name in SPECS])


def read(dataset: Dataset, i: int) -> bytes:
    return as_bytes(dataset[i])


def test_a_dataset_is_a_sequence(dataset: Dataset) -> None:
    whole = [as_bytes(sample) for sample in dataset]
    assert len(whole) == len(dataset) == 9
    assert [read(dataset, i) for i in range(-9, 0)] == whole
    assert [as_bytes(s) for s in dataset[2:7:2]] == whole[2:7:2]
    assert [as_bytes(s) for s in dataset[::-1]] == whole[::-1]
    assert dataset[100:] == []
    assert read(dataset, np.int64(3)) == whole[3]  # pyright: ignore[reportArgumentType]
    assert len(set(whole)) == 9


@pytest.mark.parametrize("outside", [9, -10, 2**40])
def test_an_index_outside_is_an_index_error(dataset: Dataset, outside: int) -> None:
    with pytest.raises(IndexError, match=f"sample {outside} of a dataset of 9"):
        dataset[outside]


def test_an_index_that_is_no_number_is_a_type_error(dataset: Dataset) -> None:
    with pytest.raises(TypeError):
        dataset[1.0]  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_a_split_is_the_samples_of_that_split(small_dataset: Path, dataset: Dataset) -> None:
    parts = {split: open_dataset(small_dataset, split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 5, "val": 2, "test": 2}
    for split, part in parts.items():
        assert {sample.split for sample in part} == {split}
    assert sorted(s.index for part in parts.values() for s in part) == sorted(s.index for s in dataset)


def test_a_misspelt_split_is_refused(small_dataset: Path) -> None:
    """It would be an empty dataset otherwise."""
    with pytest.raises(ConfigError, match="split is 'tset', expected one of train, val, test"):
        open_dataset(small_dataset, "tset")  # pyright: ignore[reportArgumentType]


def test_pickles_without_open_files(dataset: Dataset) -> None:
    before = read(dataset, 4)
    data = pickle.dumps(dataset)
    assert len(data) < 4000
    assert read(pickle.loads(data), 4) == before


def _child(dataset: Dataset, connection: Any) -> None:
    connection.send([read(dataset, i) for i in (0, 4, 8)])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_reads_what_its_parent_reads(dataset: Dataset, method: str) -> None:
    """As a DataLoader's worker does: the dataset has been read from before, and is handed over."""
    expected = [read(dataset, i) for i in (0, 4, 8)]
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(dataset, theirs))  # pyright: ignore[reportAttributeAccessIssue]
    process.start()
    assert ours.poll(60)
    assert ours.recv() == expected
    process.join(60)
    assert process.exitcode == 0


def test_joblib_workers_read_what_one_process_reads(dataset: Dataset) -> None:
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(read)(dataset, i) for i in range(9))
    assert found == [read(dataset, i) for i in range(9)]


def test_arrays_of_a_shard_are_mapped_not_held(dataset: Dataset, small_dataset: Path) -> None:
    """A process that reads from a thousand shards must not keep their tables in memory."""
    reader = ShardReader(small_dataset / dataset.shards[0]["file"])
    for column in reader.plain.values():
        while isinstance(column.base, np.ndarray):
            column = column.base
        assert isinstance(column, np.memmap)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_kept_open_are_few_and_any_order_reads_the_same(
    small_dataset: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [read(dataset, i) for i in range(9)]
    monkeypatch.setattr("aih_builder.shards.reader.MAX_OPEN", 2)
    fresh, before = open_dataset(small_dataset), open_files()
    for i in np.random.default_rng(0).integers(0, 9, 100).tolist():
        assert read(fresh, i) == expected[i]
        assert open_files() <= before + 2


def test_a_dataset_that_lets_go_of_its_files_reads_them_anew_as_they_are_then(copy: Path) -> None:
    fresh, before = open_dataset(copy), open_files()
    expected = [read(fresh, i) for i in range(9)]
    fresh.release()
    assert open_files() == before
    file = copy / "render/train/render-train-00002.h5"
    whole = file.read_bytes()
    os.truncate(file, 100)  # to read it from its map would end the process
    with pytest.raises(ShardError, match="not a readable shard"):
        read(fresh, 4)
    file.write_bytes(whole)
    assert [read(fresh, i) for i in range(9)] == expected


def test_a_shard_that_is_replaced_is_read_to_its_old_end_or_refused(copy: Path) -> None:
    """A dataset may grow while somebody trains on it."""
    reader = ShardReader(copy / "render/train/render-train-00002.h5")
    before = as_bytes(reader.sample(0))
    other = copy / "render/train/render-train-00001.h5"
    other.replace(reader.path)
    assert as_bytes(reader.sample(0)) == before
    reader.release()
    with pytest.raises(ShardError, match=r"was replaced while it was read\. Open the dataset again"):
        reader.sample(0)


# What is not a dataset, or not one of ours.


@pytest.mark.parametrize("what", ["nothing", "folder", "file", "shard"])
def test_a_path_that_is_no_dataset_is_refused(small_dataset: Path, tmp_path: Path, what: str) -> None:
    path = {
        "nothing": tmp_path / "none",
        "folder": tmp_path,
        "file": small_dataset / "dataset.json",
        "shard": small_dataset / "render/train/render-train-00000.h5",
    }[what]
    with pytest.raises(ConfigError, match=r"holds no dataset.json\. Expected a dataset folder"):
        open_dataset(path)


def test_an_unfinished_dataset_says_what_to_do(copy: Path) -> None:
    (copy / "dataset.json").unlink()
    with pytest.raises(ConfigError, match="is not finished: run `aih generate` again"):
        open_dataset(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, "schema 3, this version reads schema 2. Install a newer aih-builder"),
        ({"schema": 1}, "schema 1, this version reads schema 2. Make it again"),
        ({"schema": None}, "schema None, this version reads schema 2"),
        ({"format": "coco"}, "not of this package"),
        ({"shards": None}, "its list of shards is not readable"),
        ({"shards": [{"file": "a.h5"}]}, "its list of shards is not readable"),
        ({"shards": [3]}, "its list of shards is not readable"),
    ],
)
def test_a_damaged_or_foreign_dataset_json_is_refused(copy: Path, change: dict, message: str) -> None:
    path = copy / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ShardError, match=message):
        open_dataset(copy)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_dataset_json_that_is_no_object_is_refused(copy: Path, data: bytes) -> None:
    (copy / "dataset.json").write_bytes(data)
    with pytest.raises(ShardError, match=r"dataset\.json: "):
        open_dataset(copy)


def test_a_count_that_lies_is_an_error_and_does_not_end_the_iteration(copy: Path) -> None:
    """An IndexError from a shard would end `for sample in dataset` without a word."""
    path = copy / "dataset.json"
    content = json.loads(path.read_text())
    content["shards"][0]["samples"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(ShardError, match=r"holds 2 samples, dataset\.json says 3"):
        list(open_dataset(copy))


def test_a_missing_shard_is_named_when_it_is_read(copy: Path) -> None:
    dataset = open_dataset(copy)
    (copy / dataset.shards[1]["file"]).unlink()
    assert dataset[0].index == 0
    with pytest.raises(
        ShardError, match=r"render-train-00001\.h5: not a readable shard .* `aih repair` on its dataset"
    ):
        dataset[2]


# Damaged and foreign shard files.


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard of two samples of 8 x 8 pixels."""
    writer = ShardWriter(ShardHead("render", "train", 0, "00" * 32, ("depth",), False))
    for seed in (1, 2):
        writer.add(fabricate(seed, 8, 8, ["depth"]))
    path = tmp_path_factory.mktemp("tiny") / "it.h5"
    path.write_bytes(writer.to_bytes())
    return path


def read_all(path: Path) -> list[Sample]:
    reader = ShardReader(path)
    return [reader.sample(i) for i in range(len(reader))]


@settings(max_examples=100)
@given(st.data())
def test_every_truncated_shard_is_a_shard_error(tiny: Path, data: st.DataObject) -> None:
    whole, path = tiny.read_bytes(), tiny.with_name("short.h5")
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ShardError, match=r"short\.h5: not a readable shard"):
        ShardReader(path)


@settings(max_examples=400)
@given(st.data())
def test_flipped_bytes_are_a_shard_error_or_still_a_sample(tiny: Path, data: st.DataObject) -> None:
    """Whatever the bytes say: no other exception, no crash, and samples that obey the record's types."""
    damaged, path = bytearray(tiny.read_bytes()), tiny.with_name("flipped.h5")
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    with contextlib.suppress(ShardError):
        assert [type(sample) for sample in read_all(path)] == [Sample, Sample]


@settings(max_examples=100)
@given(st.binary(max_size=64), st.booleans())
def test_any_other_file_is_a_shard_error(tiny: Path, data: bytes, signature: bool) -> None:
    path = tiny.with_name("other.h5")
    path.write_bytes(b"\x89HDF\r\n\x1a\n" * signature + data)
    with pytest.raises(ShardError, match=r"other\.h5: not a readable shard .* `aih repair`"):
        ShardReader(path)


def edited(tiny: Path, tmp_path: Path, edit: Any) -> Path:
    path = Path(shutil.copy(tiny, tmp_path / "edited.h5"))
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def _replace(file: h5py.File, name: str, *, group: bool = False, **options: Any) -> None:
    kept = file[name][:]  # pyright: ignore[reportIndexIssue]
    del file[name]
    if group:
        file.create_group(name)
    else:
        file.create_dataset(name, **{"data": kept, **options})


def _state_fields(file: h5py.File, fields: str) -> None:
    file.attrs["fields"] = np.bytes_(fields)


EDITS = {
    "foreign": (lambda f: f.attrs.__delitem__("format"), "an HDF5 file, but not a shard of this package"),
    "of another format": (lambda f: f.attrs.__setitem__("format", "coco"), "not a shard of this package"),
    "newer": (lambda f: f.attrs.__setitem__("schema", 3), "schema 3, this version reads schema 2. Install a newer"),
    "without a schema": (lambda f: f.attrs.__delitem__("schema"), "schema None"),
    "an array for a schema": (lambda f: f.attrs.__setitem__("schema", [1, 2]), "schema None"),
    "fields that are no list": (lambda f: _state_fields(f, "5"), "not a readable shard"),
    "no fields": (lambda f: f.attrs.__delitem__("fields"), "not a readable shard"),
    "more parts than offsets": (
        lambda f: f.attrs.__setitem__("fields", np.bytes_('["depth", "normal"]')),
        "offsets is int64",
    ),
    "without joints": (lambda f: f.__delitem__("joints_px"), "not a readable shard"),
    "a group for a column": (lambda f: _replace(f, "joints_px", group=True), "not a readable shard"),
    "a group for the blob": (lambda f: _replace(f, "blob", group=True), "not a readable shard"),
    "a chunked blob": (lambda f: _replace(f, "blob", chunks=(16,)), "blob is uint8"),
    "a compressed column": (lambda f: _replace(f, "K_px", compression="gzip"), "K_px is float32"),
    "a column of another type": (lambda f: _replace(f, "index", dtype="i8"), "index is int64"),
    "a column of another shape": (lambda f: _replace(f, "K_px", data=np.zeros((2, 9), "f4")), "K_px is float32"),
    "a short column": (lambda f: _replace(f, "seed", data=np.zeros(1, "u4")), "tables do not fit together"),
    "no samples": (lambda f: _replace(f, "offsets", data=np.zeros((0, 6), "i8")), "not a readable|do not fit"),
    "negative offsets": (lambda f: f["offsets"].__setitem__((0, 0), -1), "tables do not fit together"),
    "offsets beyond the end": (lambda f: f["offsets"].__setitem__((1, 5), 2**62), "tables do not fit together"),
    "falling offsets": (lambda f: f["offsets"].__setitem__((0, 1), 2**30), "tables do not fit together"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_hdf5_file_of_another_content_is_refused(tiny: Path, tmp_path: Path, what: str) -> None:
    edit, message = EDITS[what]
    with pytest.raises(ShardError, match=message):
        ShardReader(edited(tiny, tmp_path, edit))


BROKEN_PARTS = {
    "image": b"\xff\xd8garbage",
    "no image": b"",
    "masks": b"x" * 9,
    "no masks": b"",
}


@pytest.mark.parametrize("what", BROKEN_PARTS)
def test_a_damaged_part_names_shard_and_sample(tiny: Path, tmp_path: Path, what: str) -> None:
    position = 3 if "masks" in what else 0

    def edit(file: h5py.File) -> None:
        offsets: Any = file["offsets"]
        blob: Any = file["blob"]
        begin, end = offsets[1, position], offsets[1, position + 1]
        data = BROKEN_PARTS[what].ljust(end - begin, b"\0")
        blob[begin:end] = np.frombuffer(data, np.uint8)

    reader = ShardReader(edited(tiny, tmp_path, edit))
    assert isinstance(reader.sample(0), Sample)
    with pytest.raises(ShardError, match=r"edited\.h5: sample 1: .* Run `aih validate`"):
        reader.sample(1)


def test_text_that_is_no_utf8_and_numbers_that_are_nan_are_shard_errors(tiny: Path, tmp_path: Path) -> None:
    for name, value in (("pose_id", np.bytes_(b"\xff")), ("penetration_mm", np.nan)):
        path = edited(tiny, tmp_path, lambda f, name=name, value=value: f[name].__setitem__(0, value))
        with pytest.raises(AihError, match="sample 0: "):
            read_all(path)
        assert isinstance(ShardReader(path).sample(1), Sample)
