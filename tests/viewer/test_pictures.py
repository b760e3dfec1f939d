"""A sample's pictures, and predictions beside it."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aih_builder import open_dataset, repair
from aih_builder.errors import ConfigError, ShardError
from aih_builder.hdr.pipeline import HandMasks
from aih_builder.hdr.read_predictions import dataset_hash, folder_of, read_prediction
from aih_builder.hdr.scored_predictions import MEASURES
from aih_builder.imaging import decode_image
from aih_builder.sample import SIDES, Sample
from aih_builder.viewer.filters import Filters
from aih_builder.viewer.web.desk import Desk
from aih_builder.viewer.web.pictures import (
    PREDICTED,
    THUMB_PX,
    THUMBS,
    masks_of,
    picture,
    pictures_of,
    prediction_pictures,
    thumbnail,
)
from aih_builder.viewer.web.predicted import Predictions
from tests.hdr.prediction_files import perfect, write


def off(sample: Sample, px: int) -> Sample:
    """The sample with its masks `px` to the right."""
    masks = {name: np.roll(getattr(sample, name), px, axis=2) for name in ("amodal_mask", "visible_mask")}
    return replace(sample, **masks)


@pytest.fixture
def predicted(small_dataset: Path, samples: list[Sample], tmp_path: Path) -> Path:
    """Predictions of all samples but the last; the worse the later; the fifth is of another attempt."""
    for place, sample in enumerate(samples[:-1]):
        wrong = off(sample, 4 * place)
        made = perfect(sample, masks=HandMasks(amodal=wrong.amodal_mask, visible=wrong.visible_mask))
        write(tmp_path / "out", sample, made, dataset_hash(small_dataset), later=int(place == 4))
    return tmp_path / "out"


@pytest.fixture
def predictions(small_dataset: Path, predicted: Path) -> Predictions:
    return Predictions(predicted, open_dataset(small_dataset))


def test_every_thumbnail_is_a_picture_that_differs_from_the_others(samples: list[Sample]) -> None:
    sample = next(s for s in samples if s.target_valid.all())
    tiles = {show: decode_image(thumbnail(sample, show)) for show in THUMBS}
    assert np.abs(tiles["image"].astype(int) - sample.image_rgb).mean() < 5
    large = [tile for show, tile in tiles.items() if show != "image"]
    assert {tile.shape for tile in large} == {(THUMB_PX, THUMB_PX, 3)}
    assert all((one != other).any() for k, one in enumerate(large) for other in large[:k])


def test_names_that_are_no_picture_are_refused(samples: list[Sample]) -> None:
    for show in ("", "Image", "predicted", "predicted right", "predicted right nose"):
        with pytest.raises(ConfigError, match=r"thumbnail .*: expected one of image, "):
            thumbnail(samples[0], show)
        with pytest.raises(ConfigError, match="there are image, "):
            picture(samples[0], show)


def test_masks_of_one_hand_name_no_other_hand(samples: list[Sample]) -> None:
    two = next(s for s in samples if s.hand_present.all())
    one = replace(two, hand_present=np.array([False, True]), target_valid=np.array([False, True]))
    assert set(masks_of(one)) == {"left amodal", "left visible", "changed, left"}
    assert list(pictures_of(one)) == ["left alone"]
    assert {"M_D, right", "M_R, left", "M_bv, right"} < set(masks_of(two))


# Predictions.


def test_a_prediction_is_shown_against_the_truth(predictions: Predictions, samples: list[Sample]) -> None:
    place = next(i for i, s in enumerate(samples[1:4], 1) if s.hand_present.all())
    sample, found = samples[place], predictions.of(samples[place].index)
    assert found is not None
    shown = prediction_pictures(sample, found)
    assert set(shown) == set(PREDICTED)
    for name, draw in shown.items():
        drawn = draw()
        assert drawn.dtype == np.uint8
        assert drawn.shape == ((16, 16, 3) if name.endswith("alone") else (480, 480, 3))
        assert np.array_equal(decode_image(picture(sample, name, found)), drawn)
        tile = decode_image(thumbnail(sample, name, found))
        assert max(tile.shape) == min(drawn.shape[0], THUMB_PX)
    red, blue = [(230, 60, 60), (80, 120, 255)]
    for hand, side in enumerate(SIDES):
        drawn = shown[f"predicted {side} amodal"]().astype(int)
        masks = sample.amodal_mask[hand], off(sample, 4 * place).amodal_mask[hand]
        true, guessed = (np.kron(mask, np.ones((5, 5), bool)) for mask in masks)
        for only, colour, other in ((true & ~guessed, red, blue), (guessed & ~true, blue, red)):
            towards = [np.abs(drawn[only] - c).sum(axis=1).mean() for c in (colour, other)]
            assert towards[0] < towards[1]  # missed is red, invented blue


def test_a_prediction_without_pictures_shows_its_joints_alone(
    small_dataset: Path, samples: list[Sample], tmp_path: Path
) -> None:
    sample = next(s for s in samples if s.hand_present.all())
    place = write(tmp_path, sample, perfect(sample), dataset_hash(small_dataset), pictures=False)
    shown = prediction_pictures(sample, read_prediction(place))
    assert set(shown) == {f"predicted {side} joints" for side in SIDES}


def test_what_was_not_predicted_is_a_dim_tile_that_says_so(samples: list[Sample]) -> None:
    tile = decode_image(thumbnail(samples[0], "predicted right amodal"))
    assert tile.shape == (THUMB_PX, THUMB_PX, 3)
    assert np.median(tile) < np.median(samples[0].image_rgb) / 2
    assert (tile[100:125, 60:170] > 200).any()  # the words
    with pytest.raises(ConfigError, match="there are image, "):
        picture(samples[0], "predicted right amodal")


def test_a_picture_of_a_prediction_that_is_away_or_damaged_is_told(
    predictions: Predictions, samples: list[Sample]
) -> None:
    sample, found = samples[0], predictions.of(samples[0].index)
    assert found is not None
    name, file = next((f"predicted {s} alone", f) for s, f in zip(SIDES, found.alone, strict=True) if f is not None)
    file.write_bytes(b"nothing")
    with pytest.raises(ShardError):
        picture(sample, name, found)
    file.unlink()
    with pytest.raises(ShardError, match="Run `aih predict` again"):
        thumbnail(sample, name, found)


def test_the_worst_come_first_and_say_how_bad_they_are(predictions: Predictions, samples: list[Sample]) -> None:
    order = predictions.table.index[predictions.worst("amodal_iou", "worse")].tolist()
    assert order[-1] == samples[4].index  # stale: without a score
    assert order[-2] == samples[0].index  # perfect
    assert order.index(samples[3].index) < order.index(samples[1].index)
    rows = {int(index): row for row, index in enumerate(predictions.table.index)}
    hands = [f"{side[0].upper()} 1.000" for side, there in zip(SIDES, samples[0].hand_present, strict=True) if there]
    assert predictions.said(rows[samples[0].index], "amodal_iou") == " ".join(hands)
    assert predictions.said(rows[samples[0].index], "joints_px").endswith(" px")
    stale = predictions.said(rows[samples[4].index], "amodal_iou")
    assert "predict it again" in stale
    for row in rows.values():
        scores = predictions.table.scores["amodal_iou"][row]
        worse = SIDES[0] if np.isnan(scores).all() else SIDES[int(np.nanargmin(scores))]
        assert predictions.hand(row, "amodal_iou", "worse") == worse
        assert [predictions.hand(row, "mpjpe_mm", side) for side in SIDES] == list(SIDES)
    for by in MEASURES:
        scores = predictions.table.scores[by]
        mean, _, unit = predictions.mean(by).partition(" ")
        assert abs(float(mean) - np.nanmean(scores)) < 0.001
        assert unit == MEASURES[by].unit


def test_a_measure_or_a_side_that_is_not_there_is_refused(predictions: Predictions) -> None:
    assert predictions.require("joints_px", "left") == ("joints_px", "left")
    for by, side in (("beauty", "left"), ("joints_px", "both")):
        with pytest.raises(ConfigError, match="expected one of amodal_iou"):
            predictions.require(by, side)


def test_the_desk_shows_predictions_of_the_attempt_that_it_holds(copy: Path, predicted: Path) -> None:
    desk = Desk(copy, predicted)
    assert desk.predictions is not None
    every = np.asarray(desk.state.columns["index"]).tolist()
    shown = [index for index in every if desk.predicted(index) is not None]
    assert shown == [index for k, index in enumerate(every) if k not in (4, 8)]
    assert desk.told(shown[0], Filters())["predicted"]
    assert desk.told(every[8], Filters())["predicted"] == []
    desk.flag(shown[0], "dark")
    repair(copy, flagged=True)
    desk.now()
    assert desk.predicted(shown[0]) is None
    assert desk.told(shown[0], Filters())["predicted"] == []


def test_a_damaged_prediction_is_a_problem_of_its_sample_and_hides_nothing_else(
    copy: Path, predicted: Path, samples: list[Sample]
) -> None:
    desk = Desk(copy, predicted)
    (predicted / folder_of(samples[0].index) / "hands.json").write_text("{")
    other = read_prediction(predicted / folder_of(samples[1].index))
    shutil.copy(predicted / folder_of(samples[0].index) / "right_amodal.png", other.place / "right_amodal.png")
    told = desk.told(samples[0].index, Filters())
    assert (told["predicted"], "error" in told) == ([], False)
    assert any("hands.json: not a readable JSON file" in text for text in told["problems"])
    with pytest.raises(ShardError, match=r"hands\.json"):
        desk.predicted(samples[0].index)


def test_a_prediction_of_another_size_is_a_problem_of_its_sample(
    copy: Path, samples: list[Sample], tmp_path: Path
) -> None:
    sample = samples[0]
    pixels = {name: getattr(sample, name)[..., ::2, ::2] for name in ("amodal_mask", "visible_mask", "changed_mask")}
    small = replace(sample, **pixels, image_rgb=sample.image_rgb[::2, ::2], target_rgb=sample.target_rgb[:, ::2, ::2])
    write(tmp_path / "out", small, perfect(small), dataset_hash(copy))
    desk = Desk(copy, tmp_path / "out")
    told = desk.told(sample.index, Filters())
    assert (told["predicted"], "error" in told) == ([], False)
    assert any("is of an image of (48, 48), expected (96, 96)" in text for text in told["problems"])
    with pytest.raises(ShardError, match="Predict it again"):
        desk.predicted(sample.index)
