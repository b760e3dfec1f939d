import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import project
from aih_builder.imaging import encode_png
from aih_builder.sources.bank import Bank, BankEntry
from aih_builder.sources.photos import PhotoFolder, build_photo_bank
from aih_builder.sources.pools import split_of

HEIGHT, WIDTH = 300, 400
BOX = (110, 200, 150, 230)  # top, bottom, left, right of the hand; its centre is (189.5, 154.5)
JOINTS_PX = np.stack([np.linspace(155, 225, 21), np.linspace(115, 195, 21)], axis=1).round()


def picture(seed: int = 0) -> np.ndarray:
    """Dim noise with a white dot of 3 x 3 px at each joint."""
    image = np.random.default_rng([seed, 1]).integers(0, 60, (HEIGHT, WIDTH, 3), np.uint8)
    for x, y in JOINTS_PX.astype(int):
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    return image


def mask(box: tuple[int, int, int, int] = BOX, value: int = 255) -> np.ndarray:
    out = np.zeros((HEIGHT, WIDTH), np.uint8)
    out[box[0] : box[1], box[2] : box[3]] = value
    return out


def add(root: Path, name: str, joints: Any = None, hand: np.ndarray | None = None, seed: int = 0) -> None:
    """One photograph `name` (without suffix), its mask, and its joints file where there is one."""
    for folder in ("images", "masks", "joints"):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
    (root / f"images/{name}.png").write_bytes(encode_png(picture(seed)))
    (root / f"masks/{name}.png").write_bytes(encode_png(mask() if hand is None else hand))
    if joints is not None:
        text = joints if isinstance(joints, str) else json.dumps(joints)
        (root / f"joints/{name}.json").write_text(text)


def entries(root: Path, core_px: int = 128, side: int | None = None) -> tuple[list[BankEntry], Counter[str]]:
    left_out: Counter[str] = Counter()
    return list(PhotoFolder(root, core_px, 2.0, side).entries(left_out)), left_out


@pytest.mark.parametrize("core_px", [64, 128, 256, 340])
def test_joints_and_camera_follow_the_crop(tmp_path: Path, core_px: int) -> None:
    """Smaller, equal and larger than the photograph: the dots lie where the joints are said to lie."""
    K_px = np.array([[500.0, 0, 200], [0, 510, 150], [0, 0, 1]])
    z = np.linspace(0.5, 0.6, 21)
    rays = (np.concatenate([JOINTS_PX, np.ones((21, 1))], axis=1)) @ np.linalg.inv(K_px).T
    joints_m = rays * z[:, None]
    add(
        tmp_path, "right/a", {"joints_px": JOINTS_PX.tolist(), "cam_joints_m": joints_m.tolist(), "K_px": K_px.tolist()}
    )
    ((made,), _) = entries(tmp_path, core_px)
    assert made.rgba.shape == (3 * core_px // 2, 3 * core_px // 2, 4)
    scale = core_px / (2 * 90)  # the hand's longer side is 90 px
    middle = (3 * core_px // 2 - 1) / 2
    expected = (JOINTS_PX - [189.5, 154.5]) * scale + middle
    assert np.abs(made.joints_px - expected).max() < 1.0
    assert np.abs(project(made.cam_joints_m.astype(float), made.K_px.astype(float)) - made.joints_px).max() < 1e-3
    assert np.array_equal(made.cam_joints_m, joints_m.astype(np.float32))
    if core_px == 256:
        grey = made.rgba[..., 1].astype(float)
        for x, y in made.joints_px:
            row, column = round(float(y)), round(float(x))
            around = np.mgrid[row - 3 : row + 4, column - 3 : column + 4]
            weight = np.maximum(grey[around[0], around[1]] - 80, 0)
            found = (around * weight).sum(axis=(1, 2)) / weight.sum()
            assert np.abs(found[::-1] - [x, y]).max() < 0.25
    covered = made.rgba[..., 3] >= 128
    assert covered.sum() == pytest.approx(90 * 80 * scale**2, rel=0.05)


def test_pixels_beyond_the_photograph_repeat_its_border_and_hold_no_hand(tmp_path: Path) -> None:
    box = (1, 120, 1, 120)
    add(tmp_path, "left/a", hand=mask(box))
    ((made,), _) = entries(tmp_path, 128)
    assert made.side == 1
    beyond = (
        np.arange(192) < (192 - 1) / 2 - 64 * 128 / 240
    )  # the photograph's border is 60.5 px from the hand's middle
    assert beyond.sum() > 50
    assert not made.rgba[beyond][..., 3].any()
    assert (made.rgba[: beyond.sum()] == made.rgba[0]).all()


def test_a_mask_of_zero_and_one_is_that_of_zero_and_255(tmp_path: Path) -> None:
    add(tmp_path / "a", "right/a")
    add(tmp_path / "b", "right/a", hand=mask(value=1))
    assert np.array_equal(entries(tmp_path / "a")[0][0].rgba, entries(tmp_path / "b")[0][0].rgba)


def test_split_and_source_come_from_the_folders_else_from_the_content(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("train/right/a", "s1/right/a", "s1/right/b", "s1/left/c", "right/x", "right/y", "s1/monday/Left/d")
    ):
        add(tmp_path, name, seed=number)
    add(tmp_path, "right/z", seed=4)  # the picture of right/x under another name
    made, left_out = entries(tmp_path)
    of_s1 = [e for e in made if e.source == "s1"]
    assert len(of_s1) == 4
    assert {e.split for e in of_s1} == {split_of("s1")}
    assert len(made) == 7
    assert left_out == {"the same picture again": 1}
    assert next(e for e in made if e.source.startswith("photo-") and e.split == "train")
    assert all(e.entry_id == e.source for e in made if e.source.startswith("photo-"))


def test_unknown_joints_are_zero_and_flagged(tmp_path: Path) -> None:
    points: list[Any] = JOINTS_PX.tolist()
    points[3] = None
    add(tmp_path, "a", {"side": "left", "joints_px": points, "visible": [1] * 20 + [0], "annotation": "human"})
    ((made,), _) = entries(tmp_path)
    assert (made.side, made.annotation, made.joint_visible_valid) == (1, "human", True)
    assert made.joint2d_valid.tolist() == [i != 3 for i in range(21)]
    assert not made.joints_px[3].any()
    assert not made.joint3d_valid.any()
    assert not made.K_px.any()
    assert made.joint_visible.tolist() == [i not in (3, 20) for i in range(21)]


def test_pictures_that_cannot_serve_are_left_out_and_counted(tmp_path: Path) -> None:
    add(tmp_path, "right/cut", hand=mask((0, 90, 10, 90)), seed=1)
    add(tmp_path, "right/tiny", hand=mask((50, 70, 50, 70)), seed=2)
    add(tmp_path, "right/small", hand=mask((50, 90, 50, 80)), seed=5)
    add(tmp_path, "right/none", hand=mask((0, 0, 0, 0)), seed=3)
    with pytest.raises(AssetError, match="no entry to write"):
        build_photo_bank(tmp_path / "b.h5", PhotoFolder(tmp_path, 256, 2.0), "user")
    add(tmp_path, "right/good", seed=4)
    made, left_out = build_photo_bank(tmp_path / "b.h5", PhotoFolder(tmp_path, 256, 2.0), "CC-BY-4.0")
    assert made == 1
    assert left_out == {
        "a hand cut by the picture's border": 1,
        "a hand of less than 32 px": 2,
        "a hand that would be enlarged more than 2 times": 1,
    }
    bank = Bank(tmp_path / "b.h5")
    assert (bank.head.licence, bank.head.size_px, bank.head.core_px) == ("CC-BY-4.0", 384, 256)


BAD = {
    "no JSON": ("{", "a.json: Expecting"),
    "a list": ([], "expected a mapping of"),
    "unknown key": ({"joints": []}, "expected a mapping of K_px, annotation"),
    "too few joints": ({"joints_px": [[1, 2]]}, r"joints_px: expected 21 x 2 numbers, got \(1, 2\)"),
    "text": ({"joints_px": "many"}, "could not convert"),
    "another side": ({"side": "both"}, "side is 'both', expected one of right, left"),
    "no tone": ({"skin_tone": 11}, "skin_tone is 11"),
    "3D without a camera": ({"cam_joints_m": [[0, 0, 1]] * 21}, "cam_joints_m needs K_px"),
    "a joint behind the camera": ({"cam_joints_m": [[0, 0, -1]] * 21, "K_px": np.eye(3).tolist()}, "z from -1 to -1"),
    "millimetres": ({"cam_joints_m": [[0, 0, 500]] * 21, "K_px": np.eye(3).tolist()}, "expected .* at most 10: metres"),
    "a camera of noughts": ({"K_px": [[0] * 3] * 3}, "expected .* with positive fx and fy"),
    "another last row": ({"K_px": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]}, "expected .* with positive fx and fy"),
    "joints apart": (
        {"cam_joints_m": [[0, 0, 1]] * 21, "K_px": np.eye(3).tolist(), "joints_px": [[50, 0]] * 21},
        "projects up to 50 px from joints_px",
    ),
    "half visible": ({"visible": [0.5] * 21}, "visible: expected 0 and 1"),
    "a tone of truth": ({"skin_tone": True}, "skin_tone is True"),
    "an infinite camera": ({"K_px": [[1e999, 0, 0], [0, 1, 0], [0, 0, 1]]}, "holds values that are not numbers"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_joints_file_is_named(tmp_path: Path, what: str) -> None:
    content, message = BAD[what]
    add(tmp_path, "a", content)
    with pytest.raises(AssetError, match=message):
        entries(tmp_path, side=0)


def test_bad_folders_and_masks_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no image"):
        entries(tmp_path)
    add(tmp_path, "a")
    with pytest.raises(AssetError, match=r"a\.png: right or left\?"):
        entries(tmp_path)
    assert entries(tmp_path, side=1)[0][0].side == 1
    (tmp_path / "masks/a.png").write_bytes(encode_png(np.zeros((30, 40), np.uint8)))
    with pytest.raises(AssetError, match=r"masks/a\.png: uint8 \(30, 40\), expected one channel, uint8 \(300, 400\)"):
        entries(tmp_path, side=1)
    (tmp_path / "masks/a.png").write_bytes(b"?")
    with pytest.raises(AssetError, match=r"masks/a\.png: damaged PNG"):
        entries(tmp_path, side=1)
    (tmp_path / "masks/a.png").unlink()
    with pytest.raises(AssetError, match=r"masks/a\.png: cannot be read .* Each image needs its mask"):
        entries(tmp_path, side=1)
    with pytest.raises(ConfigError, match="licence is ''"):
        build_photo_bank(tmp_path / "b.h5", PhotoFolder(tmp_path, 64, 2.0), "")


def test_masks_of_other_kinds_are_refused_or_read_as_what_they_are(tmp_path: Path) -> None:
    """Grey saved as colour is grey; colours, labels, alpha and turned images are not guessed at."""
    add(tmp_path, "right/a")
    path = tmp_path / "masks/right/a.png"
    wanted = entries(tmp_path)[0][0].rgba
    path.write_bytes(encode_png(np.repeat(mask()[..., None], 3, axis=2)))
    assert np.array_equal(entries(tmp_path)[0][0].rgba, wanted)
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = mask()
    for content, message in (
        (red, r"uint8 \(300, 400, 3\), expected one channel"),
        (mask(value=2), "its greatest value is 2, expected a coverage of 0 to 255"),
        (mask().T.copy(), r"as its image\. Is the image turned by its EXIF data\?"),
        (mask().astype(np.uint16) * 257, "uint16 .* expected one channel, uint8"),
    ):
        path.write_bytes(encode_png(content))
        with pytest.raises(AssetError, match=message):
            entries(tmp_path)


def test_files_that_are_none_of_the_users_pictures_are_not_looked_at(tmp_path: Path, caplog) -> None:
    add(tmp_path, "right/a")
    (tmp_path / "images/right/._a.png").write_bytes(b"x")
    (tmp_path / "images/right/folder.png").mkdir()
    add(tmp_path, "right/b", {}, seed=1)
    (tmp_path / "images/right/b.png").unlink()
    build_photo_bank(tmp_path / "b.h5", PhotoFolder(tmp_path, 64, 2.0), "user")
    assert len(Bank(tmp_path / "b.h5")) == 1
    assert [r.getMessage().rpartition(" ")[2] for r in caplog.records if "fit no image" in r.getMessage()] == [
        "right/b.png",
        "right/b.json",
    ]
    (tmp_path / "images/right/a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="two images are called right/a"):
        entries(tmp_path)
    (tmp_path / "images/right/a.jpg").unlink()
    add(tmp_path, "train/right/test/c", seed=9)
    with pytest.raises(AssetError, match="lies in folders of two sides or splits"):
        entries(tmp_path)


def test_a_large_photograph_is_cropped_before_it_is_resized(tmp_path: Path) -> None:
    """Wherever the hand lies, what is kept of it is the same."""
    small, large = np.zeros((90, 80), np.uint8) + 255, {}
    for name, place in (("near", 100), ("far", 2600)):
        canvas = np.zeros((3000, 3000), np.uint8)
        canvas[place : place + 90, place : place + 80] = small
        image = np.random.default_rng([1, 1]).integers(0, 255, (3000, 3000, 3), np.uint8)
        image[place : place + 90, place : place + 80] = 200
        for folder in ("images", "masks"):
            (tmp_path / name / folder / "right").mkdir(parents=True)
        (tmp_path / name / "images/right/a.png").write_bytes(encode_png(image))
        (tmp_path / name / "masks/right/a.png").write_bytes(encode_png(canvas))
        large[name] = entries(tmp_path / name, 128)[0][0].rgba[..., 3]
    assert np.array_equal(large["near"], large["far"])
