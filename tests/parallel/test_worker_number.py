import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from aih_builder.parallel import number
from aih_builder.parallel.number import worker_number
from aih_builder.parallel.run import run_tasks
from tests.cli_runs import ROOT, environment, wait_until


@pytest.fixture(autouse=True)
def devices_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Numbers are those of a machine, and other tests run on it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(tmp_path))
    number._forget()
    yield
    number._forget()


def numbered(workers: int, folder: Path, _: int) -> tuple[int, int]:
    """This worker and its number, once so many of them are there."""
    (folder / f"{os.getpid()}.there").touch()
    wait_until(lambda: len(list(folder.glob("*.there"))) >= workers)
    return os.getpid(), worker_number()


def test_workers_have_numbers_of_their_own_without_a_gap(tmp_path: Path) -> None:
    """Devices are shared out by them: each of three devices gets one of three workers."""
    found = dict(dict(run_tasks(partial(numbered, 3, tmp_path), range(9), 3)).values())
    assert len(found) == 3
    assert sorted(found.values()) == [0, 1, 2]


def test_processes_that_know_nothing_of_one_another_have_different_numbers() -> None:
    """Two runs, or two workers of a cluster, on one machine."""
    script = "from aih_builder.parallel.number import worker_number as w; print(w(), w(), flush=True); input()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], env=environment(), cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    told = [process.stdout.readline().split() for process in processes if process.stdout]
    assert sorted(told) == [["0", "0"], ["1", "1"], ["2", "2"]]
    processes[told.index(["1", "1"])].kill()
    processes[told.index(["1", "1"])].wait()
    assert worker_number() == 1  # free again: nothing has to be tidied up after a kill
    for process in processes:
        process.kill()
        process.communicate()


def test_a_process_keeps_its_number_and_a_child_gets_its_own(tmp_path: Path) -> None:
    assert [worker_number(), worker_number()] == [0, 0]
    assert {n for _, (_, n) in run_tasks(partial(numbered, 2, tmp_path), range(4), 2)} == {1, 2}


def test_where_no_number_can_be_claimed_it_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number, "_MOST", 0)
    assert worker_number() == 0


def test_a_forked_child_has_a_number_of_its_own_and_lets_go_of_its_parents(tmp_path: Path) -> None:
    assert worker_number() == 0
    if (child := os.fork()) == 0:
        (tmp_path / "told").write_text(str(worker_number()))
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "told").read_text() == "1"


def test_processes_that_are_offered_other_devices_count_by_themselves(tmp_path: Path) -> None:
    """Two jobs on one node, each with two GPUs: each of them counts from 0."""
    assert worker_number() == 0
    script = "from aih_builder.parallel.number import worker_number as w; print(w())"
    for changes, expected in (
        ({}, 1),
        ({"SLURM_JOB_ID": f"{tmp_path} 7"}, 0),
        ({"SLURM_JOB_ID": f"{tmp_path} 8"}, 0),
    ):
        run = subprocess.run(
            [sys.executable, "-c", script],
            env=environment(**changes),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(run.stdout) == expected
