import dataclasses
import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from aih_builder import generate
from aih_builder.errors import ConfigError
from aih_builder.hands.conventions import KEYPOINT_PARENTS, MIRROR
from aih_builder.hdr.crops import crop_affine, cropped, square_of_mask
from aih_builder.hdr.data import AihDataset, ViewName, pose_statistics
from aih_builder.hdr.sampler import Key
from aih_builder.hdr.settings import Augment, ModuleName
from aih_builder.imaging import grown
from aih_builder.sample import SPECS, Sample, hdr_masks
from aih_builder.shards.reader import Dataset
from tests.builders import small_both_manifest

MODULES: tuple[ModuleName, ...] = ("hasm", "hdrm", "shpe")
SIZE = 64
STILL = Augment(
    shift=0, scale=0, rotation_deg=0, flip_share=0, gain=0, brightness=0, contrast=0, blur_share=0, noise_share=0,
    jpeg_share=0,
)  # fmt: skip
SHAPES: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {
    "hasm": {
        "image": ("uint8", (SIZE, SIZE, 3)),
        "masks": ("bool", (2, 2, SIZE, SIZE)),
        "inside": ("bool", (SIZE, SIZE)),
    },
    "hdrm": {
        "image": ("uint8", (SIZE, SIZE, 3)),
        "target": ("uint8", (SIZE, SIZE, 3)),
        "masks": ("bool", (4, SIZE, SIZE)),
    },
    "shpe": {
        "picture": ("uint8", (SIZE, SIZE, 3)),
        "joints_px": ("float32", (21, 2)),
        "location": ("float32", (21, 3)),
        "delta": ("float32", (21, 3)),
        "valid": ("bool", (21,)),
        "bone_mm": ("float32", ()),
    },
}


def dataset(path: Path, module: ViewName, **options: Any) -> AihDataset:
    return AihDataset(path, module, **{"split": None, "input_px": SIZE, "augment": Augment(), **options})


def same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def mirrored(sample: Sample) -> Sample:
    """The sample as a mirror shows it: what was a left hand is a right one."""
    changes: dict[str, Any] = {}
    for name, spec in SPECS.items():
        value = getattr(sample, name)
        if value is None:
            continue
        if spec.is_image:
            value = np.flip(value, axis=value.ndim - 1 if spec.dims.endswith("W") else value.ndim - 2)
        if spec.dims.startswith("2"):
            value = value[::-1]
        changes[name] = np.ascontiguousarray(value) if spec.dims else value
    width = sample.image_rgb.shape[1]
    changes["joints_px"] = (changes["joints_px"] * [-1, 1] + [width - 1, 0]).astype(np.float32)
    changes["cam_joints_m"] = (changes["cam_joints_m"] * MIRROR).astype(np.float32)
    return dataclasses.replace(sample, **changes)


def serving(data: AihDataset, sample: Sample, hand: int) -> dict[str, np.ndarray]:
    """The item that data makes of a sample which is not its own."""
    data.samples, data.items = cast("Dataset", [sample]), [(0, hand)]
    return data[0]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("draw", [None, 0])
def test_every_item_has_the_shapes_and_types_that_it_promises(
    both_dataset: Path, module: ModuleName, draw: int | None
) -> None:
    data = dataset(both_dataset, module)
    assert len(data) == len(data.items) > 0
    for i in range(len(data)):
        item = data[i if draw is None else Key(i, draw)]
        assert {name: (value.dtype.name, value.shape) for name, value in item.items()} == SHAPES[module]
        assert all(value.flags.c_contiguous for value in item.values())


@pytest.mark.parametrize("draw", [None, 3])
def test_the_four_masks_of_hdrm_partition_the_crop(both_dataset: Path, draw: int | None) -> None:
    data = dataset(both_dataset, "hdrm")
    for i in range(len(data)):
        masks = data[i if draw is None else Key(i, draw)]["masks"]
        assert (masks.sum(axis=0) == 1).all()


def test_hdrms_masks_are_those_of_the_sample(both_dataset: Path) -> None:
    """A hand's box of 49 px in an image of 96 px, cropped to 96 px: all moves by half a pixel, and nothing else."""
    data = dataset(both_dataset, "hdrm", augment=None, input_px=96)
    sample = data.samples[data.items[0][0]]
    amodal, visible = np.zeros((2, 96, 96), bool), np.zeros((2, 96, 96), bool)
    amodal[0, 24:73, 24:73], amodal[1, 40:73, 24:80] = True, True
    visible[0, 24:40, 24:73], visible[1] = True, amodal[1]
    made = dataclasses.replace(sample, amodal_mask=amodal, visible_mask=visible, forearm_mask=None)
    found = serving(data, made, 0)["masks"]
    for mask, crop in zip(hdr_masks(made, 0), found, strict=True):
        inner = mask[1:, 1:] & mask[:-1, 1:] & mask[1:, :-1] & mask[:-1, :-1]
        assert mask.any()
        assert crop[:-1, :-1][inner].all()


def test_hdrms_target_is_the_image_wherever_the_sample_does_not_change(both_dataset: Path) -> None:
    """Light and sensor noise are the same in both; blur and JPEG mix pixels and are off here."""
    data = dataset(both_dataset, "hdrm", augment=Augment(**{**STILL.model_dump(), "gain": 0.2, "noise_share": 1}))
    changed_somewhere = 0
    for i, (index, hand) in enumerate(data.items):
        sample = data.samples[index]
        square = square_of_mask(sample.amodal_mask[hand], 2.0)
        assert square is not None
        changed = np.repeat(sample.changed_mask[hand][..., None].astype(np.uint8) * 255, 3, axis=2)
        affine = crop_affine(square, SIZE, mirror=hand == 1)
        touched = cropped(changed, affine, SIZE)[..., 0] > 0
        item = data[Key(i, 0)]
        assert np.array_equal(item["image"][~touched], item["target"][~touched])
        changed_somewhere += int((item["image"] != item["target"]).any())
        holes = item["masks"][0] | item["masks"][1]
        assert not (holes & ~touched).any()
    assert changed_somewhere > 0


@pytest.mark.parametrize("module", ["hdrm", "shpe"])
def test_a_left_hands_item_is_the_right_hands_item_of_the_mirrored_sample(
    both_dataset: Path, module: ModuleName
) -> None:
    data = dataset(both_dataset, module, augment=None)
    left = [(data.samples[index], i) for i, (index, hand) in enumerate(data.items) if hand == 1]
    assert left
    items = [data[i] for _, i in left]
    for (sample, _), item in zip(left, items, strict=True):
        twin = serving(data, mirrored(sample), 0)
        assert item.keys() == twin.keys()
        for name, value in item.items():
            if value.dtype == np.uint8:
                # Equal, but for versions of OpenCV that round coordinates to 1/32 pixel.
                assert np.abs(value.astype(int) - twin[name]).mean() < 0.5
            elif name == "masks":
                assert (value != twin[name]).mean() < 0.002
            else:
                assert np.allclose(value, twin[name], atol=1e-4)


def test_hasms_flip_mirrors_the_picture_and_swaps_the_sides(both_dataset: Path) -> None:
    plain = dataset(both_dataset, "hasm", augment=STILL)
    flipped = dataset(both_dataset, "hasm", augment=Augment(**{**STILL.model_dump(), "flip_share": 1}))
    for i in range(len(plain)):
        one, two = plain[Key(i, 0)], flipped[Key(i, 0)]
        assert same(one, plain[i])
        assert np.abs(one["image"][:, ::-1].astype(int) - two["image"]).mean() < 0.5
        assert (one["masks"][::-1, :, :, ::-1] != two["masks"]).mean() < 0.002
        assert (one["inside"][:, ::-1] != two["inside"]).mean() < 0.002


def test_hasms_masks_are_right_before_left_amodal_before_visible_and_lie_inside(both_dataset: Path) -> None:
    data = dataset(both_dataset, "hasm")
    for i, (index, hand) in enumerate(data.items):
        assert hand == -1
        present = data.samples[index].hand_present
        item = data[i]
        amodal, visible = item["masks"].swapaxes(0, 1)
        assert not (visible & ~amodal).any()
        assert amodal.any(axis=(1, 2))[present].all()
        assert not (item["masks"] & ~item["inside"]).any()
        assert not item["image"][~grown(item["inside"], 1)].any()


def test_shpes_labels_are_scale_free_relative_to_the_wrist_and_follow_the_crop(both_dataset: Path) -> None:
    data = dataset(both_dataset, "shpe")
    for i, (index, hand) in enumerate(data.items):
        sample = data.samples[index]
        for item in (data[i], data[Key(i, 1)]):
            location = item["location"]
            assert not location[0].any()
            assert np.linalg.norm(location[9]) == pytest.approx(1, abs=1e-5)
            joints_m = sample.cam_joints_m[hand]
            assert item["bone_mm"] == pytest.approx(1000 * np.linalg.norm(joints_m[9] - joints_m[0]), rel=1e-5)
            steps = location[1:] - location[KEYPOINT_PARENTS[1:]]
            assert np.allclose(item["delta"][1:] * np.linalg.norm(steps, axis=1, keepdims=True), steps, atol=1e-5)
            assert not item["delta"][0].any()
            # Depth does not change; what the crop turns and mirrors are x and y.
            assert np.allclose(location[:, 2] * item["bone_mm"], 1000 * (joints_m - joints_m[0])[:, 2], atol=1e-2)
            # The bones of the picture point where the bones in space do, seen nearly along the axis.
            flat, seen = location[1:, :2] - location[0, :2], item["joints_px"][1:] - item["joints_px"][0]
            cosines = (flat * seen).sum(axis=1) / np.linalg.norm(flat, axis=1) / np.linalg.norm(seen, axis=1)
            assert np.median(cosines) > 0.9


def test_shpe_sees_the_hand_alone_unless_it_shall_see_both(both_dataset: Path) -> None:
    alone = dataset(both_dataset, "shpe", augment=STILL)
    both = dataset(both_dataset, "shpe", augment=STILL, two_hand_share=1.0)
    hdrm = dataset(both_dataset, "hdrm", augment=None)
    for i, item in enumerate(hdrm.items):
        at = alone.items.index(item) if item in alone.items else None
        if at is not None:
            assert np.array_equal(alone[Key(at, 0)]["picture"], hdrm[i]["target"])
            assert np.array_equal(both[Key(at, 0)]["picture"], hdrm[i]["image"])
            assert np.array_equal(both[at]["picture"], hdrm[i]["target"])  # as it is: alone


def test_samples_as_they_are_hold_every_field_that_is_stored(both_dataset: Path) -> None:
    data = dataset(both_dataset, "sample")
    stored = {name for name, spec in SPECS.items() if not spec.optional}
    assert len(data) == len(data.samples) == 18
    for i, sample in enumerate(data.samples):
        item = data[i]
        assert item.keys() == stored
        assert same(item, data[Key(i, 3)])
        for name, value in item.items():
            assert np.array_equal(value, getattr(sample, name))
            assert isinstance(value, str) if SPECS[name].max_bytes else value.dtype == SPECS[name].dtype


def test_optional_fields_are_there_if_all_samples_of_the_engines_hold_them(tmp_path: Path) -> None:
    """A batch could not hold them otherwise: AIH-Sync gives none."""
    generate(small_both_manifest(fields=["depth"], image_size_px=64), tmp_path)
    assert "depth" not in dataset(tmp_path, "sample")[0]
    render = dataset(tmp_path, "sample", engines=("render",))
    assert {render[i]["depth"].shape for i in range(len(render))} == {(64, 64)}


@pytest.mark.parametrize("module", MODULES)
def test_a_key_names_an_augmentation_for_good(both_dataset: Path, module: ModuleName) -> None:
    data = dataset(both_dataset, module, seed=5)
    again = pickle.loads(pickle.dumps(data))
    for i in (0, len(data) - 1):
        first = data[Key(i, 2)]
        assert same(first, data[Key(i, 2)])
        assert same(first, again[Key(i, 2)])
        assert not same(first, data[Key(i, 3)])
        assert not same(first, data[i])
        assert not same(first, dataset(both_dataset, module, seed=6)[Key(i, 2)])
        assert same(data[i], dataset(both_dataset, module, augment=None)[Key(i, 2)])


@pytest.mark.parametrize("module", MODULES)
def test_a_dataset_that_has_read_pickles_without_its_files(both_dataset: Path, module: ModuleName) -> None:
    data = dataset(both_dataset, module)
    item = data[0]
    assert len(pickle.dumps(data)) < 20_000
    assert same(item, pickle.loads(pickle.dumps(data))[0])


@pytest.mark.parametrize("module", MODULES)
def test_each_engine_gives_its_own_items_and_both_give_all(both_dataset: Path, module: ModuleName) -> None:
    every = dataset(both_dataset, module).items
    render, sync = (dataset(both_dataset, module, engines=(engine,)) for engine in ("render", "sync"))
    assert sorted(render.items + sync.items) == sorted(every)
    for data, engine in ((render, "render"), (sync, "sync")):
        assert {data.samples[index].engine for index, _ in data.items} == {engine}


@pytest.mark.parametrize("module", MODULES)
def test_items_are_hands_that_the_module_can_learn_from(both_dataset: Path, module: ModuleName) -> None:
    data = dataset(both_dataset, module)
    for index, hand in data.items:
        sample = data.samples[index]
        if module == "hasm":
            assert hand == -1
            continue
        assert sample.hand_present[hand]
        assert sample.target_valid[hand]
        if module == "hdrm":
            assert sample.hand_present.all()
        else:
            assert (sample.joint3d_valid[hand] & sample.joint2d_valid[hand]).all()


def test_a_split_without_items_is_refused_by_name(both_dataset: Path, small_dataset: Path) -> None:
    with pytest.raises(ConfigError, match=r"split train holds no sample that hdrm can take, of engine sync"):
        dataset(small_dataset, "hdrm", split="train", engines=("sync",))
    with pytest.raises(ConfigError, match=r"split is 'tst'"):
        dataset(both_dataset, "hdrm", split="tst")
    with pytest.raises(ConfigError, match=r"Expected a dataset folder"):
        dataset(both_dataset / "shards", "hasm")


def test_pose_statistics_are_the_means_of_the_items(both_dataset: Path) -> None:
    data = dataset(both_dataset, "shpe", augment=None, split="train")
    items = [data[i] for i in range(len(data))]
    found = pose_statistics(data)
    assert found["mean_bone_mm"] == pytest.approx(np.mean([item["bone_mm"] for item in items]), rel=1e-5)
    assert np.allclose(found["mean_location"], np.mean([item["location"] for item in items], axis=0), atol=1e-5)
