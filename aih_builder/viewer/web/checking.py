"""A check of the whole dataset that runs while one looks on: `aih validate` in a thread of its own."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aih_builder.errors import AihError, ConfigError
from aih_builder.files import read_json
from aih_builder.shards.validate import Problem, validate

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """How far a check is."""

    running: bool = False
    done: int = 0  # shards
    of: int = 0
    checked: int | None = None  # samples that were read, once it is finished
    error: str = ""  # it could not be finished


class Check:
    """Checks one dataset folder at a time."""

    def __init__(self, folder: Path, jobs: int, on_found: Callable[[list[Problem]], None]) -> None:
        self.progress = Progress()
        self._folder, self._jobs, self._on_found = folder, jobs, on_found
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin, unless one runs."""
        with self._lock:
            if self.progress.running:
                return
            self.progress = Progress(running=True)
        threading.Thread(target=self._run, name="check", daemon=True).start()

    def _run(self) -> None:
        def note(done: int, of: int) -> None:
            self.progress = Progress(True, done, of)

        log.info("checking every sample of %s", self._folder)
        try:
            report = validate(self._folder, jobs=self._jobs, on_progress=note)
            self._on_found(report.problems)
            self.progress = Progress(done=report.shards, of=report.shards, checked=report.samples)
        except AihError as error:
            self.progress = Progress(error=str(error))
        finally:
            if self.progress.running:  # else no other check could be started
                self.progress = Progress(error="The check broke off; what `aih view` printed says why.")


def read_problems(path: Path) -> list[Problem]:
    """What `aih validate --json` printed. Raises ConfigError where the file is something else."""
    try:
        told = read_json(path)["problems"]
        return [
            Problem(str(p["file"]), None if p["sample"] is None else int(p["sample"]), str(p["message"])) for p in told
        ]
    except (AihError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"{path}: no report of a check ({error}). Expected what `aih validate DIR --json` prints."
        ) from error
