"""The same task over many items, in local processes."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import TypeVar

import psutil
from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from aih_builder.errors import GenerationError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_ONE_THREAD = {f"{pool}_NUM_THREADS": "1" for pool in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "NUMBA")}
_WATCH_S = 1.0
_number = 0
_ASKS_TO_STOP = {signal.SIGINT, signal.SIGTERM, signal.SIGALRM}  # the last is the command's own reminder of the others


def run_tasks(
    task: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int
) -> Generator[tuple[int, _Result], None, None]:
    """Position and result of each item, in the order in which they are finished. One job runs in this process.

    Close the iterator where it is not read to its end: no worker outlives it. The processes are joblib's, so the
    caller's script needs no `if __name__ == "__main__"`. Raises GenerationError where a worker is killed from outside,
    else what a task raises.
    """
    workers = min(jobs, len(items))
    if workers <= 1:
        yield from enumerate(map(task, items))
        return
    # An executor of our own: joblib's shared one may be at work for the caller.
    executor = ProcessPoolExecutor(workers, env=_ONE_THREAD, initializer=_follow, initargs=(os.getpid(),))
    resource_tracker.ensure_running()  # else the first worker starts it, which lets interrupts through
    waiting, running = iter(enumerate(items)), {}
    try:
        while True:
            with _interrupts_held():
                for position, item in waiting:
                    running[_started(executor, task, item)] = position
                    if len(running) == 2 * workers:  # one at work and one at hand for each
                        break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        raise GenerationError(
            "a worker was killed from outside (out of memory?). Finished files are kept: run the same command again, "
            "with fewer --jobs if memory is short."
        ) from error
    finally:
        # Whatever they do. It needs psutil: without, joblib looks for pgrep, which a slim container lacks.
        executor.shutdown(wait=True, kill_workers=True)


def _started(executor: ProcessPoolExecutor, task: Callable[[_Item], _Result], item: _Item) -> Future:
    """Hand a task over to the workers' queue. Shutting an executor down breaks on tasks that are not there yet."""
    future = executor.submit(task, item)
    while not (future.running() or future.done()):
        time.sleep(0.0005)
    return future


def worker_number() -> int:
    """Which of its siblings this worker is, for the choice of a device; 0 outside of run_tasks' workers."""
    return _number


def _rank(parent: int) -> int:
    """How many of the parent's processes are older than this one. They are there: one is started after the other."""
    me = psutil.Process()
    older = 0
    with suppress(psutil.Error):  # the parent is gone
        for process in psutil.Process(parent).children():
            with suppress(psutil.Error):  # so is this one
                older += (process.create_time(), process.pid) < (me.create_time(), me.pid)
    return older


def _follow(parent: int) -> None:
    """Learn this worker's number, and end soon after the parent, should that be killed."""
    global _number
    _number = _rank(parent)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back what asks a run to stop, until the block ends. Processes started meanwhile never see it: they inherit
    the mask, and their parent ends them.

    The mask alone will not do: where a library has threads, one of them takes the signal, and Python calls the handler
    in the main thread all the same.
    """
    held: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # only there are handlers set and called
        for number in _ASKS_TO_STOP:
            if signal.getsignal(number) is not None:  # not Python's
                handlers[number] = signal.signal(number, lambda number, _: held.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ASKS_TO_STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])
