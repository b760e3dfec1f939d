import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aih_builder.parallel import number
from aih_builder.parallel.number import worker_number
from aih_builder.parallel.run import run_tasks
from tests.cli_runs import ROOT, environment


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Numbers are those of a machine, and other tests run on it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(number, "_held", None)
    yield
    if number._held is not None:
        os.close(number._held[2])


def numbered(_: int) -> tuple[int, int]:
    time.sleep(0.3)  # until all workers are there
    return os.getpid(), worker_number()


def test_workers_have_numbers_of_their_own_without_a_gap() -> None:
    """Devices are shared out by them: each of three devices gets one of three workers."""
    found = dict(dict(run_tasks(numbered, range(9), 3)).values())
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


def test_a_process_keeps_its_number_and_a_child_gets_its_own() -> None:
    assert [worker_number(), worker_number()] == [0, 0]
    assert {n for _, (_, n) in run_tasks(numbered, range(4), 2)} == {1, 2}


def test_where_no_lock_can_be_had_the_number_is_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file" / "below"))
    (tmp_path / "file").touch()
    assert worker_number() == 0
    number._held = None
