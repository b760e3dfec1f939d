import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aih_builder import generate, validate
from aih_builder.errors import AssetError, ConfigError, ShardError
from aih_builder.shards.plan import load_plan
from aih_builder.shards.repair import repair
from aih_builder.shards.validate import check_shards
from tests.builders import small_manifest
from tests.shards.planting import contents, digests, rewrite

MIDDLE = "render/train/render-train-00001"


def test_a_good_dataset_is_left_exactly_as_it_is(copy: Path) -> None:
    before = contents(copy)
    done = repair(copy)
    assert (done.checked, done.remade, done.missing, done.left, done.finished) == (5, {}, 0, [], True)
    assert contents(copy) == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_shards_of_every_kind_of_damage_are_made_again_and_no_other(small_dataset: Path, copy: Path, jobs: int) -> None:
    """One with a sample that breaks an invariant, whose checksum is right; one torn; one gone; one without a record."""
    shards = [shard.file for shard in load_plan(copy).shards()]
    rewrite(copy, lambda s: [replace(s[0], mean_luma=s[0].mean_luma + 9), *s[1:]])
    (copy / shards[1]).write_bytes((copy / shards[1]).read_bytes()[:-1])
    (copy / shards[2]).unlink()
    (copy / shards[2].replace(".h5", ".json")).unlink()
    (copy / shards[3].replace(".h5", ".json")).unlink()
    before = contents(copy)
    done = repair(copy, jobs=jobs)
    assert list(done.remade) == shards[:4]
    for file, reason in zip(
        shards, ("mean luma", "torn: its record says bytes", "missing", "torn: the shard or the record"), strict=False
    ):
        assert reason in done.remade[file]
    assert (done.checked, done.missing, done.left, done.finished) == (2, 0, [], True)
    after = contents(copy)
    assert {name for name in before if after[name] == before[name]} > {shards[4], "plan.json", "manifest.yaml"}
    assert digests(copy) == digests(small_dataset)
    assert (copy / "dataset.json").read_bytes() == (small_dataset / "dataset.json").read_bytes()
    assert validate(copy).problems == []


def test_shards_that_no_run_has_made_yet_are_left_to_generate(small_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "part"
    generate(small_manifest(), folder, shards=slice(0, 3))
    (folder / f"{MIDDLE}.h5").write_bytes(b"torn")
    done = repair(folder)
    assert (list(done.remade), done.missing, done.finished) == ([f"{MIDDLE}.h5"], 2, False)
    assert not (folder / "dataset.json").exists()
    assert generate(small_manifest(), folder).made == 2
    assert digests(folder) == digests(small_dataset)


def test_an_index_that_is_lost_or_damaged_is_written_again(small_dataset: Path, copy: Path) -> None:
    for damage in (lambda: (copy / "dataset.json").unlink(), lambda: (copy / "dataset.json").write_text("{")):
        damage()
        done = repair(copy)
        assert (done.remade, done.finished) == ({}, True)
        assert (copy / "dataset.json").read_bytes() == (small_dataset / "dataset.json").read_bytes()


def test_a_file_that_is_not_the_plans_is_told_and_left(copy: Path) -> None:
    (copy / "render/train/mine.h5").write_bytes(b"mine")
    done = repair(copy)
    assert [(problem.file, problem.message) for problem in done.left] == [
        ("render/train/mine.h5", "is not part of the plan")
    ]
    assert (copy / "render/train/mine.h5").read_bytes() == b"mine"


def test_what_samples_are_made_from_must_be_as_planned(copy: Path) -> None:
    """Else the new shards would not be those that were lost."""
    texture = next((copy / "cache/textures").iterdir())
    texture.write_bytes(texture.read_bytes() + b"x")
    (copy / f"{MIDDLE}.h5").write_bytes(b"torn")
    before = contents(copy)
    with pytest.raises(ShardError, match=rf"would differ .*{texture.name} is not the one that was planned\. Put"):
        repair(copy)
    assert contents(copy) == before


def test_a_repair_that_is_stopped_goes_on_when_it_is_run_again(
    small_dataset: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One shard is damaged, one is gone, and the disk is full at first."""
    shards = [shard.file for shard in load_plan(copy).shards()]
    (copy / shards[1]).write_bytes((copy / shards[1]).read_bytes()[:-1])
    (copy / shards[2]).unlink()
    (copy / shards[2].replace(".h5", ".json")).unlink()

    def full(*_: object) -> None:
        raise ShardError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("aih_builder.shards.tasks.write_whole", full)
        with pytest.raises(ShardError, match="No space left"):
            repair(copy)
    assert not (copy / "dataset.json").exists()
    done = repair(copy)
    assert (list(done.remade), done.missing, done.finished) == (shards[1:3], 0, True)
    assert digests(copy) == digests(small_dataset)


def test_a_shard_that_cannot_be_checked_is_told_and_left(
    both_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that cannot read the bank says nothing about the shards."""
    folder = Path(shutil.copytree(both_dataset, tmp_path / "copy"))
    before = contents(folder)

    def away(*_: object) -> None:
        raise AssetError("bank.h5: cannot be read on this node.")

    monkeypatch.setattr("aih_builder.shards.validate.engine_for", away)
    done = repair(folder)
    assert done.remade == {}
    assert len(done.left) == 5
    assert all("cannot be compared with its pictures" in problem.message for problem in done.left)
    assert contents(folder) == before


def test_a_shard_that_another_run_finishes_meanwhile_is_left(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked torn while that run was between the shard and its record."""
    record = copy / f"{MIDDLE}.json"
    told = record.read_bytes()
    record.unlink()

    def checked(*arguments):
        record.write_bytes(told)
        return check_shards(*arguments)

    monkeypatch.setattr("aih_builder.shards.repair.check_shards", checked)
    before = contents(copy)
    assert repair(copy).remade == {}
    assert {name for name, told in contents(copy).items() if before.get(name) != told} == {f"{MIDDLE}.json"}


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no plan\.json"):
        repair(tmp_path)
