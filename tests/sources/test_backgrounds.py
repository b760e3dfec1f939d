import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder.errors import AssetError, ConfigError
from aih_builder.identity import SampleName, index_of
from aih_builder.imaging import encode_jpeg, encode_png, resize
from aih_builder.rng import Purpose, sample_rng
from aih_builder.sources.backgrounds import BACKGROUND_KINDS, BackgroundPool, draw_background
from aih_builder.sources.pools import SPLITS, split_of

KINDS = tuple(BACKGROUND_KINDS)


def stream(number: int) -> np.random.Generator:
    return np.random.default_rng([number, 1, 1, 8])


def picture(number: int, height: int = 60, width: int = 80) -> np.ndarray:
    """Coloured noise in which each value says nothing of its neighbour."""
    return stream(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pool_of(kinds: Sequence[str], *folders: Path, licence: str = "user") -> BackgroundPool:
    """A pool of kinds and of folders that have one licence."""
    return BackgroundPool(kinds, [(folder, licence) for folder in folders])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 images, some in a subfolder."""
    root = tmp_path / "photos"
    (root / "more").mkdir(parents=True)
    for number in range(40):
        path = root / ("more" if number % 3 == 0 else "") / f"{number:02}.png"
        path.write_bytes(encode_png(picture(number)))
    return root


@settings(max_examples=30)
@given(number=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS), size_px=st.sampled_from([64, 96, 256]))
def test_the_same_stream_gives_the_same_bytes(number: int, kind: str, size_px: int) -> None:
    first, again = (draw_background(stream(number), kind, size_px) for _ in range(2))
    assert first.shape == (size_px, size_px, 3)
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != draw_background(stream(number + 1), kind, size_px).tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_one_stream_gives_one_scene_at_every_size(kind: str) -> None:
    small, large = (draw_background(stream(3), kind, size_px).astype(float) for size_px in (128, 512))
    shrunk = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk - small).mean() < 2.0


def test_brightness_varies_from_a_dark_studio_to_a_bright_room() -> None:
    means = {kind: [draw_background(stream(i), kind, 64).mean() for i in range(60)] for kind in KINDS}
    for kind in KINDS:
        assert np.percentile(means[kind], 90) > 2 * np.percentile(means[kind], 10)
    assert np.median(means["studio"]) < 60
    assert np.median(means["indoor"]) > 100
    assert min(means["studio"]) < 20
    assert max(means["indoor"]) > 180


@pytest.mark.parametrize("kind", KINDS)
def test_no_background_is_blank_and_neighbours_differ_little(kind: str) -> None:
    """Out of focus: most of the contrast lies in large structures."""
    for number in range(30):
        image = draw_background(stream(number), kind, 256).astype(float)
        assert image.std() > 0.5
        steps = np.abs(np.diff(image, axis=1)).mean()
        assert steps < 0.5 * image.std() + 1.0


@settings(max_examples=25)
@given(number=st.integers(0, 1000), split=st.sampled_from(SPLITS))
def test_a_pool_of_procedural_kinds_serves_every_split(number: int, split) -> None:
    background = pool_of(KINDS).draw(stream(number), split, 64)
    assert background.source_id in KINDS
    assert background.licence == "CC0-1.0"
    assert background.rgb.shape == (64, 64, 3)


def test_no_image_of_a_folder_serves_two_splits_and_each_serves_one(folder: Path) -> None:
    pool = pool_of([], folder)
    pool.require(SPLITS)
    drawn = {split: {pool.draw(stream(i), split, 16).source_id for i in range(400)} for split in SPLITS}
    for split, ids in drawn.items():
        assert all(split_of(source_id) == split for source_id in ids)
        assert all(len(source_id) <= 48 and source_id.isascii() for source_id in ids)
    assert sum(len(ids) for ids in drawn.values()) == len(set().union(*drawn.values())) == 40


def test_the_same_picture_under_another_name_is_the_same_item(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "copy"
    other.mkdir()
    for number in reversed(range(40)):
        (other / f"x{100 - number}.png").write_bytes(encode_png(picture(number)))
    (other / "twin.png").write_bytes(encode_png(picture(7)))
    first, second = pool_of(KINDS, folder), pool_of(KINDS, other)
    assert first.digests() == second.digests()
    for number in range(30):
        a, b = (pool.draw(stream(number), "train", 32) for pool in (first, second))
        assert a.source_id == b.source_id
        assert a.rgb.tobytes() == b.rgb.tobytes()


def test_kinds_and_folders_are_drawn_equally_often(folder: Path) -> None:
    pool = pool_of(KINDS, folder)
    ids = [pool.draw(stream(i), "train", 8).source_id for i in range(400)]
    shares = [np.mean([source_id.startswith(name) for source_id in ids]) for name in (*KINDS, "folder:")]
    assert np.abs(np.array(shares) - 1 / len(shares)).max() < 0.08


def test_a_crop_shows_at_least_half_of_the_shorter_side_mirrored_half_the_time(tmp_path: Path) -> None:
    ramp = np.zeros((120, 240, 3), np.uint8)
    ramp[..., 0] = np.arange(240)
    ramp[..., 1] = np.arange(120)[:, None]
    (tmp_path / "ramp.png").write_bytes(encode_png(ramp))
    pool = pool_of([], tmp_path)
    split = split_of("folder:" + pool.digests()["images"][0][0][:16])
    mirrored = 0
    for number in range(60):
        crop = pool.draw(stream(number), split, 60).rgb.astype(int)
        height = crop[:, :, 1].max() - crop[:, :, 1].min() + 1
        width = np.ptp(crop[:, :, 0]) + 1
        assert 58 <= height <= 120
        assert abs(width - height) <= 3
        mirrored += crop[0, 0, 0] > crop[0, -1, 0]
    assert 15 < mirrored < 45


def test_a_pool_comes_back_from_json_and_pickle_without_reading_files(folder: Path) -> None:
    pool = pool_of(KINDS, folder, licence="CC-BY-4.0")
    content = json.loads(json.dumps(pool.to_json()))
    away = folder.with_name("away")
    folder.rename(away)
    copies = [BackgroundPool.from_json(content), pickle.loads(pickle.dumps(pool))]
    away.rename(folder)
    for copy in copies:
        assert copy.to_json() == pool.to_json()
        assert copy.digests() == pool.digests()
        for number in range(12):
            a, b = (each.draw(stream(number), "train", 24) for each in (pool, copy))
            assert (a.source_id, a.licence, a.rgb.tobytes()) == (b.source_id, b.licence, b.rgb.tobytes())
    assert len(pickle.dumps(pool)) < 40 * 400


def test_every_common_format_is_read_grey_and_transparent_ones_too(tmp_path: Path) -> None:
    image = resize(picture(1, 6, 8), (60, 80))
    (tmp_path / "a.JPG").write_bytes(encode_jpeg(image))
    (tmp_path / "b.jpeg").write_bytes(encode_jpeg(image[::-1]))
    (tmp_path / "c.png").write_bytes(encode_png(image[..., 0]))
    (tmp_path / "d.bmp").write_bytes(cv2.imencode(".bmp", image)[1].tobytes())
    (tmp_path / "e.webp").write_bytes(cv2.imencode(".webp", image)[1].tobytes())
    transparent = np.dstack([image, image[..., :1]])
    (tmp_path / "f.png").write_bytes(cv2.imencode(".png", transparent)[1].tobytes())
    (tmp_path / "deep.png").write_bytes(encode_png(image[..., 0].astype(np.uint16) * 257))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._a.jpg").write_bytes(b"left by a file manager")
    pool = pool_of([], tmp_path)
    assert len(pool.digests()["images"][0]) == 7
    for split in SPLITS:
        try:
            pool.require([split])
        except ConfigError:
            continue
        assert all(pool.draw(stream(i), split, 20).rgb.shape == (20, 20, 3) for i in range(20))


def test_a_large_photograph_decoded_at_a_fraction_shows_the_same_crop(tmp_path: Path) -> None:
    photo = resize(picture(5, 12, 16), (1200, 1600))
    (tmp_path / "large.jpg").write_bytes(encode_jpeg(photo))
    pool = pool_of([], tmp_path)
    content = pool.to_json()
    content["folders"][0]["images"][0][2] = 1  # pretend it is small, so that it is decoded whole
    whole = BackgroundPool.from_json(content)
    split = split_of("folder:" + pool.digests()["images"][0][0][:16])
    for number in range(6):
        a, b = (each.draw(stream(number), split, 64).rgb.astype(int) for each in (pool, whole))
        assert np.abs(a - b).mean() < 4


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("text.png", b"this is text", "text.png: not an image"),
        ("empty.jpg", b"", "empty.jpg: not an image"),
        ("half.png", encode_png(picture(1))[:4000], "half.png: not an image"),
    ],
)
def test_an_unreadable_image_is_named_with_what_to_do(folder: Path, name: str, data: bytes, message: str) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(ConfigError, match=f"(?s){message}.*Remove it or convert it"):
        pool_of(KINDS, folder)


def test_many_unreadable_images_are_counted(folder: Path) -> None:
    for number in range(8):
        (folder / f"bad{number}.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="and 3 more"):
        pool_of([], folder)


def test_a_missing_empty_or_mistaken_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, message in (("none", "does not exist"), ("empty", "holds no image"), ("file", "is not a folder")):
        with pytest.raises(ConfigError, match=f"{name} {message}"):
            pool_of(KINDS, tmp_path / name)


def test_an_unknown_kind_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'studo'.*Did you mean 'studio'"):
        pool_of(["studo"])
    with pytest.raises(ConfigError, match="no kind and no folder"):
        pool_of([])


def test_a_split_without_an_image_is_a_config_error_at_planning_and_at_drawing(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(encode_png(picture(1)))
    pool = pool_of([], tmp_path)
    own = split_of("folder:" + pool.digests()["images"][0][0][:16])
    pool.require([own])
    for split in set(SPLITS) - {own}:
        with pytest.raises(ConfigError, match=f"split '{split}'"):
            pool.require([split])
        with pytest.raises(ConfigError, match=f"split '{split}'"):
            pool.draw(stream(1), split, 32)
        pool_of(["noise"], tmp_path).require([split])


def test_an_image_that_changes_or_vanishes_after_planning_is_an_asset_error(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    path.write_bytes(encode_png(picture(1)))
    pool = pool_of([], tmp_path)
    split = split_of("folder:" + pool.digests()["images"][0][0][:16])
    pool.draw(stream(1), split, 32)
    path.write_bytes(encode_png(picture(2)))
    with pytest.raises(AssetError, match=r"one\.png: sha256 is .* it changed after planning"):
        pool.draw(stream(1), split, 32)
    path.unlink()
    with pytest.raises(AssetError, match=r"one\.png: cannot be read"):
        pool.draw(stream(1), split, 32)


@pytest.mark.parametrize("content", [{}, {"kinds": [], "folders": [{"licence": "x", "images": [["a"]]}]}, {"kinds": 3}])
def test_a_damaged_record_is_a_config_error(content: dict) -> None:
    with pytest.raises(ConfigError, match="record of backgrounds is damaged"):
        BackgroundPool.from_json(content)


def test_a_folder_named_as_a_split_holds_that_splits_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for split in ("Train", "test"):
        (tmp_path / split / "room").mkdir(parents=True)
        for n in range(6):
            picture = rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)
            (tmp_path / split / "room" / f"{n}.png").write_bytes(encode_png(picture))
    pool = pool_of([], tmp_path)
    pool.require(["train", "test"])
    with pytest.raises(ConfigError, match="falls into split 'val'"):
        pool.require(["val"])
    again = BackgroundPool.from_json(pool.to_json())
    assert again.digests() == pool.digests()
    shutil.copy(tmp_path / "Train/room/0.png", tmp_path / "test/same.png")
    with pytest.raises(ConfigError, match="are one picture in two splits"):
        pool_of([], tmp_path)
    (tmp_path / "test/same.png").unlink()
    shutil.copytree(tmp_path / "Train", tmp_path / "test/train")
    with pytest.raises(ConfigError, match="lies in folders of two splits"):
        pool_of([], tmp_path)


def test_a_split_told_by_a_folder_is_part_of_what_the_pool_is(tmp_path: Path) -> None:
    picture = encode_png(np.random.default_rng(6).integers(0, 255, (40, 40, 3)).astype(np.uint8))
    for folder in ("a", "b/val"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "it.png").write_bytes(picture)
    assert pool_of([], tmp_path / "a").digests() != pool_of([], tmp_path / "b").digests()


def test_each_folder_s_pictures_have_its_licence(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for number in range(40, 60):
        (other / f"{number}.png").write_bytes(encode_png(picture(number)))
    pool = BackgroundPool(["noise"], [(folder, "CC-BY-4.0"), (other, "user")])
    assert pool.licences() == {"CC0-1.0", "CC-BY-4.0", "user"}
    told = [entry["licence"] for entry in pool.sources([folder, other])["folders"]]
    assert told == ["CC-BY-4.0", "user"]
    mine = {f"folder:{row[1][:16]}" for row in pool.to_json()["folders"][0]["images"]}
    for number in range(60):
        drawn = pool.draw(stream(number), "train", 8)
        expected = "CC0-1.0" if drawn.source_id == "noise" else "CC-BY-4.0" if drawn.source_id in mine else "user"
        assert drawn.licence == expected
    assert pool.digests() != BackgroundPool(["noise"], [(folder, "user"), (other, "user")]).digests()


def test_no_procedural_background_is_in_two_splits() -> None:
    """An index belongs to one split and has a stream of its own, from which its background is drawn."""
    pool, seen = pool_of(KINDS), {}
    for split in SPLITS:
        for number in range(60):
            rng = sample_rng(7, index_of(SampleName("render", split, number)), 1, Purpose.BACKGROUND)
            seen[split, number] = pool.draw(rng, split, 64).rgb.tobytes()
    assert len(set(seen.values())) == len(seen) == 180
