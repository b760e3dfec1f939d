import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder import AihDataset, Sample, open_dataset, validate
from aih_builder.errors import AssetError, ConfigError
from aih_builder.identity import name_of
from aih_builder.imaging import encode_png
from aih_builder.interop.official_aih import NOT_CARRIED
from aih_builder.interop.official_cfgs import Move
from aih_builder.interop.official_import import IMPORT_FILE, import_aih
from aih_builder.interop.official_pictures import moved, read_labels
from aih_builder.invariants import violations
from aih_builder.sample import SPECS, amodal_known
from tests.interop.official_reader import OfficialReader, hostile, reader_affine, saved_by_numpy

# Levels that passes through JPEG 95 may change a pixel by, in 999 of 1000 and on average.
JPEG_MOST, JPEG_MEAN = 20, 1.5
SYN, RENDER = "AIH_syn/machine_annot/val", "AIH_render/machine_annot/train"
CFGS = "AIH_syn/syn_cfgs/all_machine_annot_val_syn_cfgs.npy"
LISTS = "AIH_syn/filtered_list/machine_annot_val_sh_{}_filtered.txt"


@pytest.fixture(scope="module")
def imported(aih_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return import_aih(aih_tree, tmp_path_factory.mktemp("back") / "import ü", shard_samples=8).folder


@pytest.fixture
def tree(aih_tree: Path, tmp_path: Path) -> Path:
    """A small tree to spoil: AIH_syn's machine_annot/val and AIH_render's machine_annot/train."""
    copy = tmp_path / "trée of {AIH}"
    for part in (SYN, RENDER):
        shutil.copytree(aih_tree / part, copy / part)
    for file in (CFGS, LISTS.format("right"), LISTS.format("left")):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(aih_tree / file, copy / file)
    return copy


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def sources(dataset: Path, imported: Path) -> list[tuple[Sample, Sample]]:
    """Each imported sample with the one that it was exported from: told by the file's number in its texts."""
    ours = {(s.engine, s.split, name_of(s.index).number): s for s in open_dataset(dataset)}
    return [(s, ours[s.engine, s.split, int(s.background_id.removeprefix("aih-"))]) for s in open_dataset(imported)]


def test_there_and_back_again_masks_are_identical(aih_dataset: Path, imported: Path) -> None:
    pairs = sources(aih_dataset, imported)
    assert {sample.engine for sample, _ in pairs} == {"render", "sync"}
    for sample, source in pairs:
        target, other = source.target_hand, 1 - source.target_hand
        assert (sample.visible_mask == source.visible_mask).all()
        assert (sample.amodal_mask[target] == source.amodal_mask[target]).all()
        assert sample.occlusion_rate[target] == source.occlusion_rate[target]
        if sample.engine == "sync":
            assert (sample.amodal_mask == source.amodal_mask).all()
        else:  # the tree does not tell: what is seen stands in
            assert (sample.amodal_mask[other] == source.visible_mask[other]).all()


def test_there_and_back_again_pictures_differ_by_jpeg_alone(aih_dataset: Path, imported: Path) -> None:
    for sample, source in sources(aih_dataset, imported):
        target = source.target_hand
        alone = np.abs(sample.target_rgb[target].astype(int) - source.target_rgb[target])
        image = np.abs(sample.image_rgb.astype(int) - source.image_rgb)
        hard = np.ones(image.shape[:2], bool)
        if sample.engine == "sync":  # the soft edge of the hand on top is cut by its mask
            hard = ~(source.changed_mask[target] & ~source.amodal_mask[1 - target])
        for apart in (alone, image[hard]):
            assert apart.mean() <= JPEG_MEAN
            assert np.quantile(apart, 0.999) <= JPEG_MOST


def test_what_the_tree_does_not_tell_is_marked_unknown_not_invented(aih_dataset: Path, imported: Path) -> None:
    lost = set(NOT_CARRIED) - {"changed_mask", "scene_id", "pose_family", "mean_luma", "index", "attempt", "licence"}
    lost -= {"texture_id", "background_id"}  # they name the tree's files
    for sample, source in sources(aih_dataset, imported):
        assert violations(sample) == []
        for name in lost:
            value = getattr(sample, name)
            assert value is None or not np.any(value), name
        valid = [hand == source.target_hand for hand in (0, 1)]
        assert sample.target_valid.tolist() == valid
        assert (sample.target_hand, sample.framing, sample.split) == (source.target_hand, "target", source.split)
        assert sample.licence == "CC0-1.0"  # as the export says
        assert sample.annotation in ("human", "machine")
        known = [True, True] if sample.engine == "sync" else valid
        assert amodal_known(sample.engine, sample.hand_present, sample.target_valid).tolist() == known


def test_an_imported_dataset_is_valid_and_says_what_it_is(imported: Path) -> None:
    report = validate(imported)
    assert report.problems == []
    assert report.samples == len(open_dataset(imported)) > 40
    listed = json.loads((imported / "dataset.json").read_text())
    assert listed["origin"] == "import"
    assert listed["licences"] == ["CC0-1.0"]
    assert json.loads((imported / IMPORT_FILE).read_text())["bad"] == []


def test_training_reads_an_import_and_hasm_what_is_known_alone(imported: Path) -> None:
    sizes = {module: len(AihDataset(imported, module, split="train")) for module in ("sample", "hasm", "hdrm")}
    assert sizes == {"sample": 33, "hasm": 18, "hdrm": 33}
    item = AihDataset(imported, "hdrm", split="train")[0]
    assert (item["masks"].sum(axis=0) == 1).all()
    with pytest.raises(ConfigError, match="no sample that shpe can take"):
        AihDataset(imported, "shpe", split="train")


def test_two_processes_import_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    one, two = (import_aih(tree, tmp_path / str(n), shard_samples=4, jobs=n).folder for n in (1, 2))
    shards = sorted(path.relative_to(one) for path in one.rglob("*.h5"))
    assert len(shards) == 5
    assert all((one / path).read_bytes() == (two / path).read_bytes() for path in shards)


angles = st.floats(-180, 180)
shift = st.floats(-0.5, 0.5)


@settings(max_examples=60)
@given(st.builds(Move, st.tuples(shift, shift), st.floats(0.4, 2.5), angles), st.integers(0, 2**32 - 1))
def test_a_picture_is_moved_as_the_reader_moves_it(move: Move, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (256, 256, 3), np.uint8)
    expected = cv2.warpAffine(noise, reader_affine(*move), (256, 256), flags=cv2.INTER_LINEAR)
    # Both go by the same three points; reckoned in two ways their last bits may differ, and OpenCV steps by 1/32 px.
    assert (moved(noise, move) != expected).mean() < 0.02


def test_records_that_move_and_mirror_are_composed_as_the_reader_does(tree: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    records = []
    for k in range(10):
        augs = [[rng.uniform(-0.1, 0.1, 2), 1 + 0.2 * rng.normal(), 30 * rng.normal(), np.ones(3)] for _ in range(2)]
        side = ("right", "left")[k % 2]
        places = {"loop_side": side, "loop_side_idx": k % 5, "another_side_idx": (k + 2) % 5, "occlusion_rate": 0.1}
        records.append(places | dict(zip(("r_aug_list", "l_aug_list"), augs, strict=True)))
    saved_by_numpy(tree / CFGS, records)
    shutil.rmtree(tree / "AIH_render")
    reader = OfficialReader(tree, "val")
    samples = open_dataset(import_aih(tree, tmp_path / "out").folder)
    assert len(samples) == len(reader) == 10
    for sample, item in zip(samples, (reader[i] for i in range(10)), strict=True):
        assert item.source[2] == (sample.target_hand == 1)
        way = -1 if item.source[2] else 1
        target, other = sample.target_hand, 1 - sample.target_hand
        assert (sample.visible_mask[target][:, ::way] == item.M_rv[0]).all()
        hidden = sample.amodal_mask[target] & ~sample.visible_mask[target]
        assert (hidden[:, ::way] == 1 - item.not_M_D[0]).all()
        assert ((sample.amodal_mask[other] & ~hidden)[:, ::way] == 1 - item.not_M_R[0]).all()
        for ours, theirs in ((sample.image_rgb, item.image_u8), (sample.target_rgb[target], item.target_u8)):
            apart = np.abs(ours[:, ::way].astype(int) - theirs)
            assert apart.mean() <= JPEG_MEAN
            assert np.quantile(apart, 0.999) <= JPEG_MOST


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    array = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), change(np.asarray(array)))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG file, put together by hand."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", head), (b"PLTE", bytes(range(6))), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
        if kind != b"PLTE" or colour == 3
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def swapped(path: Path) -> None:
    """Another sample's picture."""
    shutil.copyfile(sorted(path.parent.iterdir())[1], path)


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    (f"{SYN}/images/r_images", Path.unlink, "cannot be read .No such file"),
    (f"{SYN}/images/l_images", shortened, "damaged JPEG data"),
    (f"{SYN}/images/r_images", lambda p: p.write_bytes(b""), "not a JPEG file"),
    (f"{SYN}/images/r_images", lambda p: p.write_bytes(encode_png(np.zeros((256, 256), np.uint8))), "not a JPEG"),
    (
        f"{SYN}/images/r_images",
        lambda p: cv2.imwrite(str(p), np.zeros((256, 255, 3))),
        "255 x 256 pixels, expected 256",
    ),
    (f"{SYN}/images/l_images", a_loop, "cannot be read .Too many levels of symbolic links"),
    (f"{SYN}/labels/in_r_images/r_amodal", shortened, "its end is missing"),
    (f"{SYN}/labels/in_r_images/r_amodal", lambda p: rewrite(p, lambda a: 255 * a), "0, 255, exp"),
    (f"{SYN}/labels/in_r_images/r_amodal", lambda p: rewrite(p, lambda a: 0 * a), "an empty mask"),
    (
        f"{SYN}/labels/in_r_images/r_amodal",
        lambda p: rewrite(p, lambda a: np.dstack([a, a, a])),
        "8 bits of colour type 2",
    ),
    (f"{SYN}/labels/in_l_images/l_amodal", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50)), "0 x 0 pixels"),
    (
        f"{SYN}/labels/in_l_images/l_amodal",
        lambda p: p.write_bytes(png(60000, 60000, 8, 0, bytes(10**6))),
        "60000 x 60000 pixels, expected 256 x 256",
    ),
    (f"{RENDER}/images/r_images/DR_gt", Path.unlink, "cannot be read"),
    (f"{RENDER}/images/r_images/DR_gt", swapped, "They do not belong together"),
    (
        f"{RENDER}/labels/in_l_images/rl_visible",
        lambda p: cv2.imwrite(str(p), np.full((256, 256), 3, np.uint8)),
        "0 and 1 and 2",
    ),
    (f"{RENDER}/labels/in_l_images/l_amodal", swapped, "a visible mask leaves its amodal mask"),
]


@pytest.mark.parametrize(("folder", "spoil", "message"), FAULTS)
def test_a_bad_file_ends_the_import_with_its_name_or_is_left_out(
    tree: Path, tmp_path: Path, folder: str, spoil: Callable[[Path], object], message: str
) -> None:
    path = first(tree / folder)
    spoil(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(AssetError, match=message) as caught:
        import_aih(tree, tmp_path / "out")
    assert path.stem in str(caught.value) or CFGS in str(caught.value)
    assert "--skip-bad" in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    made = import_aih(tree, tmp_path / "out", skip_bad=True)
    assert len(made.bad) == 1
    assert len(open_dataset(made.folder)) == sum(made.samples.values()) == 13
    assert json.loads((made.folder / IMPORT_FILE).read_text())["bad"] == made.bad
    assert validate(made.folder).problems == []


def test_a_bad_record_ends_the_import_with_its_place_or_is_left_out(tree: Path, tmp_path: Path) -> None:
    records = np.load(tree / CFGS, allow_pickle=True).tolist()
    records[1]["loop_side_idx"] = 5
    records[3]["lop_side"] = records[3].pop("loop_side")
    saved_by_numpy(tree / CFGS, records)
    with pytest.raises(AssetError, match=r"record 1 loop_side_idx is 5, expected a place in a list of 5"):
        import_aih(tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    made = import_aih(tree, tmp_path / "out", skip_bad=True)
    assert [text.partition(CFGS)[2] for text in made.bad] == [
        ": record 1 loop_side_idx is 5, expected a place in a list of 5 (0 to 4)",
        ": record 3 lacks loop_side (it has another_side_idx, l_aug_list, loop_side_idx, lop_side, occlusion_rate, "
        "r_aug_list)",
    ]
    assert made.samples["sync/val"] == 3


def test_a_stray_file_among_the_pictures_is_a_bad_sample(tree: Path, tmp_path: Path) -> None:
    (tree / RENDER / "images/r_images/IH/Thumbs.db").write_bytes(b"x")
    with pytest.raises(AssetError, match=r"Thumbs\.db: no \.jpg, yet"):
        import_aih(tree, tmp_path / "out")
    assert len(import_aih(tree, tmp_path / "out", skip_bad=True).bad) == 1


@pytest.mark.parametrize(
    ("file", "data", "message"),
    [
        (CFGS, hostile(open), "names _*io.open"),
        (CFGS, b"", "not a .npy file"),
        (LISTS.format("left"), b"1\none\n", "line 2 is 'one'"),
        (LISTS.format("left"), None, "cannot be read"),
    ],
)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_records_and_lists_that_cannot_be_read_always_end_the_import(
    tree: Path, tmp_path: Path, file: str, data: bytes | None, message: str, skip_bad: bool
) -> None:
    (tree / file).unlink() if data is None else (tree / file).write_bytes(data)
    with pytest.raises(AssetError, match=message):
        import_aih(tree, tmp_path / "out", skip_bad=skip_bad)
    assert not (tmp_path / "out").exists()


def test_a_tree_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds neither AIH_syn nor AIH_render"):
        import_aih(tmp_path, tmp_path / "out")
    (tmp_path / "AIH_render").mkdir()
    with pytest.raises(AssetError, match="holds no sample that can be read"):
        import_aih(tmp_path, tmp_path / "out")


def test_a_tree_of_bad_samples_alone_leaves_nothing(tree: Path, tmp_path: Path) -> None:
    shutil.rmtree(tree / "AIH_syn")
    shutil.rmtree(tree / RENDER / "labels")
    with pytest.raises(AssetError, match=r"no sample is left \(9 bad"):
        import_aih(tree, tmp_path / "out", skip_bad=True)
    assert not list(tmp_path.glob("out*"))


def test_a_hand_that_is_not_seen_is_neither_invented_nor_denied(tree: Path, tmp_path: Path) -> None:
    path = first(tree / RENDER / "labels/in_r_images/rl_visible")
    labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert labels is not None
    amodal = cv2.imread(str(path.parent.parent / "r_amodal" / path.name), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(path), np.asarray(amodal))  # the right hand, whole, and no other
    image = RENDER + "/images/r_images"
    shutil.copyfile(tree / image / f"DR_gt/{path.stem}.jpg", tree / image / f"IH/{path.stem}.jpg")
    made = import_aih(tree, tmp_path / "out")
    assert made.bad == []
    assert list(made.left_out.items()) == [
        ("AIH_render: no left hand is seen; whether there is one the tree does not tell", 1)
    ]


def test_the_indices_of_a_palette_count_as_labels(tmp_path: Path) -> None:
    indices = np.random.default_rng(0).integers(0, 2, (256, 256), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    (tmp_path / "p.png").write_bytes(png(256, 256, 8, 3, rows))
    assert (read_labels(tmp_path / "p.png", 1) == indices).all()
    bits = b"".join(b"\0" + np.packbits(row).tobytes() for row in indices)
    (tmp_path / "b.png").write_bytes(png(256, 256, 1, 0, bits))
    with pytest.raises(AssetError, match=r"1 bits of colour type 0\. Expected a PNG of one channel of 8 bits"):
        read_labels(tmp_path / "b.png", 1)


def test_the_licence_is_that_of_the_published_data_set_unless_it_is_told(tree: Path, tmp_path: Path) -> None:
    assert open_dataset(import_aih(tree, tmp_path / "a").folder)[0].licence == "CC-BY-NC-4.0"
    assert open_dataset(import_aih(tree, tmp_path / "b", licence="mine").folder)[0].licence == "mine"
    (tree / "aih_export.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"aih_export\.json: damaged"):
        import_aih(tree, tmp_path / "c")
    with pytest.raises(ConfigError, match="expected 1 to 48 bytes"):
        import_aih(tree, tmp_path / "c", licence="x" * 49)


def test_every_field_is_either_carried_or_listed_as_lost() -> None:
    assert set(NOT_CARRIED) <= set(SPECS)
    assert {"cam_joints_m", "K_px", "mano_pose_rad", "depth"} <= set(NOT_CARRIED)
