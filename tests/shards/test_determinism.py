"""The same bytes, whoever makes them, in whatever order, and however often they are stopped."""

import contextlib
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from aih_builder import generate, open_dataset, validate
from aih_builder.sample import SPECS
from aih_builder.shards.format import encode_parts
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.shards.reader import ShardReader
from aih_builder.shards.remake import differences
from aih_builder.shards.tasks import engine_for, make_sample
from aih_builder.synth.engine import Tally
from tests.builders import small_manifest
from tests.cli_runs import aih, environment, start, wait_until, write_manifest
from tests.shards.planting import contents, digests


@pytest.fixture(scope="module")
def one_a_shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples of small_manifest(), each in a shard of its own."""
    folder = tmp_path_factory.mktemp("single") / "dataset"
    generate(small_manifest(shard_samples=1), folder)
    return folder


def test_two_processes_give_the_same_shards_as_one(small_dataset: Path, tmp_path: Path) -> None:
    built = generate(small_manifest(), tmp_path / "two", jobs=2)
    assert built.finished
    assert digests(tmp_path / "two") == digests(small_dataset)
    assert (tmp_path / "two/dataset.json").read_text() == (small_dataset / "dataset.json").read_text()


def test_one_and_two_threads_of_blas_and_openmp_give_the_same_shards(small_dataset: Path, tmp_path: Path) -> None:
    """The suite's own process has one; PYTHONHASHSEED differs as well."""
    manifest = write_manifest(tmp_path / "it.yaml")
    pools = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    threads = environment(**{f"{pool}_NUM_THREADS": "2" for pool in pools}, PYTHONHASHSEED="12345")
    run = aih("generate", manifest, "--out", tmp_path / "threads", env=threads)
    assert run.returncode == 0, run.stderr
    assert digests(tmp_path / "threads") == digests(small_dataset)


def test_killed_halfway_and_resumed_gives_the_same_shards(one_a_shard: Path, tmp_path: Path) -> None:
    """SIGKILL to the parent and its workers; what was finished by then is kept, not made again."""
    folder, manifest = tmp_path / "killed", write_manifest(tmp_path / "it.yaml", shard_samples=1)
    process = start("generate", manifest, "--out", folder, "--jobs", "2")
    try:
        wait_until(lambda: len(list(folder.glob("render/*/*.json"))) >= 2 or process.poll() is not None)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (folder / "dataset.json").exists()
    records = {name.removesuffix(".json"): stamp for name, stamp in contents(folder).items() if name.endswith(".json")}
    built = generate(small_manifest(shard_samples=1), folder)
    assert built.finished
    assert built.skipped >= 2
    assert built.made >= 1
    assert digests(folder) == digests(one_a_shard)
    after = contents(folder)
    kept = [name for name in records if name.startswith("render/")]
    assert len(kept) == built.skipped
    assert all(after[f"{name}.json"] == records[name] for name in kept)
    assert [path for path in folder.rglob("*") if "tmp" in path.name] == []
    assert validate(folder).problems == []


def test_the_size_of_a_shard_changes_no_sample(small_dataset: Path, one_a_shard: Path) -> None:
    one, other = open_dataset(small_dataset), open_dataset(one_a_shard)
    assert (len(one.shards), len(other.shards)) == (5, 9)
    for a, b in zip(one, other, strict=True):
        for name in SPECS:
            assert np.array_equal(getattr(a, name), getattr(b, name)), name


def test_every_sample_made_alone_equals_its_stored_bytes(small_dataset: Path) -> None:
    plan = load_plan(small_dataset)
    made = [(shard, index) for shard in plan.shards() for index in shard.indices]
    assert len(made) == 9
    assert [differences(plan, shard, index) for shard, index in reversed(made)] == [[]] * 9


def test_a_difference_of_one_bit_to_what_is_stored_is_seen(small_dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(small_dataset, tmp_path / "copy"))
    plan = load_plan(copy)
    shard = plan.shards()[0]
    reader = ShardReader(copy / shard.file)
    stored = (copy / shard.file).read_bytes()
    place = stored.index(reader.encoded(1)[0]) + 400
    column = stored.index(reader.plain["cam_joints_m"][1].tobytes())
    for at, name in ((place, "image"), (column, "cam_joints_m")):
        changed = bytearray(stored)
        changed[at] ^= 1
        (copy / shard.file).write_bytes(changed)
        assert [differences(plan, shard, index) for index in shard.indices] == [[], [name]]


def test_the_order_of_making_changes_no_sample(tmp_path: Path) -> None:
    """One engine makes many samples: buffers and caches of one must not reach into the next."""
    plans = [make_plan(small_manifest(), tmp_path / name) for name in ("one", "other")]
    parts = ("image", "target_right", "target_left", "masks")
    indices = [index for shard in plans[0].shards() for index in shard.indices]
    there = {i: encode_parts(make_sample(plans[0], i), parts, lossless=True) for i in indices}
    back = {i: encode_parts(make_sample(plans[1], i), parts, lossless=True) for i in reversed(indices)}
    assert there == back
    again = engine_for(plans[1], "render").make(indices[2], Tally())
    assert encode_parts(again, parts, lossless=True) == there[indices[2]]
