"""The real command in processes of its own: exit codes, full disks, permissions, memory."""

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aih_builder import generate, open_dataset
from aih_builder.shards.plan import make_plan
from tests.builders import small_manifest
from tests.cli_runs import COMMAND, ROOT, aih, environment, said, start, temporary_files, write_manifest
from tests.shards.planting import digests


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "it.yaml", shard_samples=1)


def test_exit_codes_and_streams(small_dataset: Path, tmp_path: Path) -> None:
    """0, 1 and 2 from real processes; results go to stdout, all else to stderr."""
    good = aih("status", small_dataset)
    assert (good.returncode, good.stderr) == (0, "")
    assert "done 5, torn 0, missing 0" in good.stdout
    unreadable = Path(shutil.copytree(small_dataset, tmp_path / "copy"))
    (unreadable / "dataset.json").write_text("{")
    one = aih("info", unreadable)
    assert (one.returncode, one.stdout) == (1, "")
    assert "dataset.json: not a readable JSON file" in said(one)
    two = aih("generate", write_manifest(tmp_path / "bad.yaml", sead=3), "--out", tmp_path / "out")
    assert (two.returncode, two.stdout) == (2, "")
    assert "unknown key 'sead'; did you mean 'seed'?" in said(two)
    usage = aih("generat")
    assert (usage.returncode, usage.stdout) == (2, "")
    assert "No such command 'generat'" in usage.stderr


def test_a_reader_that_goes_away_ends_the_command_without_a_word(small_dataset: Path) -> None:
    process = start("info", small_dataset)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (1, "")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["info", "{dataset}"]])
def test_an_answer_that_finds_no_room_is_told(small_dataset: Path, arguments: list[str]) -> None:
    named = [text.format(dataset=small_dataset) for text in arguments]
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [*COMMAND, *named], env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert run.returncode == 1
    assert run.stderr == "aih: No space left on device. Free space or fix permissions, then run again.\n"


# Disks.


def limit_files(to_bytes: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (to_bytes, to_bytes))

    return limit


def test_a_shard_that_does_not_fit_leaves_no_half_of_itself(small_dataset: Path, tmp_path: Path) -> None:
    """The plan fits, a shard does not; with more room the same dataset ends well."""
    folder, manifest = tmp_path / "out", write_manifest(tmp_path / "it.yaml")
    make_plan(small_manifest(), folder)
    for jobs in ("1", "2"):
        run = aih("generate", manifest, "--out", folder, "--jobs", jobs, preexec_fn=limit_files(20_000))
        assert run.returncode == 1
        assert ".h5: cannot be written (File too large). Free space or fix permissions, then run again." in said(run)
        assert temporary_files(folder) == []
        assert digests(folder) == {}
    assert generate(small_manifest(), folder).finished
    assert digests(folder) == digests(small_dataset)


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB, where that can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place], check=False, capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def blocks(folder: Path) -> int:
    """Bytes of a folder's files as a file system counts them, in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_is_told_wherever_it_fills_up(little_disk: Path, small_dataset: Path, tmp_path: Path) -> None:
    """First with room for a part of the plan, then for the plan, then for some shards, then for all."""
    folder, manifest, ballast = little_disk / "out", write_manifest(tmp_path / "it.yaml"), little_disk / "ballast"
    plan = blocks(small_dataset / "cache") + 8192
    shards = []
    for room in (400_000, plan + 20_000, plan + 130_000):
        ballast.unlink(missing_ok=True)
        disk = os.statvfs(little_disk)
        ballast.write_bytes(bytes(disk.f_bavail * disk.f_frsize - max(0, room - blocks(folder))))
        run = aih("generate", manifest, "--out", folder)
        assert run.returncode == 1, run.stdout
        assert "cannot be written (No space left on device). Free space or fix permissions" in said(run)
        assert temporary_files(folder) == []
        assert not (folder / "dataset.json").exists()
        assert (folder / "plan.json").exists() == (room > plan)
        shards.append(len(digests(folder)))
    assert shards[0] == shards[1] == 0 < shards[2] < 5
    ballast.unlink()
    assert generate(small_manifest(), folder).finished
    assert digests(folder) == digests(small_dataset)


def without_privileges() -> None:
    """Let file permissions count for root as well, in what is executed next."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; fails for users, who need it not


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be looked into and not written to."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    test = "import sys; open(sys.argv[1], 'w')"
    run = subprocess.run(
        [sys.executable, "-c", test, folder / "x"], preexec_fn=without_privileges, check=False, capture_output=True
    )
    if run.returncode == 0:
        pytest.skip("permissions do not count here")
    yield folder
    folder.chmod(0o755)


def test_a_folder_without_permission_to_write_is_told(locked: Path, manifest: Path, small_dataset: Path) -> None:
    run = aih("generate", manifest, "--out", locked / "out", preexec_fn=without_privileges)
    assert run.returncode == 1
    assert "out/manifest.yaml: cannot be written (Permission denied)" in said(run)
    assert list(locked.iterdir()) == []
    sheet = aih("sheet", small_dataset, "--out", locked / "sheet.png", "--count", "1", preexec_fn=without_privileges)
    assert sheet.returncode == 1
    assert "sheet.png: cannot be written (Permission denied)" in said(sheet)


def test_a_dataset_that_may_only_be_read_can_be_read_and_not_mended(small_dataset: Path, tmp_path: Path) -> None:
    folder, manifest = Path(shutil.copytree(small_dataset, tmp_path / "copy")), write_manifest(tmp_path / "it.yaml")
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    for arguments in (("generate", manifest, "--out", folder), ("validate", folder)):
        assert aih(*arguments, preexec_fn=without_privileges).returncode == 0
    os.truncate(folder / "render/val/render-val-00000.h5", 100)
    commands = (("generate", manifest, "--out", folder), ("repair", folder))
    runs = [aih(*command, preexec_fn=without_privileges) for command in commands]
    for path in folders:
        path.chmod(0o755)
    if runs[0].returncode == 0:
        pytest.skip("permissions do not count here")
    for run in runs:
        assert run.returncode == 1
        assert "cannot be deleted (Permission denied)" in said(run)
    assert len(digests(folder)) == 5


# Memory, and scripts.


def test_a_worker_needs_less_than_600_mb(tmp_path: Path) -> None:
    """At 256 px; each process's own peak, whatever its parent held."""
    manifest, script = write_manifest(tmp_path / "it.yaml", image_size_px=256), tmp_path / "script.py"
    script.write_text(
        "import sys, numpy\n"
        "from aih_builder import generate\n"
        "held = numpy.ones(2**27)\n"  # 1 GiB
        "print(generate(sys.argv[1], sys.argv[2], jobs=2).made)\n"
        "print('no main guard')\n"
    )
    run = subprocess.run(
        [sys.executable, script, manifest, tmp_path / "out"], env=environment(), cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (0, "5\nno main guard\n", "")
    peaks = [json.loads(path.read_text())["peak_rss_mib"] for path in (tmp_path / "out/render").rglob("*.json")]
    assert len(peaks) == 5
    assert all(100 < peak < 600 for peak in peaks)
    assert len(open_dataset(tmp_path / "out")) == 9
