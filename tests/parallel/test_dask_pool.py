import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest

from aih_builder.cli import INTERRUPTED
from aih_builder.errors import ConfigError, GenerationError
from aih_builder.parallel.dask_pool import DaskPool
from aih_builder.parallel.run import run_tasks
from tests.cli_runs import aih, start, temporary_files, wait_until, write_manifest
from tests.parallel.dask_processes import Cluster, cluster
from tests.parallel.dask_tasks import die, fail_at_3, slow_square, square

pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask's own, about connections that end


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("dask"), 2) as running:
        yield running


def test_every_item_is_done_once_by_the_clusters_workers(two_workers: Cluster) -> None:
    found = list(run_tasks(square, range(20), DaskPool(two_workers.address)))
    assert sorted((position, value) for position, (value, _) in found) == [(i, i * i) for i in range(20)]
    assert {pid for _, (_, pid) in found} <= {worker.pid for worker in two_workers.workers}


def test_the_error_of_a_task_comes_out_as_it_is(two_workers: Cluster) -> None:
    with pytest.raises(ConfigError, match=r"^three$"):
        list(run_tasks(fail_at_3, range(50), DaskPool(two_workers.address)))


def test_an_iterator_that_is_closed_early_leaves_the_cluster_free(two_workers: Cluster) -> None:
    with closing(run_tasks(slow_square, range(1000), DaskPool(two_workers.address))) as results:
        next(results)
    assert len(list(run_tasks(square, range(4), DaskPool(two_workers.address)))) == 4


def test_the_tasks_of_a_killed_worker_are_done_by_another(tmp_path: Path) -> None:
    with cluster(tmp_path, 2) as running:
        victim, other = running.workers
        found = {}
        for position, (value, pid) in run_tasks(slow_square, range(12), DaskPool(running.address)):
            found[position] = value, pid
            if len({by for _, by in found.values()}) == 2:  # both are at work
                victim.kill()
        assert {position: value for position, (value, _) in found.items()} == {i: i * i for i in range(12)}
        assert [pid for _, pid in found.values()].count(other.pid) > 6


def test_a_scheduler_that_is_killed_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with cluster(tmp_path, 1) as running:
        results = run_tasks(slow_square, range(100), DaskPool(running.address))
        next(results)
        running.scheduler.kill()
        with pytest.raises(GenerationError, match=r"scheduler at tcp.* is gone.* run the same command again"):
            list(results)


def test_a_task_that_kills_its_workers_is_an_error(tmp_path: Path) -> None:
    four = cluster(tmp_path, 4)
    with four as running, pytest.raises(GenerationError, match=r"4 workers died over one task, .* more memory"):
        list(run_tasks(die, [1], DaskPool(running.address)))


def unknown_there(number: int) -> int:
    return number


def test_a_cluster_without_this_package_is_told_to_install_it(two_workers: Cluster) -> None:
    """A function of a test module, which the cluster's processes cannot import."""
    with pytest.raises(ConfigError, match=r"cannot load what it shall do .* the same environment"):
        list(run_tasks(unknown_there, [1], DaskPool(two_workers.address)))


def test_workers_may_come_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aih_builder.parallel.run._LONG_S", 0.2)
    with cluster(tmp_path, 0) as running:
        later = Timer(1.0, running.start_worker)
        later.start()
        assert len(list(run_tasks(square, range(4), DaskPool(running.address)))) == 4
        later.join()
    assert f"no worker at {running.address}. Start some: dask worker tcp" in caplog.text


def test_a_worker_with_several_threads_is_refused(tmp_path: Path) -> None:
    """Engines and GL contexts belong to one."""
    with cluster(tmp_path, 0) as running:
        running.start_worker("--nthreads", "2")
        with pytest.raises(ConfigError, match=r"has 2 threads, expected 1\. Start workers with --nthreads 1"):
            list(run_tasks(square, range(4), DaskPool(running.address)))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_an_address_where_no_scheduler_is_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aih_builder.parallel.dask_pool._ANSWER_S", 1)
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers .*`dask scheduler`"):
        list(run_tasks(square, range(4), DaskPool(address)))


def test_an_interrupt_ends_a_run_on_a_cluster_and_the_next_one_goes_on(two_workers: Cluster, tmp_path: Path) -> None:
    folder, manifest = tmp_path / "out", write_manifest(tmp_path / "it.yaml", shard_samples=1)
    options = ("--out", folder, "--engine", "dask", "--scheduler", two_workers.address)
    process = start("generate", manifest, *options)
    wait_until(lambda: list(folder.glob("render/*/*.json")) or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stderr.endswith(f"{INTERRUPTED}\n")
    assert "Traceback" not in stderr
    run = aih("generate", manifest, *options)
    assert run.returncode == 0, run.stderr
    assert temporary_files(folder) == []


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aih_builder.parallel.dask_pool.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs distributed: pip install 'aih-builder\[cluster\]'"):
        DaskPool("tcp://127.0.0.1:8786")
