"""What webdataset reads back from an export."""

import json
import tarfile
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder import Sample, open_dataset
from aih_builder.errors import AihError, ConfigError, ShardError
from aih_builder.identity import SPLITS, Split
from aih_builder.imaging import encode_jpeg, encode_png
from aih_builder.interop import webdataset as tar_format
from aih_builder.interop.webdataset import braces, export_webdataset, files_of, sample_of
from aih_builder.interop.whole_dataset import Stored
from aih_builder.sample import SPECS
from aih_builder.shards.flags import Flag, add_flags
from aih_builder.shards.reader import ShardReader
from aih_builder.shards.writer import ShardHead, ShardWriter
from tests.cli_runs import temporary_files
from tests.shards.fabricate import fabricate

webdataset: Any = import_module("webdataset")  # its stubs know few of its names

# webdataset leaves its files to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def exported(both_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("webdataset") / "out"
    export_webdataset(both_dataset, out)
    return out


def opened(out: Path, split: str) -> list[dict[str, Any]]:
    """Samples of a split, by webdataset, files not decoded."""
    urls = json.loads((out / "index.json").read_text())["splits"][split]["urls"]
    paths = webdataset.shardlists.expand_urls(urls)
    assert all((out / path).is_file() for path in paths)
    return list(webdataset.WebDataset([str(out / path) for path in paths], shardshuffle=False, empty_check=False))


def values_of(sample: Sample) -> dict[str, Any]:
    """Every field; of an array type, shape and bytes."""
    values = {name: getattr(sample, name) for name in SPECS}
    return {name: (v.dtype.str, v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for name, v in values.items()}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("split", SPLITS)
def test_every_field_of_every_sample_comes_back(exported: Path, both_dataset: Path, split: Split) -> None:
    found = {int(files["__key__"]): values_of(sample_of(files)) for files in opened(exported, split)}
    assert found == {sample.index: values_of(sample) for sample in open_dataset(both_dataset, split)}


def test_webdatasets_own_decoders_give_pictures_masks_arrays_and_numbers(exported: Path, both_dataset: Path) -> None:
    dataset = webdataset.WebDataset(str(exported / "val/render-val-00000.tar"), shardshuffle=False).decode("rgb8")
    for files, sample in zip(dataset, open_dataset(both_dataset, "val", "render"), strict=True):
        assert np.abs(files["image.jpg"].astype(int) - sample.image_rgb).max() <= 2  # another JPEG decoder
        for hand, side in enumerate(("right", "left")):
            assert np.array_equal(files[f"target_{side}.png"], sample.target_rgb[hand])
            assert np.array_equal(files[f"amodal_mask_{side}.png"][..., 0] > 0, sample.amodal_mask[hand])
        assert np.array_equal(files["arrays.npz"]["cam_joints_m"], sample.cam_joints_m)
        assert files["record.json"]["pose_family"] == sample.pose_family


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.booleans())
def test_every_field_of_any_record_comes_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, lossless: bool
) -> None:
    """Optional pictures, odd sizes, unknown targets: as the shard's reader gives them."""
    fields = ("depth", "normal", "background_rgb", "forearm_mask")
    writer = ShardWriter(ShardHead("render", "train", 0, "00" * 32, fields, lossless))
    writer.add(fabricate(seed, 3 + seed % 17, 3 + seed % 23, fields))
    path = tmp_path_factory.mktemp("shard") / "it.h5"
    path.write_bytes(writer.to_bytes())
    reader = ShardReader(path)
    sample, parts = reader.sample(0), dict(zip(reader.parts, reader.encoded(0), strict=True))
    files = dict(files_of(Stored(sample, parts["image"], parts["background"])))
    assert values_of(sample_of(files)) == values_of(sample)
    assert files["image.png" if lossless else "image.jpg"] == parts["image"]


def test_jpeg_targets_are_near_inside_changed_mask_and_equal_outside(both_dataset: Path, tmp_path: Path) -> None:
    export_webdataset(both_dataset, tmp_path / "out", split="val", targets="jpg")
    samples = {sample.index: sample for sample in open_dataset(both_dataset, "val")}
    for files in opened(tmp_path / "out", "val"):
        found, sample = sample_of(files), samples[int(files["__key__"])]
        apart = np.abs(found.target_rgb.astype(int) - sample.target_rgb)
        assert not apart[~sample.changed_mask].any()
        assert apart[sample.changed_mask].mean() < 4
        assert np.array_equal(found.image_rgb, sample.image_rgb)


def test_the_same_dataset_gives_the_same_bytes_in_two_processes(
    exported: Path, both_dataset: Path, tmp_path: Path
) -> None:
    export_webdataset(both_dataset, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "two") == contents(exported)
    for path in exported.rglob("*.tar"):
        with tarfile.open(path) as tar:
            entries = tar.getmembers()
        assert {(e.mtime, e.uid, e.gid, e.uname, e.gname, e.mode) for e in entries} == {(0, 0, 0, "", "", 0o644)}
        assert len({e.name for e in entries}) == len(entries)


def test_an_export_that_was_stopped_goes_on_and_keeps_finished_tars(
    exported: Path, both_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = tar_format.files_of, []

    def stop_at_the_sixth(*arguments):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(tar_format, "files_of", stop_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        export_webdataset(both_dataset, tmp_path / "out")
    monkeypatch.undo()
    assert temporary_files(tmp_path / "out") == []
    assert not (tmp_path / "out/index.json").exists()
    tars = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.tar")}
    assert len(tars) == 3
    done = export_webdataset(both_dataset, tmp_path / "out")
    assert (done.made, done.kept, done.samples) == (7, 3, 18)
    assert {path: path.stat().st_mtime_ns for path in tars} == tars
    assert contents(tmp_path / "out") == contents(exported)


def test_flagged_samples_are_left_out(copy: Path, tmp_path: Path) -> None:
    add_flags(copy, {1: Flag("blurred", 1), 64: Flag("the only one of its shard", 1)})
    done = export_webdataset(copy, tmp_path / "out")
    assert done.samples == 7
    assert [int(files["__key__"]) for files in opened(tmp_path / "out", "val")] == [17]
    assert [int(files["__key__"]) for files in opened(tmp_path / "out", "train")] == [0, 16, 32, 48]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a/x-00000.tar"], "a/x-00000.tar"),
        (["a/x-00000.tar", "a/x-00001.tar"], "a/x-{00000..00001}.tar"),
        (["a/x-00000.tar", "a/y-00000.tar", "a/y-00001.tar"], "{a/x-00000.tar,a/y-{00000..00001}.tar}"),
    ],
)
def test_brace_notation_stands_for_all_files(files: list[str], expected: str) -> None:
    assert braces(files) == expected
    assert webdataset.shardlists.expand_urls(expected) == files


# What cannot be exported, or read back.


def test_a_folder_of_another_export_or_anything_else_is_left_untouched(
    both_dataset: Path, exported: Path, tmp_path: Path
) -> None:
    before = contents(exported)
    with pytest.raises(ConfigError, match="holds an export of something else; it differs in options"):
        export_webdataset(both_dataset, exported, targets="jpg")
    assert contents(exported) == before
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match=r"is not empty and holds no export \(found mine\)"):
        export_webdataset(both_dataset, tmp_path)


def test_a_damaged_shard_is_named_and_its_tar_is_not_written(copy: Path, tmp_path: Path) -> None:
    damaged = copy / "render/val/render-val-00000.h5"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(ShardError, match=r"render-val-00000\.h5: not a readable shard"):
        export_webdataset(copy, tmp_path / "out", split="val")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["export.json"]


def test_a_disk_that_is_full_is_told(small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tarfile.TarFile.addfile", full)
    with pytest.raises(ShardError, match=r"\.tar: cannot be written \(No space left on device\)"):
        export_webdataset(small_dataset, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["export.json"]


DAMAGE = {
    "no image": ({}, ["image.jpg"]),
    "no arrays": ({}, ["arrays.npz"]),
    "no record": ({}, ["record.json"]),
    "no target": ({}, ["target_right.png", "target_left.png"]),
    "half a mask": ({}, ["amodal_mask_left.png"]),
    "an image that is none": ({"image.jpg": b"x"}, []),
    "arrays that are none": ({"arrays.npz": b"PK\x03\x04"}, []),
    "arrays of pickles": ({"arrays.npz": b"\x80\x04N."}, []),
    "a record that is none": ({"record.json": b"[1]"}, []),
    "an image of another size": ({"image.jpg": encode_jpeg(np.zeros((8, 8, 3), np.uint8))}, []),
    "a mask of another size": ({"amodal_mask_left.png": encode_png(np.zeros((8, 8), np.uint8))}, []),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_files_that_make_no_record_are_refused(exported: Path, what: str) -> None:
    changed, lost = DAMAGE[what]
    files = {name: data for name, data in opened(exported, "val")[0].items() if name not in lost} | changed
    with pytest.raises(AihError):
        sample_of(files)
