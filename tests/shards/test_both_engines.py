"""A dataset of both engines: the same bytes however it is made, a bank that is part of it, faults that are found."""

import contextlib
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder import Sample, generate, open_dataset, validate
from aih_builder.config import parse_manifest
from aih_builder.errors import AihError, AssetError, ConfigError
from aih_builder.files import read_json
from aih_builder.hands.arrays import open_hand
from aih_builder.shards import tasks
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.shards.remake import differences
from aih_builder.shards.tasks import make_sample, read_record
from aih_builder.sources.bank import Bank, write_bank
from tests.bank_pictures import CORE, disc_bank, entry, head
from tests.builders import small_both_content, small_both_manifest
from tests.cli_runs import start, wait_until, write_manifest
from tests.shards.faults import PLANTED
from tests.shards.planting import contents, digests, rewrite

SYNC = "sync/train/sync-train-00000.h5"


def both(tmp: Path, sync: dict[str, Any] | None = None, **changes: Any):
    content = small_both_content(**changes)
    content["streams"]["sync"] |= sync or {}
    return parse_manifest(content, where="it", folder=tmp)


def test_two_processes_give_the_same_shards_as_one(both_dataset: Path, tmp_path: Path) -> None:
    assert generate(small_both_manifest(), tmp_path / "two", jobs=2).finished
    assert len(digests(both_dataset)) == 11  # ten shards and the bank
    assert digests(tmp_path / "two") == digests(both_dataset)
    assert (tmp_path / "two/dataset.json").read_text() == (both_dataset / "dataset.json").read_text()


def test_killed_halfway_and_resumed_gives_the_same_shards(both_dataset: Path, tmp_path: Path) -> None:
    """SIGKILL to the parent and its workers once shards of both engines are there."""
    folder = tmp_path / "killed"
    process = start(
        "generate", write_manifest(tmp_path / "it.yaml", **small_both_content()), "--out", folder, "-j", "2"
    )
    try:
        wait_until(lambda: list(folder.glob("sync/*/*.json")) or process.poll() is not None)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    built = generate(small_both_manifest(), folder)
    assert built.finished
    assert built.skipped >= 1
    assert digests(folder) == digests(both_dataset)


def test_every_sample_made_alone_equals_its_stored_bytes(both_dataset: Path) -> None:
    plan = load_plan(both_dataset)
    made = [(shard, index) for shard in plan.shards() if shard.engine == "sync" for index in shard.indices]
    assert len(made) == 9
    assert [differences(plan, shard, index) for shard, index in reversed(made)] == [[]] * 9


def test_the_engines_share_a_folder_and_each_can_be_opened_alone(both_dataset: Path) -> None:
    assert validate(both_dataset) == (10, 18, [])
    listed = read_json(both_dataset / "dataset.json")
    assert listed["counts"] == {engine: {"train": 5, "val": 2, "test": 2} for engine in ("render", "sync")}
    for engine in ("render", "sync"):
        found = open_dataset(both_dataset, engine=engine)
        assert [s.engine for s in found] == [engine] * 9
    assert [s.index for s in open_dataset(both_dataset, "val", "sync")] == [4, 20]
    with pytest.raises(ConfigError, match="engine is 'snyc', expected one of render, sync"):
        open_dataset(both_dataset, engine="snyc")  # pyright: ignore[reportArgumentType]


def test_a_stream_without_the_other_gives_the_same_samples(both_dataset: Path, tmp_path: Path) -> None:
    content = small_both_content()
    del content["streams"]["render"]
    content["fields"] = ["depth"]
    generate(parse_manifest(content, where="it", folder=tmp_path), tmp_path / "alone")
    assert read_json(tmp_path / "alone/dataset.json")["fields"] == []  # AIH-Sync gives none
    for one, other in zip(open_dataset(both_dataset, engine="sync"), open_dataset(tmp_path / "alone"), strict=True):
        assert np.array_equal(one.image_rgb, other.image_rgb)
        assert one.index == other.index


def test_optional_images_are_those_that_an_engine_can_give(tmp_path: Path) -> None:
    generate(both(tmp_path, image_size_px=64, fields=["depth"]), tmp_path / "it")
    assert all(s.depth is not None for s in open_dataset(tmp_path / "it", engine="render"))
    assert all(s.depth is None for s in open_dataset(tmp_path / "it", engine="sync"))
    assert validate(tmp_path / "it").problems == []
    assert read_json(tmp_path / "it/dataset.json")["fields"] == ["depth"]


def test_a_dataset_of_both_engines_grows_and_no_sample_moves(tmp_path: Path) -> None:
    counts = {"train": 2, "val": 0, "test": 0}
    generate(both(tmp_path, {"count": counts}, image_size_px=64), tmp_path / "it")
    before = {s.index: s.image_rgb for s in open_dataset(tmp_path / "it")}
    bank = contents(tmp_path / "it")["cache/bank.h5"]
    generate(both(tmp_path, {"count": counts | {"train": 4, "val": 2}}, image_size_px=64), tmp_path / "it")
    after = {s.index: s.image_rgb for s in open_dataset(tmp_path / "it")}
    assert len(after) == len(before) + 4
    assert all(np.array_equal(after[index], image) for index, image in before.items())
    assert contents(tmp_path / "it")["cache/bank.h5"] == bank
    with pytest.raises(ConfigError, match="holds 4 train samples of sync, the manifest asks for 2"):
        generate(both(tmp_path, {"count": counts}, image_size_px=64), tmp_path / "it")


# The bank.


def test_the_bank_is_part_of_what_a_dataset_is(tmp_path: Path) -> None:
    """A bank file counts by its content: elsewhere it is the same, changed it is another dataset."""
    hashes = []
    for name, tone in (("a.h5", 3), ("else/b.h5", 3), ("c.h5", 4)):
        disc_bank(tmp_path / name, 12, skin_tone=tone)
        manifest = both(tmp_path, image_size_px=CORE, pools={"bank": {"path": name}})
        hashes.append(make_plan(manifest, tmp_path / f"of-{tone}-{name[0]}").plan_hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_rendered_bank_depends_on_the_manifest_alone(both_dataset: Path, tmp_path: Path) -> None:
    plan = make_plan(small_both_manifest(), tmp_path / "again")
    assert plan.bank_file is not None
    assert plan.bank_file.read_bytes() == (both_dataset / "cache/bank.h5").read_bytes()
    bank = Bank(plan.bank_file)
    bank.check()
    assert bank.head.hand == open_hand().digest()
    assert [len(bank.pool(split, side)) for split in ("train", "val", "test") for side in (0, 1)] == [4, 4, 2, 2, 2, 2]
    assert make_plan(both(tmp_path, seed=5), tmp_path / "other").plan_hash != plan.plan_hash


def bank_file(folder: Path, hand: str = "", core_px: int = CORE, count: int = 12) -> Path:
    splits = ("train", "train", "val", "val", "test", "test")
    write_bank(
        folder / "b.h5",
        head(hand=hand, core_px=core_px),
        (entry(n, split=splits[n % 6]) for n in range(count)),
        "raw",
    )
    return folder / "b.h5"


def damaged_bank(folder: Path) -> None:
    data = bytearray(bank_file(folder).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "b.h5").write_bytes(data)


REFUSED: dict[str, tuple[Callable[[Path], object], str, type[AihError]]] = {
    "missing": (lambda f: f, "b.h5 is not a file. Make one with `aih bank build`", ConfigError),
    "of another hand": (lambda f: bank_file(f, "ab" * 32), "holds poses of the hand model abababababab", ConfigError),
    "far too small": (lambda f: bank_file(f, core_px=20), "are 20 px where an image has 64; expected", ConfigError),
    "far too large": (
        lambda f: bank_file(f, core_px=CORE * 11),
        "are 704 px where an image has 64; expected",
        ConfigError,
    ),
    "damaged": (damaged_bank, "it was changed or damaged", AssetError),
    "without a split": (lambda f: bank_file(f, count=2), "no right hand in split 'val'", ConfigError),
    "no bank": (lambda f: (f / "b.h5").write_bytes(b"x"), "not a readable bank", AssetError),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_bank_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path, what: str) -> None:
    make, message, kind = REFUSED[what]
    make(tmp_path)
    with pytest.raises(kind, match=message):
        make_plan(both(tmp_path, image_size_px=CORE, pools={"bank": {"path": "b.h5"}}), tmp_path / "it")
    assert not (tmp_path / "it").exists()


def test_too_few_pictures_for_a_split_are_refused(tmp_path: Path) -> None:
    build = {"bank": {"build": {"per_split": {"train": 4, "val": 1, "test": 2}}}}
    with pytest.raises(ConfigError, match="per_split: 1 pictures for val"):
        make_plan(both(tmp_path, pools=build), tmp_path / "it")


def test_a_bank_that_changed_after_planning_stops_the_run_and_is_found(tmp_path: Path, monkeypatch) -> None:
    path = bank_file(tmp_path)
    folder = tmp_path / "it"
    manifest = both(tmp_path, image_size_px=CORE, pools={"bank": {"path": "b.h5"}})
    generate(manifest, folder)
    assert validate(folder).problems == []
    disc_bank(path, 12, skin_tone=7)
    (problem,) = [p for p in validate(folder).problems if p.file == "cache"]
    assert "is not the one that was planned" in problem.message
    monkeypatch.setattr(tasks, "_engines", {})
    with pytest.raises(AssetError, match=r"is the bank .*, planned was .* Put the old file back"):
        make_sample(load_plan(folder), 3)
    path.unlink()
    problems = validate(folder).problems
    assert any(p.file == "cache" and "is not a file" in p.message for p in problems)
    away = [p for p in problems if p.file.startswith("sync/")]
    assert len(away) == 5
    assert all("cannot be compared with its pictures" in p.message for p in away)
    assert validate(folder).samples == 18  # all else of them was checked


def test_a_bank_that_was_moved_is_taken_where_it_is_now(tmp_path: Path) -> None:
    folder, path = tmp_path / "it", bank_file(tmp_path)
    generate(both(tmp_path, image_size_px=CORE, pools={"bank": {"path": "b.h5"}}), folder)
    before = digests(folder)
    path.rename(tmp_path / "c.h5")
    assert generate(both(tmp_path, image_size_px=CORE, pools={"bank": {"path": "c.h5"}}), folder).made == 0
    assert validate(folder).problems == []
    assert digests(folder) == before
    disc_bank(tmp_path / "d.h5", 12, skin_tone=7)
    with pytest.raises(AssetError, match=r"is the bank .*, planned was"):
        generate(both(tmp_path, image_size_px=CORE, pools={"bank": {"path": "d.h5"}}), folder)
    assert validate(folder).problems == []


def test_a_torn_bank_in_the_cache_is_never_drawn_from(both_dataset: Path, tmp_path: Path, monkeypatch) -> None:
    copy = Path(shutil.copytree(both_dataset, tmp_path / "copy"))
    (copy / SYNC).unlink()
    data = bytearray((copy / "cache/bank.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "cache/bank.h5").write_bytes(data)
    monkeypatch.setattr(tasks, "_engines", {})
    with pytest.raises(AssetError, match=r"changed or damaged.* A dataset needs the bank that it was planned with"):
        generate(small_both_manifest(), copy)
    assert not (copy / SYNC).exists()


def test_an_engine_without_a_bank_needs_none(both_dataset: Path, tmp_path: Path, monkeypatch) -> None:
    copy = Path(shutil.copytree(both_dataset, tmp_path / "copy"))
    (copy / "cache/bank.h5").unlink()
    (copy / "render/train/render-train-00000.h5").unlink()
    monkeypatch.setattr(tasks, "_engines", {})
    assert generate(small_both_manifest(), copy, shards=slice(0, 1)).made == 1


def test_a_hopeless_engine_does_not_hide_behind_the_other(tmp_path: Path) -> None:
    hopeless = {"occlusion": {"range": [0.9999, 1]}}
    with pytest.raises(ConfigError, match=r"sync / train asks for .* 0\.9999 to 1; \d of \d+ draws .*streams\.sync"):
        generate(both(tmp_path, hopeless, image_size_px=64), tmp_path / "it")


def test_what_a_bank_cannot_be_built_of_is_found_before_anything_is_written(tmp_path: Path) -> None:
    none = {"bank": {"build": {"per_split": {"train": 0, "val": 0, "test": 0}}}}
    with pytest.raises(ConfigError, match="every count is 0; ask for at least two pictures"):
        make_plan(both(tmp_path, {"count": {}}, pools=none), tmp_path / "it")
    assert not (tmp_path / "it").exists()


# Faults of AIH-Sync samples, in shards whose checksums are right.


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lossless dataset of AIH-Sync alone whose first shard holds two samples of which both targets are known."""
    content = small_both_content(lossless=True, image_size_px=64)
    del content["streams"]["render"]
    content["streams"]["sync"] |= {"count": {"train": 4}, "modes": {"photo": 0, "canvas": 1}}
    folder = tmp_path_factory.mktemp("exact") / "dataset"
    generate(parse_manifest(content, where="it", folder=folder.parent), folder)
    assert validate(folder).problems == []
    return folder


def other_pictures(samples: list[Sample]) -> Sample:
    right, left = samples[0].pose_id.split("+")
    return replace(samples[0], pose_id=f"{left}+{right}")


def with_target(sample: Sample, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Sample:
    """With its target hand's picture changed, inside changed_mask alone."""
    hand = sample.target_hand
    inside = sample.changed_mask[hand][..., None]
    targets = sample.target_rgb.copy()
    targets[hand] = np.where(inside, change(targets[hand], sample.image_rgb), targets[hand])
    return replace(sample, target_rgb=targets)


def noise(like: np.ndarray) -> np.ndarray:
    return np.random.default_rng([0, 1]).integers(0, 256, like.shape, np.uint8)


def mirrored(sample: Sample) -> Sample:
    image = sample.image_rgb[:, ::-1].copy()
    inside = sample.changed_mask[..., None]
    return replace(sample, image_rgb=image, target_rgb=np.where(inside, sample.target_rgb, image))


def without_target(sample: Sample) -> Sample:
    known = np.arange(2) == sample.target_hand
    kept = known[:, None, None]
    return replace(
        sample,
        target_valid=known,
        target_rgb=sample.target_rgb * kept[..., None],
        changed_mask=sample.changed_mask & kept,
    )


SYNC_PLANTED: dict[str, tuple[Callable[[list[Sample]], Sample], str]] = PLANTED | {
    "a grown changed mask": (PLANTED["a grown changed mask"][0], "reaches over 3 px beyond the other hand"),
    "a pose marked unknown": (PLANTED["a pose marked unknown"][0], "pose_valid is .*, drawn again"),
    "another engine": (lambda s: replace(s[0], engine="render"), "engine is render, expected sync"),
    "no target": (lambda s: replace(s[0], target_hand=-1), "lacks its target"),
    "the other target": (lambda s: replace(s[0], target_hand=1 - s[0].target_hand), "target_hand is"),
    "a target less": (lambda s: without_target(s[0]), "target_valid is"),
    "a target that is the image": (lambda s: with_target(s[0], lambda _, image: image), "target: departs by"),
    "a black target": (lambda s: with_target(s[0], lambda target, _: 0 * target), "target: departs by"),
    "a target of noise": (lambda s: with_target(s[0], lambda target, _: noise(target)), "target: departs by"),
    "a target moved": (lambda s: with_target(s[0], lambda target, _: np.roll(target, 5, 1)), "target: departs by"),
    "a mirrored image": (lambda s: mirrored(s[0]), "the image departs"),
    "all joints hidden": (lambda s: replace(s[0], joint_visible=np.zeros((2, 21), bool)), "joint_visible is"),
    "pictures of the other side": (other_pictures, "pose_id is .*, drawn again"),
    "pictures that are not there": (lambda s: replace(s[0], pose_id="a+b"), r"pose_id is a\+b, drawn again"),
    "another mode": (lambda s: replace(s[0], pose_family="photo/" + s[0].pose_family), "pose_family is"),
    "another licence": (lambda s: replace(s[0], licence="none"), "licence is none, drawn again CC0-1.0"),
    "another attempt": (lambda s: replace(s[0], attempt=s[0].attempt + 1), "drawn again"),
    "no attempt": (lambda s: replace(s[0], attempt=0), "attempt 0 is refused when it is drawn again"),
    "another tone": (lambda s: replace(s[0], skin_tone=s[0].skin_tone[::-1] + np.int8(1)), "skin_tone is"),
}


@pytest.mark.parametrize("what", SYNC_PLANTED)
def test_a_planted_fault_is_found_in_its_sample_alone(exact: Path, tmp_path: Path, what: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(exact, copy, ignore=shutil.ignore_patterns("bank.h5"))
    os.link(exact / "cache/bank.h5", copy / "cache/bank.h5")
    plant, message = SYNC_PLANTED[what]
    rewrite(copy, lambda samples: [plant(samples), samples[1]])
    problems = validate(copy).problems
    assert {problem.file for problem in problems} == {SYNC}
    assert {problem.sample for problem in problems} <= {0, None}
    assert any(re.search(message, problem.message) for problem in problems), problems


def test_refused_draws_are_counted_in_the_record(exact: Path) -> None:
    plan = load_plan(exact)
    for shard in plan.shards():
        record = read_record(exact, shard)
        attempts = sum(s.attempt - 1 for s in open_dataset(exact) if s.index in shard.indices)
        assert sum(record["rejections"].values()) == attempts
