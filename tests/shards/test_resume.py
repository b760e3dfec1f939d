"""What lies in the folder already: finished shards are kept, torn ones are made again, foreign files are left alone."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aih_builder import generate, open_dataset, validate
from aih_builder.errors import AihError, ConfigError, GenerationError, ShardError
from aih_builder.imaging import encode_png
from aih_builder.shards import tasks
from aih_builder.shards.build import Progress, index
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.shards.tasks import shard_state
from aih_builder.synth.engine import Engine
from tests.builders import small_content, small_manifest, with_counts
from tests.shards.planting import contents, digests

MIDDLE = "render/train/render-train-00001.h5"
RECORD = "render/train/render-train-00001.json"


def test_a_finished_dataset_is_left_exactly_as_it_is(copy: Path) -> None:
    before = contents(copy)
    built = generate(small_manifest(), copy)
    assert (built.made, built.skipped, built.samples, built.finished) == (0, 5, 0, True)
    assert contents(copy) == before


def rewrite_record(change: dict) -> Callable[[Path], None]:
    def tear(folder: Path) -> None:
        path = folder / RECORD
        path.write_text(json.dumps({k: v for k, v in (json.loads(path.read_text()) | change).items() if v is not None}))

    return tear


def cut(name: str, to: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:to])


TORN: dict[str, Callable[[Path], object]] = {
    "truncated": cut(MIDDLE, 5000),
    "emptied": cut(MIDDLE, 0),
    "longer than recorded": lambda folder: (folder / MIDDLE).write_bytes((folder / MIDDLE).read_bytes() + b"x"),
    "gone": lambda folder: (folder / MIDDLE).unlink(),
    "without a record": lambda folder: (folder / RECORD).unlink(),
    "record emptied": cut(RECORD, 0),
    "record truncated": cut(RECORD, 100),
    "record of another kind": lambda folder: (folder / RECORD).write_text("[]"),
    "record without a checksum": rewrite_record({"sha256": None}),
    "record without counts": rewrite_record({"rejections": None}),
    "record of uncountable draws": rewrite_record({"rejections": {"reach": "many"}}),
    "record of no time": rewrite_record({"seconds": {"pose": None}}),
    "record of another plan": rewrite_record({"plan_hash": "00"}),
    "record of another file": rewrite_record({"file": "render/val/render-val-00000.h5"}),
    "record of fewer samples": rewrite_record({"samples": 1}),
    "a folder in its place": lambda folder: ((folder / RECORD).unlink(), (folder / RECORD).mkdir()),
}


@pytest.fixture(scope="module")
def several(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy, torn and mended again and again: the engine is loaded once."""
    return Path(shutil.copytree(small_dataset, tmp_path_factory.mktemp("torn") / "copy"))


@pytest.mark.parametrize("what", [name for name in TORN if name != "a folder in its place"])
def test_a_torn_shard_is_made_again_to_the_same_bytes_and_no_other_is_touched(
    small_dataset: Path, several: Path, what: str
) -> None:
    before = contents(several)
    TORN[what](several)
    state = shard_state(load_plan(several), load_plan(several).shards()[1])
    assert state.state == "torn"
    assert state.reason
    built = generate(small_manifest(), several)
    assert (built.made, built.skipped, built.finished) == (1, 4, True)
    assert digests(several) == digests(small_dataset)
    after = contents(several)
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= {MIDDLE, RECORD, "dataset.json"}
    assert after["dataset.json"][1] == before["dataset.json"][1]
    assert after.keys() == before.keys()


def test_a_folder_where_a_record_belongs_is_an_error_with_a_remedy(copy: Path) -> None:
    TORN["a folder in its place"](copy)
    with pytest.raises(ShardError, match=r"render-train-00001\.json: cannot be written \(Is a directory\)"):
        generate(small_manifest(), copy)


def test_a_run_that_fails_keeps_what_is_finished_and_is_not_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, folder = Engine.make, tmp_path / "fails"

    def fail_at_val(self: Engine, index: int, *rest, **named):
        if index % 16 == 1 and "max_attempts" not in named:
            raise GenerationError("no sample today")
        return make(self, index, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "make", fail_at_val)
        with pytest.raises(GenerationError, match="no sample today"):
            generate(small_manifest(), folder)
    assert len(digests(folder)) == 3
    with pytest.raises(ConfigError, match="is not finished"):
        open_dataset(folder)
    with pytest.raises(ConfigError, match=r"2 shards are not done .*render-val-00000\.h5: missing"):
        index(folder)
    assert generate(small_manifest(), folder).skipped == 3


# Temporary files.


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_temporary_files_of_this_hosts_dead_processes_are_removed(copy: Path) -> None:
    host, dead = socket.gethostname().replace("-", "_"), dead_pid()
    foreign = [
        copy / f"render/train/a.h5.tmp-{host}-{os.getpid()}-0123abcd",
        copy / f"render/train/a.h5.tmp-another_host-{dead}-0123abcd",
        copy / f"render/train/a.h5.tmp-{host}-{dead}-short",
        copy / "notes.tmp",
        copy / "my.tmp-folder" / "kept",
    ]
    stale = [
        copy / f"render/train/a.h5.tmp-{host}-{dead}-0123abcd",
        copy / f"dataset.json.tmp-{host}-{dead}-ffffffff",
        copy / f"cache/textures/x.jpg.tmp-{host}-{dead}-00000000",
    ]
    for path in [*foreign, *stale]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    generate(small_manifest(), copy)
    assert [path for path in foreign if not path.exists()] == []
    assert [path for path in stale if path.exists()] == []


def test_leftovers_of_an_interrupted_planning_do_not_change_the_plan(small_dataset: Path, tmp_path: Path) -> None:
    """The plan's hash covers the cached textures, not what lies beside them."""
    folder, host, dead = tmp_path / "begun", socket.gethostname().replace("-", "_"), dead_pid()
    textures = folder / "cache/textures"
    shutil.copytree(small_dataset / "cache/textures", textures)
    shutil.copy(small_dataset / "manifest.yaml", folder)
    (textures / f"a.jpg.tmp-{host}-{dead}-0123abcd").write_bytes(b"x")
    (textures / f"a.jpg.tmp-elsewhere-{dead}-0123abcd").write_bytes(b"x")
    (folder / f"plan.json.tmp-{host}-{dead}-0123abcd").write_bytes(b"x")
    assert make_plan(small_manifest(), folder).plan_hash == load_plan(small_dataset).plan_hash
    assert len(list(folder.rglob("*.tmp-*"))) == 1


# Growth.


def test_a_dataset_grows_and_no_sample_moves(small_dataset: Path, copy: Path) -> None:
    before = contents(copy)
    built = generate(small_manifest(**with_counts(train=7, test=4)), copy)
    assert built.finished
    after = contents(copy)
    full = [name for name in before if name.startswith("render/") and "train-00002" not in name]
    assert len(full) == 8
    assert all(after[name] == before[name] for name in full)
    old = {sample.index: sample for sample in open_dataset(small_dataset)}
    new = {sample.index: sample for sample in open_dataset(copy)}
    assert len(new) == 13
    assert old.keys() < new.keys()
    for i, sample in old.items():
        assert sample.image_rgb.tobytes() == new[i].image_rgb.tobytes()
        assert sample.target_rgb.tobytes() == new[i].target_rgb.tobytes()
    assert json.loads((copy / "dataset.json").read_text())["counts"]["render"] == {"train": 7, "val": 2, "test": 4}
    assert load_plan(copy).plan_hash == load_plan(small_dataset).plan_hash
    assert validate(copy).problems == []


def test_a_dataset_that_grew_equals_one_made_at_once(tmp_path: Path) -> None:
    grown, at_once = tmp_path / "grown", tmp_path / "once"
    for counts in ({"train": 1, "val": 0, "test": 0}, {"train": 3, "val": 1, "test": 0}):
        generate(small_manifest(**with_counts(**counts)), grown)
    generate(small_manifest(**with_counts(train=3, val=1, test=0)), at_once)
    assert digests(grown) == digests(at_once)
    assert (grown / "manifest.yaml").read_text() == (at_once / "manifest.yaml").read_text()
    assert (grown / "dataset.json").read_text() == (at_once / "dataset.json").read_text()


def test_growth_into_an_empty_pool_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once written, the larger count could not be taken back."""
    folder = tmp_path / "train-only"
    make_plan(small_manifest(**with_counts(val=0, test=0)), folder)
    before = contents(folder)
    monkeypatch.setattr("aih_builder.sources.pools.split_of", lambda _: "train")
    with pytest.raises(ConfigError, match="no set falls into split 'val'"):
        generate(small_manifest(**with_counts(test=0)), folder)
    assert contents(folder) == before


def test_a_relative_folder_of_backgrounds_is_the_same_on_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest beside the shards lies elsewhere than the one it was read from."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        Path(f"photos/{number}.png").write_bytes(encode_png(rng.integers(0, 256, (40, 50, 3), np.uint8)))
    content = small_content(**with_counts(train=1, val=0, test=0))
    content["pools"]["backgrounds"] = {"procedural": ["noise"], "folders": ["photos"]}
    manifest = small_manifest(**content)
    assert generate(manifest, "out").made == 1
    assert generate(manifest, "out").made == 0
    monkeypatch.chdir(tmp_path / "out")
    assert generate(load_plan(Path()).manifest, tmp_path / "out").made == 0


# Refusals, each of which leaves the folder as it was.


REFUSED = {
    "fewer samples": (
        with_counts(train=4),
        "holds 5 train samples of render, the manifest asks for 4. A dataset only grows",
    ),
    "another seed": ({"seed": 1}, "holds a dataset of another manifest; it differs in seed"),
    "another size": ({"image_size_px": 64, "name": "else"}, "it differs in image_size_px, name"),
    "another shard size": ({"shard_samples": 3}, "it differs in shard_samples"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_another_manifest_is_refused_and_the_folder_untouched(copy: Path, what: str) -> None:
    changes, message = REFUSED[what]
    before = contents(copy)
    with pytest.raises(ConfigError, match=message):
        generate(small_manifest(**changes), copy)
    assert contents(copy) == before


@pytest.mark.parametrize(
    "files",
    [
        {"holiday.jpg": b"x"},
        {"manifest.yaml": b"schema: 1\n"},
        {"manifest.yaml": b"a: [\n"},
        {"manifest.yaml": b"\xff\xfe"},
        {"manifest.yaml": None, "notes.txt": b"x"},
        {"cache/hand.npz": b"x"},
        {".hidden": b""},
    ],
)
def test_a_folder_with_other_files_is_refused_and_untouched(
    small_dataset: Path, tmp_path: Path, files: dict[str, bytes | None]
) -> None:
    folder = tmp_path / "mine"
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((small_dataset / name).read_bytes() if data is None else data)
    before = contents(folder)
    with pytest.raises(ConfigError, match=r"is not empty and holds no plan of this manifest .* left untouched"):
        generate(small_manifest(), folder)
    assert contents(folder) == before


def plan_json(change: dict) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        path = folder / "plan.json"
        content = json.loads(path.read_text()) | change
        gone = {key for key, value in change.items() if value is None}
        path.write_text(json.dumps({key: value for key, value in content.items() if key not in gone}))

    return edit


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited manifest": (
        lambda f: (f / "manifest.yaml").write_text((f / "manifest.yaml").read_text().replace("limit: 2", "limit: 1")),
        "manifest.yaml or plan.json was changed by hand",
    ),
    "no manifest": (lambda f: (f / "manifest.yaml").unlink(), r"manifest\.yaml: cannot be read"),
    "edited plan": (plan_json({"hand": "00"}), "was changed by hand"),
    "plan of another version": (plan_json({"version": "99.0"}), r"planned by version 99\.0, this is .* new folder"),
    "plan of another kind": (plan_json({"format": "?"}), "not a plan of this package"),
    "plan without renderer": (plan_json({"renderer": None}), "damaged, it lacks 'renderer'"),
    "plan without pools": (plan_json({"textures": None}), "damaged, it lacks 'textures'"),
    "plan with odd backgrounds": (plan_json({"backgrounds": {"kinds": 3}}), "record of backgrounds is damaged"),
    "plan truncated": (lambda f: (f / "plan.json").write_text('{"format":'), r"plan\.json: not a readable JSON"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_a_plan_that_was_changed_by_hand_is_refused(copy: Path, what: str) -> None:
    tamper, message = TAMPERED[what]
    tamper(copy)
    before = contents(copy)
    for command in (lambda: generate(small_manifest(), copy), lambda: validate(copy), lambda: index(copy)):
        with pytest.raises(AihError, match=message):
            command()
    assert contents(copy) == before


# Parts of a plan, as a cluster's array makes them.


def test_parts_made_apart_and_indexed_equal_the_whole(small_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    make_plan(small_manifest(), folder)
    first = generate(small_manifest(), folder, shards=slice(3, None))
    assert (first.made, first.finished) == (2, False)
    assert len(digests(folder)) == 2
    assert not (folder / "dataset.json").exists()
    last = generate(small_manifest(), folder, shards=slice(0, 3))
    assert (last.made, last.finished) == (3, True)
    assert digests(folder) == digests(small_dataset)
    (folder / "dataset.json").unlink()
    assert index(folder) == folder / "dataset.json"
    assert (folder / "dataset.json").read_bytes() == (small_dataset / "dataset.json").read_bytes()


@pytest.mark.parametrize("part", [slice(0, 6), slice(3, 3), slice(4, 2), slice(-1, 2), slice(5, None)])
def test_a_part_outside_the_plan_is_refused(copy: Path, part: slice) -> None:
    with pytest.raises(ConfigError, match="the plan has shards 0:5"):
        generate(small_manifest(), copy, shards=part)


def test_no_process_is_no_answer(copy: Path) -> None:
    for run in (lambda: generate(small_manifest(), copy, jobs=0), lambda: validate(copy, jobs=0)):
        with pytest.raises(ConfigError, match="jobs is 0, expected at least 1"):
            run()


# What a run tells.


def test_progress_counts_what_this_run_has_to_make(copy: Path) -> None:
    (copy / MIDDLE).unlink()
    seen: list[Progress] = []
    generate(small_manifest(), copy, on_progress=seen.append)
    assert seen == [Progress(0, 2), Progress(2, 2)]


def test_the_record_tells_the_cost_of_a_shard(small_dataset: Path) -> None:
    plan = load_plan(small_dataset)
    for shard in plan.shards():
        record = tasks.read_record(small_dataset, shard)
        assert record["samples"] == shard.last - shard.first
        assert record["bytes"] == (small_dataset / shard.file).stat().st_size
        assert {"pose", "view", "render", "compose", "check", "encode", "write"} <= record["seconds"].keys()
        assert all(seconds >= 0 for seconds in record["seconds"].values())
        assert record["peak_rss_mib"] > 50
        assert set(record["versions"]) >= {"aih-builder", "numpy", "numba", "h5py", "hdf5", "simplejpeg", "zlib"}
