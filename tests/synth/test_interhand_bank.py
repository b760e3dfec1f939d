"""A bank of InterHand2.6M's images, held against what plain numpy and OpenCV make of the same annotations."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import open_hand
from aih_builder.imaging import encode_jpeg, encode_png, read_image, shrunk
from aih_builder.sources.bank import Bank
from aih_builder.synth.interhand_bank import InterhandImages, build_interhand_bank, find_candidates
from aih_builder.synth.picture_tasks import LeftOut
from tests.interhand_capture import HANDS, HEIGHT, WIDTH, outlines

SINGLES = {"fit: no left hand": 12, "fit: no right hand": 12, "image: both hands": 18}
CAMERAS = {"camera: 400412": 3, "camera: no rotation or focal length": 3, "image: camera 400412": 30,
           "image: camera unknown": 30, "image: landscape": 3}  # fmt: skip


def build(root: Path, out: Path, jobs: int = 1, **options: Any) -> LeftOut:
    return build_interhand_bank(out, InterhandImages(root, **options), open_hand(), licensed=False, jobs=jobs)


def part(root: Path, split: str, name: str) -> Path:
    return root / "annotations" / split / f"InterHand2.6M_{split}_{name}.json"


def change(root: Path, split: str, name: str, edit: Any) -> None:
    """Edit one annotation file of a split."""
    path = part(root, split, name)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def bank(singles_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bank, LeftOut]:
    path = tmp_path_factory.mktemp("bank") / "b.h5"
    left_out = build(singles_root, path)
    return Bank(path), left_out


@pytest.fixture
def small(singles_root: Path, tmp_path: Path) -> Path:
    """The train split alone, to be changed."""
    for name in ("annotations", "images"):
        shutil.copytree(singles_root / name / "train", tmp_path / name / "train")
    return tmp_path


def test_what_is_left_out_is_counted_by_reason(bank: tuple[Bank, LeftOut]) -> None:
    assert dict(bank[1].reasons) == SINGLES | CAMERAS | {
        "a hand cut by the picture's border": 3,
        "a view along the forearm, which may hide the hand": 7,
    }
    assert len(bank[0]) == 59
    assert bank[1].bad_files == []


def test_masks_joints_and_colours_are_those_of_the_photographs(singles_root: Path, bank: tuple[Bank, LeftOut]) -> None:
    worst, seen = {"iou": 1.0, "joint_px": 0.0, "colour": 0.0}, 0
    for split in ("train", "val", "test"):
        data, cameras, mano = (
            json.loads(part(singles_root, split, name).read_text()) for name in ("data", "camera", "MANO_NeuralAnnot")
        )
        by_file = {item["file_name"]: item for item in data["images"]}
        for i in bank[0].pool(split, 0) + bank[0].pool(split, 1):
            entry = bank[0].entry(i)
            item = by_file[entry.source.partition("/")[2]]
            assert entry.source.startswith(f"subject{item['subject']}/")
            ((side, vertices, joints),) = outlines(item, cameras, mano)
            focal = cameras[str(item["capture"])]["focal"][item["camera"]]
            centre = np.array(cameras[str(item["capture"])]["princpt"][item["camera"]])
            scale = entry.K_px[[0, 1], [0, 1]] / focal
            shift = entry.K_px[:2, 2] - centre * scale
            fine = np.zeros((4 * 384, 4 * 384), np.uint8)
            for face in HANDS[side].arrays.faces:
                cv2.fillConvexPoly(fine, np.round(4 * (vertices[face] * scale + shift) + 1.5).astype(np.int32), 255)
            drawn = cv2.resize(fine, (384, 384), interpolation=cv2.INTER_AREA) >= 128
            mask = entry.rgba[..., 3] >= 128
            worst["iou"] = min(worst["iou"], (mask & drawn).sum() / (mask | drawn).sum())
            worst["joint_px"] = max(worst["joint_px"], float(np.abs(joints * scale + shift - entry.joints_px).max()))
            inside = entry.rgba[..., :3][shrunk(mask, 4)].astype(int)
            colour = [170 + side * 10] * 3 if item["camera"] == "410001" else [220, 170 + side * 10, 140]
            worst["colour"] = max(worst["colour"], float(np.median(np.abs(inside - colour))))
            assert entry.side == side
            seen += 1
    assert seen == len(bank[0])
    assert worst["iou"] > 0.97  # the surface is smoother than the faces
    assert worst["joint_px"] < 0.01
    assert worst["colour"] <= 3


def test_stored_parameters_give_the_stored_joints_and_each_hand_fills_half_of_the_core(
    bank: tuple[Bank, LeftOut],
) -> None:
    for i in range(len(bank[0])):
        entry = bank[0].entry(i)
        posed = HANDS[entry.side].pose(entry.mano_pose_rad, entry.mano_betas, entry.mano_trans_m)
        assert np.abs(posed.joints_m - entry.cam_joints_m).max() < 1e-7
        assert (entry.pose_valid, entry.joint_visible_valid, entry.skin_tone) == (True, True, 0)
        y, x = np.nonzero(entry.rgba[..., 3] >= 128)
        longer = max(np.ptp(x), np.ptp(y)) + 1
        assert abs(longer - 128) < 4
        assert abs(x.min() + x.max() - 383) < 4
        assert entry.joint_visible.any()
        soft = (entry.rgba[..., 3] > 0) & (entry.rgba[..., 3] < 255)
        assert soft.sum() > 100  # fingers keep soft edges


def test_splits_are_the_captures_own_and_people_are_those_of_the_lists(bank: tuple[Bank, LeftOut]) -> None:
    subjects = {}
    for i in range(len(bank[0])):
        entry = bank[0].entry(i)
        subjects.setdefault(entry.split, set()).add(entry.source.partition("/")[0])
        frame = int(entry.source.rpartition("image")[2].removesuffix(".jpg"))
        assert entry.annotation == ("human" if frame <= 102 else "machine")
    assert subjects == {"train": {"subject10"}, "val": {"subject11"}, "test": {"subject12"}}


def test_lists_in_a_folder_of_their_own_are_read_and_asked_for(small: Path, tmp_path: Path) -> None:
    beside = small / "annotations/train/aid_human_annot_train.txt"
    lists = tmp_path / "lists"
    lists.mkdir()
    with pytest.raises(ConfigError, match=r"aid_human_annot_train.txt: is not there"):
        find_candidates(InterhandImages(small, lists=lists), open_hand(), Counter())
    shutil.move(beside, lists)
    for folder, expected in ((None, {""}), (lists, {"human", "machine"})):
        found = find_candidates(InterhandImages(small, lists=folder), open_hand(), Counter())
        assert {candidate.image.annotation for candidate in found} == expected


def test_a_bank_is_the_same_for_one_and_two_processes(small: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        build(small, tmp_path / f"{jobs}.h5", jobs)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


def test_missing_and_damaged_images_are_an_error_or_left_out_and_listed(small: Path, tmp_path: Path) -> None:
    pictures = sorted((small / "images/train").rglob("cam400262/*.jpg"))
    pictures[0].unlink()
    with pytest.raises(AssetError, match=r"image100.jpg: cannot be read \(No such file.*--skip-bad"):
        build(small, tmp_path / "b.h5")
    pictures[1].write_bytes(pictures[1].read_bytes()[:200])
    pictures[2].unlink()
    pictures[2].symlink_to(pictures[2])
    bomb = encode_png(np.zeros((8, 8, 3), np.uint8))
    pictures[3].write_bytes(bomb[:16] + (60000).to_bytes(4, "big") * 2 + bomb[24:])
    assert not (tmp_path / "b.h5").exists()
    left_out = build(small, tmp_path / "b.h5", skip_bad=True)
    assert left_out.reasons["a file that is missing or damaged"] == 4
    assert [text.partition(": ")[2][:14] for text in left_out.bad_files] == [
        "cannot be read", "not an image t", "cannot be read", "60000 x 60000 ",
    ]  # fmt: skip


def test_pictures_that_would_make_a_mask_untrue_are_left_out(small: Path, tmp_path: Path) -> None:
    before = build(small, tmp_path / "b.h5").reasons
    pictures = sorted((small / "images/train").rglob("cam400262/*.jpg"))
    pictures[0].write_bytes(encode_jpeg(np.zeros((HEIGHT, WIDTH, 3), np.uint8)))
    pictures[1].write_bytes(encode_jpeg(np.full((WIDTH, HEIGHT, 3), 90, np.uint8)))

    def spoil(content: Any) -> None:
        frames = content["0"]
        frames["102"]["right"]["trans"][1] += 0.042
        frames["104"]["right"] = frames["105"]["left"]  # a left hand's numbers
        frames["106"]["right"] = None

    change(small, "train", "MANO_NeuralAnnot", spoil)
    after = build(small, tmp_path / "b.h5").reasons
    more = dict(after - before)
    assert more == {
        "a black picture": 1,
        "image: file of another size": 1,
        "image: a fit more than 10 mm from the joints": 6,  # two frames, three cameras
        "frame: no fit of either hand": 1,
        "fit: no right hand": 1,
    }
    assert after["a hand cut by the picture's border"] == before["a hand cut by the picture's border"]


def test_fits_of_the_wrong_side_are_found_by_the_joints(small: Path, tmp_path: Path) -> None:
    """Right and left exchanged as a faulty export does: no image is left."""

    def swap(content: Any) -> None:
        for frame in content["0"].values():
            frame["right"], frame["left"] = frame["left"], frame["right"]

    change(small, "train", "MANO_NeuralAnnot", swap)
    with pytest.raises(AssetError, match=r"no picture is left .*image: no fit of its hand \(23\)"):
        build(small, tmp_path / "b.h5")


def test_grey_cameras_can_be_dropped_by_name_and_by_colour(small: Path, tmp_path: Path) -> None:
    for path in sorted((small / "images/train").rglob("cam400263/*.jpg"))[:2]:
        grey = read_image(path)
        path.write_bytes(encode_jpeg(np.repeat(grey[..., 1:2], 3, axis=2)))
    left_out = build(small, tmp_path / "b.h5", grey=False).reasons
    assert left_out["image: grey camera"] == 8
    assert left_out["image: grey"] == 2


def test_a_subject_of_two_splits_keeps_to_the_later_one_unless_told(singles_root: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(singles_root / "annotations" / split, tmp_path / "annotations" / split)

    def same(content: Any) -> None:
        for item in content["images"]:
            if item["frame_idx"] < 104:
                item["subject"] = 12

    change(tmp_path, "train", "data", same)
    dropped: Counter[str] = Counter()
    found = find_candidates(InterhandImages(tmp_path), open_hand(), dropped)
    home = {(candidate.subject, candidate.split) for candidate in found}
    assert home == {("subject10", "train"), ("subject12", "test")}
    assert dropped["image: of train, its subject is also in test"] == 12
    everything = find_candidates(InterhandImages(tmp_path, disjoint=False), open_hand(), Counter())
    assert len(everything) == len(found) + 12
    assert len(find_candidates(InterhandImages(tmp_path, every=5), open_hand(), Counter())) == -(-len(found) // 5)


def test_a_root_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no annotations/train, val or test"):
        build(tmp_path, tmp_path / "b.h5")
