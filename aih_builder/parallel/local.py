"""Workers that are processes of this machine: joblib's own executor, loky."""

import logging
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any, ClassVar

from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from aih_builder.errors import ConfigError, GenerationError
from aih_builder.parallel.interrupts import interrupts_held
from aih_builder.parallel.pool import Pool, Workers

log = logging.getLogger(__name__)

MAX_RESTARTS = 3
_ONE_THREAD = {f"{pool}_NUM_THREADS": "1" for pool in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "NUMBA")}
_WATCH_S = 1.0


class LocalPool(Pool):
    """Processes of this machine. One is this process itself.

    They are joblib's, so the caller's script needs no `if __name__ == "__main__"`. A worker whose memory grows by more
    than 300 MB after its first task ends between two tasks, and a fresh one takes its place.
    """

    def __init__(self, jobs: int) -> None:
        if jobs < 1:
            raise ConfigError(f"jobs is {jobs}, expected at least 1.")
        self._jobs = jobs

    @contextmanager
    def open(self, tasks: int) -> Iterator[Workers | None]:
        """See Pool."""
        count = min(self._jobs, tasks)
        if count <= 1:
            yield None
            return
        workers = _LocalWorkers(count)
        try:
            yield workers
        finally:
            workers.end()


class _LocalWorkers(Workers):
    killed: ClassVar = (BrokenProcessPool,)

    def __init__(self, count: int) -> None:
        # Said by loky of a worker that grew and made way for another, as it shall.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given", category=UserWarning)
        self._count, self._restarts = count, 0
        self._executor = self._started()

    def _started(self) -> ProcessPoolExecutor:
        # An executor of our own: joblib's shared one may be at work for the caller.
        executor = ProcessPoolExecutor(self._count, env=_ONE_THREAD, initializer=_follow, initargs=(os.getpid(),))
        with interrupts_held():
            resource_tracker.ensure_running()  # else the first worker starts it, which lets interrupts through
        return executor

    def count(self) -> int:
        """See Workers."""
        return self._count

    def submit(self, task: Callable[[Any], Any], item: Any) -> Future:
        """See Workers. Returns once the task is in the workers' queue: shutting down breaks on those that are not."""
        with interrupts_held():  # workers are started as tasks come
            future = self._executor.submit(task, item)
            while not (future.running() or future.done()):
                time.sleep(0.0005)
        return future

    def replace(self, error: BaseException) -> None:
        """See Workers."""
        if error.__cause__ is not None:  # a task or a result that cannot be pickled breaks the pool as well
            raise error
        told = re.search(r"\{.*\}", str(error))
        how = told[0] if told else "unknown"
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise GenerationError(
                f"workers were killed from outside (out of memory?), or crashed, {self._restarts} times, the last by "
                f"{how}. Finished files are kept: run the same command again, with fewer --jobs if memory is short."
            ) from error
        log.warning(
            "a worker was killed from outside (out of memory?), or crashed (%s). Restart %d of %d: new ones go on.",
            how, self._restarts, MAX_RESTARTS,
        )  # fmt: skip
        self.end()
        self._executor = self._started()

    def waited(self) -> None:
        """See Workers. A shard may take longer than that."""

    def end(self) -> None:
        """End the workers, whatever they do. It needs psutil: without, joblib looks for pgrep, which a slim container
        lacks.
        """
        self._executor.shutdown(wait=True, kill_workers=True)


def _follow(parent: int) -> None:
    """End soon after the parent, should that be killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
