"""Faults in the middle of a run: the run goes on, or says what to do; nothing finished is lost, and what comes out in
the end is the same to the byte. A full disk and missing permissions are met in tests/cli/test_process.py.
"""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from aih_builder import generate, open_dataset, validate
from aih_builder.errors import ConfigError, GenerationError
from aih_builder.parallel.dask_pool import DaskPool
from aih_builder.shards.build import Progress
from aih_builder.shards.listing import NotWhole, write_listing, write_listing_if_whole
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.shards.repair import repair
from aih_builder.shards.tasks import make_shard, shard_state
from tests.builders import small_both_content, small_both_manifest, small_manifest, with_counts
from tests.cli_runs import start, temporary_files, wait_until
from tests.parallel.dask_processes import cluster
from tests.shards.planting import contents, digests

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def by_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes: 18 samples of both engines in 18 shards."""
    folder = tmp_path_factory.mktemp("one") / "dataset"
    generate(manifest(), folder)
    return folder


def manifest():
    return small_both_manifest(shard_samples=1)


def whole(folder: Path, like: Path) -> bool:
    """Whether a folder holds the dataset, to the byte, and nothing besides."""
    assert digests(folder) == digests(like)
    assert (folder / "dataset.json").read_bytes() == (like / "dataset.json").read_bytes()
    assert temporary_files(folder) == []
    return True


def once(action: Callable[[], object]) -> Callable[[Progress], None]:
    """Does something after the third shard."""
    did: list[object] = []

    def report(progress: Progress) -> None:
        if progress.done >= 3 and not did:
            did.append(action())

    return report


def a_worker() -> psutil.Process:
    """One of this process's workers."""
    children = psutil.Process().children()
    return next(child for child in children if any("popen_loky" in part for part in child.cmdline()))


def test_a_local_worker_that_is_killed_is_replaced_and_the_run_goes_on(by_one: Path, tmp_path: Path) -> None:
    folder, kills = tmp_path / "out", []
    report = once(lambda: kills.append(a_worker().kill()))
    assert generate(manifest(), folder, jobs=2, on_progress=report).finished
    assert kills
    assert whole(folder, by_one)


def test_a_dask_worker_that_is_killed_is_done_without(by_one: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with cluster(tmp_path, 2) as running:
        victim = running.workers[0]
        built = generate(manifest(), folder, jobs=DaskPool(running.address), on_progress=once(victim.kill))
        assert victim.wait() == -signal.SIGKILL
    assert built.finished
    assert whole(folder, by_one)


def test_a_dask_scheduler_that_is_killed_ends_the_run_which_goes_on_elsewhere(by_one: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with cluster(tmp_path, 1) as running, pytest.raises(GenerationError, match=r"scheduler at .* is gone"):
        generate(manifest(), folder, jobs=DaskPool(running.address), on_progress=once(running.scheduler.kill))
    there = {name: told for name, told in contents(folder).items() if name.startswith(("render/", "sync/"))}
    kept = [name for name in there if name.endswith(".json")]  # the record ends a shard: one without is made anew
    before = {name: there[name] for record in kept for name in (record, record.removesuffix("json") + "h5")}
    assert 3 <= len(kept) < 18
    assert not (folder / "dataset.json").exists()
    built = generate(manifest(), folder)
    assert built.finished
    assert built.skipped >= len(kept)
    after = contents(folder)
    assert all(after[name] == told for name, told in before.items())  # nothing made twice
    assert whole(folder, by_one)


def test_a_parent_that_is_killed_leaves_whole_shards_and_no_workers(by_one: Path, tmp_path: Path) -> None:
    folder, described = tmp_path / "out", tmp_path / "it.yaml"
    described.write_text(json.dumps(small_both_content(shard_samples=1)))
    process = start("generate", described, "--out", folder, "--jobs", "2")
    wait_until(lambda: len(list(folder.glob("*/*/*-0*.json"))) >= 3 or process.poll() is not None)  # not the cache's
    workers = psutil.Process(process.pid).children()
    process.kill()
    process.communicate()
    psutil.wait_procs(workers, 10)
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    plan = load_plan(folder)
    states = [shard_state(plan, shard).state for shard in plan.shards()]
    assert states.count("done") >= 3
    assert generate(manifest(), folder).skipped == states.count("done")
    assert whole(folder, by_one)


def test_two_runs_on_one_folder_both_end_well(by_one: Path, tmp_path: Path) -> None:
    folder, described = tmp_path / "out", tmp_path / "it.yaml"
    described.write_text(json.dumps(small_both_content(shard_samples=1)))
    make_plan(manifest(), folder)
    runs = [start("generate", described, "--out", folder, "--jobs", "2", "--json") for _ in range(2)]
    told = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert all(json.loads(stdout)["finished"] for stdout, _ in told)
    assert whole(folder, by_one)


def test_a_shard_that_another_run_has_finished_meanwhile_is_not_made_again(by_one: Path) -> None:
    before = contents(by_one)
    shard = load_plan(by_one).shards()[4]
    assert make_shard(by_one, shard).fresh is False
    assert contents(by_one) == before


def test_a_shard_damaged_afterwards_is_found_and_it_alone_is_made_again(by_one: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(by_one, tmp_path / "copy"))
    damaged = load_plan(folder).shards()[5].file
    data = bytearray((folder / damaged).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / damaged).write_bytes(data)
    (problem,) = validate(folder).problems
    assert problem.file == damaged
    before = contents(folder)
    assert list(repair(folder).remade) == [damaged]
    after = contents(folder)
    told = {damaged, damaged.replace(".h5", ".json"), "dataset.json"}
    assert {name for name in before if after[name] != before[name]} <= told
    assert whole(folder, by_one)


# dataset.json never lies.


def test_a_run_that_ends_after_another_let_the_dataset_grow_does_not_call_it_finished(
    small_dataset: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(small_dataset, tmp_path / "copy"))
    (folder / "dataset.json").unlink()
    make_plan(small_manifest(**with_counts(test=4)), folder)  # the other run, which has planned and made nothing yet
    assert not write_listing_if_whole(folder)
    with pytest.raises(ConfigError, match="1 shards are not done"):
        write_listing(folder)
    assert not (folder / "dataset.json").exists()


def test_a_dataset_that_grows_while_its_index_is_written_is_not_indexed_as_it_was(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(small_dataset, tmp_path / "copy"))
    (folder / "dataset.json").unlink()

    def grow_first(path: Path, content: dict) -> None:
        monkeypatch.undo()
        make_plan(small_manifest(**with_counts(test=4)), folder)
        path.write_text(json.dumps(content))

    monkeypatch.setattr("aih_builder.shards.listing.write_json", grow_first)
    with pytest.raises(ConfigError, match="1 shards are not done"):
        write_listing(folder)
    assert not (folder / "dataset.json").exists()


def test_a_run_that_looked_too_early_leaves_the_index_that_another_has_written_meanwhile(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(small_dataset, tmp_path / "copy"))

    def early(_: object) -> None:
        monkeypatch.undo()  # the other run has finished now
        raise NotWhole("1 shards are not done")

    monkeypatch.setattr("aih_builder.shards.listing.listing", early)
    assert write_listing_if_whole(folder)
    assert (folder / "dataset.json").read_bytes() == (small_dataset / "dataset.json").read_bytes()


def test_a_run_that_has_something_to_make_takes_the_index_away_first(small_dataset: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small_dataset, tmp_path / "copy"))
    (folder / load_plan(folder).shards()[0].file).unlink()
    seen = []
    generate(small_manifest(), folder, on_progress=lambda _: seen.append((folder / "dataset.json").exists()))
    assert seen == [False, False]
    assert len(open_dataset(folder)) == 9
