"""overrides.json: from which attempt on samples are drawn. Part of what a dataset is."""

import json
from pathlib import Path

import pytest

from aih_builder import Sample, generate, open_dataset, repair, validate
from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import read_json, write_json
from aih_builder.shards.build import index
from aih_builder.shards.overrides import raise_overrides, read_overrides
from aih_builder.shards.plan import Shard, load_plan
from aih_builder.shards.progress import status
from aih_builder.shards.remake import differences
from aih_builder.shards.tasks import engine_for, make_sample, make_shard, record_path, shard_state
from aih_builder.synth.engine import Tally
from tests.builders import small_manifest, with_counts
from tests.shards.planting import contents, digests

TRAIN_1 = "render/train/render-train-00001"  # holds samples 32 and 48
VAL_0 = "render/val/render-val-00000"  # 1 and 17


def by_hand(folder: Path, **first_attempts: int) -> None:
    content = {key.removeprefix("i"): value for key, value in first_attempts.items()}
    write_json(folder / "overrides.json", {"format": "aih-overrides", "first_attempts": content})


def test_an_override_is_raised_and_never_lowered(tmp_path: Path) -> None:
    assert read_overrides(tmp_path) == {}
    assert raise_overrides(tmp_path, {}) == {}
    assert list(tmp_path.iterdir()) == []
    raise_overrides(tmp_path, {48: 3, 1: 2})
    assert list(raise_overrides(tmp_path, {48: 2, 16: 5}).items()) == [(1, 2), (16, 5), (48, 3)]
    content = json.loads((tmp_path / "overrides.json").read_text())
    assert content == {"format": "aih-overrides", "first_attempts": {"1": 2, "16": 5, "48": 3}}
    written = (tmp_path / "overrides.json").stat().st_mtime_ns
    raise_overrides(tmp_path, {48: 3})
    assert (tmp_path / "overrides.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", '{"format": "aih-flags", "first_attempts": {"16": 2}}', '{"format": "aih-overrides"}',
        '{"format": "aih-overrides", "first_attempts": {"16": 1}}',
        '{"format": "aih-overrides", "first_attempts": {"16": 2.5}}',
        '{"format": "aih-overrides", "first_attempts": {"16": true}}',
        '{"format": "aih-overrides", "first_attempts": {"16": 4294967296}}',
        '{"format": "aih-overrides", "first_attempts": {"x": 2}}',
        '{"format": "aih-overrides", "first_attempts": [2]}',
    ],
)  # fmt: skip
def test_damaged_overrides_stop_everything_that_makes_samples_and_say_what_to_do(copy: Path, text: str) -> None:
    (copy / "overrides.json").write_text(text)
    before = contents(copy)
    for act in (
        lambda: load_plan(copy), lambda: generate(small_manifest(), copy), lambda: repair(copy), lambda: status(copy),
        lambda: raise_overrides(copy, {16: 2}),
    ):  # fmt: skip
        with pytest.raises(ShardError, match=r"overrides\.json: damaged or not .* Put the old file back"):
            act()
    assert contents(copy) == before
    assert len(open_dataset(copy)) == 9  # what is there is whole


@pytest.mark.parametrize("stranger", [80, 3, 15, 2**40])
def test_overrides_of_samples_that_are_not_planned_are_named(copy: Path, stranger: int) -> None:
    by_hand(copy, i16=2, **{f"i{stranger}": 2})
    with pytest.raises(ConfigError, match=rf"names 1 samples that the plan does not hold \(index {stranger}\)"):
        load_plan(copy)


def test_generate_makes_exactly_the_shards_that_overrides_written_by_hand_name(copy: Path) -> None:
    attempts = {sample.index: sample.attempt for sample in open_dataset(copy)}
    before, plain = contents(copy), load_plan(copy)
    by_hand(copy, i48=attempts[48] + 1, i1=attempts[1] + 3)
    seen = status(copy)
    assert sorted(seen.torn) == [f"{TRAIN_1}.h5", f"{VAL_0}.h5"]
    told = seen.torn[f"{TRAIN_1}.h5"]
    assert told == f"sample 48 was made from attempt 1 on, overrides.json asks for {attempts[48] + 1} on"
    assert seen.indexed == "stale"
    with pytest.raises(ConfigError, match="2 shards are not done"):
        index(copy)
    assert generate(small_manifest(), copy).made == 2
    after = contents(copy)
    changed = {f"{name}{end}" for name in (TRAIN_1, VAL_0) for end in (".h5", ".json")} | {"dataset.json"}
    assert {name for name in before if name not in after or after[name] != before[name]} == changed
    now = {sample.index: sample.attempt for sample in open_dataset(copy)}
    assert {i for i in now if now[i] != attempts[i]} == {1, 48}
    assert now[48] > attempts[48]
    assert now[1] >= attempts[1] + 3
    assert read_json(copy / "dataset.json")["overrides"] == {"1": attempts[1] + 3, "48": attempts[48] + 1}
    assert read_json(copy / f"{VAL_0}.json")["first_attempts"] == {"1": attempts[1] + 3}
    plan = load_plan(copy)
    assert plan.plan_hash == plain.plan_hash == plain.identity != plan.identity
    assert validate(copy).problems == []


def test_the_records_and_the_index_of_a_dataset_without_overrides_do_not_speak_of_them(small_dataset: Path) -> None:
    assert "overrides" not in read_json(small_dataset / "dataset.json")
    for shard in load_plan(small_dataset).shards():
        assert "first_attempts" not in read_json(record_path(small_dataset, shard))


def test_taken_away_overrides_give_the_dataset_of_before(small_dataset: Path, copy: Path) -> None:
    by_hand(copy, i48=9)
    generate(small_manifest(), copy)
    assert digests(copy) != digests(small_dataset)
    (copy / "overrides.json").unlink()
    assert status(copy).torn == {f"{TRAIN_1}.h5": "sample 48 was made from attempt 9 on, overrides.json asks for 1 on"}
    generate(small_manifest(), copy)
    assert digests(copy) == digests(small_dataset)
    assert (copy / "dataset.json").read_bytes() == (small_dataset / "dataset.json").read_bytes()


def test_a_dataset_that_grows_keeps_its_overrides(copy: Path, tmp_path: Path) -> None:
    by_hand(copy, i64=7)  # of the shard that grows, too
    larger = small_manifest(**with_counts(train=6))
    assert generate(larger, copy).made == 1
    assert load_plan(copy).overrides == {64: 7}
    attempts = {sample.index: sample.attempt for sample in open_dataset(copy)}
    assert attempts[64] >= 7
    assert 80 in attempts
    generate(larger, tmp_path / "other")
    assert len({*digests(copy).items()} ^ {*digests(tmp_path / "other").items()}) == 2
    assert validate(copy).problems == []


def test_one_sample_made_alone_is_the_overridden_one(copy: Path) -> None:
    by_hand(copy, i48=5)
    plan = load_plan(copy)
    assert differences(plan, plan.shard_of(48), 48) != []  # the shard is still the old one
    generate(small_manifest(), copy)
    assert make_sample(plan, 48).attempt >= 5
    assert [differences(plan, plan.shard_of(i), i) for i in (32, 48)] == [[], []]


def test_a_shard_whose_overrides_change_while_it_is_made_is_made_again_at_once(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = load_plan(copy)
    shard, engine = plan.shard_of(48), engine_for(plan, "render")
    by_hand(copy, i48=3)
    asked = []

    def slow(index: int, tally: Tally, *, first_attempt: int) -> Sample:
        asked.append((index, first_attempt))
        by_hand(copy, i48=6)
        return type(engine).make(engine, index, tally, first_attempt=first_attempt)

    monkeypatch.setattr(engine, "make", slow)
    assert make_shard(copy, shard).record["first_attempts"] == {"48": 6}
    assert asked == [(32, 1), (48, 3), (32, 1), (48, 6)]
    assert shard_state(load_plan(copy), shard).state == "done"


@pytest.mark.parametrize("told", [[], {"48": 0}, {"x": 2}, "9"])
def test_a_record_whose_overrides_are_damaged_makes_its_shard_torn(copy: Path, told: object) -> None:
    plan = load_plan(copy)
    shard = plan.shard_of(48)
    path = record_path(copy, shard)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"first_attempts": told}))
    state = shard_state(plan, shard)
    assert state.state == "torn"
    assert "damaged, first_attempts is" in state.reason


def test_validate_finds_a_sample_from_before_its_override_and_an_index_that_does_not_tell(copy: Path) -> None:
    by_hand(copy, i48=9)
    plan = load_plan(copy)
    path = record_path(copy, plan.shard_of(48))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"first_attempts": {"48": 9}}))  # a lie
    told = [str(problem) for problem in validate(copy).problems]
    assert len(told) == 2
    assert told[0].startswith("dataset.json: 'overrides' is not what the plan and the shards' records give, found None")
    assert told[1].startswith(f"{TRAIN_1}.h5 sample 1: attempt is ")
    assert told[1].endswith("overrides.json asks for 9 or a later one")


def test_overrides_are_found_by_shard(small_dataset: Path) -> None:
    plan = load_plan(small_dataset)
    overrides = dict(sorted({i: 2 + i for shard in plan.shards() for i in shard.indices}.items()))
    told = {shard: shard.first_attempts(overrides) for shard in plan.shards()}
    assert all(list(found) == shard.indices for shard, found in told.items())
    assert Shard("sync", "train", 0, 0, 5).first_attempts(overrides) == {}
