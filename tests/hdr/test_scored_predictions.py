"""Written predictions against the truth: the truth scores best, what is moved scores what was computed by hand."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import ConfigError, ShardError
from aih_builder.hdr.metrics import joint_errors_mm, with_true_scale
from aih_builder.hdr.pipeline import HandMasks
from aih_builder.hdr.predictions import write_prediction
from aih_builder.hdr.read_predictions import dataset_hash, find_predictions, folder_of, read_prediction
from aih_builder.hdr.scored_predictions import (
    MEASURES,
    SCORES_FILE,
    Scores,
    Table,
    Truth,
    score,
    scored_table,
    worst_first,
)
from aih_builder.sample import Sample
from aih_builder.shards.reader import open_dataset
from tests.hdr.prediction_files import BONE_MM, perfect, write

WITHIN_PX, WITHIN_MM = 1e-3, 0.01  # files hold rounded figures


@pytest.fixture(scope="module")
def plan_hash(small_dataset: Path) -> str:
    return dataset_hash(small_dataset)


@pytest.fixture
def written(tmp_path: Path, samples: list[Sample], plan_hash: str) -> Path:
    """Perfect predictions of all samples."""
    for sample in samples:
        write(tmp_path / "out", sample, perfect(sample), plan_hash)
    return tmp_path / "out"


def two_hands(samples: list[Sample]) -> Sample:
    return next(sample for sample in samples if sample.hand_present.all())


def change(place: Path, **values: Any) -> None:
    path = place / "hands.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_truth_as_a_prediction_scores_best_everywhere(
    written: Path, small_dataset: Path, samples: list[Sample]
) -> None:
    table = scored_table(written, open_dataset(small_dataset))
    assert table.index.tolist() == sorted(sample.index for sample in samples)
    assert not table.stale.any()
    assert not table.unreadable.any()
    present = np.array([sample.hand_present for sample in sorted(samples, key=lambda sample: sample.index)])
    assert (table.scores["presence_right"] == 1).all()
    for name in ("amodal_iou", "visible_iou"):
        assert (table.scores[name][present] == 1).all()
    assert (table.scores["joints_px"][present] <= WITHIN_PX).all()
    assert (table.scores["mpjpe_mm"][present] <= WITHIN_MM).all()
    for name in MEASURES.keys() - {"presence_right"}:
        assert np.isnan(table.scores[name][~present]).all()


def test_a_prediction_is_read_back_as_it_was_made(tmp_path: Path, samples: list[Sample], plan_hash: str) -> None:
    sample = two_hands(samples)
    made = perfect(sample)
    found = read_prediction(write(tmp_path, sample, made, plan_hash))
    assert (found.sample.index, found.sample.attempt, found.sample.plan_hash) == (
        sample.index,
        sample.attempt,
        plan_hash,
    )
    assert np.array_equal(found.amodal, sample.amodal_mask)  # pyright: ignore[reportArgumentType]
    assert np.array_equal(found.visible, sample.visible_mask)  # pyright: ignore[reportArgumentType]
    assert found.present.tolist() == found.joints_mm_valid.tolist() == [True, True]
    assert np.allclose(found.joints_px, made.joints_px, atol=WITHIN_PX)
    assert np.allclose(found.joints_mm, made.joints_bone * BONE_MM, atol=WITHIN_MM)
    assert [path and path.name for path in (*found.alone, found.overlay)] == [
        "right_alone.png",
        "left_alone.png",
        "overlay.png",
    ]


def test_without_pictures_and_bone_length_joints_alone_are_scored(
    tmp_path: Path, samples: list[Sample], plan_hash: str
) -> None:
    sample = two_hands(samples)
    place = write(tmp_path, sample, perfect(sample), plan_hash, pictures=False, mean_bone_mm=None)
    found = read_prediction(place)
    assert (found.amodal, found.visible, found.alone, found.overlay) == (None, None, (None, None), None)
    assert not found.joints_mm_valid.any()
    assert not found.joints_mm.any()
    scores = score(found, sample)
    assert np.isnan([scores.amodal_iou, scores.visible_iou]).all()
    assert (scores.mpjpe_mm <= WITHIN_MM).all()


def test_shifted_masks_and_joints_score_what_was_computed_by_hand(
    tmp_path: Path, samples: list[Sample], plan_hash: str
) -> None:
    sample = two_hands(samples)
    square, moved = np.zeros((2, *sample.image_rgb.shape[:2]), bool), np.zeros((2, *sample.image_rgb.shape[:2]), bool)
    square[:, 10:30, 10:30], moved[:, 10:30, 15:35] = True, True  # 400 px each, 15 x 20 in both: 300 of 500
    sample = replace(sample, amodal_mask=square, visible_mask=square)
    prediction = perfect(
        sample,
        masks=HandMasks(amodal=moved, visible=moved),
        joints_px=sample.joints_px + np.array([3.0, 4.0]),
        joints_bone=perfect(sample).joints_bone * 7.0,  # of any scale
    )
    scores = score(read_prediction(write(tmp_path, sample, prediction, plan_hash)), sample)
    assert scores.amodal_iou.tolist() == scores.visible_iou.tolist() == [0.6, 0.6]
    assert np.allclose(scores.joints_px, 5.0, atol=2 * WITHIN_PX)
    assert (scores.mpjpe_mm <= WITHIN_MM).all()


def test_errors_in_space_are_those_of_an_evaluation(tmp_path: Path, samples: list[Sample], plan_hash: str) -> None:
    sample = two_hands(samples)
    noise = np.random.default_rng(1).normal(scale=0.1, size=(2, 21, 3))
    noise[:, 0] = 0
    prediction = perfect(sample, joints_bone=perfect(sample).joints_bone + noise)
    scores = score(read_prediction(write(tmp_path, sample, prediction, plan_hash)), sample)
    true_mm = 1000.0 * sample.cam_joints_m.astype(np.float64)
    expected = joint_errors_mm(with_true_scale(prediction.joints_bone, true_mm), true_mm).mean(axis=1)
    assert expected.min() > 5
    assert np.allclose(scores.mpjpe_mm, expected, atol=WITHIN_MM)


def test_joints_that_are_unknown_or_outside_the_frame_do_not_count(
    tmp_path: Path, samples: list[Sample], plan_hash: str
) -> None:
    sample = two_hands(samples)
    joints_px, valid = np.full((2, 21, 2), 20, np.float32), np.ones((2, 21), bool)
    joints_px[0, 1], valid[0, 2] = (-30, 20), False
    valid[1] = False
    known = np.ones((2, 21), bool)
    known[1, 9] = False  # without it there is no bone to scale by
    sample = replace(sample, joints_px=joints_px, joint2d_valid=valid, joint3d_valid=known)
    found_px = joints_px.astype(np.float64)
    found_px[0, 1:3] += 1000
    found_px[0, 3] += [0, 19]  # the only error that counts, of 19 joints
    prediction = perfect(sample, joints_px=found_px)
    scores = score(read_prediction(write(tmp_path, sample, prediction, plan_hash)), sample)
    assert np.allclose(scores.joints_px[0], 1.0)
    assert np.isnan(scores.joints_px[1])
    assert np.isnan(scores.mpjpe_mm).tolist() == [False, True]


def test_a_missed_hand_and_an_invented_one_score_zero_and_have_no_joints(
    tmp_path: Path, samples: list[Sample], plan_hash: str
) -> None:
    sample, nothing = two_hands(samples), np.zeros((2, *samples[0].image_rgb.shape[:2]), bool)
    missed = perfect(sample, masks=HandMasks(amodal=nothing, visible=nothing), present=np.zeros(2, bool))
    scores = score(read_prediction(write(tmp_path / "missed", sample, missed, plan_hash)), sample)
    invented_place = write(tmp_path / "invented", sample, perfect(sample), plan_hash)
    empty = replace(sample, amodal_mask=nothing, visible_mask=nothing, hand_present=np.zeros(2, bool))
    for found in (scores, score(read_prediction(invented_place), empty)):
        assert found.presence_right.tolist() == found.amodal_iou.tolist() == found.visible_iou.tolist() == [0, 0]
        assert np.isnan([found.joints_px, found.mpjpe_mm]).all()


def test_a_prediction_of_another_attempt_is_stale_and_not_scored(
    written: Path, small_dataset: Path, samples: list[Sample], plan_hash: str
) -> None:
    sample = samples[3]
    place = write(written, sample, perfect(sample), plan_hash, later=1)
    with pytest.raises(ConfigError, match=rf"attempt {sample.attempt + 1} at sample {sample.index}, expected attempt"):
        score(read_prediction(place), sample)
    table = scored_table(written, open_dataset(small_dataset))
    (row,) = np.flatnonzero(table.stale)
    assert table.index[row] == sample.index
    assert not table.unreadable.any()
    assert "predict it again" in table.reason[row]
    assert np.isnan([values[row] for values in table.scores.values()]).all()


def test_predictions_of_another_dataset_of_pictures_or_none_are_refused(
    tmp_path: Path, samples: list[Sample], plan_hash: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: cannot be read \(No such file"):
        find_predictions(tmp_path / "nowhere", plan_hash)
    write_prediction(perfect(samples[0]), samples[0].image_rgb, tmp_path, "photo", None)
    with pytest.raises(ConfigError, match=r"no prediction of a dataset's samples \(found 1 of pictures, 0 damaged\)"):
        find_predictions(tmp_path, plan_hash)
    write(tmp_path, samples[1], perfect(samples[1]), "f" * 64)
    with pytest.raises(ConfigError, match=f"holds 1 predictions of a dataset with plan_hash {'f' * 12}, expected"):
        find_predictions(tmp_path, plan_hash)
    place = write(tmp_path, samples[0], perfect(samples[0]), plan_hash)
    with caplog.at_level(logging.INFO):
        assert find_predictions(tmp_path, plan_hash) == {samples[0].index: place}
    assert "left out 1 predictions of pictures, 1 of other datasets" in caplog.text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "aih-hands 9"}, "format is 'aih-hands 9', expected 'aih-hands 1'"),
        ({"sample": {"index": "x"}}, "expected index, attempt and plan_hash"),
        ({"image_size_hw": [1]}, r"image_size_hw is \[1\], expected \[height, width\]"),
        ({"hands": {}}, "hands.right is None, expected an object"),
        ({"hands": {"right": {"present": True}, "left": {"present": False}}}, "expected 21 rows"),
        ({"image_size_hw": [5, 5]}, r"right_amodal.png: is uint8 \(96, 96\), expected uint8 \(5, 5\)"),
    ],
)
def test_a_damaged_prediction_is_told_and_is_a_row_without_scores(
    written: Path, small_dataset: Path, samples: list[Sample], values: dict[str, Any], message: str
) -> None:
    place = written / folder_of(samples[0].index)
    change(place, **values)
    with pytest.raises(ShardError, match=message):
        read_prediction(place)
    table = scored_table(written, open_dataset(small_dataset))
    assert len(table) == len(samples)
    assert table.index[table.unreadable].tolist() == [samples[0].index]
    assert np.isnan(table.scores["presence_right"][table.unreadable]).all()


def test_files_that_are_torn_or_missing_are_told_by_name(written: Path, samples: list[Sample]) -> None:
    place = written / folder_of(samples[0].index)
    (place / "left_visible.png").write_bytes(b"torn")
    with pytest.raises(ShardError, match=r"left_visible.png: damaged PNG data"):
        read_prediction(place)
    (place / "left_visible.png").unlink()
    with pytest.raises(ShardError, match=r"left_visible.png: is missing, its other masks are there"):
        read_prediction(place)
    (place / "hands.json").write_text('{"format": ')
    with pytest.raises(ShardError, match="not a readable JSON file"):
        read_prediction(place)


def test_a_damaged_shard_costs_its_own_rows_and_is_not_remembered(
    written: Path, small_dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small_dataset, copy)
    dataset = open_dataset(copy)
    torn = copy / dataset.shards[0]["file"]
    whole = torn.read_bytes()
    torn.write_bytes(b"torn")
    assert scored_table(written, dataset).unreadable.sum() == dataset.shards[0]["samples"]
    torn.write_bytes(whole)
    assert not scored_table(written, dataset).unreadable.any()


def test_the_truth_is_found_by_index_and_foreign_indices_are_refused(
    both_dataset: Path,
) -> None:
    dataset = open_dataset(both_dataset)
    truth = Truth(dataset)
    for sample in dataset:
        assert truth.sample(sample.index).scene_id == sample.scene_id
    for index in (15, 16 * 1000, 2**32 - 1):
        with pytest.raises(ConfigError, match=f"holds no sample {index}"):
            truth.sample(index)
    assert Truth(open_dataset(both_dataset, engine="render")).file_of(dataset[len(dataset) - 1].index) is None


def test_a_table_of_some_splits_leaves_the_others_out(written: Path, small_dataset: Path) -> None:
    some = open_dataset(small_dataset, split="val")
    assert scored_table(written, some).index.tolist() == sorted(sample.index for sample in some)
    for place in (written / folder_of(sample.index) for sample in some):
        shutil.rmtree(place)
    with pytest.raises(ConfigError, match="7 predictions, none of the 2 samples asked for"):
        scored_table(written, some)


def test_the_table_is_kept_until_a_prediction_changes(
    written: Path, small_dataset: Path, samples: list[Sample], plan_hash: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(small_dataset)
    told: list[tuple[int, int]] = []
    first = scored_table(written, dataset, on_progress=lambda *done: told.append(done))
    assert told == [(k + 1, len(samples)) for k in range(len(samples))]
    told.clear()
    with monkeypatch.context() as patch:
        patch.setattr("aih_builder.hdr.scored_predictions.read_prediction", None)  # whoever calls it fails
        again = scored_table(written, dataset, on_progress=lambda *done: told.append(done))
    assert told == []
    assert same(first, again)
    write(written, samples[0], perfect(samples[0]), plan_hash, later=1)
    assert scored_table(written, dataset).stale.sum() == 1
    assert scored_table(written, open_dataset(small_dataset, split="val")).index.size == 2


def test_a_damaged_cache_is_made_again_and_none_is_asked_for_none(written: Path, small_dataset: Path) -> None:
    dataset = open_dataset(small_dataset)
    first = scored_table(written, dataset, cache=False)
    assert not (written / SCORES_FILE).exists()
    scored_table(written, dataset)
    whole = (written / SCORES_FILE).read_bytes()
    for bad in (b"", b"nothing of the kind", whole[:200], whole[:-30], whole[:100] + bytes(300) + whole[400:]):
        (written / SCORES_FILE).write_bytes(bad)
        assert same(first, scored_table(written, dataset))
        assert (written / SCORES_FILE).stat().st_size > 400


def test_a_folder_that_takes_no_file_is_only_told(
    written: Path, small_dataset: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: Path, *_: object) -> None:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", full)
    assert len(scored_table(written, open_dataset(small_dataset))) == 9
    assert "the scores are not kept" in caplog.text
    assert not list(written.glob("scores.npz*"))


def test_the_worst_come_first_by_the_worse_hand_and_those_without_a_score_last() -> None:
    nan = np.nan
    iou = np.array([[0.9, 0.5], [nan, nan], [0.2, 0.9], [nan, 0.5], [1.0, 1.0]])
    scores = dict.fromkeys(MEASURES, iou) | {"mpjpe_mm": 100 * iou}
    table = Table(np.array([40, 30, 20, 10, 0]), scores, np.zeros(5, bool), np.full(5, ""))
    assert worst_first(table, "amodal_iou").tolist() == [2, 3, 0, 4, 1]  # 0.5 twice: index 10 goes before 40
    assert worst_first(table, "mpjpe_mm").tolist() == [4, 2, 0, 3, 1]
    assert worst_first(table, "visible_iou", "right").tolist() == [2, 0, 4, 3, 1]
    assert worst_first(table, "mpjpe_mm", "left").tolist() == [4, 2, 3, 0, 1]
    with pytest.raises(ConfigError, match="expected one of amodal_iou"):
        worst_first(table, "beauty")
    with pytest.raises(ConfigError, match="expected right, left or worse"):
        worst_first(table, "mpjpe_mm", "both")  # pyright: ignore[reportArgumentType]


def test_every_score_is_described() -> None:
    assert tuple(MEASURES) == Scores._fields


def same(one: Table, other: Table) -> bool:
    return (
        all(np.array_equal(one.scores[name], other.scores[name], equal_nan=True) for name in MEASURES)
        and np.array_equal(one.index, other.index)
        and np.array_equal(one.stale, other.stale)
        and np.array_equal(one.reason, other.reason)
    )
