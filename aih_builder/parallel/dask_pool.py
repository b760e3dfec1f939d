"""Workers of a Dask cluster, which may be on other machines: they share a filesystem with this one."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from aih_builder.errors import ConfigError, GenerationError
from aih_builder.parallel.pool import Pool, Workers

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

_ANSWER_S = 30  # to wait for a scheduler that does not answer
_KEPT = "Finished files are kept: run the same command again"
_NOISY = ("distributed", "distributed.client", "tornado.application", "asyncio")
# What ends badly while a connection is closed is not worth more than what ended the run.
UNCLEAN = (OSError, RuntimeError, AssertionError)


def require_dask(*libraries: str) -> None:
    """Raises ConfigError where the extra `cluster` is not installed."""
    missing = [name for name in ("distributed", *libraries) if find_spec(name) is None]
    if missing:
        raise ConfigError(f"a Dask cluster needs {' and '.join(missing)}: pip install 'aih-builder[cluster]'.")


@contextmanager
def quiet() -> Iterator[None]:
    """Let Dask not log what the error that ends a run tells as well: lost connections, jobs that are not submitted."""
    import_module("distributed")  # which sets up its loggers as it loads
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class DaskPool(Pool):
    """The workers of a running Dask scheduler, each with one thread: `dask worker ADDRESS --nthreads 1 --nworkers N`.

    Workers may come and go. Dask itself gives the task of a worker that was killed to another, up to three times.
    """

    def __init__(self, scheduler: str) -> None:
        require_dask()
        self._scheduler = scheduler

    @contextmanager
    def open(self, tasks: int) -> Iterator[Workers | None]:
        """See Pool."""
        from distributed import Client, KilledWorker

        del tasks
        with quiet():
            try:
                client = Client(self._scheduler, timeout=_ANSWER_S, set_as_default=False)
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"{self._scheduler}: no Dask scheduler answers ({error}). Start one (`dask scheduler`) and give "
                    "the address that it prints, such as tcp://node1:8786."
                ) from error
            try:
                workers = _DaskWorkers(client, self.none_there)
                log.info("%d workers at the Dask scheduler %s", workers.count(), self._scheduler)
                yield workers
            except CancelledError as error:
                raise GenerationError(
                    f"the Dask scheduler at {self._scheduler} is gone, or was told to cancel the tasks. {_KEPT} with a "
                    "scheduler that runs."
                ) from error
            except KilledWorker as error:
                raise GenerationError(
                    f"{error.allowed_failures + 1} workers died over one task, the last one at "
                    f"{error.last_worker.address} (out of memory? See that worker's log). {_KEPT}, with more memory "
                    "for each worker if it is short."
                ) from error
            except (RuntimeError, ImportError) as error:
                if not isinstance(error, ImportError) and "deserialization" not in str(error):
                    raise
                raise ConfigError(
                    f"the Dask cluster at {self._scheduler} cannot load what it shall do ({error.__cause__ or error}). "
                    "Run scheduler and workers in the same environment as this process, with this package."
                ) from error
            finally:
                with suppress(*UNCLEAN):
                    client.close(timeout=5)  # what waits is dropped; a task at work ends by itself

    def none_there(self) -> None:
        """Tasks wait, and there is no worker."""
        log.warning("no worker at %s. Start some: dask worker %s --nthreads 1", self._scheduler, self._scheduler)


class _DaskWorkers(Workers):
    def __init__(self, client: "Client", none_there: Callable[[], None]) -> None:
        self._client, self._none_there = client, none_there
        self._executor = client.get_executor(pure=False)

    def count(self) -> int:
        """See Workers. None once the scheduler is gone, which the tasks' own end tells."""
        try:
            threads: Any = self._client.nthreads()
        except (OSError, CancelledError, ValueError, AttributeError):
            return 0
        return len(threads)

    def submit(self, task: Callable[[Any], Any], item: Any) -> Future:
        """See Workers."""
        from distributed.client import ClosedClientError

        try:
            return self._executor.submit(_one_at_a_time, task, item)
        except ClosedClientError as error:
            raise CancelledError from error

    def waited(self) -> None:
        """See Workers."""
        if self.count() == 0:
            self._none_there()


def _one_at_a_time(task: Callable[[Any], Any], item: Any) -> Any:
    """What a worker runs. Raises ConfigError where it has several threads: engines and GL contexts belong to one."""
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:
        raise ConfigError(
            f"the Dask worker at {worker.address} has {worker.state.nthreads} threads, expected 1. Start workers with "
            "--nthreads 1, and as many as cores with --nworkers."
        )
    return task(item)
