"""The real `aih` command in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.builders import small_content

ROOT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "-m", "aih_builder.cli.main")


def environment(**changes: str) -> dict[str, str]:
    """A user's environment with the checkout importable: libraries have threads, unlike in the tests' own process."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return kept | {"PYTHONPATH": path} | changes


def aih(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, from another folder than the checkout's. Options go to subprocess.run."""
    settings = {"env": environment(), "cwd": ROOT.parent, "timeout": 120} | options
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **settings)


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Start a command as the leader of a process group."""
    settings = {"env": environment(), "cwd": ROOT.parent} | options
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **settings,
    )  # fmt: skip


def write_manifest(path: Path, **changes: Any) -> Path:
    """small_content(**changes) as a file."""
    path.write_text(yaml.safe_dump(small_content(**changes)), encoding="utf-8")
    return path


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Fail where nothing happens in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def said(run: subprocess.CompletedProcess[str]) -> str:
    """What a failed command says: one message, no traceback."""
    assert "Traceback" not in run.stdout + run.stderr
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("aih: ")]
    return line


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if "tmp" in path.name]
