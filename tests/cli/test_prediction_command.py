"""`aih predict`, run in this process with untrained networks."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from aih_builder.cli.app import app
from aih_builder.hdr.predictions import folder_names
from aih_builder.hdr.read_predictions import dataset_hash, find_predictions, folder_of, read_prediction
from aih_builder.hdr.scored_predictions import scored_table
from aih_builder.imaging import decode_png, encode_jpeg, encode_png, read_image
from aih_builder.shards.reader import open_dataset
from tests.hdr_models import BONE_MM, NO_HAND, RIGHT_HAND, SIDE_PX, TWO_HANDS, write_models

MASKS = {f"{side}_{kind}.png" for side in ("right", "left") for kind in ("amodal", "visible")}
ALONE = {"right_alone.png", "left_alone.png"}
EVERY_FILE = MASKS | ALONE | {"overlay.png", "hands.json"}


def aih(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def refusal(result: Result) -> str:
    """What a refused command says: one message, no traceback, exit code 2."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("aih: ")
    return result.stderr


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def write_picture(path: Path, height: int, width: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng([height, width]).integers(0, 256, (height, width, 3), np.uint8)
    path.write_bytes(encode_jpeg(image) if path.suffix == ".jpg" else encode_png(image))
    return path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that see both hands everywhere."""
    return write_models(tmp_path_factory.mktemp("two"), TWO_HANDS)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that see a right hand everywhere."""
    return write_models(tmp_path_factory.mktemp("one"), RIGHT_HAND)


def test_each_picture_gets_a_folder_of_masks_pictures_and_figures(two: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "in/a.png", 50, 70)
    write_picture(tmp_path / "in/deeper/b.jpg", 90, 30)
    (tmp_path / "in/notes.txt").write_text("no picture")
    result = aih(tmp_path / "in", "--out", tmp_path / "out", "--models", two, "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["images"], told["failed"], told["hands"]) == (2, [], {"right": 2, "left": 2})
    assert told["device"] == "cpu"
    assert set(told["ms_per_image"]) == {"hasm", "crops", "hdrm", "shpe"}
    assert files(tmp_path / "out") == {f"{name}/{file}" for name in "ab" for file in EVERY_FILE}
    for name, size_hw in (("a", (50, 70)), ("b", (90, 30))):
        for file in MASKS:
            mask = decode_png((tmp_path / "out" / name / file).read_bytes())
            assert mask.shape == size_hw
            assert set(np.unique(mask)) <= {0, 255}
        assert all(read_image(tmp_path / "out" / name / file).shape == (SIDE_PX, SIDE_PX, 3) for file in ALONE)
        assert max(read_image(tmp_path / "out" / name / "overlay.png").shape) >= 600


def test_the_figures_are_those_of_the_conventions_they_state(two: Path, tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png", 50, 70)
    assert aih(image, "--out", tmp_path, "--models", two).exit_code == 0
    told = json.loads((tmp_path / "a/hands.json").read_text())
    assert (told["format"], told["image"], told["image_size_hw"]) == ("aih-hands 1", "a.png", [50, 70])
    assert (told["mean_bone_mm"], told["crop_size_px"], len(told["keypoints"])) == (BONE_MM, SIDE_PX, 21)
    assert "mean_bone_mm" in told["conventions"]["joints_mm"]
    for side in ("right", "left"):
        hand = told["hands"][side]
        assert hand.keys() - {"present", "visible_share"} <= told["conventions"].keys()
        assert (hand["present"], hand["box_px"]) == (True, [0, 0, 69, 49])
        assert hand["visible_share"] == (1 if side == "right" else 0)
        joints = {key: np.array(hand[key]) for key in ("joints_px", "joints_bone", "joints_mm", "score")}
        assert joints["joints_px"].shape == (21, 2)
        assert not joints["joints_bone"][0].any()
        assert np.allclose(joints["joints_mm"], joints["joints_bone"] * BONE_MM, atol=0.01)
        assert ((joints["score"] >= 0) & (joints["score"] <= 1)).all()
        affine = np.array(hand["crop_affine_px"])
        assert np.sign(affine[0, 0]) == (1 if side == "right" else -1)
        crop_px = joints["joints_px"] @ affine[:, :2].T + affine[:, 2]
        assert ((crop_px > -0.5) & (crop_px < SIDE_PX)).all()


def test_the_left_hand_alone_is_shown_as_the_picture_shows_it(two: Path, tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png", 60, 60)
    switches = ("--no-deocclusion", "--no-removal")
    assert aih(image, "--out", tmp_path, "--models", two, *switches).exit_code == 0
    assert np.array_equal(read_image(tmp_path / "a/left_alone.png"), read_image(tmp_path / "a/right_alone.png"))


def test_an_absent_hand_has_no_picture_and_empty_lists_and_an_earlier_picture_goes(
    two: Path, one: Path, tmp_path: Path
) -> None:
    image = write_picture(tmp_path / "a.png", 40, 40)
    assert aih(image, "--out", tmp_path, "--models", two).exit_code == 0
    (tmp_path / "a/mine.txt").write_text("kept")
    assert aih(image, "--out", tmp_path, "--models", one).exit_code == 0
    assert files(tmp_path / "a") == EVERY_FILE - {"left_alone.png"} | {"mine.txt"}
    hand = json.loads((tmp_path / "a/hands.json").read_text())["hands"]["left"]
    assert hand.pop("present") is False
    assert hand.pop("visible_share") is None
    assert set(map(str, hand.values())) == {"[]"}
    assert aih(image, "--out", tmp_path, "--models", one, "--no-pictures").exit_code == 0
    assert files(tmp_path / "a") == {"hands.json", "mine.txt"}


def test_a_picture_without_hands_is_told_so(tmp_path: Path) -> None:
    image = write_picture(tmp_path / "a.png", 1, 1)
    models = write_models(tmp_path / "models", NO_HAND)
    result = aih(image, "--out", tmp_path / "out", "--models", models, "--device", "cpu")
    assert result.exit_code == 0
    assert "right 0, left 0" in result.stdout
    assert files(tmp_path / "out/a") == EVERY_FILE - ALONE


def test_what_cannot_be_read_is_told_and_the_rest_is_done(two: Path, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        write_picture(tmp_path / "in" / name, 30, 40)
    (tmp_path / "in/b.png").write_bytes(b"no picture")
    result = aih(tmp_path / "in", "--out", tmp_path / "out", "--models", two, "--batch", "2", "--json")
    assert result.exit_code == 1
    assert "b.png: not an image that OpenCV can decode" in result.stderr
    told = json.loads(result.stdout)
    assert (told["images"], told["failed"]) == (2, [str(tmp_path / "in/b.png")])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "c"}


def test_boxes_say_where_the_hands_are_and_other_pictures_are_searched(one: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / "in" / name, 100, 100)
    (tmp_path / "boxes.json").write_text('{"a.png": [40, 30, 50, 45]}')
    more = ("--models", one, "--boxes", tmp_path / "boxes.json")
    assert aih(tmp_path / "in", "--out", tmp_path / "out", *more).exit_code == 0
    boxes = {
        name: json.loads((tmp_path / f"out/{name}/hands.json").read_text())["hands"]["right"]["box_px"] for name in "ab"
    }
    assert np.abs(np.array(boxes["a"]) - [30, 22.5, 60, 52.5]).max() <= 1
    assert boxes["b"] == [0, 0, 99, 99]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected a JSON object"),
        ("{", "not a readable JSON file"),
        ('{"a.png": [1, 2, 3]}', r"a.png: got \[1, 2, 3\], expected \[x0, y0, x1, y1\]"),
        ('{"a.png": [5, 2, 3, 4]}', "x0 < x1"),
        ('{"a.png": [1, 2, NaN, 4]}', "x0 < x1"),
        ('{"z.png": [1, 2, 3, 4]}', "names none of the pictures"),
    ],
)
def test_boxes_that_are_none_are_refused(one: Path, tmp_path: Path, content: str, message: str) -> None:
    image = write_picture(tmp_path / "a.png", 20, 20)
    (tmp_path / "boxes.json").write_text(content)
    result = aih(image, "--out", tmp_path / "out", "--models", one, "--boxes", tmp_path / "boxes.json")
    assert re.search(message, refusal(result))
    assert not (tmp_path / "out").exists()


def test_arguments_that_are_wrong_are_refused(one: Path, tmp_path: Path) -> None:
    image, out = write_picture(tmp_path / "a.png", 20, 20), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    assert "is not there" in refusal(aih(tmp_path / "b.png", "--out", out, "--models", one))
    assert "holds no picture" in refusal(aih(tmp_path / "empty", "--out", out, "--models", one))
    assert "no checkpoint for --hasm, --hdrm, --shpe" in refusal(aih(image, "--out", out))
    assert "empty/hasm: no checkpoint" in refusal(aih(image, "--out", out, "--models", tmp_path / "empty"))
    assert "--device tpu: expected auto, cpu or cuda" in refusal(
        aih(image, "--out", out, "--models", one, "--device", "tpu")
    )
    assert "a.png: is a file" in refusal(aih(image, "--out", image, "--models", one))
    assert not out.exists()


def test_a_checkpoint_that_is_named_goes_before_the_folder_and_hdrm_is_not_always_needed(
    one: Path, two: Path, tmp_path: Path
) -> None:
    image = write_picture(tmp_path / "a.png", 20, 20)
    result = aih(image, "--out", tmp_path, "--models", one, "--hasm", two / "hasm/last.pt", "--json")
    assert json.loads(result.stdout)["hands"] == {"right": 1, "left": 1}
    named = ("--hasm", one / "hasm", "--shpe", one / "shpe")
    assert "no checkpoint for --hdrm" in refusal(aih(image, "--out", tmp_path, *named))
    assert aih(image, "--out", tmp_path, *named, "--no-deocclusion", "--no-removal").exit_code == 0


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("aih_builder.hdr.extra.find_spec", lambda name: None if name == "transformers" else find(name))
    result = aih(write_picture(tmp_path / "a.png", 20, 20), "--out", tmp_path / "out", "--models", tmp_path)
    assert refusal(result) == "aih: aih predict needs transformers: pip install 'aih-builder[train]'.\n"


def test_pictures_of_one_name_get_folders_of_their_own_and_results_are_no_pictures(one: Path, tmp_path: Path) -> None:
    for name in ("x/a.png", "y/a.png", "y/a.jpg", "b.png"):
        write_picture(tmp_path / "in" / name, 20, 20)
    expected = {"b", "x_a", "y_a", "y_a_2"}
    for _ in range(2):  # the second time the results lie among the pictures
        result = aih(tmp_path / "in", tmp_path / "in/b.png", "-o", tmp_path / "in/out", "--models", one, "--json")
        assert json.loads(result.stdout)["images"] == 4
        assert {path.name for path in (tmp_path / "in/out").iterdir()} == expected
    told = json.loads((tmp_path / "in/out/y_a_2/hands.json").read_text())
    assert told["image"] == "y/a.png"  # a.jpg comes before it


def test_folder_names_are_unique_even_where_case_does_not_count() -> None:
    paths = [Path(name) for name in ("p/a.png", "p/A.jpg", "p_a.png", "q/a.png", "P_A_2.png", "c.png")]
    names = folder_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert names == ["p_a_3", "p_A_4", "p_a", "q_a", "P_A_2", "c"]
    assert folder_names(paths) == names


def test_memory_that_is_out_ends_in_one_message(one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("aih_builder.hdr.pipeline.HdrPipeline.hands", starved)
    image = write_picture(tmp_path / "a.png", 20, 20)
    result = aih(image, "--out", tmp_path / "out", "--models", one, "--batch", "3", "--device", "cpu")
    assert "--batch 3: out of memory on cpu" in refusal(result)


def test_the_samples_of_a_dataset_are_predicted_and_can_be_scored(
    two: Path, small_dataset: Path, tmp_path: Path
) -> None:
    result = aih(small_dataset, "--out", tmp_path, "--models", two, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["images"] == 9
    dataset, plan_hash = open_dataset(small_dataset), dataset_hash(small_dataset)
    assert files(tmp_path) == {f"{folder_of(sample.index)}/{file}" for sample in dataset for file in EVERY_FILE}
    table = scored_table(tmp_path, dataset)
    assert not table.unreadable.any()
    for sample in dataset:
        place = tmp_path / f"{sample.index:010}"
        told = json.loads((place / "hands.json").read_text())
        assert told["image"] == f"sample {sample.index}"
        assert told["sample"] == {"index": sample.index, "attempt": sample.attempt, "plan_hash": plan_hash}
        assert "sample" in told["conventions"]
        assert read_prediction(place).present.all()
        row = table.index.tolist().index(sample.index)
        share = sample.amodal_mask.mean(axis=(1, 2))  # both hands were seen everywhere
        expected = np.where(sample.hand_present, share, 0)
        assert np.allclose(table.scores["amodal_iou"][row][sample.hand_present], expected[sample.hand_present])
        assert table.scores["presence_right"][row].tolist() == sample.hand_present.tolist()


def test_split_engine_and_limit_choose_samples_all_over_the_dataset(
    one: Path, both_dataset: Path, tmp_path: Path
) -> None:
    options = ("--models", one, "--no-pictures", "--split", "train", "--engine", "sync")
    assert aih(both_dataset, "--out", tmp_path / "all", *options).exit_code == 0
    dataset = open_dataset(both_dataset, split="train", engine="sync")
    plan_hash = dataset_hash(both_dataset)
    assert list(find_predictions(tmp_path / "all", plan_hash)) == [sample.index for sample in dataset]
    assert aih(both_dataset, "--out", tmp_path / "some", *options, "--limit", "2").exit_code == 0
    chosen = [dataset[i].index for i in (0, len(dataset) // 2)]
    assert list(find_predictions(tmp_path / "some", plan_hash)) == chosen


def test_a_sample_that_cannot_be_read_is_told_and_the_others_are_predicted(
    one: Path, small_dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(small_dataset, tmp_path / "data")
    shards = open_dataset(small_dataset).shards
    (tmp_path / "data" / shards[0]["file"]).write_bytes(b"torn")
    result = aih(tmp_path / "data", "--out", tmp_path / "out", "--models", one, "--json", "--no-pictures")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["images"], len(told["failed"])) == (9 - shards[0]["samples"], shards[0]["samples"])
    assert told["failed"][0] == f"{tmp_path / 'data'}: sample at place 0 of 9"
    assert result.stderr.count("not a readable shard") == shards[0]["samples"]


def test_options_and_arguments_of_the_other_kind_are_refused(one: Path, small_dataset: Path, tmp_path: Path) -> None:
    image, more = write_picture(tmp_path / "a.png", 20, 20), ("--out", tmp_path / "out", "--models", one)
    (tmp_path / "boxes.json").write_text("{}")
    for option in (("--split", "val"), ("--engine", "sync"), ("--limit", "3")):
        assert f"{option[0]}: chooses samples of a dataset, but" in refusal(aih(image, *more, *option))
    assert "is a dataset, and 1 other paths are named" in refusal(aih(image, small_dataset, *more))
    assert "is for pictures, but" in refusal(aih(small_dataset, *more, "--boxes", tmp_path / "boxes.json"))
    assert "is the dataset itself" in refusal(aih(small_dataset, *more[2:], "--out", small_dataset))
    assert "split is 'vale', expected one of train" in refusal(aih(small_dataset, *more, "--split", "vale"))
    assert "holds no sample of split any and engine sync" in refusal(aih(small_dataset, *more, "--engine", "sync"))
    (tmp_path / "started").mkdir()
    for name in ("plan.json", "manifest.yaml"):
        shutil.copy(small_dataset / name, tmp_path / "started")
    assert "is not finished: run `aih generate` again" in refusal(aih(tmp_path / "started", *more))
    assert not (tmp_path / "out").exists()
