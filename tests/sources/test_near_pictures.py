import json
import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from aih_builder.errors import ConfigError
from aih_builder.imaging import decode_image, encode_jpeg, encode_png, resize
from aih_builder.sources.backgrounds import BackgroundPool, draw_background
from aih_builder.sources.near_pictures import same_pictures, thumbnail
from aih_builder.sources.pools import SPLITS


def stream(number: int) -> np.random.Generator:
    return np.random.default_rng([number, 1, 1, 8])


def pool_of(*folders: Path) -> BackgroundPool:
    return BackgroundPool([], [(folder, "user") for folder in folders])


def encoded_anew(image: np.ndarray, quality: int) -> np.ndarray:
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return decode_image(data.tobytes())


def smooth(number: int) -> np.ndarray:
    """A picture of soft blobs, 240 x 320, as a photograph that a JPEG hardly changes."""
    return resize(stream(number).integers(0, 256, (9, 12, 3), dtype=np.uint8), (240, 320))


def test_one_picture_encoded_anew_made_smaller_or_mirrored_lies_in_one_split(tmp_path: Path) -> None:
    for number in range(30):
        whole = smooth(number)
        copies = (whole, resize(whole, (120, 160)), np.ascontiguousarray(whole[:, ::-1]), resize(whole, (300, 400)))
        for k, copy in enumerate(copies):
            (tmp_path / str(k)).mkdir(exist_ok=True)
            (tmp_path / str(k) / f"{number}.jpg").write_bytes(encode_jpeg(copy))
    pool = pool_of(*(tmp_path / str(k) for k in range(4)))
    of_sha = {row[1]: Path(row[0]).stem for folder in pool.to_json()["folders"] for row in folder["images"]}
    assert len(of_sha) == 120
    again = BackgroundPool.from_json(json.loads(json.dumps(pool.to_json())))
    stems: dict[str, set[str]] = {}
    for split in SPLITS:
        drawn = {again.draw(stream(i), split, 8).source_id.removeprefix("folder:") for i in range(300)}
        stems[split] = {stem for sha, stem in of_sha.items() if sha[:16] in drawn}
    assert min(map(len, stems.values())) > 0
    assert sum(map(len, stems.values())) == len(set.union(*stems.values()))


def test_a_copy_of_a_picture_follows_the_folder_that_tells_its_split_and_is_left_out_where_told_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a/val", "b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/val/it.png").write_bytes(encode_png(smooth(1)))
    (tmp_path / "b/smaller.jpg").write_bytes(encode_jpeg(resize(smooth(1), (120, 160))))
    pool = pool_of(tmp_path / "a", tmp_path / "b")
    assert [row[3] for folder in pool.to_json()["folders"] for row in folder["images"]] == ["val", "val"]
    (tmp_path / "b/train").mkdir()
    (tmp_path / "b/smaller.jpg").rename(tmp_path / "b/train/smaller.jpg")
    with caplog.at_level(logging.WARNING):
        pool = BackgroundPool.from_json(pool_of(tmp_path / "a", tmp_path / "b").to_json())
    assert "left out 1 images" in caplog.text
    assert [[row[3] for row in folder["images"]] for folder in pool.to_json()["folders"]] == [["val"], []]
    told = pool.sources([tmp_path / "a", tmp_path / "b"])["folders"]
    assert [(entry["images"], entry["left_out"]) for entry in told] == [(1, 0), (0, 1)]


def test_the_same_pixels_in_folders_of_two_splits_are_refused_whatever_their_format(tmp_path: Path) -> None:
    for split, suffix in (("train", ".png"), ("test", ".bmp")):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"it{suffix}").write_bytes(cv2.imencode(suffix, smooth(1))[1].tobytes())
    with pytest.raises(ConfigError, match="are one picture in two splits"):
        pool_of(tmp_path)


def test_different_pictures_of_little_contrast_in_two_splits_are_both_kept(tmp_path: Path) -> None:
    dark = 6 + stream(1).integers(0, 5, (300, 300, 3), dtype=np.uint8)
    lamp = dark.copy()
    lamp[140:160, 140:160] += np.uint8(40)
    for split, image in (("train", dark), ("test", lamp)):
        (tmp_path / split).mkdir()
        (tmp_path / split / "it.png").write_bytes(encode_png(image))
    pool = pool_of(tmp_path)
    assert sorted(row[3] for row in pool.to_json()["folders"][0]["images"]) == ["test", "train"]


def test_copies_of_plain_pictures_are_found_and_different_ones_are_not() -> None:
    plain = [draw_background(stream(number), "plain", 160) for number in range(300)]
    copies = [encoded_anew(resize(image, (96, 96)), 75) for image in plain]
    labels = same_pictures(np.stack([thumbnail(image) for image in plain + copies]))
    assert labels.tolist() == 2 * list(range(300))


def test_pictures_are_the_same_within_three_levels_of_their_thumbnails_luma_and_less_without_contrast() -> None:
    base = np.random.default_rng(3).integers(20, 200, (1, 256)).astype(np.uint8)
    near, far = base + np.uint8(2), base + np.uint8(3)
    mirrored = base.reshape(1, 16, 16)[:, :, ::-1].reshape(1, 256)
    assert same_pictures(np.concatenate([base, near, mirrored])).tolist() == [0, 0, 0]
    assert same_pictures(np.concatenate([base, far])).tolist() == [0, 1]
    assert same_pictures(np.concatenate([base, far, near])).tolist() == [0, 0, 0]  # by way of the third
    flat = np.full((1, 256), 40, np.uint8)
    assert same_pictures(np.concatenate([flat, flat + np.uint8(1), flat])).tolist() == [0, 1, 0]
