import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError
from aih_builder.imaging import encode_jpeg, read_image
from aih_builder.sources.backgrounds import BackgroundPool
from aih_builder.sources.interhand_backgrounds import LEAST_PX, extract_backgrounds


@pytest.fixture
def small(singles_root: Path, tmp_path: Path) -> Path:
    """The val split alone, to be changed."""
    for name in ("annotations", "images"):
        shutil.copytree(singles_root / name / "val", tmp_path / "root" / name / "val")
    return tmp_path / "root"


def test_crops_show_no_hand_and_no_forearm_and_keep_their_split(singles_root: Path, tmp_path: Path) -> None:
    """Hands and forearms are painted in levels that no background reaches."""
    made, left_out = extract_backgrounds(singles_root, tmp_path / "out")
    assert left_out == {}
    assert made == {"train": 29, "val": 29, "test": 29}
    for path in sorted((tmp_path / "out").rglob("*.jpg")):
        crop = read_image(path)
        assert crop.shape[0] == crop.shape[1] >= LEAST_PX
        hand = (crop[..., 0] > 135) & (crop[..., 1] > 100) & (crop[..., 2] > 80)
        assert hand.mean() < 0.02, path
    pool = BackgroundPool([], [(tmp_path / "out", "CC-BY-NC-4.0")])
    pool.require(["train", "val", "test"])
    names = {split: {p.read_bytes() for p in (tmp_path / "out" / split).iterdir()} for split in made}
    assert not names["train"] & names["test"]
    drawn = pool.draw(np.random.default_rng(1), "val", 96)
    assert drawn.licence == "CC-BY-NC-4.0"


def test_few_images_are_spread_evenly(small: Path, tmp_path: Path) -> None:
    made, _ = extract_backgrounds(small, tmp_path / "a", most=4)
    assert 3 <= made["val"] <= 4
    made, _ = extract_backgrounds(small, tmp_path / "b", every=10)
    assert made["val"] == 3


def test_hands_that_may_be_anywhere_and_bad_images_are_left_out(small: Path, tmp_path: Path) -> None:
    path = small / "annotations/val/InterHand2.6M_val_joint_3d.json"
    joints = json.loads(path.read_text())
    joints["1"]["100"]["joint_valid"][3] = [0]
    path.write_text(json.dumps(joints))
    pictures = sorted((small / "images/val").rglob("cam400262/*.jpg"))
    pictures[2].write_bytes(encode_jpeg(np.zeros((512, 334, 3), np.uint8)))
    pictures[3].write_bytes(encode_jpeg(np.zeros((100, 100, 3), np.uint8)))
    pictures[4].unlink()
    with pytest.raises(AssetError, match=r"cannot be read .*--skip-bad"):
        extract_backgrounds(small, tmp_path / "a")
    _, left_out = extract_backgrounds(small, tmp_path / "b", skip_bad=True)
    assert left_out == {
        "a hand whose joints are not all annotated": 3,
        "nothing but one level": 1,
        "a file of another size": 1,
        "a file that is missing or damaged": 1,
    }


def test_a_folder_with_content_and_a_root_without_annotations_are_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is there and is no empty folder"):
        extract_backgrounds(small, small)
    with pytest.raises(ConfigError, match="holds no annotations/train"):
        extract_backgrounds(tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()
