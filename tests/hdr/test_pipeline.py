"""HDR from end to end, with untrained networks whose masks are forced."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aih_builder.errors import ConfigError, TrainingError
from aih_builder.geometry import FloatArray
from aih_builder.hdr.crops import crop_affine, moved_points, square_of_box, square_of_mask
from aih_builder.hdr.networks import stages as room
from aih_builder.hdr.networks.shpe import ShpeJoints
from aih_builder.hdr.pipeline import SHPE_ALONE, STAGES, HandMasks, HdrPipeline, Prediction, Switches, consistent
from tests.hdr_models import (
    LEFT_HAND,
    NO_HAND,
    RIGHT_HAND,
    SIDE_PX,
    TWO_HANDS,
    Biases,
    training,
    write_checkpoint,
    write_models,
)

SIZES = [(1, 1), (3, 2000), (37, 61), (64, 64), (150, 90)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"), None)


def forced(tmp_path: Path, biases: Biases, **options: int) -> HdrPipeline:
    return HdrPipeline.from_folder(write_models(tmp_path / "models", biases), device="cpu", **options)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([height, width, seed]).integers(0, 256, (height, width, 3), np.uint8)


def same(one: Prediction, other: Prediction) -> bool:
    """Masks and crops equal, the rest up to a network's rounding."""
    parts = (one.masks.amodal, other.masks.amodal), (one.masks.visible, other.masks.visible)
    exact = (*parts, (one.present, other.present), (one.affine_px, other.affine_px), (one.crop_rgb, other.crop_rgb))
    close = np.abs(one.single_rgb.astype(int) - other.single_rgb) <= 1
    return (
        all(np.array_equal(a, b) for a, b in exact)
        and bool(close.all())
        and np.allclose(one.joints_px, other.joints_px, atol=1e-3)
        and np.allclose(one.joints_bone, other.joints_bone, atol=1e-3)
        and np.allclose(one.score, other.score, atol=1e-4)
    )


MASKS = arrays(np.bool_, st.tuples(st.just(2), st.integers(1, 8), st.integers(1, 8)))


@given(st.data())
def test_consistent_masks_are_disjoint_lie_inside_and_hide_only_what_the_other_hand_covers(data: st.DataObject) -> None:
    amodal = data.draw(MASKS)
    visible = data.draw(arrays(np.bool_, amodal.shape))
    masks = consistent(amodal, visible)
    both = amodal.all(axis=0)
    assert np.array_equal(masks.amodal, amodal)
    assert not (masks.visible & ~amodal).any()
    assert not masks.visible.all(axis=0).any()
    assert np.array_equal(masks.visible | both, amodal | both)  # a pixel of one hand alone is visible
    assert np.array_equal(masks.visible.any(axis=0), amodal.any(axis=0))  # one of the two is seen
    said = both & (visible[0] != visible[1])
    assert np.array_equal(masks.visible[:, said], visible[:, said])


@pytest.mark.parametrize(
    ("biases", "present"),
    [(NO_HAND, [0, 0]), (RIGHT_HAND, [1, 0]), (LEFT_HAND, [0, 1]), (TWO_HANDS, [1, 1])],
)
def test_pictures_of_any_size_give_the_hands_that_are_seen(tmp_path: Path, biases: Biases, present: list[int]) -> None:
    images = [picture(*size) for size in SIZES]
    for found, image in zip(forced(tmp_path, biases)(images), images, strict=True):
        enough = image.shape[0] * image.shape[1] >= 16
        assert found.present.tolist() == [bool(p) and enough for p in present]
        assert found.masks.amodal.shape == found.masks.visible.shape == (2, *image.shape[:2])
        assert all(found.masks.amodal[hand].all() == bool(p) for hand, p in enumerate(present))
        assert found.crop_rgb.shape == found.single_rgb.shape == (2, SIDE_PX, SIDE_PX, 3)
        assert (found.joints_px.shape, found.joints_bone.shape, found.score.shape) == ((2, 21, 2), (2, 21, 3), (2, 21))
        for values in (found.joints_px, found.joints_bone, found.affine_px, found.score):
            assert np.isfinite(values).all()
        if present == [1, 1]:
            assert found.masks.visible[0].all()
            assert not found.masks.visible[1].any()


def test_a_speck_is_drawn_without_a_grid_of_the_whole_picture(folder: Path) -> None:
    pipeline = HdrPipeline.from_folder(folder, device="cpu")
    image = picture(1200, 1500)
    speck = np.zeros((2, 1200, 1500), bool)
    speck[0, 700, 800] = True
    # A square of 4 px becomes 64: drawn as a whole this would take 24000 x 19200.
    (masks,) = pipeline.segment([image], [(800, 700, 800, 700)])
    y, x = np.nonzero(masks.amodal.any(axis=0))
    assert ((abs(y - 700) <= 3) & (abs(x - 800) <= 3)).all()
    (found,) = pipeline.hands([image], [HandMasks(amodal=speck, visible=speck)])
    assert found.present.tolist() == [False, False]


def test_a_box_outside_the_picture_finds_nothing(tmp_path: Path) -> None:
    (found,) = forced(tmp_path, TWO_HANDS)([picture(50, 40)], [(400, 400, 420, 430)])
    assert not found.masks.amodal.any()


def test_joints_come_back_to_the_picture_exactly_and_left_hands_unmirrored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    true_px = rng.uniform(20, 80, (2, 21, 2))
    location = rng.normal(size=(2, 21, 3))
    amodal = np.zeros((2, 100, 120), bool)
    amodal[0, 20:70, 10:50], amodal[1, 30:90, 60:110] = True, True
    affines: list[FloatArray] = []
    for hand in (0, 1):
        square = square_of_mask(amodal[hand], 2.0)
        assert square is not None
        affines.append(crop_affine(square, SIDE_PX, mirror=hand == 1))
    seen_px = np.stack([moved_points(true_px[hand], affines[hand]) for hand in (0, 1)])
    given = ShpeJoints(*(torch.from_numpy(x) for x in (seen_px, location, np.ones((2, 21)))))
    monkeypatch.setattr(room, "read_out", lambda _: given)
    pipeline = HdrPipeline.from_folder(folder, device="cpu")
    (found,) = pipeline.hands([picture(100, 120)], [HandMasks(amodal=amodal, visible=amodal)])
    assert np.allclose(found.joints_px, true_px, atol=1e-4)
    assert np.allclose(found.affine_px, affines)
    assert np.allclose(found.joints_bone[0], location[0])
    assert np.allclose(found.joints_bone[1], location[1] * [-1, 1, 1])


def test_the_left_hand_is_seen_as_the_right_hand_of_the_mirrored_picture(folder: Path) -> None:
    pipeline = HdrPipeline.from_folder(folder, device="cpu")
    image, amodal = picture(90, 110), np.zeros((2, 90, 110), bool)
    amodal[0, 20:60, 15:55], amodal[1, 40:80, 45:95] = True, True
    visible = consistent(amodal, amodal).visible
    (one,) = pipeline.hands([image], [HandMasks(amodal=amodal, visible=visible)])
    turned = HandMasks(amodal=amodal[::-1, :, ::-1].copy(), visible=visible[::-1, :, ::-1].copy())
    (other,) = pipeline.hands([image[:, ::-1]], [turned])
    assert np.abs(one.crop_rgb.astype(int) - other.crop_rgb[::-1]).max() <= 1
    assert np.median(np.abs(one.joints_px[:, :, 0] - (109 - other.joints_px[::-1, :, 0]))) < 0.01
    assert np.median(np.abs(one.joints_bone - other.joints_bone[::-1] * [-1, 1, 1])) < 0.02


def test_the_switches_say_what_is_filled_in(folder: Path) -> None:
    pipeline = HdrPipeline.from_folder(folder, device="cpu")
    image, amodal = picture(80, 80), np.zeros((2, 80, 80), bool)
    amodal[0, 20:60, 20:50], amodal[1, 20:60, 40:70] = True, True
    masks = consistent(amodal, np.array([np.ones((80, 80), bool), np.zeros((80, 80), bool)]))

    def changed(switches: Switches) -> list[bool]:
        (found,) = pipeline.hands([image], [masks], switches)
        return [bool((found.single_rgb[hand] != found.crop_rgb[hand]).any()) for hand in (0, 1)]

    assert changed(SHPE_ALONE) == [False, False]
    assert changed(Switches(deocclusion=True, removal=False)) == [False, True]  # the left hand alone is hidden
    assert changed(Switches(deocclusion=False, removal=True)) == [True, True]
    assert changed(Switches()) == [True, True]


def test_order_is_kept_and_batches_change_nothing(folder: Path) -> None:
    images = [picture(40 + 9 * i, 100 - 7 * i, i) for i in range(5)]
    whole = HdrPipeline.from_folder(folder, device="cpu", batch=16)(images)
    for batch in (1, 3):
        parts = HdrPipeline.from_folder(folder, device="cpu", batch=batch)(images)
        assert all(same(a, b) for a, b in zip(whole, parts, strict=True))
    backwards = HdrPipeline.from_folder(folder, device="cpu", batch=2)(images[::-1])
    assert all(same(a, b) for a, b in zip(whole, backwards[::-1], strict=True))
    assert HdrPipeline.from_folder(folder, device="cpu")([]) == []


def test_a_box_is_where_the_masks_are_sought(tmp_path: Path) -> None:
    pipeline, image = forced(tmp_path, RIGHT_HAND), picture(100, 100)
    box = (40.0, 30.0, 50.0, 45.0)
    (found,) = pipeline([image], [box])
    square = square_of_box(box, 2.0)
    y, x = np.nonzero(found.masks.amodal[0])
    assert abs((y.max() - y.min() + 1) - square.side_px) <= 1
    assert abs((x.max() + x.min()) / 2 - square.x_px) <= 1
    (everywhere,) = pipeline([image])
    assert everywhere.masks.amodal[0].all()


def test_a_view_that_runs_backwards_is_a_picture(folder: Path) -> None:
    bgr = picture(40, 50)
    pipeline = HdrPipeline.from_folder(folder, device="cpu")
    assert same(pipeline([bgr[..., ::-1]])[0], pipeline([bgr[..., ::-1].copy()])[0])


def test_time_is_told_by_stage(folder: Path) -> None:
    pipeline = HdrPipeline.from_folder(folder, device="cpu")
    pipeline([picture(30, 30)])
    assert tuple(pipeline.timing_ms()) == STAGES
    assert all(ms > 0 for ms in pipeline.timing_ms().values())


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused(folder: Path, image: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"expected uint8 RGB"):
        HdrPipeline.from_folder(folder, device="cpu")([image])


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = write_models(tmp_path / "models")
    with pytest.raises(ConfigError, match="holds hdrm, expected shpe"):
        HdrPipeline(None, None, folder / "hdrm")
    write_models(tmp_path / "larger", side_px=128)
    with pytest.raises(ConfigError, match="different crops: 64 px, crop_factor 2 and 128 px, crop_factor 2"):
        HdrPipeline(None, folder / "hdrm", tmp_path / "larger/shpe", device="cpu")
    write_checkpoint(tmp_path / "empty", training("shpe"), {})
    with pytest.raises(TrainingError, match="its weights are not those of the shpe"):
        HdrPipeline(None, None, tmp_path / "empty", device="cpu")
    alone = HdrPipeline(None, None, folder / "shpe", device="cpu")
    with pytest.raises(ConfigError, match="no HASM was given"):
        alone([picture(9, 9)])
    nothing = HandMasks(amodal=np.zeros((2, 9, 9), bool), visible=np.zeros((2, 9, 9), bool))
    with pytest.raises(ConfigError, match="no HDRM was given"):
        alone.hands([picture(9, 9)], [nothing])
    assert len(alone.hands([picture(9, 9)], [nothing], SHPE_ALONE)) == 1
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="finds no CUDA device"):
            HdrPipeline(None, None, folder / "shpe", device="cuda")
