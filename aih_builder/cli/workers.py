"""Options that say which workers do a command's tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from aih_builder.cluster import ClusterPool, load_cluster
from aih_builder.errors import ConfigError
from aih_builder.parallel.dask_pool import DaskPool
from aih_builder.parallel.pool import Pool

Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")]
EngineOption = Annotated[
    Literal["local", "dask"],
    typer.Option("--engine", help="local: this machine's processes; dask: a cluster's workers."),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="A running Dask scheduler, such as tcp://node1:8786."),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option("--cluster", metavar="FILE.yaml", help="Submit workers as jobs of Slurm or another batch system."),
]


@contextmanager
def workers(jobs: int, engine: str, scheduler: str | None, cluster: Path | None) -> Iterator[int | Pool]:
    """The pool that the options ask for. Raises ConfigError where they contradict one another."""
    if engine == "local":
        if scheduler is not None or cluster is not None:
            raise ConfigError(f"--{'cluster' if scheduler is None else 'scheduler'} needs --engine dask.")
        yield jobs
        return
    if (scheduler is None) == (cluster is None):
        raise ConfigError("--engine dask needs --scheduler ADDRESS or --cluster FILE.yaml, one of both.")
    if jobs != 1:
        raise ConfigError("--jobs is for --engine local; a Dask cluster has the workers that it has.")
    if scheduler is not None:
        yield DaskPool(scheduler)
    elif cluster is not None:
        with ClusterPool(load_cluster(cluster)) as pool:
            yield pool
