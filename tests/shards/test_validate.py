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
from aih_builder.imaging import encode_png
from aih_builder.shards.plan import load_plan
from aih_builder.shards.reader import ShardReader
from tests.builders import small_content, small_manifest
from tests.shards.faults import PLANTED
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


def test_backgrounds_that_jpeg_changes_most_are_no_problem(tmp_path: Path) -> None:
    """Each value black or white: image, target and background are coded apart, and each comes out different."""
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        noise = 255 * rng.integers(0, 2, (120, 120, 3), np.uint8)
        (tmp_path / f"photos/{number}.png").write_bytes(encode_png(noise))
    content = small_content(fields=["background_rgb"], shard_samples=20)
    content["pools"]["backgrounds"] = {"procedural": [], "folders": [str(tmp_path / "photos")]}
    content["streams"]["render"]["count"] = {"train": 20}
    generate(small_manifest(**content), tmp_path / "noisy")
    assert messages(tmp_path / "noisy") == []


# Faults of the files.


def test_any_flipped_byte_is_found(copy: Path) -> None:
    whole = (copy / FIRST).read_bytes()
    for place in np.random.default_rng(0).integers(0, len(whole), 20):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place) % 8
        (copy / FIRST).write_bytes(damaged)
        (found,) = messages(copy)
        assert found.startswith(f"{FIRST}: sha256 is ")
        assert "`aih repair` makes it again" in found


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
    "the schema": (lambda c: c.update(schema=3), "'schema' is not"),
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
