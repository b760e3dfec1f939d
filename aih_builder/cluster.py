"""Workers as jobs of a batch system: a YAML file says which, dask-jobqueue submits them.

kind: slurm               # or pbs
jobs: 8                   # to submit
workers_per_job: 16       # processes of one thread each: the cores of a job
memory: 32GB              # of a job
time: "02:00:00"
queue: gpu                # partition
account: hands
gpus_per_job: 1           # slurm; else by `directives`
interface: ib0            # the network on which workers reach this process
logs: out/logs            # folder of the jobs' output
setup: [module load cuda, source .venv/bin/activate]
directives: ["--constraint=a100"]
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from aih_builder.config.reading import read_mapping, validated
from aih_builder.config.scenes import Model
from aih_builder.errors import ConfigError
from aih_builder.parallel.dask_pool import UNCLEAN, DaskPool, quiet, require_dask
from aih_builder.parallel.pool import Pool, Workers

log = logging.getLogger(__name__)

_CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster"}
_DASK = {
    "distributed.deploy.lost-worker-timeout": "7d",  # a worker that restarts must not cost its job
    "distributed.scheduler.allowed-failures": 10,  # a job whose time is over takes all of its workers' tasks along
}
# A worker that holds much memory goes on, and is restarted at 95 % of its share; it would be put to sleep at 80.
_PROLOGUE = [f"export DASK_DISTRIBUTED__WORKER__MEMORY__{what}=False" for what in ("TARGET", "SPILL", "PAUSE")]
_CLOSE_S = 60


class Cluster(Model):
    """The jobs to submit. A worker is a process with one thread."""

    kind: Literal["slurm", "pbs"] = "slurm"
    jobs: int = Field(default=1, strict=True, ge=1)
    workers_per_job: int = Field(default=1, strict=True, ge=1)
    memory: str = "4GB"
    time: str = "01:00:00"
    queue: str | None = None
    account: str | None = None
    gpus_per_job: int = Field(default=0, strict=True, ge=0)
    interface: str | None = None
    logs: Path | None = None
    setup: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _gpus_can_be_asked_for(self) -> "Cluster":
        if self.gpus_per_job and self.kind != "slurm":
            raise ValueError(f"gpus_per_job: how {self.kind} asks for GPUs differs by site; say it in `directives`")
        return self


def load_cluster(path: Path) -> Cluster:
    """The jobs that a YAML file describes. Raises ConfigError."""
    return validated(Cluster, read_mapping(path, example="tools/slurm/cluster.yaml"), str(path))


def options_of(cluster: Cluster) -> dict[str, Any]:
    """What dask-jobqueue's class for this kind is made with."""
    gpus = [f"--gres=gpu:{cluster.gpus_per_job}"] if cluster.gpus_per_job else []
    return {
        "queue": cluster.queue,
        "account": cluster.account,
        "walltime": cluster.time,
        "cores": cluster.workers_per_job,
        "processes": cluster.workers_per_job,
        "memory": cluster.memory,
        "interface": cluster.interface,
        "log_directory": None if cluster.logs is None else str(cluster.logs),
        "job_name": "aih",
        "job_script_prologue": [*_PROLOGUE, *cluster.setup],
        "job_extra_directives": [*gpus, *cluster.directives],
        "scheduler_options": {"dashboard": False, "dashboard_address": ":0"},
    }


class ClusterPool(Pool):
    """Workers that come as a batch system starts jobs. Jobs are submitted when there is something to do, and again once
    their time is over and no worker is left. They are cancelled when the block ends; should this process be killed,
    they end a minute later.
    """

    def __init__(self, cluster: Cluster) -> None:
        require_dask("dask_jobqueue")
        self._cluster = cluster
        self._jobs: Any = None
        self._came: set[str] = set()  # names of all workers that ever were there: a job's, or the job's with a number
        self._told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._jobs is not None:
            with quiet(), suppress(*UNCLEAN):  # Dask also insists that every job was once submitted
                self._jobs.close(timeout=_CLOSE_S)
            self._jobs = None

    @contextmanager
    def open(self, tasks: int) -> Iterator[Workers | None]:
        """See Pool. Raises ConfigError where the jobs cannot be submitted."""
        with quiet():
            if self._jobs is None:
                self._jobs = self._made()
                self._submit()
        with _Scheduler(self._jobs.scheduler_address, self._renew).open(tasks) as workers:
            yield workers

    def _made(self) -> Any:
        import dask.config
        import dask_jobqueue
        from distributed.diagnostics.plugin import SchedulerPlugin

        kind, came = self._cluster.kind, self._came
        batch_system = getattr(dask_jobqueue, _CLASSES[kind])
        command = batch_system.job_cls.submit_command.split()[0]
        if shutil.which(command) is None:
            raise ConfigError(f"{kind}: no {command} here. Run where jobs can be submitted, or name another kind.")

        class Watch(SchedulerPlugin):
            def add_worker(self, scheduler: Any, worker: str) -> None:
                came.add(str(scheduler.workers[worker].name))

        dask.config.set(_DASK)
        try:
            jobs = batch_system(**options_of(self._cluster))
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(f"{kind}: {' '.join(str(error).split())}. Correct the cluster's file.") from error
        jobs.scheduler.add_plugin(Watch(), name="aih")
        return jobs

    def _submit(self) -> None:
        """Submit what is missing of the jobs, and raise what the batch system answers to one that it refuses:
        dask-jobqueue drops it.
        """
        jobs, cluster = self._jobs, self._cluster
        try:
            self._settle()  # those that are over are let go of
            jobs.scale(jobs=cluster.jobs)
            self._settle()
            for job in list(jobs.workers.values()):
                if job.job_id is None:
                    jobs.sync(job.start)
        except (OSError, RuntimeError, ValueError) as error:
            told = " ".join(str(error).split())
            raise ConfigError(f"{cluster.kind}: the jobs cannot be submitted ({told}). Correct their file.") from error
        log.info("submitted %d jobs of %d workers to %s", cluster.jobs, cluster.workers_per_job, cluster.kind)

    def _settle(self) -> None:
        """Have Dask do all that it was told of the jobs."""

        async def settled() -> None:
            await self._jobs

        self._jobs.sync(settled)

    def _renew(self) -> None:
        """No worker is there: submit again the jobs that had some. Others are still in the queue, or failed."""
        spec, came = self._jobs.worker_spec, self._came
        over = [job for job in spec if any(worker == job or worker.startswith(f"{job}-") for worker in came)]
        refused = any(job.job_id is None for job in self._jobs.workers.values())
        if not over and not refused:
            if not self._told:
                log.warning("no worker yet: see the queue and, where jobs have ended, their output")
            self._told = True
            return
        log.warning("no worker any more: jobs are submitted again")
        for job in over:
            del spec[job]
        came.clear()  # Dask gives the same names again
        try:
            self._submit()
        except ConfigError as error:
            log.warning("%s It is tried again.", error)


class _Scheduler(DaskPool):
    def __init__(self, address: str, none_there: Callable[[], None]) -> None:
        super().__init__(address)
        self.none_there = none_there
