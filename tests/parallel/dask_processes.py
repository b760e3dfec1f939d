"""A Dask scheduler and workers as processes of their own, over TCP on loopback."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.cli_runs import ROOT, environment, wait_until


class Cluster(NamedTuple):
    """A scheduler's address and the processes."""

    address: str
    scheduler: subprocess.Popen
    workers: list[subprocess.Popen]
    folder: Path

    def start_worker(self, *options: str) -> subprocess.Popen:
        """One more; without a nanny, so that a kill is not made good by a restart."""
        arguments = ("--nthreads", "1", *options, "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        self.workers.append(_start("worker", self.address, *arguments, "--local-directory", str(self.folder)))
        return self.workers[-1]


def _start(what: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments],
        env=environment(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """Runs until the block ends. Works in a folder."""
    told = folder / "scheduler.json"
    arguments = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
    scheduler = _start("scheduler", *arguments)
    started = None
    try:
        wait_until(lambda: told.is_file() and told.read_text().endswith("}"))
        started = Cluster(json.loads(told.read_text())["address"], scheduler, [], folder)
        for _ in range(workers):
            started.start_worker()
        yield started
    finally:
        for process in [scheduler, *(started.workers if started else [])]:
            process.kill()
            process.wait()
