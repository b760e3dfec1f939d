"""Arrays and clusters of jobs, on a stand-in for Slurm that runs them here."""

import subprocess
import sys
from pathlib import Path

import pytest

from aih_builder.cluster import Cluster, load_cluster, options_of
from aih_builder.errors import ConfigError
from tests.cli_runs import ROOT, aih, environment, said, write_manifest
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
    assert f"array 1000, index 1001; logs in {folder}.logs" in run.stdout
    spool = tmp_path / "spool"
    assert (spool / "codes-1000").read_text() == "0 0 0 0 0 0 0"
    assert (spool / "codes-1001").read_text() == "0", (spool / "out-1001-0").read_text()
    assert "--dependency=afterany:1000" in (spool / "told-1001").read_text().splitlines()
    assert digests(folder) == digests(small_dataset)
    assert (folder / "dataset.json").read_bytes() == (small_dataset / "dataset.json").read_bytes()


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


def test_the_example_is_read_and_says_what_its_comments_say() -> None:
    cluster = load_cluster(SLURM / "cluster.yaml")
    assert cluster == Cluster(jobs=4, workers_per_job=16, memory="16GB", time="02:00:00")
    options = options_of(cluster)
    assert (options["cores"], options["processes"], options["job_extra_directives"]) == (16, 16, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jobs: 0", "key 'jobs': Input should be greater than or equal to 1, got 0"),
        ("kind: moab", "key 'kind': Input should be 'slurm', 'pbs', 'lsf' or 'sge'"),
        ("quue: gpu", "unknown key 'quue'; did you mean 'queue'"),
        ("kind: pbs\ngpus_per_job: 1", "how pbs asks for GPUs differs by site; say it in `directives`"),
    ],
)
def test_a_description_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_cluster(path)
