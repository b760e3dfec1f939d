"""`aih plan`, run in this process."""

import json
import re
import tempfile
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from aih_builder.cli.app import app
from aih_builder.cli.planning import _size, _time
from aih_builder.shards.plan import load_plan
from tests.builders import small_both_content
from tests.cli_runs import write_manifest
from tests.shards.planting import contents

KEYS = [
    "folder", "plan_hash", "renderer", "shards", "samples", "acceptance", "measured", "ms_per_sample",
    "core_share", "kib_per_sample", "bytes", "core_hours", "hours", "idle_workers",
]  # fmt: skip


def aih_plan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_without_a_folder_the_numbers_are_told_and_nothing_is_left(
    tmp_path: Path, scratch: Path, both_dataset: Path
) -> None:
    manifest = tmp_path / "it.yaml"
    manifest.write_text(yaml.safe_dump(small_both_content()))
    before = contents(tmp_path)
    told = json.loads(aih_plan(manifest, "--workers", "1", "--workers", "64", "--measure", "6", "--json").stdout)
    assert contents(tmp_path) == before
    assert list(scratch.iterdir()) == []
    assert list(told) == [*KEYS, "idle_because", "assumes"]
    assert told["folder"] is None
    assert told["plan_hash"] == load_plan(both_dataset).plan_hash
    assert (told["renderer"], told["shards"], told["samples"]) == ("numba", 10, 18)
    assert told["measured"] == {"render": 6, "sync": 6}
    for key in ("ms_per_sample", "core_share", "kib_per_sample"):
        assert told[key].keys() == {"render", "sync"}
        assert min(told[key].values()) > 0
    assert 0 < told["hours"]["64"] < told["hours"]["1"]
    assert told["hours"]["1"] == told["core_hours"]
    assert told["idle_workers"] == {"64": 54}
    assert "a lower shard_samples makes more" in told["idle_because"]
    assert "validation are not counted" in told["assumes"]
    on_disk = sum(path.stat().st_size for path in both_dataset.rglob("*") if path.suffix != ".json")
    assert told["bytes"] == pytest.approx(on_disk, rel=0.2)


def test_with_a_folder_the_plan_is_kept_and_this_machines_cores_are_the_workers(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aih_builder.cli.planning.cpu_count", lambda: 3)
    out, manifest = tmp_path / "out", write_manifest(tmp_path / "it.yaml")
    told = json.loads(aih_plan(manifest, "--out", out, "--measure", "2", "--json").stdout)
    assert list(told) == [*KEYS, "assumes"]
    assert told["folder"] == str(out)
    assert told["plan_hash"] == load_plan(out).plan_hash
    assert (list(told["hours"]), told["idle_workers"]) == (["3"], {})
    assert list(out.rglob("*.h5")) == []
    assert list(scratch.iterdir()) == []
    again = aih_plan(manifest, "--out", out, "--measure", "1", "--workers", "6")
    assert again.exit_code == 0
    assert re.search(r"hours +6 workers [\de.-]+ \([\d.]+ s\)\n", again.stdout)
    assert "MiB of it the plan's cache)" in again.stdout
    assert "idle workers    1 of 6\n" in again.stdout


def test_a_plan_that_fails_leaves_nothing_either(tmp_path: Path, scratch: Path) -> None:
    pools = {"backgrounds": {"procedural": [], "folders": [str(tmp_path / "none")]}}
    result = aih_plan(write_manifest(tmp_path / "it.yaml", pools=pools))
    assert result.exit_code == 2
    assert "none does not exist" in result.stderr
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("option", [("--workers", "0"), ("--workers", "4", "--workers", "-1"), ("--measure", "0")])
def test_no_worker_and_no_sample_are_refused(tmp_path: Path, option: tuple[str, ...]) -> None:
    result = aih_plan(write_manifest(tmp_path / "it.yaml"), *option)
    assert result.exit_code == 2
    assert option[0] in result.stderr


def test_times_and_sizes_are_said_in_units_that_people_read() -> None:
    assert [_time(hours) for hours in (0.0005, 0.1, 5, 100)] == ["1.8 s", "6.0 min", "5.0 h", "4.2 days"]
    assert [_size(n) for n in (2**19, 5 * 2**30)] == ["0.5 MiB", "5.0 GiB"]
