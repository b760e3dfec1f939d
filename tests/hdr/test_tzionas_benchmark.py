import logging
from pathlib import Path

import numpy as np
import pytest

from aih_builder.errors import AssetError, SampleError
from aih_builder.hands.conventions import KEYPOINT_NAMES
from aih_builder.hdr.tzionas_benchmark import read_tzionas, tzionas_epe_px
from aih_builder.imaging import encode_png

# A hand's rows as the data set's page names them: MCP, PIP, DIP are our joints 1, 2, 3; a thumb's MCP, IP are 2, 3.
ROWS = [
    *(f"{finger}{joint}" for finger in ("little", "ring", "middle", "index") for joint in (1, 2, 3)),
    "thumb2",
    "thumb3",
]


def lines(labels: dict[int, tuple[int, int]]) -> str:
    """A text file's 28 lines; what has no label is 0 0."""
    return "".join("{}\t{}\t{}\n".format(k, *labels.get(k, (0, 0))) for k in range(28))


def write(root: Path, sequence: str, frame: int, text: str) -> None:
    for folder in ("rgb", "joints_2D_GT"):
        (root / sequence / "1" / folder).mkdir(parents=True, exist_ok=True)
    (root / sequence / "1" / "rgb" / f"{frame:03d}.png").write_bytes(encode_png(np.zeros((480, 640, 3), np.uint8)))
    (root / sequence / "1" / "joints_2D_GT" / f"{frame:03d}.txt").write_text(text)


ALL_LABELS = {k: (100 + 10 * k, 50 + 5 * k) for k in range(28)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Seven sequences of two frames; in the first, one frame of the right hand and one without a label."""
    for number in range(1, 8):
        for frame in (0, 5):
            write(tmp_path, f"{number:02d}", frame, lines(ALL_LABELS))
    write(tmp_path, "01", 0, lines({12: (300, 200), 0: (320, 260), 3: (0, 7), 4: (-1, 30), 5: (40, -1)}))
    write(tmp_path, "01", 5, lines({}))
    write(tmp_path, "08", 0, "not read unless asked for")
    return tmp_path


def test_each_row_is_the_joint_that_its_place_says(root: Path) -> None:
    image = read_tzionas(root)[1]
    assert image.path == root / "02/1/rgb/000.png"
    assert (image.hand_type, image.annotation) == ("interacting", "human")
    for side in (0, 1):
        for row, name in enumerate(ROWS):
            keypoint, index = KEYPOINT_NAMES.index(name), 14 * side + row
            assert image.joint2d_valid[side, keypoint]
            assert image.joints_px[side, keypoint].tolist() == list(ALL_LABELS[index])
    assert image.joint2d_valid.sum() == 28
    assert not image.joint2d_valid[:, 0].any()  # no wrist
    assert image.box_px == (100.0, 50.0, 370.0, 185.0)
    assert not image.joint3d_valid.any()
    assert not image.bone_valid.any()


def test_frames_come_in_order_and_those_without_a_label_are_counted(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "aih_builder.hdr"):
        images = read_tzionas(root)
    assert [image.path.relative_to(root).as_posix() for image in images] == [
        "01/1/rgb/000.png",
        *(f"{k:02d}/1/rgb/{f:03d}.png" for k in range(2, 8) for f in (0, 5)),
    ]
    assert "13 frames of 7 sequences; left out: 1 without a label" in caplog.text
    assert [image.path.stem for image in read_tzionas(root, ("03",))] == ["000", "005"]


def test_zeros_and_negatives_are_no_labels(root: Path) -> None:
    image = read_tzionas(root)[0]
    assert image.hand_type == "right"
    assert image.present.tolist() == [True, False]
    named = {KEYPOINT_NAMES[j]: image.joints_px[i, j].tolist() for i, j in np.argwhere(image.joint2d_valid)}
    assert named == {"thumb2": [300, 200], "little1": [320, 260], "ring1": [0, 7]}  # x is 0, y is not
    assert not image.joints_px[~image.joint2d_valid].any()


def test_the_mean_distance_pools_all_joints_as_worked_out_by_hand(root: Path) -> None:
    """3 joints found 5 px away in one image, 28 found exactly in another: 15 / 31, not the mean 2.5 of two images."""
    first, second = read_tzionas(root)[:2]
    found = np.where(first.joint2d_valid[..., None], first.joints_px + np.array([3.0, -4.0]), np.nan)
    assert tzionas_epe_px([(first, found), (second, second.joints_px)]) == pytest.approx(15 / 31)
    assert tzionas_epe_px([(image, image.joints_px) for image in (first, second)]) == 0.0
    assert tzionas_epe_px([(second, second.joints_px[::-1])]) > 50.0


def test_a_distance_of_nothing_or_of_other_joints_is_refused(root: Path) -> None:
    image = read_tzionas(root)[0]
    with pytest.raises(SampleError, match="no result has a labelled joint"):
        tzionas_epe_px([])
    with pytest.raises(SampleError, match=r"found joints \(21, 2\), expected \(2, 21, 2\)"):
        tzionas_epe_px([(image, image.joints_px[0])])
    with pytest.raises(SampleError, match=r"000.png: a labelled joint was found at NaN"):
        tzionas_epe_px([(image, np.full((2, 21, 2), np.nan))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("".join(lines({}).splitlines(keepends=True)[:27]), "27 lines; expected 28"),
        (lines({}).replace("27\t", "26\t"), "28 lines; expected 28 lines .* with indices 0 to 27"),
        (lines({}).replace("27\t", "-1\t"), "with indices 0 to 27"),
        (lines({}).replace("27\t0", "27\tnan"), "finite numbers"),
        (lines({}).replace("27\t0\t0", "27\t0"), "expected 28 lines"),
        (lines({}).replace("27\t0", "27\tx"), "could not convert"),
    ],
)
def test_malformed_files_are_named(root: Path, text: str, message: str) -> None:
    write(root, "04", 5, text)
    with pytest.raises(AssetError, match=rf"04/1/joints_2D_GT/005.txt: .*{message}"):
        read_tzionas(root)


def test_missing_sequences_and_images_are_named(root: Path) -> None:
    with pytest.raises(AssetError, match=r"09/1/joints_2D_GT: holds no text files .* Unpack sequence 09"):
        read_tzionas(root, ("01", "09"))
    with pytest.raises(AssetError, match=r"08/1/joints_2D_GT/000.txt: expected 28 lines"):
        read_tzionas(root, ("08",))
    (root / "05/1/rgb/005.png").unlink()
    with pytest.raises(AssetError, match=r"05/1/rgb/005.png: is not there, but 005.txt labels it"):
        read_tzionas(root)


def test_a_set_without_any_label_is_refused(root: Path) -> None:
    write(root, "01", 0, lines({}))
    with pytest.raises(AssetError, match="none of 2 frames has a label"):
        read_tzionas(root, ("01",))
