"""Each fault is planted with everything around it consistent, and found by the check that is meant for it."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aih_builder import Sample, generate, validate
from aih_builder.errors import ConfigError
from aih_builder.geometry import project
from aih_builder.sample import mean_luma, occlusion_rates
from aih_builder.shards.plan import load_plan
from aih_builder.shards.reader import ShardReader
from tests.builders import small_content, small_manifest
from tests.shards.planting import first_shard, replace_shard, rewrite

FIRST = "render/train/render-train-00000.h5"
SECOND = "render/train/render-train-00001.h5"


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lossless dataset whose first shard holds two samples of two hands, both seen: what is rewritten stays exact."""
    content = small_content(lossless=True, image_size_px=64)
    content["streams"]["render"] |= {
        "count": {"train": 4},
        "single_hand_fraction": 0,
        "occlusion": {"bins": [0.05, 0.6], "share": [1]},
    }
    folder = tmp_path_factory.mktemp("exact") / "dataset"
    generate(small_manifest(**content), folder)
    return folder


@pytest.fixture(scope="module")
def worn(exact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(exact, tmp_path_factory.mktemp("worn") / "copy"))


@pytest.fixture
def copy(exact: Path, worn: Path) -> Iterator[Path]:
    """A dataset to spoil. One folder, mended after each test: its hands are loaded once."""
    yield worn
    for path in [path for path in worn.rglob("*") if path.is_file()]:
        if not (exact / path.relative_to(worn)).exists():
            path.unlink()
    for path in [path for path in exact.rglob("*") if path.is_file()]:
        there = worn / path.relative_to(exact)
        there.parent.mkdir(exist_ok=True)
        if not there.exists() or there.read_bytes() != path.read_bytes():
            shutil.copy(path, there)


def messages(folder: Path) -> list[str]:
    return [str(problem) for problem in validate(folder).problems]


def test_a_good_dataset_has_no_problem_and_is_read_whole(small_dataset: Path, exact: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = validate(small_dataset, on_progress=lambda done, total: seen.append((done, total)))
    assert report == (5, 9, [])
    assert seen == [(i, 5) for i in range(1, 6)]
    assert validate(exact) == (2, 4, [])


def test_rewriting_a_shard_with_the_same_samples_changes_nothing(copy: Path) -> None:
    """The helper plants no fault of its own."""
    before = (copy / FIRST).read_bytes()
    rewrite(copy, lambda samples: samples)
    assert (copy / FIRST).read_bytes() == before
    assert messages(copy) == []


def test_two_processes_find_the_same_in_the_same_order(copy: Path) -> None:
    plan = load_plan(copy)
    for shard in plan.shards():
        data = bytearray((copy / shard.file).read_bytes())
        data[-1] ^= 1
        (copy / shard.file).write_bytes(data)
    one, two = validate(copy), validate(copy, jobs=2)
    assert one == two
    assert [problem.file for problem in one.problems] == [shard.file for shard in plan.shards()]


# Faults of the files.


def test_any_flipped_byte_is_found(copy: Path) -> None:
    whole = (copy / FIRST).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 20):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place) % 8
        (copy / FIRST).write_bytes(damaged)
        (found,) = messages(copy)
        assert found.startswith(f"{FIRST}: sha256 is ")
        assert "delete it and run `aih generate` again" in found


def test_a_deleted_damaged_shard_is_remade(copy: Path) -> None:
    """What the message advises does help."""
    (copy / FIRST).write_bytes((copy / FIRST).read_bytes()[::-1])
    assert messages(copy)
    (copy / FIRST).unlink()
    generate(load_plan(copy).manifest, copy)
    assert messages(copy) == []


@pytest.mark.parametrize("part", ["shard", "record"])
def test_a_missing_file_is_found(copy: Path, part: str) -> None:
    path = copy / FIRST
    (path if part == "shard" else path.with_suffix(".json")).unlink()
    assert messages(copy) == [
        "dataset.json: is there, yet not every shard is",
        f"{FIRST}: torn: the shard or the record beside it is missing",
    ]
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)
    assert messages(copy)[1:] == [f"{FIRST}: missing"]


def test_a_truncated_shard_is_found_even_where_the_record_fits(copy: Path) -> None:
    _, shard = first_shard(copy)
    data = (copy / FIRST).read_bytes()[:6000]
    (copy / FIRST).write_bytes(data)
    assert any("torn: its record says bytes" in text for text in messages(copy))
    replace_shard(copy, shard, data)
    assert [text[:60] for text in messages(copy)] == [f"{FIRST}: {copy / FIRST}: not a readable shard"[:60]]


@pytest.mark.parametrize("data", [b"", b"\x89HDF\r\n\x1a\n", b"no shard at all" * 999])
def test_another_file_in_a_shards_place_is_found(copy: Path, data: bytes) -> None:
    replace_shard(copy, first_shard(copy)[1], data)
    (found,) = messages(copy)
    assert "not a readable shard" in found


def test_a_shard_in_anothers_place_is_found(copy: Path) -> None:
    _, shard = first_shard(copy)
    replace_shard(copy, shard, (copy / SECOND).read_bytes())
    found = messages(copy)
    assert f"{FIRST}: attribute number is 1, expected 0" in found
    assert f"{FIRST}: sample indices are not those of the plan" in found


def test_a_shard_of_another_plan_is_found(copy: Path, small_dataset: Path) -> None:
    replace_shard(copy, first_shard(copy)[1], (small_dataset / FIRST).read_bytes())
    found = " ".join(messages(copy))
    assert "attribute plan_hash is" in found
    assert "attribute lossless is False, expected True" in found
    assert "the image has (96, 96) pixels, expected (64, 64)" in found


def test_a_shard_that_is_not_part_of_the_plan_is_found(copy: Path) -> None:
    stray = "render/train/render-train-00009.h5"
    shutil.copy(copy / FIRST, copy / stray)
    assert messages(copy) == [f"{stray}: is not part of the plan"]


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"engine": "sync"}, "attribute engine is sync, expected render"),
        ({"split": "val"}, "attribute split is val, expected train"),
        ({"number": 3}, "attribute number is 3, expected 0"),
        ({"plan_hash": "ab"}, "attribute plan_hash is ab, expected"),
    ],
)
def test_a_head_that_lies_is_found(copy: Path, head: dict, message: str) -> None:
    rewrite(copy, lambda samples: samples, **head)
    assert any(message in text for text in messages(copy))


def test_optional_fields_that_the_plan_does_not_have_are_found(copy: Path) -> None:
    depth = np.zeros((64, 64), np.uint16)
    rewrite(copy, lambda samples: [replace(s, depth=depth) for s in samples], fields=("depth",))
    assert messages(copy) == [f"{FIRST}: stores the optional fields ['depth'], expected []"]


# dataset.json, and the cache of the plan.


LIES: dict[str, tuple[Callable[[dict], object], str]] = {
    "a shard is not listed": (lambda c: c["shards"].pop(), "'shards' is not"),
    "a shard is listed twice": (lambda c: c["shards"].append(c["shards"][0]), "'shards' is not"),
    "shards are in another order": (lambda c: c["shards"].reverse(), "'shards' is not"),
    "a checksum": (lambda c: c["shards"][0].update(sha256="0" * 64), "'shards' is not"),
    "the samples of a shard": (lambda c: c["shards"][0].update(samples=3), "'shards' is not"),
    "the samples": (lambda c: c.update(samples=5), "'samples' is not .*, found 5, expected 4"),
    "the counts": (lambda c: c["counts"]["render"].update(val=1), "'counts' is not"),
    "the plan": (lambda c: c.update(plan_hash="ab"), "'plan_hash' is not .*, found ab"),
    "the schema": (lambda c: c.update(schema=2), "'schema' is not"),
    "a licence": (lambda c: c.update(licences=[]), "'licences' is not"),
    "a key too many": (lambda c: c.update(extra=1), "'extra' is not .*, found 1, expected None"),
    "a key too few": (lambda c: c.pop("bytes"), "'bytes' is not .*, found None"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_dataset_json_that_lies_is_found(copy: Path, what: str) -> None:
    lie, message = LIES[what]
    path = copy / "dataset.json"
    content = json.loads(path.read_text())
    lie(content)
    path.write_text(json.dumps(content))
    problems = validate(copy).problems
    assert [problem.file for problem in problems] == ["dataset.json"]
    assert re.search(message, problems[0].message)


@pytest.mark.parametrize("data", [None, b"", b"{]", b"[]"])
def test_a_missing_or_damaged_dataset_json_is_found(copy: Path, data: bytes | None) -> None:
    path = copy / "dataset.json"
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    (found,) = messages(copy)
    assert found.startswith("dataset.json: missing or damaged")


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no plan\.json"):
        validate(tmp_path)


def test_a_changed_cache_is_found(copy: Path) -> None:
    """What is made again from it would differ from what is stored."""
    textures = copy / "cache/textures"
    name = min(path.name for path in textures.glob("*.jpg"))
    (textures / name).write_bytes((textures / name).read_bytes() + b"\0")
    (textures / "more.jpg").write_bytes(b"x")
    assert messages(copy) == [
        f"cache: texture file {texture} is not the one that was planned" for texture in sorted(["more.jpg", name])
    ]
    shutil.rmtree(textures)
    assert "cannot be read" in messages(copy)[0]


def test_a_changed_hand_is_found(exact: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exact, tmp_path / "copy"))
    path = copy / "cache/hand.npz"
    arrays = dict(np.load(path))
    name = next(key for key in arrays if "template" in key)
    arrays[name] = arrays[name] + 1e-3
    np.savez(path, **arrays)
    found = messages(copy)
    assert found[0] == "cache: the hand model is not the one that was planned"
    assert "joints lie up to" in found[1]
    path.write_bytes(b"x")
    assert "hand.npz" in messages(copy)[0]


# Faults of samples, in shards whose checksums are right.


def moved(mask: np.ndarray, pixels: int) -> np.ndarray:
    return np.roll(mask, pixels, axis=-1)


def recounted(sample: Sample, **changes) -> Sample:
    """With occlusion rates that fit the changed masks."""
    changed = replace(sample, **changes)
    return replace(changed, occlusion_rate=occlusion_rates(changed.amodal_mask, changed.visible_mask))


def other_pose(samples: list[Sample]) -> Sample:
    """The first sample with pose, camera and joints of the second, all of which agree with each other."""
    names = ("cam_joints_m", "joints_px", "K_px", "mano_pose_rad", "mano_betas", "mano_trans_m")
    found = {name: getattr(samples[1], name) for name in names}
    return replace(samples[0], **found, joint_visible=np.zeros((2, 21), bool))


def masks_of(samples: list[Sample]) -> Sample:
    """The first sample with all masks, both pictures and all counts of the second."""
    names = (
        "amodal_mask", "visible_mask", "changed_mask", "image_rgb", "target_rgb", "occlusion_rate", "mean_luma",
    )  # fmt: skip
    found = {name: getattr(samples[1], name) for name in names}
    return replace(samples[0], **found, joint_visible=np.zeros((2, 21), bool))


def swapped(sample: Sample) -> Sample:
    """Right for left in everything that is seen: masks, targets and rates fit each other."""
    names = ("amodal_mask", "visible_mask", "changed_mask", "target_rgb", "occlusion_rate")
    found = {name: getattr(sample, name)[::-1].copy() for name in names}
    return replace(sample, **found, joint_visible=np.zeros((2, 21), bool))


def joints_moved(sample: Sample) -> Sample:
    """By one pixel, in 3D as in 2D."""
    depth = sample.cam_joints_m[..., 2:]
    shift = depth * np.array([1, 0, 0], np.float32) / sample.K_px[:, None, :1, 0]
    joints = (sample.cam_joints_m + shift).astype(np.float32)
    pixels = [project(joints[i].astype(float), sample.K_px[i].astype(float)) for i in (0, 1)]
    hidden = np.zeros((2, 21), bool)
    return replace(sample, cam_joints_m=joints, joints_px=np.array(pixels, np.float32), joint_visible=hidden)


def flat(sample: Sample) -> Sample:
    """A blank image, with targets, luma and all that follows from them."""
    image = np.full_like(sample.image_rgb, 90)
    return replace(sample, image_rgb=image, target_rgb=np.stack([image, image]), mean_luma=mean_luma(image))


def turned_off(sample: Sample) -> Sample:
    """A pose that nobody can check."""
    zero = {name: np.zeros_like(getattr(sample, name)) for name in ("mano_pose_rad", "mano_betas", "mano_trans_m")}
    return replace(sample, **zero, pose_valid=np.zeros(2, bool))


def far_off(sample: Sample) -> Sample:
    """Numbers whose products overflow."""
    huge = np.float32(3e38)
    return replace(sample, mano_trans_m=np.full((2, 3), huge), mano_betas=np.full((2, 10), -huge))


def cropped(sample: Sample) -> Sample:
    """All pictures and masks four pixels smaller."""
    masks = {name: getattr(sample, name)[..., :60, :60] for name in ("changed_mask", "amodal_mask", "visible_mask")}
    return replace(sample, **masks, image_rgb=sample.image_rgb[:60, :60], target_rgb=sample.target_rgb[:, :60, :60])


PLANTED: dict[str, tuple[Callable[[list[Sample]], Sample], str]] = {
    "right for left": (lambda s: swapped(s[0]), "amodal mask and projected mesh agree to IoU"),
    "amodal masks swapped": (
        lambda s: recounted(s[0], amodal_mask=s[0].amodal_mask[::-1].copy()),
        "visible mask leaves its amodal mask",
    ),
    "changed masks swapped": (
        lambda s: replace(s[0], changed_mask=s[0].changed_mask[::-1].copy()),
        "M_D or M_R leaves changed_mask",
    ),
    "wrong occlusion rate": (
        lambda s: replace(s[0], occlusion_rate=np.nextafter(s[0].occlusion_rate, np.float32(2))),
        "occlusion rates are stored as",
    ),
    "masks 3 pixels off": (
        lambda s: recounted(
            s[0],
            amodal_mask=moved(s[0].amodal_mask, 3),
            visible_mask=moved(s[0].visible_mask, 3),
            changed_mask=moved(s[0].changed_mask, 3),
            joint_visible=np.zeros((2, 21), bool),
        ),
        "amodal mask and projected mesh agree to IoU",
    ),
    "masks of another pose": (masks_of, "amodal mask and projected mesh agree to IoU"),
    "pose of another sample": (other_pose, "amodal mask and projected mesh agree to IoU"),
    "a grown changed mask": (
        lambda s: replace(s[0], changed_mask=np.ones((2, 64, 64), bool)),
        "changed_mask reaches over 1 px beyond the other hand",
    ),
    "blank": (lambda s: flat(s[0]), "the image is blank"),
    "another luma": (lambda s: replace(s[0], mean_luma=s[0].mean_luma + 3), "mean luma is"),
    "joints in 2D one pixel off": (
        lambda s: replace(s[0], joints_px=s[0].joints_px + np.float32(1), joint_visible=np.zeros((2, 21), bool)),
        "px from joints_px",
    ),
    "joints one pixel off": (lambda s: joints_moved(s[0]), "mm from those of the stored pose"),
    "joints behind the camera": (lambda s: replace(s[0], cam_joints_m=-s[0].cam_joints_m), "behind the camera"),
    "a slightly other pose": (
        lambda s: replace(s[0], mano_pose_rad=s[0].mano_pose_rad + np.float32(1e-3)),
        "mm from those of the stored pose",
    ),
    "another shape": (
        lambda s: replace(s[0], mano_betas=s[0].mano_betas + np.float32(0.01)),
        "mm from those of the stored pose",
    ),
    "numbers that overflow": (lambda s: far_off(s[0]), "mm from those of the stored pose"),
    "a pose marked unknown": (lambda s: turned_off(s[0]), "right hand: a rendered hand is known whole or absent"),
    "a hand marked absent": (lambda s: replace(s[0], hand_present=np.array([False, True])), "present is False"),
    "another seed": (lambda s: replace(s[0], seed=s[0].seed + 1), "seed is 20220702, expected 20220701"),
    "another split": (lambda s: replace(s[0], split="val"), "split is val, expected train"),
    "another engine": (lambda s: replace(s[0], engine="sync"), "engine is sync, expected render"),
    "another index": (lambda s: replace(s[0], index=s[0].index + 16), "sample indices are not those of the plan"),
    "another size": (lambda s: cropped(s[0]), r"the image has \(60, 60\) pixels"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_fault_is_found_in_its_sample_alone(copy: Path, what: str) -> None:
    plant, message = PLANTED[what]
    rewrite(copy, lambda samples: [plant(samples), samples[1]])
    problems = validate(copy).problems
    assert {problem.file for problem in problems} == {FIRST}
    assert {problem.sample for problem in problems} <= {0, None}
    assert any(re.search(message, problem.message) for problem in problems)


def test_a_pixel_changed_outside_changed_mask_cannot_even_be_stored(copy: Path) -> None:
    """The reader pastes a target's patch inside changed_mask only; `require` refuses such a sample when it is made."""

    def spoil(samples: list[Sample]) -> list[Sample]:
        target = samples[0].target_rgb.copy()
        outside = ~samples[0].changed_mask
        target[outside] = 255 - target[outside]
        return [replace(samples[0], target_rgb=target), samples[1]]

    before = ShardReader(copy / FIRST).sample(0)
    rewrite(copy, spoil)
    assert np.array_equal(ShardReader(copy / FIRST).sample(0).target_rgb, before.target_rgb)
    assert messages(copy) == []
