"""One loop for all pools: hand tasks out, take results in, go on after a worker was killed."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from aih_builder.parallel.local import LocalPool
from aih_builder.parallel.pool import Pool

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_LONG_S = 30.0


def pool_of(jobs: int | Pool) -> Pool:
    """The pool that is meant: a number is that of local processes. Raises ConfigError where it is below 1."""
    return LocalPool(jobs) if isinstance(jobs, int) else jobs


def run_tasks(
    task: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int | Pool
) -> Generator[tuple[int, _Result], None, None]:
    """Position and result of each item, in the order in which they are finished. `jobs` is a number of local processes,
    of which one is this one, or a pool.

    Where a worker is killed from outside, the tasks that it leaves are done again, so a task that had ended but could
    not say so runs twice. Close the iterator where it is not read to its end: no local worker outlives it. Raises
    GenerationError where workers are killed again and again, else what a task raises.
    """
    if not items:
        return
    with pool_of(jobs).open(len(items)) as workers:
        if workers is None:
            yield from enumerate(map(task, items))
            return
        waiting, running = deque(enumerate(items)), dict[Future, tuple[int, _Item]]()
        while waiting or running:
            killed: BaseException | None = None
            room = 2 * max(1, workers.count())  # one at work and one at hand for each
            while waiting and len(running) < room:
                try:
                    future = workers.submit(task, waiting[0][1])
                except workers.killed as error:
                    killed = error
                    break
                running[future] = waiting.popleft()
            if killed is None:
                done = wait(running, _LONG_S, FIRST_COMPLETED).done
                if not done:
                    workers.waited()
            else:
                done = wait(running).done  # each of them is told
            left = []
            for future in done:
                position, item = running.pop(future)
                try:
                    result = future.result()
                except workers.killed as error:
                    killed = error
                    left.append((position, item))
                    continue
                yield position, result
            waiting.extendleft(reversed(left))
            if killed is not None and not running:
                workers.replace(killed)
