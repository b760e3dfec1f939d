"""run_tasks with results in the order of the items."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from aih_builder.parallel.pool import Pool
from aih_builder.parallel.run import run_tasks

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def run_in_order(task: Callable[[_Item], _Result], items: Sequence[_Item], jobs: int | Pool) -> Iterator[_Result]:
    """The result of each item in turn. What is finished early waits in memory, as a rule less than two for each worker.

    Raises as run_tasks does.
    """
    early: dict[int, _Result] = {}
    following = 0
    with closing(run_tasks(task, items, jobs)) as finished:
        for position, result in finished:
            early[position] = result
            while following in early:
                yield early.pop(following)
                following += 1
