"""Workers as jobs of a batch system: a YAML file says which, dask-jobqueue submits them.

kind: slurm               # or pbs, lsf, sge
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from aih_builder.config.reading import read_mapping, validated
from aih_builder.config.scenes import Model
from aih_builder.errors import ConfigError
from aih_builder.parallel.dask_pool import DaskPool, quiet, require_dask

log = logging.getLogger(__name__)

_CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
_ACCOUNT = {"slurm": "account", "pbs": "account", "lsf": "project", "sge": "project"}  # dask-jobqueue's names


class Cluster(Model):
    """The jobs to submit. A worker is a process with one thread."""

    kind: Literal["slurm", "pbs", "lsf", "sge"] = "slurm"
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
        _ACCOUNT[cluster.kind]: cluster.account,
        "walltime": cluster.time,
        "cores": cluster.workers_per_job,
        "processes": cluster.workers_per_job,
        "memory": cluster.memory,
        "interface": cluster.interface,
        "log_directory": None if cluster.logs is None else str(cluster.logs),
        "job_name": "aih",
        "job_script_prologue": list(cluster.setup),
        "job_extra_directives": [*gpus, *cluster.directives],
        "scheduler_options": {"dashboard": False, "dashboard_address": ":0"},
    }


@contextmanager
def submitted(cluster: Cluster) -> Iterator[DaskPool]:
    """A pool of the jobs' workers, which come as the batch system starts them. They are cancelled when the block ends;
    should this process be killed, they end a minute later. Raises ConfigError where they cannot be submitted.
    """
    require_dask("dask_jobqueue")
    import dask_jobqueue

    quiet()
    batch_system = getattr(dask_jobqueue, _CLASSES[cluster.kind])
    command = batch_system.job_cls.submit_command.split()[0]
    if shutil.which(command) is None:
        raise ConfigError(f"{cluster.kind}: no {command} here. Run where jobs can be submitted, or name another kind.")
    jobs = batch_system(**options_of(cluster))
    try:
        try:
            _submit(jobs, cluster.jobs)
        except (OSError, RuntimeError, ValueError) as error:
            told = " ".join(str(error).split())
            raise ConfigError(f"{cluster.kind}: the jobs cannot be submitted ({told}). Correct their file.") from error
        log.info("submitted %d jobs of %d workers to %s", cluster.jobs, cluster.workers_per_job, cluster.kind)
        yield DaskPool(jobs.scheduler_address)
    finally:
        with suppress(AssertionError):  # Dask insists that every job was once submitted
            jobs.close()


def _submit(jobs: Any, count: int) -> None:
    """Submit jobs, and raise what the batch system answers to one that it refuses: dask-jobqueue drops it."""

    async def settled() -> None:
        await jobs

    jobs.scale(jobs=count)
    jobs.sync(settled)
    for job in jobs.workers.values():
        if job.job_id is None:
            jobs.sync(job.start)
