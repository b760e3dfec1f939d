import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError, SampleError
from aih_builder.hdr.benchmarks import BenchmarkImage
from aih_builder.hdr.interhand_benchmark import interhand_table, read_interhand
from aih_builder.hdr.metrics import joint_errors_mm, with_true_scale
from tests.interhand_capture import GOOD_CAMERAS, IH_ROWS, cameras, frames, write_capture

RIGHT_WRIST, LEFT_WRIST, LEFT_MIDDLE1, RIGHT_THUMB4 = 20, 41, 21 + 11, 0  # in InterHand2.6M's order


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("interhand"))


@pytest.fixture
def root(capture: Path, tmp_path: Path) -> Path:
    """A copy of the mini capture without the fits, which a benchmark does without."""
    return shutil.copytree(capture, tmp_path / "ih", ignore=shutil.ignore_patterns("*MANO_NeuralAnnot.json"))


def change(root: Path, name: str, edit: Callable[[Any], None], split: str = "train") -> None:
    path = root / "annotations" / split / f"InterHand2.6M_{split}_{name}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def say_of_frame_100(root: Path, camera: str, **more: Any) -> None:
    """Change what data.json annotates for one image of frame 100."""

    def edit(content: dict[str, Any]) -> None:
        (number,) = (i["id"] for i in content["images"] if (i["frame_idx"], i["camera"]) == (100, camera))
        (item,) = (a for a in content["annotations"] if a["image_id"] == number)
        item.update(more)

    change(root, "data", edit)


def of(images: list[BenchmarkImage], camera: str, frame: str) -> BenchmarkImage:
    (image,) = (i for i in images if i.path.match(f"cam{camera}/image{frame}.jpg"))
    return image


def test_world_joints_of_both_layouts_land_where_the_camera_sees_them(root: Path) -> None:
    """The world's joints are brought before the camera and projected here, joint by joint."""
    images, given = read_interhand(root, "train"), cameras()
    for frame in ("100", "105"):
        stated = frames()[1][frame]
        world_mm = np.array(stated if isinstance(stated, list) else stated["world_coord"])
        for camera in GOOD_CAMERAS:
            if (frame, camera) == ("105", "400263"):
                continue  # landscape
            image = of(images, camera, frame)
            for side in (0, 1):
                for row, keypoint in enumerate(IH_ROWS):
                    x, y, z = given["camrot"][camera] @ (world_mm[21 * side + row] - given["campos"][camera])
                    np.testing.assert_allclose(image.cam_joints_mm[side, keypoint], (x, y, z), atol=1e-9)
                    u = given["focal"][camera][0] * x / z + given["princpt"][camera][0]
                    v = given["focal"][camera][1] * y / z + given["princpt"][camera][1]
                    np.testing.assert_allclose(image.joints_px[side, keypoint], (u, v), atol=1e-9)
            assert image.joint2d_valid.all()
            assert image.joint3d_valid.all()
            assert image.bone_valid.all()
            flat = image.joints_px.reshape(-1, 2)
            assert image.box_px == (*flat.min(axis=0), *flat.max(axis=0))
            assert (image.joints_px.dtype, image.cam_joints_mm.dtype) == (np.float64, np.float64)


def test_bad_cameras_landscape_frames_and_broken_joints_are_left_out_and_counted(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "aih_builder.hdr"):
        images = read_interhand(root, "train")
    assert len(images) == 3 * 8 - 1 - 3  # good cameras, the landscape image, frame 135 with its 40 joints
    assert images[0].path == root / "images/train/Capture0/ROM03_RT_No_Occlusion/cam400262/image100.jpg"
    (message,) = caplog.messages
    for reason in (
        "20 images of train",
        "camera: 400412 (1)",
        "camera: no rotation or focal length (1)",
        "image: camera 400412 (8)",
        "image: camera unknown (8)",
        "image: landscape (1)",
        "joints: missing or malformed (3)",
    ):
        assert reason in message


def test_each_third_image_is_taken_of_those_with_a_good_camera(root: Path) -> None:
    every = [image.path for image in read_interhand(root, "train")]
    some = [image.path for image in read_interhand(root, "train", every=3)]
    assert some == every[::3]  # the landscape image is none of those counted
    with pytest.raises(ConfigError, match="every: expected 1 or more, got 0"):
        read_interhand(root, "train", every=0)


def test_images_are_of_people_or_machines_only_where_a_list_tells(root: Path) -> None:
    by = {(image.path.stem, image.annotation) for image in read_interhand(root, "train")}
    assert by == {("image100", "human"), *((f"image{k}", "machine") for k in (105, 110, 115, 120, 125, 130))}
    (root / "annotations/train/aid_human_annot_train.txt").unlink()
    assert {image.annotation for image in read_interhand(root, "train")} == {""}


def test_a_hand_whose_wrist_is_invalid_is_dropped_entirely(root: Path) -> None:
    valid = [1] * 42
    valid[LEFT_WRIST] = 0
    say_of_frame_100(root, "400262", joint_valid=valid)
    images = read_interhand(root, "train")
    image, whole = of(images, "400262", "100"), of(images, "400263", "100")
    assert image.present.tolist() == [True, False]
    assert whole.present.tolist() == [True, True]
    assert image.joint3d_valid.tolist() == image.joint2d_valid.tolist() == [[True] * 21, [False] * 21]
    assert image.bone_valid.tolist() == [True, False]
    assert not image.cam_joints_mm[1].any()
    assert not image.joints_px[1].any()
    assert image.box_px == (*image.joints_px[0].min(axis=0), *image.joints_px[0].max(axis=0))
    assert image.hand_type == "interacting"


def test_data_json_decides_what_counts_and_joint_3d_what_is_known_beyond_the_border(root: Path) -> None:
    valid = [1] * 42
    valid[RIGHT_THUMB4] = valid[LEFT_MIDDLE1] = 0
    say_of_frame_100(root, "400262", joint_valid=valid)
    image = of(read_interhand(root, "train"), "400262", "100")
    for flags in (image.joint2d_valid, image.joint3d_valid):
        assert np.argwhere(~flags).tolist() == [[0, 4], [1, 9]]
    assert image.bone_valid.all()
    assert image.cam_joints_mm[1, 9].any()
    rest = image.joints_px[image.joint2d_valid]
    assert image.box_px == (*rest.min(axis=0), *rest.max(axis=0))

    def not_annotated(content: dict[str, Any]) -> None:
        for row in (LEFT_MIDDLE1, LEFT_WRIST):  # the wrist, too: data.json decides
            content["0"]["100"]["joint_valid"][row] = [0]

    change(root, "joint_3d", not_annotated)
    images = read_interhand(root, "train")
    image = of(images, "400262", "100")
    assert image.bone_valid.tolist() == [True, False]
    assert not image.cam_joints_mm[1, 9].any()
    assert image.joint3d_valid[1].sum() == 20
    assert of(images, "400263", "100").joint3d_valid.all()


def test_images_without_a_hand_and_odd_annotations_are_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    no_wrists = [1] * 42
    no_wrists[RIGHT_WRIST] = no_wrists[LEFT_WRIST] = 0
    say_of_frame_100(root, "400262", joint_valid=no_wrists)
    say_of_frame_100(root, "400263", joint_valid=[1] * 41)
    say_of_frame_100(root, "410001", hand_type="both")
    with caplog.at_level(logging.INFO, "aih_builder.hdr"):
        images = read_interhand(root, "train")
    assert not any(image.path.stem == "image100" for image in images)
    for reason in ("no hand with a valid wrist (1)", "annotation: malformed (1)", "annotation: unknown hand_type (1)"):
        assert reason in caplog.text


@pytest.mark.parametrize("name", ["data", "camera", "joint_3d"])
def test_missing_and_malformed_files_are_named(root: Path, name: str) -> None:
    path = root / f"annotations/train/InterHand2.6M_train_{name}.json"
    path.write_text("{}" if name == "data" else '{"0": []}')
    with pytest.raises(AssetError, match="lacks the lists" if name == "data" else f"{name} of capture 0 is no mapping"):
        read_interhand(root, "train")
    path.write_text("{")
    with pytest.raises(AssetError, match="is not JSON"):
        read_interhand(root, "train")
    path.unlink()
    with pytest.raises(AssetError, match=f"{path.name}: cannot be read"):
        read_interhand(root, "train")


@pytest.mark.parametrize("bare", [False, True])
def test_joints_in_metres_are_refused_in_either_layout(root: Path, bare: bool) -> None:
    def shrink(content: dict[str, Any]) -> None:
        for name, stated in content["0"].items():
            world = stated if isinstance(stated, list) else stated["world_coord"]
            metres = (np.array(world) / 1000).tolist()
            content["0"][name] = metres if bare else {"world_coord": metres, "joint_valid": [[1]] * 42}

    change(root, "joint_3d", shrink)
    with pytest.raises(AssetError, match="world_coord is millimetres"):
        read_interhand(root, "train")


def test_a_split_of_which_nothing_can_be_scored_is_refused(root: Path) -> None:
    change(root, "joint_3d", lambda content: content.clear())
    with pytest.raises(AssetError, match=r"no image that can be scored. Left out: .*joints: missing"):
        read_interhand(root, "train")


def image_of(hand_type: Any) -> BenchmarkImage:
    nothing = np.zeros((2, 21), bool)
    return BenchmarkImage(
        path=Path("image.jpg"), box_px=(0.0, 0.0, 1.0, 1.0), hand_type=hand_type, annotation="",
        joints_px=np.zeros((2, 21, 2)), joint2d_valid=nothing,
        cam_joints_mm=np.zeros((2, 21, 3)), joint3d_valid=nothing, bone_valid=nothing[:, 0],
    )  # fmt: skip


def test_the_official_table_is_the_one_worked_out_by_hand() -> None:
    """Two right hands, joint 4 off by 10 and 20 and joint 8 known in the first alone, off by 6; wrists off by 0.

    SH: joints 0, 4, 8 of the right hand have means 0, 15, 6: official 7, pooled 36 / 5.
    IH: one pair, joint 4 off by 30 (right) and 50 (left), wrists valid: official and pooled 80 / 4 = 20.
    ALL: right 0, (10 + 20 + 30) / 3 = 20, 6; left 0, 50: official 76 / 5, pooled 116 / 9.
    """
    results = []
    for hand_type, right, left in (
        ("right", {0: 0, 4: 10, 8: 6}, {}),
        ("interacting", {0: 0, 4: 30}, {0: 0, 4: 50}),
        ("right", {0: 0, 4: 20}, {}),
    ):
        errors_mm, valid = np.full((2, 21), np.nan), np.zeros((2, 21), bool)
        for side, given in enumerate((right, left)):
            for joint, away in given.items():
                errors_mm[side, joint], valid[side, joint] = away, True
        results.append((image_of(hand_type), errors_mm, valid))
    table = interhand_table(iter(results))
    assert list(table) == ["SH", "IH", "ALL"]
    assert table["SH"][:2] == pytest.approx((7.0, 36 / 5))
    assert table["IH"][:2] == pytest.approx((20.0, 20.0))
    assert table["ALL"][:2] == pytest.approx((76 / 5, 116 / 9))
    assert [(row.images, row.joints) for row in table.values()] == [(2, 5), (1, 4), (3, 9)]
    assert list(interhand_table(results[:1])) == ["SH", "ALL"]
    assert list(interhand_table(results[1:2])) == ["IH", "ALL"]


def test_a_perfect_prediction_scores_0_mm_and_one_of_another_frame_does_not(root: Path) -> None:
    images = read_interhand(root, "train")
    shuffled = images[3:] + images[:3]

    def table(predicted: list[BenchmarkImage], side_swap: int = 1) -> float:
        errors = []
        for image, other in zip(images, predicted, strict=True):
            found = other.cam_joints_mm[::side_swap] / 77.0 + [1.0, 2.0, 3.0]  # free of scale and place
            aligned = with_true_scale(found, image.cam_joints_mm)
            errors.append((image, joint_errors_mm(aligned, image.cam_joints_mm), image.joint3d_valid))
        return interhand_table(errors)["ALL"].official_mm

    assert table(images) == pytest.approx(0.0, abs=1e-9)
    assert table(shuffled) > 5.0
    assert table(images, side_swap=-1) > 5.0


def test_a_table_of_nothing_or_of_other_shapes_is_refused() -> None:
    with pytest.raises(SampleError, match="no result has a valid joint"):
        interhand_table([])
    with pytest.raises(SampleError, match=r"image.jpg: errors \(42,\)"):
        interhand_table([(image_of("right"), np.zeros(42), np.ones((2, 21), bool))])
