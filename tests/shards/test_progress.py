import json
import os
import shutil
from pathlib import Path

import pytest

from aih_builder import generate
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.shards.progress import status
from aih_builder.shards.tasks import record_path, shard_state
from tests.builders import small_both_manifest, small_manifest

T0 = 1_000_000.0


@pytest.fixture
def halfway(both_dataset: Path, tmp_path: Path) -> Path:
    """Both engines; of each the last three shards are missing. What is there took 2 s (render) and 1 s (sync) of work
    a sample and was finished every two seconds.
    """
    folder = Path(shutil.copytree(both_dataset, tmp_path / "copy"))
    plan = load_plan(folder)
    for engine in ("render", "sync"):
        for shard in [shard for shard in plan.shards() if shard.engine == engine][2:]:
            (folder / shard.file).unlink()
            record_path(folder, shard).unlink()
    for place, shard in enumerate(s for s in plan.shards() if (folder / s.file).exists()):
        record = json.loads(record_path(folder, shard).read_text())
        record["seconds"] = {"render": 4.0 if shard.engine == "render" else 2.0}
        record_path(folder, shard).write_text(json.dumps(record))
        os.utime(folder / shard.file, (T0, T0 + 2 * place))
    return folder


def test_a_finished_dataset_has_nothing_left(both_dataset: Path) -> None:
    found = status(both_dataset)
    assert found.shards == {"done": 10, "torn": 0, "missing": 0}
    assert found.samples == {"done": 18, "torn": 0, "missing": 0}
    assert (found.torn, found.indexed, found.seconds_left) == ({}, "yes", 0.0)


def test_a_plan_alone_tells_no_rate(tmp_path: Path) -> None:
    make_plan(small_manifest(), tmp_path / "planned")
    found = status(tmp_path / "planned")
    assert found.shards["missing"] == 5
    assert (found.per_second, found.workers, found.seconds_left, found.indexed) == (None, None, None, "no")


def test_the_rest_is_reckoned_by_engine_at_the_workers_rate(halfway: Path) -> None:
    """Two samples every two seconds, by 8 s of work (4 + 2 + 2) in 6 s; 5 x 2 s and 5 x 1 s of work are left."""
    found = status(halfway)
    assert found.samples == {"done": 8, "torn": 0, "missing": 10}
    assert found.per_second == pytest.approx(1.0)
    assert found.workers == pytest.approx(8 / 6)
    assert found.seconds_left == pytest.approx(15 / (8 / 6))
    assert found.indexed == "stale"


def test_a_pause_between_two_runs_does_not_count(halfway: Path) -> None:
    """A night of it."""
    last = [shard for shard in load_plan(halfway).shards() if (halfway / shard.file).exists()][-1]
    os.utime(halfway / last.file, (T0, T0 + 30_000))
    assert status(halfway).per_second == pytest.approx(1.0)


def test_a_torn_shard_is_left_to_do_and_told(halfway: Path) -> None:
    plan = load_plan(halfway)
    (halfway / plan.shards()[0].file).write_bytes(b"torn")
    found = status(halfway)
    assert found.shards == {"done": 3, "torn": 1, "missing": 6}
    assert list(found.torn) == [plan.shards()[0].file]
    assert found.indexed == "stale"


def test_a_shard_that_a_repair_takes_away_meanwhile_does_not_matter(
    halfway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when it was looked for, and its record is not when it is read."""
    plan = load_plan(halfway)
    states = {shard: shard_state(plan, shard) for shard in plan.shards()}
    record_path(halfway, plan.shards()[0]).unlink()
    monkeypatch.setattr("aih_builder.shards.progress.shard_state", lambda _, shard: states[shard])
    found = status(halfway)
    assert found.shards["done"] == 4
    assert found.per_second == pytest.approx(1.0)


def test_an_engine_that_has_made_nothing_yet_is_reckoned_like_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    generate(small_both_manifest(), folder, shards=slice(0, 5))
    found = status(folder)
    assert found.samples == {"done": 9, "torn": 0, "missing": 9}
    assert found.seconds_left is not None
    assert found.seconds_left > 0
