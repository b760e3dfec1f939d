import json
from pathlib import Path

import numpy as np
import pytest

from aih_builder.errors import AssetError
from aih_builder.imaging import encode_jpeg
from aih_builder.sources.interhand import Fit, Frame, camera_view, fit_error_mm, read_capture
from aih_builder.sources.interhand_parts import Camera
from tests.interhand_capture import GOOD_CAMERAS, HANDS, cameras, frames, posed, write_capture


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("interhand"))


def annotation(root: Path, split: str, name: str) -> Path:
    return root / "annotations" / split / f"InterHand2.6M_{split}_{name}.json"


def test_what_is_bad_is_left_out_and_counted_by_reason(root: Path) -> None:
    assert dict(read_capture(root, "train").dropped) == {
        "camera: 400412": 1,
        "camera: no rotation or focal length": 1,
        "image: camera 400412": 8,
        "image: camera unknown": 8,  # the one that is no rotation
        "image: landscape": 1,
        "frame: no fit of either hand": 2,  # 115, which the fits lack, and 125, where both are null
        "fit: no left hand": 2,
        "fit: no right hand": 1,
        "fit: malformed": 2,  # 130's 45 numbers, 135's NaN
        "joints: missing or malformed": 1,
    }


def test_what_is_good_is_kept(root: Path) -> None:
    capture = read_capture(root, "train")
    fitted = {name: [fit is not None for fit in frame.fits] for (_, name), frame in capture.frames.items()}
    assert fitted == {
        "100": [True, True],
        "105": [True, True],
        "110": [True, False],
        "120": [True, True],  # 42 mm off: the importer judges
        "130": [False, True],
        "135": [False, True],
    }
    assert sorted(name for _, name in capture.cameras) == sorted(GOOD_CAMERAS)
    assert {image.frame for image in capture.images} == set(fitted)
    assert len(capture.images) == 3 * 6 - 1
    frame = capture.frames["0", "100"]
    assert (frame.sequence, frame.annotation) == ("ROM03_RT_No_Occlusion", "human")
    assert capture.frames["0", "105"].annotation == "machine"


def test_both_layouts_of_the_joints_give_keypoints_that_the_fits_meet(root: Path) -> None:
    capture = read_capture(root, "train")
    for name in ("100", "105"):
        frame = capture.frames["0", name]
        assert frame.joints_valid.all()
        for side in (0, 1):
            error_mm = fit_error_mm(HANDS[side], frame, side)
            assert error_mm is not None
            assert error_mm < 1e-9


def test_an_outlying_fit_shows_its_42_mm_and_missing_joints_show_nothing(root: Path) -> None:
    capture = read_capture(root, "train")
    assert fit_error_mm(HANDS[1], capture.frames["0", "120"], 1) == pytest.approx(42.0, abs=1e-6)
    assert fit_error_mm(HANDS[1], capture.frames["0", "135"], 1) is None
    only_right = read_capture(root, "test").frames["1", "200"]
    assert only_right.joints_valid.tolist() == [[True] * 21, [False] * 21]
    assert fit_error_mm(HANDS[1], only_right, 1) is None


def test_vertices_through_a_cameras_parameters_land_where_the_world_s_do(root: Path) -> None:
    """Within 0.01 px asked; the world's vertices are projected here as R (X - campos), in millimetres."""
    capture, mano, given = read_capture(root, "train"), frames()[0], cameras()
    worst_px = 0.0
    for name in ("100", "105"):
        for camera in GOOD_CAMERAS:
            view = camera_view(HANDS, capture.frames["0", name], capture.cameras["0", camera])
            for side, label in enumerate(("right", "left")):
                world_mm = 1000.0 * posed(mano[name][label], side).vertices_m
                cam_mm = (world_mm - given["campos"][camera]) @ np.array(given["camrot"][camera]).T
                expected = cam_mm[:, :2] / cam_mm[:, 2:] * given["focal"][camera] + given["princpt"][camera]
                found_m = HANDS[side].pose(view.pose_rad[side], view.betas[side], view.trans_m[side]).vertices_m
                found = (found_m / found_m[:, 2:]) @ view.K_px.T
                worst_px = max(worst_px, float(np.abs(found[:, :2] - expected).max()))
    assert worst_px < 1e-6


def test_a_wrist_s_projection_is_the_one_worked_out_by_hand() -> None:
    """Camera at (100, 200, -500) mm, turned by a quarter about z: its x looks along the world's -y, its y along x.

    The wrist stands at (150, 260, 500) mm. From the camera: (50, 60, 1000); in its axes (-60, 50, 1000).
    u = 1000 * -60 / 1000 + 167 = 107;  v = 1100 * 50 / 1000 + 256 = 311.
    """
    camera = Camera(
        rotation=np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
        position_mm=np.array([100.0, 200.0, -500.0]),
        K_px=np.array([[1000.0, 0.0, 167.0], [0.0, 1100.0, 256.0], [0.0, 0.0, 1.0]]),
    )
    betas = np.linspace(-1.5, 1.5, 10)
    pose_rad = np.random.default_rng(1).normal(0.0, 0.4, 48)
    for side in (0, 1):
        fit = Fit(pose_rad, betas, np.array([0.150, 0.260, 0.500]) - HANDS[side].rest_wrist_m(betas))
        both = (fit, None) if side == 0 else (None, fit)
        frame = Frame("0", "0", "", "", both, None, np.zeros((2, 21), bool))
        view = camera_view(HANDS, frame, camera)
        wrist_m = HANDS[side].pose(view.pose_rad[side], view.betas[side], view.trans_m[side]).joints_m[0]
        np.testing.assert_allclose(wrist_m, [-0.060, 0.050, 1.000], atol=1e-12)
        u, v, w = view.K_px @ wrist_m
        assert (u / w, v / w) == (pytest.approx(107.0, abs=1e-9), pytest.approx(311.0, abs=1e-9))


def test_translations_in_millimetres_are_refused(tmp_path: Path) -> None:
    copy = write_capture(tmp_path)
    path = annotation(copy, "train", "MANO_NeuralAnnot")
    content = json.loads(path.read_text())
    for frame in content["0"].values():
        for fit in frame.values():
            if fit is not None:
                fit["trans"] = [1000 * value for value in fit["trans"]]
    path.write_text(json.dumps(content))
    with pytest.raises(AssetError, match="look like millimetres"):
        read_capture(copy, "train")


@pytest.mark.parametrize("name", ["data", "camera", "joint_3d", "MANO_NeuralAnnot"])
def test_a_missing_a_cut_off_and_a_foreign_file_are_named(tmp_path: Path, name: str) -> None:
    path = annotation(write_capture(tmp_path), "train", name)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AssetError, match=f"{path.name}: is not JSON"):
        read_capture(tmp_path, "train")
    path.write_text("[]")
    with pytest.raises(AssetError, match="expected a JSON object, got list"):
        read_capture(tmp_path, "train")
    path.unlink()
    with pytest.raises(AssetError, match=f"{path.name}: cannot be read"):
        read_capture(tmp_path, "train")


def test_without_a_list_of_annotations_nobody_is_named_as_annotator(tmp_path: Path) -> None:
    root = write_capture(tmp_path)
    listed = root / "annotations" / "train" / "aid_human_annot_train.txt"
    listed.write_text("12\ntwelve\n")
    with pytest.raises(AssetError, match="one annotation id per line"):
        read_capture(root, "train")
    listed.unlink()
    assert {frame.annotation for frame in read_capture(root, "train").frames.values()} == {""}


def test_joints_and_cameras_in_metres_are_refused(tmp_path: Path) -> None:
    root = write_capture(tmp_path)
    path = annotation(root, "test", "joint_3d")
    joints = path.read_text()
    content = json.loads(joints)
    content["1"]["200"]["world_coord"] = (np.array(content["1"]["200"]["world_coord"]) / 1000).tolist()
    path.write_text(json.dumps(content))
    with pytest.raises(AssetError, match="world_coord is millimetres"):
        read_capture(root, "test")
    path.write_text(joints)
    path = annotation(root, "test", "camera")
    content = json.loads(path.read_text())
    content["1"]["campos"] = {name: [x / 1000 for x in place] for name, place in content["1"]["campos"].items()}
    path.write_text(json.dumps(content))
    with pytest.raises(AssetError, match="campos is millimetres"):
        read_capture(root, "test")


def test_a_mirrored_camera_is_no_camera(tmp_path: Path) -> None:
    root = write_capture(tmp_path)
    path = annotation(root, "train", "camera")
    content = json.loads(path.read_text())
    content["0"]["camrot"]["400263"] = np.diag([1.0, 1.0, -1.0]).tolist()
    path.write_text(json.dumps(content))
    capture = read_capture(root, "train")
    assert ("0", "400263") not in capture.cameras
    assert capture.dropped["camera: no rotation or focal length"] == 2


def test_another_order_of_joints_is_refused(tmp_path: Path) -> None:
    root = write_capture(tmp_path)
    (root / "annotations" / "skeleton.txt").write_text("# name id parent\nthumb4_r 0 1\nindex1_r 4 5\n")
    with pytest.raises(AssetError, match="joint 4 is 'index1_r', expected 'index4'"):
        read_capture(root, "train")


def test_image_files_of_another_size_are_left_out_where_they_are_looked_at(tmp_path: Path) -> None:
    root = write_capture(tmp_path)
    images = read_capture(root, "test").images
    for image, size_hw in zip(images, ((512, 334), (334, 512)), strict=False):  # the third is not there
        path = root / "images" / "test" / image.file_name
        path.parent.mkdir(parents=True)
        path.write_bytes(encode_jpeg(np.zeros((*size_hw, 3), np.uint8)))
    capture = read_capture(root, "test", check_images=True)
    assert capture.images == images[:1]
    assert capture.dropped["image: file of another size"] == 1
    assert capture.dropped["image: file missing or damaged"] == 1


def test_entries_of_another_kind_are_counted_or_named(tmp_path: Path) -> None:
    root = write_capture(tmp_path)
    path = annotation(root, "test", "MANO_NeuralAnnot")
    content = json.loads(path.read_text())
    content["1"]["201"], content["1"]["202"] = [1, 2], {"right": [0] * 48, "left": None}
    path.write_text(json.dumps(content))
    capture = read_capture(root, "test")
    assert list(capture.frames) == [("1", "200")]
    assert capture.dropped["fit: malformed"] == 1
    path.write_text(json.dumps({"1": [1, 2]}))
    with pytest.raises(AssetError, match="MANO_NeuralAnnot of capture 1 is no mapping"):
        read_capture(root, "test")


@pytest.mark.parametrize("width", [-334, 0, 10**400, 334_000])
def test_an_image_of_an_impossible_size_is_malformed(tmp_path: Path, width: int) -> None:
    root = write_capture(tmp_path)
    path = annotation(root, "train", "data")
    content = json.loads(path.read_text())
    content["images"][0]["width"] = width
    path.write_text(json.dumps(content))
    assert read_capture(root, "train").dropped["image: malformed"] == 1
