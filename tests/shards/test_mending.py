"""Flagged samples made anew, from a later attempt on, and nothing else."""

import pickle
import shutil
from pathlib import Path

import pytest

from aih_builder import generate, open_dataset, repair, validate
from aih_builder.errors import ConfigError, GenerationError, ShardError
from aih_builder.shards import tasks
from aih_builder.shards.flags import Flag, add_flags, read_flags, remove_flags
from aih_builder.shards.marking import flag_samples, flagged_indices
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.shards.progress import status
from aih_builder.shards.tasks import shard_state
from tests.builders import small_both_manifest, small_manifest
from tests.shards.planting import contents, digests

TRAIN_1 = "render/train/render-train-00001.h5"  # holds samples 32 and 48
TRAIN_2 = "render/train/render-train-00002.h5"  # the fifth, 64, alone
SYNC_0 = "sync/train/sync-train-00000.h5"  # 3 and 19


@pytest.fixture
def both(both_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(both_dataset, tmp_path / "both"))


def test_flagged_samples_become_others_and_nothing_else_changes(both: Path) -> None:
    """One each of AIH-Render and AIH-Sync."""
    before, files = {s.index: s for s in open_dataset(both)}, contents(both)
    encoded = {index: pickle.dumps(sample) for index, sample in before.items()}
    flag_samples(both, {48: "dark", 3: "the border shows"})
    done = repair(both, flagged=True)
    assert (done.checked, done.missing, done.left, done.finished) == (0, 0, [], True)
    assert done.remade == {
        SYNC_0: f"{SYNC_0}: flagged: sample 3, the border shows", TRAIN_1: f"{TRAIN_1}: flagged: sample 48, dark",
    }  # fmt: skip
    dataset = open_dataset(both)
    after = {sample.index: sample for sample in dataset}
    assert after.keys() == before.keys()
    assert {i for i, sample in after.items() if pickle.dumps(sample) != encoded[i]} == {3, 48}
    for index, mended in done.mended.items():
        assert (mended.before, mended.now) == (before[index].attempt, after[index].attempt)
        assert mended.now > mended.before
    assert [done.mended[i].reason for i in (3, 48)] == ["the border shows", "dark"]
    changed = {name for name, told in contents(both).items() if files.get(name) != told}
    told = {name.replace(".h5", ".json") for name in (SYNC_0, TRAIN_1)}
    assert changed == {SYNC_0, TRAIN_1, *told, "dataset.json", "overrides.json"}
    assert not (both / "flags.json").exists()
    assert validate(both).problems == []
    assert status(both).indexed == "yes"


def test_the_same_manifest_and_overrides_give_the_same_bytes_elsewhere(both: Path, tmp_path: Path) -> None:
    flag_samples(both, {48: "dark", 3: "dark"})
    repair(both, flagged=True, jobs=2)
    other = tmp_path / "other"
    make_plan(small_both_manifest(), other)
    shutil.copy(both / "overrides.json", other)
    assert generate(small_both_manifest(), other).finished
    assert digests(other) == digests(both)
    assert (other / "dataset.json").read_bytes() == (both / "dataset.json").read_bytes()


def test_a_sample_may_be_flagged_again_and_again(copy: Path) -> None:
    attempts = []
    for _ in range(3):
        flag_samples(copy, {64: "dark"})
        attempts.append(repair(copy, flagged=True).mended[64])
    assert [mended.before for mended in attempts[1:]] == [mended.now for mended in attempts[:-1]]
    assert load_plan(copy).overrides == {64: attempts[-1].before + 1}
    assert validate(copy).problems == []


def test_a_repair_of_flagged_samples_neither_checks_nor_touches_the_rest(copy: Path) -> None:
    (copy / TRAIN_2).write_bytes(b"torn")
    flag_samples(copy, {48: "dark"})
    done = repair(copy, flagged=True)
    assert (list(done.remade), done.finished, list(done.mended)) == ([TRAIN_1], False, [48])
    assert (copy / TRAIN_2).read_bytes() == b"torn"
    assert list(repair(copy).remade) == [TRAIN_2]
    assert validate(copy).problems == []


def test_where_nothing_is_flagged_nothing_happens(copy: Path) -> None:
    before = contents(copy)
    done = repair(copy, flagged=True)
    assert (done.checked, done.remade, done.left, done.finished, done.mended) == (0, {}, [], True, {})
    assert contents(copy) == before


def test_a_plain_repair_leaves_flags_and_their_samples(copy: Path) -> None:
    flag_samples(copy, {48: "dark"})
    before = contents(copy)
    assert repair(copy).remade == {}
    assert contents(copy) == before


def test_flags_of_samples_that_are_not_planned_are_named_before_anything_is_touched(copy: Path) -> None:
    add_flags(copy, {80: Flag("dark", 1), 3: Flag("dark", 1), 16: Flag("dark", 1)})
    before = contents(copy)
    with pytest.raises(ConfigError, match=r"flags 2 samples that the plan does not hold \(index 3, 80\)\. Take these"):
        repair(copy, flagged=True)
    assert contents(copy) == before
    assert open_dataset(copy).left_out == [16]
    assert status(copy).flagged == 1


def test_a_repair_stopped_between_overrides_and_shards_goes_on(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path(shutil.copytree(copy, copy.with_name("whole")))
    for folder in (copy, whole):
        flag_samples(folder, {48: "dark", 1: "dark"})
    repair(whole, flagged=True)

    def full(*_: object) -> None:
        raise ShardError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("aih_builder.shards.tasks.write_whole", full)
        for _ in range(2):
            with pytest.raises(ShardError, match="No space left"):
                repair(copy, flagged=True)
    assert not (copy / "dataset.json").exists()
    assert sorted(read_flags(copy)) == [1, 48]
    assert (copy / "overrides.json").read_bytes() == (whole / "overrides.json").read_bytes()
    done = repair(copy, flagged=True)
    assert (len(done.remade), sorted(done.mended), done.finished) == (2, [1, 48], True)
    assert digests(copy) == digests(whole)
    assert (copy / "dataset.json").read_bytes() == (whole / "dataset.json").read_bytes()
    assert read_flags(copy) == {}


def test_flags_whose_samples_another_run_has_made_anew_are_taken_away_and_hide_nothing(copy: Path) -> None:
    """A repair was stopped after the overrides; `aih generate` went on."""
    flags = flag_samples(copy, {48: "dark"})
    repair(copy, flagged=True)
    add_flags(copy, flags)  # as if it had not got as far as this
    assert open_dataset(copy).left_out == []
    assert (flagged_indices(load_plan(copy)), status(copy).flagged) == ([], 0)
    before = digests(copy)
    done = repair(copy, flagged=True)
    assert (done.remade, list(done.mended)) == ({}, [48])
    assert digests(copy) == before
    assert read_flags(copy) == {}


def test_a_sample_that_cannot_be_had_keeps_its_flag(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = flag_samples(copy, {48: "dark"})

    def refuse(*_: object, **__: object) -> None:
        raise GenerationError("sample 48: none of 10000 draws was accepted.")

    with monkeypatch.context() as patched:
        patched.setattr("aih_builder.synth.engine.Engine.make", refuse)
        with pytest.raises(GenerationError, match=r"none of 10000 draws was accepted\. The flags stay; .* --remove"):
            repair(copy, flagged=True)
    assert read_flags(copy) == flags
    remove_flags(copy, [48])  # as the message says
    (copy / "overrides.json").unlink()
    generate(small_manifest(), copy)
    assert validate(copy).problems == []


def test_a_worker_that_makes_shards_before_and_after_an_override_makes_both_right(copy: Path) -> None:
    plan = load_plan(copy)
    shard = plan.shard_of(48)
    tasks.engine_for(plan, "render")
    flag_samples(copy, {48: "dark"})
    repair(copy, flagged=True)
    assert shard_state(plan, shard).reason.startswith("sample 48 was made from attempt 2 on")
    (copy / "overrides.json").unlink()
    assert shard_state(load_plan(copy), shard).state == "torn"
    generate(small_manifest(), copy)
    assert shard_state(plan, shard).state == "done"
