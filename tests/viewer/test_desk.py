"""What the viewer's page asks for, answered from a dataset that changes meanwhile."""

import io
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder import generate, open_dataset, repair
from aih_builder.errors import ConfigError, ShardError
from aih_builder.files import read_json
from aih_builder.sample import SPECS, Sample
from aih_builder.shards.flags import remove_flags
from aih_builder.shards.marking import flag_samples
from aih_builder.shards.validate import Problem, validate
from aih_builder.viewer.filters import Filters
from aih_builder.viewer.web import checking
from aih_builder.viewer.web.checking import read_problems
from aih_builder.viewer.web.desk import Desk
from tests.builders import small_manifest, with_counts
from tests.cli_runs import wait_until
from tests.shards.planting import rewrite

TRAIN_0 = "render/train/render-train-00000.h5"  # holds samples 0 and 16
ALL = Filters()


@pytest.fixture
def desk(copy: Path) -> Desk:
    return Desk(copy)


def reasons(desk: Desk) -> dict[int, str]:
    """Flags by index, as the page tells them."""
    told = {index: desk.told(index, ALL)["flag"] for index in np.asarray(desk.state.columns["index"]).tolist()}
    return {index: reason for index, reason in told.items() if reason is not None}


def same(one: Sample, other: Sample) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in SPECS)


# Samples.


def test_every_sample_is_told_with_its_neighbours_among_those_that_are_asked_for(
    desk: Desk, samples: list[Sample]
) -> None:
    asked = Filters(split=("train",), sort="-mean_luma")
    expected = [s.index for s in sorted(samples, key=lambda s: -s.mean_luma) if s.split == "train"]
    assert [desk.state.index(row) for row in desk.state.rows(asked)] == expected
    for place, index in enumerate(expected):
        told = desk.told(index, asked)
        assert (told["index"], told["place"], told["total"]) == (index, place + 1, 5)
        assert told["previous"] == (expected[place - 1] if place else None)
        assert told["next"] == (expected[place + 1] if place < 4 else None)
        assert (told["flag"], told["problems"], told["broken"], told["predicted"]) == (None, [], [], [])
        assert json.loads(json.dumps(told, allow_nan=False)) == told
    outside = desk.told(next(s.index for s in samples if s.split == "val"), asked)
    assert (outside["place"], outside["previous"], outside["next"], outside["total"]) == (None, None, None, 5)


def test_what_is_told_of_a_sample_is_what_the_sample_holds(desk: Desk, samples: list[Sample]) -> None:
    for sample in samples:
        told = desk.told(sample.index, ALL)
        assert told["title"] == f"{sample.engine} / {sample.split} / {sample.pose_family}"
        assert [field["name"] for field in told["fields"]] == list(SPECS)
        assert told["command"].endswith(f"--index {sample.index}")
        for hand, of_hand in zip(np.flatnonzero(sample.hand_present), told["hands"], strict=True):
            for kind, mask in (("amodal", sample.amodal_mask[hand]), ("visible", sample.visible_mask[hand])):
                left, top, width, height = of_hand["boxes"][kind]
                rows, columns = np.nonzero(mask)
                assert (top, top + height) == (rows.min(), rows.max() + 1)
                assert (left, left + width) == (columns.min(), columns.max() + 1)
            joints = np.array([[joint["x"], joint["y"]] for joint in of_hand["joints"]])
            assert np.abs(joints - sample.joints_px[hand]).max() <= 0.0051
            assert [joint["seen"] for joint in of_hand["joints"]] == sample.joint_visible[hand].tolist()


def test_samples_and_captions_are_those_of_the_dataset(desk: Desk, samples: list[Sample]) -> None:
    for row, sample in enumerate(samples):
        assert desk.state.index(row) == sample.index
        assert same(desk.sample(sample.index), sample)
        first, family, hidden = desk.state.caption(row)
        assert (first, family) == (f"#{sample.index} render", sample.pose_family)
        shown = [f"{100 * sample.occlusion_rate[hand]:.0f}" for hand in np.flatnonzero(sample.hand_present)]
        assert [word for word in hidden.split()[1:-1] if word not in "RL"] == shown
    assert desk.state.words("pose_family") == sorted({sample.pose_family for sample in samples})


def test_an_archive_holds_the_sample_field_by_field(desk: Desk, samples: list[Sample]) -> None:
    with np.load(io.BytesIO(desk.archive(samples[3].index)), allow_pickle=False) as archive:
        stored = {name for name in SPECS if getattr(samples[3], name) is not None}
        assert set(archive.files) == stored
        for name in stored:
            value = np.asarray(getattr(samples[3], name))
            assert archive[name].dtype == value.dtype
            assert np.array_equal(archive[name], value)


@pytest.mark.parametrize("index", [-1, 15, 80, 2**31, 10**30])
def test_an_index_that_is_not_there_is_refused(desk: Desk, index: int) -> None:
    for act in (desk.sample, desk.archive, lambda i: desk.told(i, ALL), lambda i: desk.flag(i, "dark")):
        with pytest.raises(ConfigError, match=f"{index}"):
            act(index)
    assert not (desk.folder / "flags.json").exists()


def test_an_empty_dataset_answers_with_nothing(copy: Path) -> None:
    listed = read_json(copy / "dataset.json")
    (copy / "dataset.json").write_text(json.dumps(listed | {"shards": [], "samples": 0}))
    desk = Desk(copy)
    assert len(desk.state.columns) == 0
    for asked in (ALL, Filters(sort="random"), Filters(where="mean_luma > 3"), Filters(validity="flagged")):
        assert desk.state.rows(asked).tolist() == []
    assert desk.state.words("pose_family") == []
    with pytest.raises(ConfigError, match="holds none of that index"):
        desk.told(0, ALL)


def test_a_dataset_of_one_sample_has_no_neighbours(tmp_path: Path) -> None:
    generate(small_manifest(**with_counts(train=1, val=0, test=0)), tmp_path / "one")
    told = Desk(tmp_path / "one").told(0, Filters(sort="random", seed=5))
    assert (told["place"], told["total"], told["previous"], told["next"]) == (1, 1, None, None)


# Flags.


def test_a_flag_is_set_changed_and_taken_away(desk: Desk) -> None:
    assert desk.flag(16, " too dark ") == "too dark"
    assert desk.flag(64, "cut") == "cut"
    assert reasons(desk) == {16: "too dark", 64: "cut"}
    assert [desk.state.index(row) for row in desk.state.rows(Filters(validity="flagged"))] == [16, 64]
    assert len(desk.state.rows(ALL)) == 9
    desk.flag(16, "another reason")
    desk.unflag(64)
    desk.unflag(64)
    assert reasons(desk) == {16: "another reason"}
    assert open_dataset(desk.folder).left_out == [16]


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_a_reason_that_says_nothing_or_too_much_is_refused(desk: Desk, reason: str) -> None:
    with pytest.raises(ConfigError, match="its reason has"):
        desk.flag(16, reason)
    assert reasons(desk) == {}


def test_flags_that_others_set_and_take_away_are_seen(desk: Desk) -> None:
    flag_samples(desk.folder, {48: "by another"})
    desk.now()
    assert [desk.state.index(row) for row in desk.state.rows(Filters(validity="flagged"))] == [48]
    assert reasons(desk) == {48: "by another"}
    remove_flags(desk.folder, [48])
    assert reasons(desk) == {}


def test_damaged_flags_are_told_until_they_are_mended(desk: Desk) -> None:
    (desk.folder / "flags.json").write_text("{")
    for act in (lambda: desk.told(0, ALL), lambda: desk.flag(0, "dark"), lambda: desk.unflag(0), desk.now):
        with pytest.raises(ShardError, match=r"flags\.json: damaged"):
            act()
    (desk.folder / "flags.json").unlink()
    assert desk.told(0, ALL)["flag"] is None


def test_many_at_once_each_get_a_whole_answer(desk: Desk) -> None:
    """Some flag and take flags away, others look."""
    failed: list[BaseException] = []

    def repeated(act: Callable[[], Any]) -> None:
        try:
            for _ in range(25):
                act()
        except BaseException as error:
            failed.append(error)
            raise

    def told() -> None:
        for index in (0, 16):
            answer = desk.told(index, Filters(validity="flagged"))
            assert (answer["flag"] is None) == (answer["place"] is None)

    acts: list[Callable[[], Any]] = [lambda: desk.flag(0, "a"), lambda: desk.unflag(0), lambda: desk.flag(16, "b")]
    acts += [lambda: desk.unflag(16), told, told, lambda: desk.archive(48), lambda: desk.sample(1)]
    threads = [threading.Thread(target=repeated, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


# Problems.


def moved(samples: list[Sample]) -> list[Sample]:
    """The second sample's masks lie elsewhere than its hands."""
    first, second = samples
    masks = {name: np.roll(getattr(second, name), 24, axis=2) for name in ("amodal_mask", "visible_mask")}
    return [first, replace(second, **masks)]


def test_a_check_finds_a_bad_mask_and_leads_to_its_sample(copy: Path) -> None:
    rewrite(copy, moved)
    desk = Desk(copy)
    desk.check.start()
    desk.check.start()  # one runs already
    wait_until(lambda: not desk.check.progress.running)
    assert desk.check.progress == checking.Progress(done=5, of=5, checked=9)
    assert {desk.state.index_of(problem) for problem in desk.state.problems} == {16}
    assert any("amodal mask and projected mesh agree to IoU" in text for text in desk.state.view.problems[16])
    assert [desk.state.index(row) for row in desk.state.rows(Filters(validity="problems found"))] == [16]
    assert desk.told(16, ALL)["problems"] == [problem.message for problem in desk.state.problems]
    assert desk.told(16, ALL)["broken"]
    assert desk.told(0, ALL)["problems"] == desk.told(0, ALL)["broken"] == []


def test_a_report_of_a_check_is_read_as_it_was_printed(copy: Path, tmp_path: Path) -> None:
    rewrite(copy, moved)
    found = validate(copy).problems
    printed = [{"file": p.file, "sample": p.sample, "message": p.message} for p in found]
    (tmp_path / "report.json").write_text(json.dumps({"problems": printed}))
    read = read_problems(tmp_path / "report.json")
    assert [problem[:3] for problem in read] == [problem[:3] for problem in found]
    assert list(Desk(copy, problems=read).state.view.problems) == [16]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", '{"problems": 3}', '{"problems": ["x"]}', '{"problems": [{"file": "a"}]}',
        '{"problems": [{"file": "a", "sample": "x", "message": "m"}]}',
        '{"problems": [{"file": "a", "sample": Infinity, "message": "m"}]}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ConfigError, match=r"report\.json: no report of a check"):
        read_problems(tmp_path / "report.json")


def test_a_report_that_is_not_there_or_a_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(bytes(range(256)))
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "picture"):
        with pytest.raises(ConfigError, match="no report of a check"):
            read_problems(path)


def test_problems_of_shards_and_of_other_datasets_lead_to_no_sample(copy: Path) -> None:
    strange = [("cache", None), ("../x.h5", 0), (TRAIN_0, None), (TRAIN_0, 2), (TRAIN_0, -1), (TRAIN_0, 10**9)]
    desk = Desk(copy, problems=[Problem(file, sample, "bad") for file, sample in strange])
    assert [desk.state.index_of(problem) for problem in desk.state.problems] == [None] * len(strange)
    assert desk.state.rows(Filters(validity="problems found")).tolist() == []
    desk.take_problems([Problem(TRAIN_0, 1, "bad"), Problem(TRAIN_0, 1, "worse")])
    assert desk.told(16, ALL)["problems"] == ["bad", "worse"]


def test_a_check_that_breaks_off_says_so_and_can_be_started_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", heard.append)

    def fail(error: Exception) -> Any:
        raise error

    for error, told in ((MemoryError(), "broke off"), (ShardError("plan.json: gone"), "plan.json: gone")):
        monkeypatch.setattr(checking, "validate", lambda *_, error=error, **__: fail(error))
        desk.check.start()
        wait_until(lambda: not desk.check.progress.running)
        assert told in desk.check.progress.error
    wait_until(lambda: len(heard) == 1)
    assert heard[0].exc_type is MemoryError


# A dataset that changes.


@pytest.mark.parametrize("damage", ["away", "cut", "noise", "another shard", "empty"])
def test_a_shard_that_goes_bad_under_the_desk_is_told_and_read_again_once_repaired(
    desk: Desk, samples: list[Sample], damage: str
) -> None:
    file = desk.folder / TRAIN_0
    assert same(desk.sample(0), samples[0])
    desk.state.rows(Filters(where="any(cam_joints_m > 100)"))  # maps every shard
    if damage == "away":
        file.unlink()
    elif damage == "another shard":
        shutil.copyfile(desk.folder / "render/train/render-train-00002.h5", file)  # holds one sample
    else:
        os.truncate(file, 0 if damage == "empty" else file.stat().st_size // 2)
    if damage == "noise":
        file.write_bytes(np.random.default_rng(0).bytes(50_000))
    for index in (0, 16) if damage != "another shard" else (16,):
        told = desk.told(index, ALL)
        assert TRAIN_0 in told["error"]
        assert told["place"]
        with pytest.raises(ShardError, match=TRAIN_0):
            desk.archive(index)
    assert same(desk.sample(32), samples[2])
    readable = desk.state.rows(Filters(where="any(joints_px > -1)")).tolist()  # reads every shard again
    assert readable == list(range(2, 9))
    assert [desk.state.index(row) for row in desk.state.rows(Filters(validity="cannot be read"))] == [0, 16]
    assert desk.state.caption(0) == ["#0", "cannot be read"]
    assert repair(desk.folder).finished
    told = desk.told(16, ALL)
    assert "error" not in told
    assert same(desk.sample(16), samples[1])
    assert len(desk.state.rows(Filters(where="any(joints_px > -1)"))) == 9
    assert desk.state.rows(Filters(validity="cannot be read")).tolist() == []


def test_while_the_index_is_away_the_last_state_stays_to_look_at(desk: Desk, samples: list[Sample]) -> None:
    listed = desk.folder / "dataset.json"
    content = listed.read_bytes()
    for damage in (listed.unlink, lambda: listed.write_text("{"), lambda: listed.write_text("{}")):
        damage()
        with pytest.raises((ConfigError, ShardError), match=r"not finished|dataset\.json"):
            desk.told(0, ALL)
        assert same(desk.sample(0), samples[0])
        assert len(desk.state.rows(ALL)) == len(desk.state.columns) == 9
    listed.write_bytes(content)
    assert desk.told(0, ALL)["total"] == 9


def test_a_flagged_sample_that_is_made_anew_is_shown_as_it_is_now(desk: Desk, samples: list[Sample]) -> None:
    before = desk.sample(48)
    desk.flag(48, "dark")
    repair(desk.folder, flagged=True)
    assert reasons(desk) == {}
    now = desk.sample(48)
    assert now.attempt > before.attempt
    assert not np.array_equal(now.image_rgb, before.image_rgb)
    assert same(desk.sample(32), samples[2])
    field = {field["name"]: field["value"] for field in desk.told(48, ALL)["fields"]}
    assert field["attempt"] == str(now.attempt)
    row = desk.state.columns.row_of(48)
    assert row is not None
    assert np.asarray(desk.state.columns["attempt"])[row] == now.attempt


def test_a_shard_that_cannot_be_read_from_the_start_is_named(copy: Path, samples: list[Sample]) -> None:
    (copy / TRAIN_0).write_bytes(b"nothing")
    desk = Desk(copy)
    assert desk.state.columns.readable.tolist() == [False] * 2 + [True] * 7
    assert desk.state.caption(1) == ["#16", "cannot be read"]
    assert TRAIN_0 in desk.told(16, ALL)["error"]
    assert desk.told(16, Filters(validity="cannot be read"))["place"] == 2
    assert same(desk.sample(32), samples[2])


def test_another_order_and_more_samples_than_are_kept_give_the_same_samples(both_dataset: Path) -> None:
    every = list(open_dataset(both_dataset))
    desk = Desk(both_dataset)
    for sample in [*every, *reversed(every), *every[::3]]:
        assert desk.sample(sample.index).index == sample.index
    assert same(desk.sample(every[0].index), every[0])


def test_the_last_answers_are_kept_and_no_more(desk: Desk) -> None:
    asked = [Filters(sort="random", seed=seed) for seed in range(40)]
    first = [desk.state.rows(filters).tolist() for filters in asked]
    assert [desk.state.rows(filters).tolist() for filters in asked] == first
    assert desk.state.rows(asked[-1]) is desk.state.rows(asked[-1])


def test_what_is_no_dataset_or_is_not_finished_is_refused(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(ConfigError, match="Expected a dataset folder"):
        Desk(tmp_path)
    (copy / "dataset.json").unlink()
    with pytest.raises(ConfigError, match="is not finished"):
        Desk(copy)
