"""Arrays and clusters of jobs, on a stand-in for Slurm that runs them here."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aih_builder.cluster import Cluster, ClusterPool, load_cluster, options_of
from aih_builder.errors import ConfigError
from aih_builder.parallel.run import run_tasks
from tests.cli_runs import ROOT, aih, environment, said, write_manifest
from tests.parallel.dask_tasks import slow_square
from tests.shards.planting import digests
from tests.tools.batch_system import install

SLURM = ROOT / "tools" / "slurm"


def aih_command(folder: Path) -> None:
    """`aih` on the PATH, whichever way the package was installed."""
    script = folder / "bin" / "aih"
    script.write_text(f'#!/bin/bash\nexec {sys.executable} -m aih_builder.cli.main "$@"\n')
    script.chmod(0o755)


def test_an_array_makes_the_same_dataset_as_one_run(small_dataset: Path, tmp_path: Path) -> None:
    """Seven tasks for five shards, in a folder whose name has a space; the last job writes the index."""
    there = install(tmp_path)
    aih_command(tmp_path)
    manifest, folder = write_manifest(tmp_path / "it.yaml"), tmp_path / "my data"
    run = subprocess.run(
        ["bash", SLURM / "submit.sh", manifest, folder, "7"],
        env=environment(**there), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert f"plan 1000, array 1001, index 1002; logs in {folder}.logs" in run.stdout
    spool = tmp_path / "spool"
    told = [(spool / f"told-{number}").read_text().splitlines() for number in (1000, 1001, 1002)]
    codes = [(spool / f"codes-{number}").read_text() for number in (1000, 1001, 1002)]
    assert codes == ["0", "0 0 0 0 0 0 0", "0"]
    assert "--dependency=afterok:1000" in told[1]
    assert "--dependency=afterany:1001" in told[2]
    assert all("--kill-on-invalid-dep=yes" in options for options in told)
    assert digests(folder) == digests(small_dataset)
    assert (folder / "dataset.json").read_bytes() == (small_dataset / "dataset.json").read_bytes()


@pytest.mark.parametrize(
    "arguments", [[], ["a"], ["a", "b", "0"], ["a", "b", "x"], ["a", "b", "08"], ["a", "b", "1", "2"]]
)
def test_wrong_arguments_are_told_before_anything_is_submitted(arguments: list[str]) -> None:
    run = subprocess.run(["bash", SLURM / "submit.sh", *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "usage:" in run.stderr


def test_a_task_is_told_before_its_time_is_over() -> None:
    """To the batch shell itself (B:), which by then is aih: Slurm would signal job steps, and there are none."""
    script = (SLURM / "aih_array.sbatch").read_text()
    assert "#SBATCH --signal=B:TERM@60\n" in script
    assert "\nexec aih generate" in script


def test_a_cluster_of_jobs_makes_the_same_dataset_as_one_run(small_dataset: Path, tmp_path: Path) -> None:
    there = install(tmp_path)
    described = tmp_path / "cluster.yaml"
    described.write_text("jobs: 2\nworkers_per_job: 1\nmemory: 2GB\ninterface: lo\ngpus_per_job: 1\nqueue: gpu\n")
    manifest, folder = write_manifest(tmp_path / "it.yaml"), tmp_path / "out"
    arguments = ("generate", manifest, "--out", folder, "--engine", "dask", "--cluster", described)
    run = aih(*arguments, env=environment(**there), cwd=tmp_path, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "submitted 2 jobs of 1 workers to slurm" in run.stderr
    assert "Traceback" not in run.stderr
    script = next((tmp_path / "spool").glob("job-*")).read_text()
    assert {"#SBATCH -p gpu", "#SBATCH --gres=gpu:1", "#SBATCH --mem=2G"} <= set(script.splitlines())
    assert digests(folder) == digests(small_dataset)


def test_a_batch_system_that_is_not_there_is_told(tmp_path: Path) -> None:
    described = tmp_path / "cluster.yaml"
    described.write_text("jobs: 1\ninterface: lo\n")
    manifest = write_manifest(tmp_path / "it.yaml")
    run = aih("generate", manifest, "--out", tmp_path / "out", "--engine", "dask", "--cluster", described, cwd=tmp_path)
    assert run.returncode == 2
    assert "slurm: no sbatch here. Run where jobs can be submitted" in said(run)


def test_a_batch_system_that_refuses_the_jobs_is_told(tmp_path: Path) -> None:
    there = install(tmp_path)
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\necho invalid partition >&2\nexit 1\n")
    described = tmp_path / "cluster.yaml"
    described.write_text("jobs: 1\ninterface: lo\nqueue: none\n")
    arguments = ("--out", tmp_path / "out", "--engine", "dask", "--cluster", described)
    run = aih("generate", write_manifest(tmp_path / "it.yaml"), *arguments, cwd=tmp_path, env=environment(**there))
    assert run.returncode == 2
    assert "slurm: the jobs cannot be submitted" in said(run)
    assert "invalid partition" in said(run)


@pytest.mark.parametrize("wrong", [{"interface": "ib99"}, {"memory": "plenty"}])
def test_a_value_that_dask_refuses_is_told(tmp_path: Path, wrong: dict[str, str]) -> None:
    described = tmp_path / "cluster.yaml"
    described.write_text(json.dumps({"interface": "lo"} | wrong))
    arguments = ("--out", tmp_path / "out", "--engine", "dask", "--cluster", described)
    there = environment(**install(tmp_path))
    run = aih("generate", write_manifest(tmp_path / "it.yaml"), *arguments, cwd=tmp_path, env=there)
    assert run.returncode == 2
    assert next(iter(wrong.values())) in said(run)


def test_nothing_is_submitted_where_there_is_nothing_to_make(small_dataset: Path, tmp_path: Path) -> None:
    """Nor before the manifest is read and the dataset planned."""
    there = environment(**install(tmp_path))
    described, bad = tmp_path / "cluster.yaml", write_manifest(tmp_path / "bad.yaml", sead=1)
    described.write_text("interface: lo\n")
    options = ("--engine", "dask", "--cluster", described)
    done = Path(shutil.copytree(small_dataset, tmp_path / "done"))
    good = aih("generate", write_manifest(tmp_path / "it.yaml"), "--out", done, *options, cwd=tmp_path, env=there)
    assert good.returncode == 0, good.stderr
    assert aih("generate", bad, "--out", tmp_path / "out", *options, cwd=tmp_path, env=there).returncode == 2
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.filterwarnings("ignore")
def test_jobs_that_end_before_all_is_done_are_submitted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a batch system ends them when their time is over."""
    for name, value in install(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("aih_builder.parallel.run._LONG_S", 1.0)
    monkeypatch.chdir(tmp_path)
    found, ended = [], False
    with ClusterPool(Cluster(interface="lo", memory="2GB")) as pool:
        for position, _ in run_tasks(slow_square, range(12), pool):
            found.append(position)
            if not ended:
                ended = True
                os.killpg(int((tmp_path / "spool" / "pid-1000").read_text()), signal.SIGKILL)
    assert sorted(found) == list(range(12))
    assert (tmp_path / "spool" / "pid-1001").exists()


def test_pbs_is_asked_for_what_the_file_says() -> None:
    from dask_jobqueue.pbs import PBSJob

    cluster = Cluster(kind="pbs", workers_per_job=4, memory="8GB", time="03:00:00", queue="q", account="hands")
    options = options_of(cluster)
    options.pop("scheduler_options")
    script = PBSJob("tcp://127.0.0.1:1", name="n", **options).job_script()
    assert {"#PBS -q q", "#PBS -A hands", "#PBS -l walltime=03:00:00"} <= set(script.splitlines())
    assert "--nthreads 1" in script
    assert "--nworkers 4" in script


def test_the_example_is_read_and_says_what_its_comments_say() -> None:
    cluster = load_cluster(SLURM / "cluster.yaml")
    assert cluster == Cluster(jobs=4, workers_per_job=16, memory="16GB", time="02:00:00")
    options = options_of(cluster)
    assert (options["cores"], options["processes"], options["job_extra_directives"]) == (16, 16, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jobs: 0", "key 'jobs': Input should be greater than or equal to 1, got 0"),
        ("kind: moab", "key 'kind': Input should be 'slurm' or 'pbs'"),
        ("quue: gpu", "unknown key 'quue'; did you mean 'queue'"),
        ("kind: pbs\ngpus_per_job: 1", "how pbs asks for GPUs differs by site; say it in `directives`"),
    ],
)
def test_a_description_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_cluster(path)
