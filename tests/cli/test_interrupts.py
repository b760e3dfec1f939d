"""Ctrl-C, SIGTERM and killed workers: one message, nothing half-made, and the next run goes on."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from aih_builder import generate, validate
from aih_builder.cli import INTERRUPTED
from aih_builder.shards.plan import load_plan
from aih_builder.shards.tasks import shard_state
from tests.builders import small_manifest
from tests.cli_runs import environment, start, temporary_files, wait_until, write_manifest
from tests.shards.planting import contents


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "it.yaml", shard_samples=1)


def stop(process: subprocess.Popen[str], number: int) -> str:
    """Signal the whole group, as a terminal does; what it said."""
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert stdout == ""
    assert "Traceback" not in stderr
    assert stderr.endswith(f"{INTERRUPTED}\n")
    return stderr


@pytest.mark.parametrize(("jobs", "number"), [(1, signal.SIGINT), (2, signal.SIGINT), (2, signal.SIGTERM)])
def test_an_interrupted_run_says_so_leaves_nothing_behind_and_goes_on(
    tmp_path: Path, manifest: Path, jobs: int, number: int
) -> None:
    folder = tmp_path / "out"
    process = start("generate", manifest, "--out", folder, "--jobs", str(jobs))
    wait_until(lambda: list(folder.glob("render/*/*.json")) or process.poll() is not None)
    stop(process, number)
    assert temporary_files(folder) == []
    assert not (folder / "dataset.json").exists()
    wait_until(lambda: not workers_of(process.pid), 10)
    before, states = contents(folder), states_of(folder)
    built = generate(small_manifest(shard_samples=1), folder)
    assert built.finished
    assert built.skipped == list(states.values()).count("done") >= 1
    after = contents(folder)
    touched = {name for name in before if after[name] != before[name]}
    # A worker may be ended between its shard and the record beside it: that shard is made again, to the same bytes.
    assert {name for name in touched if states.get(name) != "torn"} == set()
    assert {name for name in touched if after[name][1] != before[name][1]} == set()
    assert validate(folder).problems == []


@pytest.mark.parametrize("gap_s", [0.0, 0.05, 0.2])
def test_an_impatient_second_interrupt_changes_nothing(tmp_path: Path, manifest: Path, gap_s: float) -> None:
    process = start("generate", manifest, "--out", tmp_path / "out", "--jobs", "2")
    wait_until(lambda: list(tmp_path.glob("out/render/*/*.json")) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(gap_s)
    with suppress(ProcessLookupError):  # ended already
        os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.endswith(f"{INTERRUPTED}\n")
    assert "Traceback" not in stderr
    wait_until(lambda: not workers_of(process.pid), 10)
    assert generate(small_manifest(shard_samples=1), tmp_path / "out").finished


def states_of(folder: Path) -> dict[str, str]:
    """done, torn or missing, by the shard's file."""
    plan = load_plan(folder)
    return {shard.file: shard_state(plan, shard).state for shard in plan.shards()}


def workers_of(group: int) -> list[int]:
    """Running processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, in_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(in_group) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def heeds_sigterm(pid: int) -> bool:
    """Whether our handlers are set: before, Python ends by rules of its own."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("after_s", [0.0, 0.4, 0.8])
def test_an_interrupt_while_the_libraries_load_or_the_plan_is_made_is_met_as_well(
    tmp_path: Path, manifest: Path, after_s: float
) -> None:
    process = start("generate", manifest, "--out", tmp_path / "out")
    wait_until(lambda: heeds_sigterm(process.pid))
    time.sleep(after_s)
    stop(process, signal.SIGINT)
    assert temporary_files(tmp_path) == []
    built = generate(small_manifest(shard_samples=1), tmp_path / "out")
    assert built.finished


MODULE = """
import os, signal

class Interrupted:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGINT)

class Owner:  # what its descriptors raise comes out as a RuntimeError
    attribute = Interrupted()
"""
LOADING = """
import time
from aih_builder.cli.main import listen
listen()
try:
    import interrupting
    print("loaded")
    time.sleep(9)
except KeyboardInterrupt:
    print("heard")
"""


def test_an_interrupt_where_python_would_make_another_error_of_it_is_heard_once_the_module_is_loaded(
    tmp_path: Path,
) -> None:
    (tmp_path / "interrupting.py").write_text(MODULE)
    run = subprocess.run(
        [sys.executable, "-c", LOADING], env=environment(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("loaded\nheard\n", "")


def test_an_interrupt_while_code_is_compiled_is_met_as_well(tmp_path: Path, manifest: Path) -> None:
    """LLVM calls back into Python, where an exception would be printed and lost: twice into a cold cache."""
    for number, after_s in enumerate((1.2, 2.2)):
        cold = environment(NUMBA_CACHE_DIR=str(tmp_path / f"cache-{number}"))
        process = start("generate", manifest, "--out", tmp_path / f"out-{number}", env=cold)
        time.sleep(after_s)
        stop(process, signal.SIGINT)
        assert temporary_files(tmp_path / f"out-{number}") == []


def test_a_worker_that_is_killed_is_told_and_the_run_goes_on(tmp_path: Path, manifest: Path) -> None:
    folder = tmp_path / "out"
    process = start("generate", manifest, "--out", folder, "--jobs", "2")
    wait_until(lambda: list(folder.glob("render/*/*.json")) or process.poll() is not None)
    (victim, *_) = [pid for pid in workers_of(process.pid) if is_worker(pid)]
    os.kill(victim, signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "a worker was killed from outside" in stderr
    assert "Restart 1 of 3" in stderr
    assert "Traceback" not in stderr
    assert temporary_files(folder) == []
    assert generate(small_manifest(shard_samples=1), folder).made == 0


def is_worker(pid: int) -> bool:
    try:
        return b"popen_loky" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
