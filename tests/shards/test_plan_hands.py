"""MANO files on their way into a dataset."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder import generate, open_dataset, validate
from aih_builder.config import Manifest, parse_manifest
from aih_builder.errors import ConfigError
from aih_builder.hands.arrays import load_hand_arrays, save_hand_arrays
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.bringing import bring_hand
from aih_builder.shards.plan import load_plan, make_plan
from aih_builder.sources.pose_library import hands_digest, load_library
from aih_builder.synth.assets import HAND_FILE, POSES_FILE
from tests.builders import small_content
from tests.hands.mano_pickles import write_published
from tests.interhand_capture import write_capture


@pytest.fixture(scope="module")
def mano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("licensed") / "MANO Modelle, 手")


def manifest(folder: Path, model: str | Path, train: int = 3, **hands: Any) -> Manifest:
    content = small_content()
    content["hands"] = {"model": str(model), "shapes": {"count": 64}, **hands}
    content["pools"]["poses"] = {"source": "anatomical"}
    content["pools"]["textures"] = {"source": "procedural", "tones": [3, 9], "per_tone": 1, "size_px": 256}
    content["streams"]["render"]["count"] = {"train": train}
    return parse_manifest(content, where="it", folder=folder)


def test_a_dataset_of_published_files_is_made_of_the_mended_hand_and_says_so(
    mano: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    generate(manifest(mano.parent, mano.name), tmp_path / "out")
    assert "left shapedirs turned" in caplog.text
    plan = load_plan(tmp_path / "out")
    hand = load_hand_arrays(plan.cache / HAND_FILE)
    assert hand.digest() == bring_hand(mano).arrays.digest()
    told = plan.sources["hand"]
    assert (told["model"], told["licences"]) == (str(mano), ["LicenseRef-MANO"])
    assert told["left_shapedirs"] == "turned"
    assert validate(tmp_path / "out").problems == []
    hands = hand_pair(hand, "native")
    for sample in open_dataset(tmp_path / "out"):
        assert "LicenseRef-MANO" in sample.licence
        for side in np.flatnonzero(sample.hand_present).tolist():
            posed = hands[side].pose(sample.mano_pose_rad[side], sample.mano_betas[side], sample.mano_trans_m[side])
            assert np.abs(posed.joints_m - sample.cam_joints_m[side]).max() < 1e-6


def test_files_may_move_and_counts_grow_but_the_hand_stays(mano: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = make_plan(manifest(mano.parent, mano), out)
    save_hand_arrays(bring_hand(mano).arrays, tmp_path / "same.npz")
    assert make_plan(manifest(tmp_path, "same.npz"), out).plan_hash == plan.plan_hash
    assert make_plan(manifest(mano.parent, mano, train=4, fix_left=True), out).plan_hash == plan.plan_hash
    with pytest.raises(ConfigError, match=r"hands\.model: .* is the hand .*, the dataset was planned with"):
        make_plan(manifest(mano.parent, mano, train=4, fix_left=False), out)


def test_poses_of_the_open_hand_are_refused_on_another(mano: Path, tmp_path: Path) -> None:
    content = manifest(mano.parent, mano).to_json()
    content["pools"]["poses"] = {"source": "library"}
    with pytest.raises(ConfigError, match="the poses belong to the hand model"):
        make_plan(parse_manifest(content, where="it", folder=tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fits_of_the_hand_in_use_need_no_mark_and_are_held_against_the_joints(mano: Path, tmp_path: Path) -> None:
    write_capture(tmp_path / "ih")
    content = manifest(mano.parent, mano, train=0).to_json()
    content["pools"]["poses"] = {"source": "interhand", "path": str(tmp_path / "ih")}
    content["streams"]["render"] |= {"count": {"train": 2}, "single_hand_fraction": 0.5}
    with pytest.raises(ConfigError, match=r"Set fits_of: hand if it is hands\.model that they"):
        make_plan(parse_manifest(content, where="it", folder=tmp_path), tmp_path / "out")
    content["pools"]["poses"]["fits_of"] = "hand"
    plan = make_plan(parse_manifest(content, where="it", folder=tmp_path), tmp_path / "out")
    library = load_library(plan.cache / POSES_FILE)
    assert library.hand == hands_digest(hand_pair(bring_hand(mano).arrays, "native"))
    assert library.provenance["fit_error_checked"]


@pytest.mark.parametrize(
    ("hands", "message"),
    [
        ({"model": "open", "fix_left": True}, "fix_left is for MANO files"),
        ({"model": "open", "fix_left": "maybe"}, "fix_left"),
        ({"model": "nowhere"}, "hands.model: .*nowhere: cannot be read"),
    ],
)
def test_wrong_keys_are_config_errors(tmp_path: Path, hands: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan(manifest(tmp_path, **hands), tmp_path / "out")
    assert not (tmp_path / "out").exists()
