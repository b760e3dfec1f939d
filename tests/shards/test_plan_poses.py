"""Pose libraries on their way into a dataset."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder import generate, open_dataset, validate
from aih_builder.config import Manifest, parse_manifest
from aih_builder.errors import AssetError, ConfigError
from aih_builder.shards import tasks
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.shards.remake import differences
from aih_builder.sources.pose_library import PoseLibrary, load_library, shipped_library
from aih_builder.synth.assets import POSES_FILE
from tests.builders import small_content
from tests.interhand_capture import write_capture

SHIPPED = shipped_library()


def manifest(folder: Path, poses: dict[str, Any], counts: dict[str, int] | None = None) -> Manifest:
    content = small_content()
    content["pools"]["poses"] = poses
    content["streams"]["render"]["count"] = {"train": 4, "val": 0, "test": 2} if counts is None else counts
    return parse_manifest(content, where="it", folder=folder)


def some(rows: slice, **changes: Any) -> PoseLibrary:
    columns = [f for f in PoseLibrary.__dataclass_fields__ if isinstance(getattr(SHIPPED, f), np.ndarray)]
    return replace(SHIPPED, **{name: getattr(SHIPPED, name)[rows] for name in columns} | changes)


def test_by_default_poses_are_those_that_ship(small_dataset: Path) -> None:
    assert load_library(small_dataset / "cache" / POSES_FILE).digest() == SHIPPED.digest()
    splits = dict(zip(SHIPPED.ids.tolist(), SHIPPED.splits(), strict=True))
    rows = {name: k for k, name in enumerate(SHIPPED.ids.tolist())}
    for sample in open_dataset(small_dataset):
        assert splits[sample.pose_id] == sample.split
        if sample.hand_present.all():
            row = rows[sample.pose_id]
            assert sample.pose_family == SHIPPED.family[row]
            assert sample.penetration_mm == SHIPPED.penetration_mm[row]
            np.testing.assert_array_equal(sample.mano_pose_rad[:, 3:], SHIPPED.pose_rad[row, :, 3:])
            np.testing.assert_array_equal(sample.mano_betas, SHIPPED.betas[row])


def test_a_library_of_one_s_own_is_drawn_from_and_counts_by_its_digest(tmp_path: Path) -> None:
    own = some(slice(0, 2000, 40), licence="CC-BY-4.0")
    own.save(tmp_path / "mine.npz")
    built = generate(manifest(tmp_path, {"source": "library", "path": "mine.npz"}), tmp_path / "one")
    assert built.finished
    assert validate(tmp_path / "one").problems == []
    for sample in open_dataset(tmp_path / "one"):
        assert sample.pose_id in own.ids
        assert sample.licence == "CC-BY-4.0"
    assert "CC-BY-4.0" in load_plan(tmp_path / "one").licences
    own.save(tmp_path / "moved.npz")
    again = generate(manifest(tmp_path, {"source": "library", "path": "moved.npz"}), tmp_path / "one")
    assert (again.made, again.skipped) == (0, built.made)
    some(slice(1, 2000, 40)).save(tmp_path / "mine.npz")
    other = make_plan(manifest(tmp_path, {"source": "library", "path": "mine.npz"}), tmp_path / "two")
    assert other.plan_hash != load_plan(tmp_path / "one").plan_hash


def test_moved_fingers_make_other_samples_each_alike_when_made_alone(tmp_path: Path) -> None:
    asked = manifest(tmp_path, {"source": "library", "jitter_deg": 2.0})
    generate(asked, tmp_path / "out")
    assert validate(tmp_path / "out").problems == []
    plan = load_plan(tmp_path / "out")
    rows = {name: k for k, name in enumerate(SHIPPED.ids.tolist())}
    moved = 0
    for sample in open_dataset(tmp_path / "out"):
        side = int(np.flatnonzero(sample.hand_present)[0])
        stored = SHIPPED.pose_rad[rows[sample.pose_id], side, 3:]
        moved += bool((sample.mano_pose_rad[side, 3:] != stored).any())
    assert moved == 6
    shard = plan.shards()[0]
    assert differences(plan, shard, shard.indices[0]) == []


def test_a_capture_of_interhand_becomes_a_dataset(tmp_path: Path) -> None:
    """From the fits of the open hand; each split holds its own subjects' frames, none else."""
    write_capture(tmp_path / "ih")
    asked = manifest(tmp_path, {"source": "interhand", "path": "ih", "fits_of": "open"})
    assert generate(asked, tmp_path / "out").finished
    assert validate(tmp_path / "out").problems == []
    samples = list(open_dataset(tmp_path / "out"))
    assert len(samples) == 6
    for sample in samples:
        assert sample.pose_id.startswith("test-1-" if sample.split == "test" else "train-0-")
        assert sample.licence == "CC-BY-NC-4.0"
        assert sample.pose_family in ("ROM03_RT_No_Occlusion", "ROM09_Interaction") or not sample.hand_present.all()
    with pytest.raises(ConfigError, match="no pair of hands falls into split 'val'"):
        make_plan(
            manifest(tmp_path, {"source": "interhand", "path": "ih", "fits_of": "open"}, {"train": 1, "val": 1}),
            tmp_path / "val",
        )
    assert not (tmp_path / "val").exists()


def test_parameters_in_a_file_become_a_dataset(tmp_path: Path) -> None:
    content = {
        f"{side}_{name}": getattr(SHIPPED, column)[:60, i]
        for i, side in enumerate(("right", "left"))
        for name, column in (("pose", "pose_rad"), ("betas", "betas"), ("trans", "trans_m"))
    }
    np.savez(tmp_path / "mine.npz", **content, split=np.array(["train", "test"] * 30))
    asked = manifest(tmp_path, {"source": "parameters", "path": "mine.npz", "fits_of": "open"})
    assert generate(asked, tmp_path / "out").finished
    assert validate(tmp_path / "out").problems == []
    assert {sample.pose_id[:5] for sample in open_dataset(tmp_path / "out")} == {"mine-"}


def test_fits_of_another_hand_are_refused_or_marked(tmp_path: Path) -> None:
    write_capture(tmp_path / "ih")
    with pytest.raises(ConfigError, match="fits of the hand model 'mano' on 'open'"):
        make_plan(manifest(tmp_path, {"source": "interhand", "path": "ih"}), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    asked = manifest(tmp_path, {"source": "interhand", "path": "ih", "other_hand": "mark"})
    generate(asked, tmp_path / "marked")
    for sample in open_dataset(tmp_path / "marked"):
        assert sample.pose_id.endswith("+other-hand")
        assert sample.licence == "CC-BY-NC-4.0 AND LicenseRef-MANO"
    some(slice(0, 50), hand="0123456789abcdef").save(tmp_path / "foreign.npz")
    with pytest.raises(ConfigError, match="belong to the hand model 0123456789ab"):
        make_plan(manifest(tmp_path, {"source": "library", "path": "foreign.npz"}), tmp_path / "foreign")


@pytest.mark.parametrize(
    ("poses", "message"),
    [
        ({"source": "library", "path": "none.npz"}, "none.npz is not there"),
        ({"source": "interhand"}, "source: interhand needs a path"),
        ({"source": "anatomical", "path": "a.npz"}, "path is not for source: anatomical"),
        ({"source": "anatomical", "jitter_deg": 1}, "jitter_deg is not for source: anatomical"),
        ({"source": "library", "every": 2}, "every is not for source: library"),
        ({"source": "library", "fits_of": "open"}, "fits_of is not for source: library"),
        ({"source": "clap"}, "'library', 'interhand', 'parameters' or 'anatomical'"),
    ],
)
def test_what_a_source_does_not_have_is_refused(tmp_path: Path, poses: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan(manifest(tmp_path, poses), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_library_is_named_at_planning_and_a_changed_one_by_validation(tmp_path: Path) -> None:
    (tmp_path / "torn.npz").write_bytes(b"PK" * 100)
    with pytest.raises(AssetError, match=r"torn\.npz: not a readable pose library"):
        make_plan(manifest(tmp_path, {"source": "library", "path": "torn.npz"}), tmp_path / "out")
    generate(manifest(tmp_path, {"source": "library"}), tmp_path / "good")
    some(slice(0, 100)).save(tmp_path / "good" / "cache" / POSES_FILE)
    problems = [problem.message for problem in validate(tmp_path / "good").problems]
    assert "the poses are not those that were planned" in problems
    (tmp_path / "good" / "dataset.json").unlink()
    next((tmp_path / "good" / "render" / "train").glob("*.h5")).unlink()
    tasks._engines.clear()  # as a new process would
    with pytest.raises(AssetError, match="planned was"):
        generate(manifest(tmp_path, {"source": "library"}), tmp_path / "good")


def test_another_library_under_another_name_is_not_taken_for_the_planned_one(tmp_path: Path) -> None:
    some(slice(0, 300)).save(tmp_path / "a.npz")
    some(slice(300, 600)).save(tmp_path / "b.npz")
    generate(manifest(tmp_path, {"source": "library", "path": "a.npz"}), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"b\.npz gives the library .* was planned with"):
        generate(manifest(tmp_path, {"source": "library", "path": "b.npz"}), tmp_path / "out")


def test_licences_that_no_sample_can_record_together_are_refused(tmp_path: Path) -> None:
    some(slice(0, 2000, 40), licence="LicenseRef-A-very-long-name-of-a-licence-of-our-own").save(tmp_path / "a.npz")
    with pytest.raises(ConfigError, match="too long for a sample"):
        make_plan(manifest(tmp_path, {"source": "library", "path": "a.npz"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_long_names_of_entries_are_shortened_and_stay_apart(tmp_path: Path) -> None:
    own = some(slice(0, 2000, 40))
    names = np.array([f"{'a-very-long-name-of-a-capture-' * 3}{k:03d}" for k in range(len(own))])
    replace(own, ids=names, family=names, hand="mano").save(tmp_path / "a.npz")
    asked = manifest(tmp_path, {"source": "library", "path": "a.npz", "other_hand": "mark"})
    generate(asked, tmp_path / "out")
    assert validate(tmp_path / "out").problems == []
    ids = {sample.pose_id for sample in open_dataset(tmp_path / "out")}
    assert len(ids) > 3
    assert all(len(name) == 48 and name.endswith("+other-hand") for name in ids)
