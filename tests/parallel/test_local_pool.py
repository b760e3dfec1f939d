import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from joblib.externals.loky.process_executor import _ExecutorManagerThread

from aih_builder.errors import ConfigError, GenerationError
from aih_builder.parallel.local import MAX_RESTARTS
from aih_builder.parallel.run import run_tasks
from tests.cli_runs import ROOT, environment, wait_until


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def fail_at_3(number: int) -> int:
    if number == 3:
        raise ConfigError("three")
    return number


def wait_long(number: int) -> int:
    time.sleep(0 if number == 0 else 600)
    return os.getpid()


def fail_at_0(number: int) -> None:
    time.sleep(0 if number == 0 else 600)
    raise ConfigError("zero")


def die(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def threads(_: int) -> list[str | None]:
    return [os.environ.get(f"{pool}_NUM_THREADS") for pool in ("OMP", "OPENBLAS", "MKL", "NUMBA")]


def leaves_interrupts(_: int) -> bool:
    return {signal.SIGINT, signal.SIGTERM} <= signal.pthread_sigmask(signal.SIG_BLOCK, set())


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_item_is_done_once(jobs: int) -> None:
    found = dict(run_tasks(square, range(20), jobs))
    assert {position: value for position, (value, _) in found.items()} == {i: i * i for i in range(20)}
    pids = {pid for _, pid in found.values()}
    assert (os.getpid() in pids) == (jobs == 1)
    assert len(pids) <= jobs


def test_no_items_need_no_process() -> None:
    assert list(run_tasks(square, [], 4)) == []


def test_one_item_runs_in_this_process() -> None:
    assert list(run_tasks(square, [3], 4)) == [(0, (9, os.getpid()))]


def test_a_worker_has_one_thread_for_each_library() -> None:
    assert dict(run_tasks(threads, range(2), 2)) == {0: ["1"] * 4, 1: ["1"] * 4}


FRESH = """
import signal
from tests.parallel.test_local_pool import leaves_interrupts
from aih_builder.parallel.run import run_tasks

print(sorted({result for _, result in run_tasks(leaves_interrupts, range(4), 4)}))
print(signal.pthread_sigmask(signal.SIG_BLOCK, set()))
"""


def test_workers_leave_interrupts_to_their_parent() -> None:
    """In a fresh interpreter, where joblib still has its own helpers to start."""
    run = subprocess.run(
        [sys.executable, "-c", FRESH], env=environment(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[True]\nset()\n"


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_error_of_a_task_comes_out_as_it_is(jobs: int) -> None:
    with pytest.raises(ConfigError, match=r"^three$"):
        list(run_tasks(fail_at_3, range(50), jobs))


def test_a_run_ends_when_a_task_fails_while_the_pools_own_thread_is_between_two_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers killed in that moment could go unnoticed: that thread would wait for their results for ever."""
    wait = _ExecutorManagerThread.wait_result_broken_or_wakeup

    def late(self: _ExecutorManagerThread):
        time.sleep(0.2)
        return wait(self)

    monkeypatch.setattr(_ExecutorManagerThread, "wait_result_broken_or_wakeup", late)
    with pytest.raises(ConfigError, match=r"^zero$"):
        list(run_tasks(fail_at_0, range(5), 2))


def die_at_first(marks: Path, number: int) -> int:
    """Killed at every third number, the first time that it is tried."""
    mark = marks / str(number)
    if number % 3 == 0 and not mark.exists():
        mark.touch()
        die(number)
    return number


@pytest.mark.parametrize("killed", [1, MAX_RESTARTS])
def test_the_tasks_of_killed_workers_are_done_by_new_ones(
    tmp_path: Path, killed: int, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        found = list(run_tasks(partial(die_at_first, tmp_path), range(3 * killed), 2))
    assert sorted(found) == [(i, i) for i in range(3 * killed)]
    told = [record.message for record in caplog.records if "killed from outside" in record.message]
    assert 1 <= len(told) <= killed  # two may die at once
    assert re.search(r"crashed \(\{.*SIGKILL\(-9\).*\}\)\. Restart 1 of 3: new ones go on\.$", told[0])


def test_workers_that_are_killed_again_and_again_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(
        GenerationError, match=r"killed from outside \(out of memory\?\).* 4 times.* run the same command again"
    ):
        list(run_tasks(die, range(4), 2))


def grow(_: int) -> int:
    """A task that loses 200 MB, as a driver may."""
    _lost.append(np.ones(25_000_000))
    time.sleep(1.1)  # memory is looked at once a second
    return os.getpid()


_lost: list[np.ndarray] = []


def test_a_worker_whose_memory_grows_makes_way_for_a_fresh_one() -> None:
    run = subprocess.run(
        [sys.executable, "-c", GROWING], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    tasks, workers, most = map(int, run.stdout.split())
    assert tasks == 12
    assert workers >= 4
    assert most <= 4


GROWING = """
from collections import Counter
from aih_builder.parallel.run import run_tasks
from tests.parallel.test_local_pool import grow

by_worker = Counter(pid for _, pid in run_tasks(grow, range(12), 2))
print(by_worker.total(), len(by_worker), max(by_worker.values()))
"""


def gone(pid: int) -> bool:
    """Whether a process has ended; its parent may not have asked for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_no_worker_outlives_an_iterator_that_is_closed_early() -> None:
    with closing(run_tasks(wait_long, range(9), 2)) as results:
        _, pid = next(results)
    assert gone(pid)


def test_two_threads_may_run_tasks_at_once() -> None:
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: sorted(run_tasks(fail_at_3, [5, 6, 7], 2)), range(2)))
    assert found == [[(0, 5), (1, 6), (2, 7)]] * 2


ORPHANS = """
import os, sys, time
from functools import partial
from tests.parallel.test_local_pool import wait_long
from aih_builder.parallel.run import run_tasks

for _, pid in run_tasks(wait_long, range(9), 2):
    print(pid, flush=True)
"""


def test_workers_end_soon_after_their_parent_is_killed() -> None:
    """They would wait for work for ever, each with its textures in memory."""
    process = subprocess.Popen(
        [sys.executable, "-c", ORPHANS], env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert not gone(pid)
        process.kill()
        wait_until(lambda: gone(pid), 10)


SCRIPT = """
from aih_builder.parallel.run import run_tasks

print("once")

def twice(number):
    return 2 * number

print(sorted(run_tasks(twice, [1, 2, 3], 2)))
"""


@pytest.mark.parametrize("tools", ["", os.environ.get("PATH", "")])
def test_a_script_needs_no_main_guard_and_no_tools(tmp_path: Path, tools: str) -> None:
    """Neither `if __name__ == "__main__"` nor the pgrep that joblib looks for: a slim container has none."""
    (tmp_path / "script.py").write_text(SCRIPT)
    run = subprocess.run(
        [sys.executable, tmp_path / "script.py"], env=environment(PATH=tools), cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "once\n[(0, 2), (1, 4), (2, 6)]\n", "")


HELD = """
import os, signal, threading, time
from aih_builder.parallel.interrupts import interrupts_held

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
threading.Thread(target=time.sleep, args=(9,), daemon=True).start()  # takes the signal that the main thread blocks
told, tell = os.pipe()
os.set_blocking(tell, False)
signal.set_wakeup_fd(tell)  # written to once a thread has taken it
try:
    with interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        os.read(told, 1)
        print("held")
    print("lost")
except KeyboardInterrupt:
    print("heard", signal.pthread_sigmask(signal.SIG_BLOCK, set()))
"""


def test_an_interrupt_is_held_back_whichever_thread_takes_it() -> None:
    run = subprocess.run(
        [sys.executable, "-c", HELD], env=environment(), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("held\nheard set()\n", "")
