"""What run_tasks asks of workers, wherever they are."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, ClassVar


class Workers(ABC):
    """Processes that are there and take tasks."""

    # What comes of a task whose worker was killed, where no other worker takes it.
    killed: ClassVar[tuple[type[BaseException], ...]] = ()

    @abstractmethod
    def count(self) -> int:
        """How many there are now."""

    @abstractmethod
    def submit(self, task: Callable[[Any], Any], item: Any) -> Future:
        """Hand a task over."""

    def replace(self, error: BaseException) -> None:
        """New ones, after some were killed. Raises GenerationError where that happens too often."""
        raise error

    @abstractmethod
    def waited(self) -> None:
        """Nothing was finished for a while."""


class Pool(ABC):
    """Where tasks run."""

    @abstractmethod
    def open(self, tasks: int) -> AbstractContextManager[Workers | None]:
        """Workers for so many tasks, until the block ends; None where this process shall do them itself.

        Turns what the workers' library raises into an AihError.
        """
