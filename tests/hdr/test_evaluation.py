"""Evaluation end to end: what predicts the truth scores perfect, what predicts another sample's truth does not."""

import base64
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import ConfigError
from aih_builder.hdr.checkpoint import Checkpoint, load
from aih_builder.hdr.crops import crop_affine, cropped, square_of_mask
from aih_builder.hdr.eval_run import EXAMPLES, HANDS, PAGE, RECORD, run_evaluation
from aih_builder.hdr.evaluate import (
    ALONE,
    NO_DEOCCLUSION,
    NO_REMOVAL,
    TRUE_MASKS,
    TRUE_PICTURE,
    VARIANTS,
    WITH_HDR,
    evaluate_samples,
)
from aih_builder.hdr.pipeline import FULL, SHPE_ALONE, HandMasks, Prediction, Switches
from aih_builder.hdr.reporting import sample_figures
from aih_builder.hdr.scores import Hands, gain_figures, scored
from aih_builder.hdr.study_settings import Evaluation, SamplesTest
from aih_builder.hdr.verdict import floors, verdict
from aih_builder.imaging import ImageU8, decode_image, read_image
from aih_builder.sample import Sample
from aih_builder.shards.marking import flag_samples
from aih_builder.shards.reader import Dataset, open_dataset
from tests.hdr_models import write_models

SIDE_PX = 96


class Oracle:
    """A pipeline that answers with the truth of the sample that is `shift` places further on."""

    batch, device = 4, "cpu"

    def __init__(self, samples: Dataset, models: Path, shift: int = 0) -> None:
        every = list(samples)
        self.checkpoints: dict[str, Checkpoint] = {"shpe": load(models / "shpe")}
        self.answers: dict[bytes, Sample] = {}
        for k, sample in enumerate(every):
            told = every[(k + shift) % len(every)]
            for picture in (sample.image_rgb, *sample.target_rgb):
                self.answers[picture.tobytes()] = told

    def segment(self, images: Sequence[ImageU8], boxes: Sequence[Any]) -> list[HandMasks]:
        assert len(images) == len(boxes)
        told = [self.answers[image.tobytes()] for image in images]
        return [HandMasks(amodal=sample.amodal_mask, visible=sample.visible_mask) for sample in told]

    def hands(self, images: Sequence[ImageU8], masks: Sequence[HandMasks], switches: Switches) -> list[Prediction]:
        del switches
        return [self._prediction(image, found) for image, found in zip(images, masks, strict=True)]

    def __call__(self, images: Sequence[ImageU8], boxes: Sequence[Any]) -> list[Prediction]:
        return self.hands(images, self.segment(images, boxes), FULL)

    def forget_times(self) -> None:
        """It keeps none."""

    def timing_ms(self) -> dict[str, float]:
        return {"shpe": 1.0}

    def _prediction(self, image: ImageU8, masks: HandMasks) -> Prediction:
        told = self.answers[image.tobytes()]
        affines = []
        for hand in (0, 1):
            square = square_of_mask(masks.amodal[hand], 2.0) or square_of_mask(np.ones(image.shape[:2], bool), 1.0)
            assert square is not None
            affines.append(crop_affine(square, SIDE_PX, mirror=hand == 1))
        joints_m = told.cam_joints_m.astype(np.float64)
        return Prediction(
            masks=masks, present=masks.present, affine_px=np.stack(affines),
            crop_rgb=np.stack([cropped(image, affine, SIDE_PX) for affine in affines]),
            single_rgb=np.stack([cropped(told.target_rgb[h], affines[h], SIDE_PX) for h in (0, 1)]),
            joints_px=told.joints_px.astype(np.float64), joints_bone=7.0 * (joints_m - joints_m[:, :1]),
            score=np.ones((2, 21)),
        )  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"), None)


def evaluated(pipeline: Any, samples: Dataset) -> tuple[Hands, dict[str, Any]]:
    hands, _, _ = evaluate_samples(pipeline, samples)
    return hands, sample_figures(hands, pipeline, samples, "test", least_occlusion=0.0, seed=0)


def test_the_truth_scores_perfect_everywhere(both_dataset: Path, models: Path) -> None:
    samples = open_dataset(both_dataset)
    hands, figures = evaluated(Oracle(samples, models), samples)
    assert len(hands.side) > len(samples)
    assert figures["masks"]["all"]["amodal_iou"] == figures["masks"]["all"]["visible_iou"] == 1.0
    assert figures["masks"]["all"]["invisible_iou"] == 1.0
    for row in figures["pose"]["rows"]:
        assert row["mpjpe_mm"] < 1e-3
        assert row["pa_mpjpe_mm"] < 1e-3
        assert row["epe_px"] < 1e-4
        assert row["auc"] > 0.999
    made = {(row["method"], row["masks"]): row for row in figures["images"]["rows"]}
    assert made["HDRM", "predicted"]["M_D"]["l1"] == made["HDRM", "true"]["M_R"]["l1"] == 0
    assert made["HDRM", "true"]["whole"]["ssim"] == 1.0
    assert made["input copied", "true"]["M_D"]["l1"] > 0.01


def test_another_samples_truth_does_not(both_dataset: Path, models: Path) -> None:
    samples = open_dataset(both_dataset)
    _, figures = evaluated(Oracle(samples, models, shift=3), samples)
    assert figures["masks"]["all"]["amodal_iou"] < 0.6
    assert all(row["mpjpe_mm"] > 10 and row["epe_px"] > 3 for row in figures["pose"]["rows"])
    made = {(row["method"], row["masks"]): row for row in figures["images"]["rows"]}
    assert made["HDRM", "true"]["whole"]["l1"] > 0.05


def test_hidden_pixels_only_count_where_there_are_enough(both_dataset: Path, models: Path) -> None:
    samples = open_dataset(both_dataset)
    hands, _ = evaluated(Oracle(samples, models), samples)
    for row in range(len(hands.side)):
        sample, side = samples[int(hands.sample[row])], int(hands.side[row])
        hidden = int((sample.amodal_mask[side] & ~sample.visible_mask[side]).sum())
        assert np.isfinite(hands.iou[row, 2]) == (hidden >= 16)
        assert hands.occlusion[row] == pytest.approx(float(sample.occlusion_rate[side]))


def test_flagged_samples_are_not_evaluated_and_the_notes_say_so(
    both_dataset: Path, models: Path, tmp_path: Path
) -> None:
    whole = open_dataset(both_dataset)
    folder = Path(shutil.copytree(both_dataset, tmp_path / "copy"))
    flag_samples(folder, dict.fromkeys((0, 16, 48, 3), "dark"))  # 0 and 16 are all of the first shard
    samples = open_dataset(folder)
    hands, _, notes = evaluate_samples(Oracle(samples, models), samples)  # pyright: ignore[reportArgumentType]
    assert {samples[place].index for place in hands.sample.tolist()} <= {s.index for s in whole} - {0, 16, 48, 3}
    assert notes[-1] == "4 flagged samples are left out."
    assert not any("flagged" in n for n in evaluate_samples(Oracle(whole, models), whole)[2])  # pyright: ignore


def test_a_limit_takes_evenly_spaced_samples_and_examples_are_spread(both_dataset: Path, models: Path) -> None:
    samples = open_dataset(both_dataset)
    hands, shown, _ = evaluate_samples(Oracle(samples, models), samples, limit=6, examples=3)  # pyright: ignore
    assert set(hands.sample.tolist()) <= {3 * k for k in range(6)}
    assert 1 <= len(shown) <= 3
    assert [p["title"] for p in shown[0]["pictures"]][:2] == ["image", "masks found"]


def test_untrained_networks_are_evaluated_to_a_record_a_page_and_columns(
    both_dataset: Path, models: Path, tmp_path: Path
) -> None:
    test = SamplesTest(path=both_dataset, limit=4)
    evaluation = Evaluation.model_validate(
        {"schema": 1, "models": models, "samples": test, "device": "cpu", "batch": 3, "examples": 2}
    )
    done: list[tuple[int, int]] = []
    record = run_evaluation(evaluation, tmp_path, lambda *each: done.append(each))
    stored = json.loads((tmp_path / RECORD).read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps({k: v for k, v in record.items() if k != "examples"}))
    assert done == [(3, 4), (4, 4)]
    sheet, side_px = read_image(tmp_path / EXAMPLES), load(models / "shpe").training.input_px
    assert sheet.shape[1] == 7 * side_px
    assert (sheet.shape[0] - 20) % side_px == 0
    shown = base64.b64decode(record["examples"][0]["pictures"][0]["png"])
    assert np.array_equal(sheet[20 : 20 + side_px, :side_px], decode_image(shown))
    assert "<title>" in (tmp_path / PAGE).read_text(encoding="utf-8")
    with np.load(tmp_path / HANDS) as columns:
        assert columns[f"found: {WITH_HDR}"].shape == (stored["data"]["hands"], 21, 3)
        assert (columns["true_mm"].astype(bool)).any()


def test_a_dataset_without_a_hand_to_score_is_refused(
    both_dataset: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = open_dataset(both_dataset)
    monkeypatch.setattr("aih_builder.hdr.evaluate.usable_hands", lambda *_: np.zeros((1, 2), bool))
    with pytest.raises(ConfigError, match="none of 18 samples shows a hand that can be scored"):
        evaluate_samples(Oracle(samples, models), samples)  # pyright: ignore[reportArgumentType]


def test_floors_are_those_of_the_method() -> None:
    good = floors(3, evaluation_with(iou=0.8, mpjpe_mm=30.0, mean_pose_mm=50.0, made=0.1, copied=0.3))
    assert [floor["passed"] for floor in good] == [True] * 3
    assert [floor["value"] for floor in good] == pytest.approx([0.8, 0.4, 1 / 3])
    assert {floor["seed"] for floor in good} == {3}
    bad = floors(0, evaluation_with(iou=0.79, mpjpe_mm=36.0, mean_pose_mm=50.0, made=0.3, copied=0.3))
    assert [floor["passed"] for floor in bad] == [False] * 3


def test_without_a_hidden_pixel_hdrm_passes_no_floor() -> None:
    evaluation = evaluation_with(iou=0.9, mpjpe_mm=30.0, mean_pose_mm=50.0, made=0.1, copied=0.3)
    for row in evaluation["images"]["rows"]:
        del row["M_D"]
    assert [floor["passed"] for floor in floors(0, evaluation)] == [True, True, False]


def test_hands_are_scored_above_a_bound_and_none_is_an_error() -> None:
    occlusion = np.array([0.0, 0.2, 0.3])
    places, values = np.zeros(3, np.int64), np.zeros((3, 3))
    hands = Hands(places, places, occlusion, values, values, values)
    assert scored(hands, 0).tolist() == [True] * 3
    assert scored(hands, 0.2).tolist() == [False, False, True]
    with pytest.raises(ConfigError, match=r"none of 3 hands is hidden by more than that \(at most 0\.30\)"):
        scored(hands, 0.3)


def evaluation_with(*, iou: float, mpjpe_mm: float, mean_pose_mm: float, made: float, copied: float) -> dict[str, Any]:
    return {
        "masks": {"all": {"amodal_iou": iou}},
        "pose": {"true_picture": {"mpjpe_mm": mpjpe_mm, "mean_pose_mm": mean_pose_mm}},
        "images": {
            "rows": [
                {"method": "HDRM", "masks": "true", "M_D": {"l1": made}},
                {"method": "input copied", "masks": "true", "M_D": {"l1": copied}},
            ]
        },
    }


def study_of(full_mm: float, interval: tuple[float, float], *, passed: bool = True) -> dict[str, Any]:
    def row(name: str, paper_mm: float | None, mm: float) -> dict[str, Any]:
        seed = {"seed": 0, "mpjpe_mm": mm, "less_than_shpe_mm": 40.0 - mm, "less_interval_mm": list(interval)}
        return {"name": name, "paper_mm": paper_mm, "mean_mm": mm, "seeds": [seed]}

    return {
        "floors": [{"name": "HASM: amodal IoU", "seed": 0, "passed": passed}],
        "rows": [row("SHPE only", 25.78, 40.0), row("without removal", 19.23, 35.0), row("full", 17.98, full_mm)],
    }


def test_the_verdict_says_whether_hdr_helps_and_what_goes_against_the_paper() -> None:
    counts, helps, order = verdict(study_of(30.0, (8.0, 12.0)))
    assert "comparison counts" in counts
    assert helps == (
        "Seed 0: HDR helps: 40.00 mm for SHPE alone, 30.00 mm for HDR + SHPE; less by 10.00 mm "
        "(95 % interval 8.00 to 12.00)."
    )
    assert order.startswith("The order of all rows")
    unsure, no_difference, against = verdict(study_of(37.0, (-1.0, 7.0), passed=False))
    assert unsure == "The comparison does not count: below its floor is HASM: amodal IoU (seed 0)."
    assert "makes no difference that these hands can show" in no_difference
    assert "'without removal' (35.00 mm) is better here than 'full' (37.00 mm)" in against
    assert "HDR harms" in verdict(study_of(44.0, (-6.0, -2.0)))[1]


def test_a_gain_is_paired_by_hand() -> None:
    rng = np.random.default_rng(0)
    true_mm = rng.normal(scale=30.0, size=(40, 21, 3))
    bone_mm = np.linalg.norm(true_mm[:, 9] - true_mm[:, 0], axis=1)
    shape = (true_mm - true_mm[:, :1]) / bone_mm[:, None, None]
    off = np.zeros((40, 21, 3))
    off[:, 1:9], off[:, 10:] = [0.2, 0, 0], [0.2, 0, 0]  # neither the wrist nor the bone that gives the scale
    hands = Hands(
        sample=np.arange(40) // 2, side=np.zeros(40, np.int64), occlusion=np.linspace(0, 1, 40), iou=np.ones((40, 3)),
        true_mm=true_mm, true_px=np.zeros((40, 21, 2)), found={"one": shape + off, "other": shape + 0.5 * off},
    )  # fmt: skip
    chosen = hands.occlusion > 0.5
    expected = (0.1 * bone_mm * 19 / 21)[chosen].mean()
    found = gain_figures(hands, chosen, "other", "one", 0)
    assert found["less_than_shpe_mm"] == pytest.approx(expected)
    low, high = found["less_interval_mm"]
    assert low < expected < high


def test_every_variant_is_one_way_through_the_pipeline() -> None:
    assert VARIANTS[ALONE] == ("predicted", SHPE_ALONE)
    assert VARIANTS[WITH_HDR] == ("predicted", FULL)
    assert VARIANTS[TRUE_MASKS] == ("true", FULL)
    assert VARIANTS[NO_REMOVAL] == ("predicted", Switches(deocclusion=True, removal=False))
    assert VARIANTS[NO_DEOCCLUSION] == ("predicted", Switches(deocclusion=False, removal=True))
    assert TRUE_PICTURE not in VARIANTS
