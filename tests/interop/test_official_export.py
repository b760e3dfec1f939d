import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder import Sample, open_dataset
from aih_builder.errors import ConfigError, ShardError
from aih_builder.identity import SampleName, Split, index_of, name_of
from aih_builder.imaging import grown
from aih_builder.interop import official_aih
from aih_builder.interop.official_aih import NOT_CARRIED, export_aih, select
from aih_builder.interop.official_cfgs import NOT_MOVED
from aih_builder.interop.official_pictures import moved
from aih_builder.interop.official_tree import EXPORT_FILE, annotation_of
from aih_builder.invariants import SYNC_REACH_PX
from aih_builder.sample import SPECS, hdr_masks
from aih_builder.shards.marking import flag_samples
from tests.interop.official_reader import Item, OfficialReader, reader_affine

PHASES: tuple[Split, ...] = ("train", "val", "test")
# Levels that a second pass through JPEG 95 may change a pixel by, at most and on average.
JPEG_MOST, JPEG_MEAN = 30, 1.0
# Where the soft edge of the hand on top is cut hard: levels on average, and share of all pixels.
EDGE_MEAN, EDGE_SHARE = 35.0, 0.05


@pytest.fixture(scope="module")
def by_index(aih_dataset: Path) -> dict[int, Sample]:
    return {sample.index: sample for sample in open_dataset(aih_dataset)}


def served(tree: Path, samples: dict[int, Sample]) -> Iterator[tuple[Item, Sample]]:
    """Every item of the reader, in all phases, with the sample that it was made from."""
    for phase in PHASES:
        reader = OfficialReader(tree, phase)
        for i in range(len(reader)):
            item = reader[i]
            kind, file, _ = item.source
            engine: Any = "sync" if kind.startswith("syn") else "render"
            yield item, samples[index_of(SampleName(engine, phase, int(str(file).removesuffix(".jpg"))))]


def upright(array: np.ndarray, item: Item) -> np.ndarray:
    """An array of the sample as the reader sees it, whose target is a right hand."""
    return array[:, ::-1] if item.source[2] else array


def test_the_record_that_is_written_leaves_a_picture_as_it_is_to_the_bit() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (256, 256, 3), np.uint8)
    assert (moved(noise, NOT_MOVED) == noise).all()
    assert reader_affine(*NOT_MOVED).tolist() == [[1, 0, 0], [0, 1, 0]]


def test_the_clean_reader_serves_every_sample_that_was_exported(aih_tree: Path, by_index: dict[int, Sample]) -> None:
    items = list(served(aih_tree, by_index))
    opened = {sample.index for _, sample in items}
    assert len(opened) == len(items)
    written = json.loads((aih_tree / EXPORT_FILE).read_text())["written"]
    assert len(items) == sum(n for name, n in written.items() if "syn" in name or "train" in name)


def test_masks_are_ours_exactly_and_partition_every_image(aih_tree: Path, by_index: dict[int, Sample]) -> None:
    for item, sample in served(aih_tree, by_index):
        assert item.source[2] == (sample.target_hand == 1)
        found = (1 - item.not_M_D, 1 - item.not_M_R, item.M_rv, item.M_bv)
        for mask, ours in zip(found, hdr_masks(sample, sample.target_hand), strict=True):
            assert (mask[0] == upright(ours, item)).all()
        assert (np.sum(found, axis=0) == 1).all()


def test_pictures_are_ours_but_for_jpeg_and_the_soft_edge(aih_tree: Path, by_index: dict[int, Sample]) -> None:
    edges = []
    for item, sample in served(aih_tree, by_index):
        target, other = sample.target_hand, 1 - sample.target_hand
        image = np.abs(item.image_u8.astype(int) - upright(sample.image_rgb, item))
        alone = np.abs(item.target_u8.astype(int) - upright(sample.target_rgb[target], item))
        assert alone.max() <= JPEG_MOST
        assert alone.mean() <= JPEG_MEAN
        soft = np.zeros(image.shape[:2], bool)
        if sample.engine == "sync":
            on_top = sample.amodal_mask[other]
            soft = upright(sample.changed_mask[target] & ~on_top, item)
            near = upright(grown(on_top, SYNC_REACH_PX), item)
            assert not (soft & ~near).any()
            assert soft.mean() <= EDGE_SHARE
            edges.append(image[soft].mean())
        assert image[~soft].max() <= JPEG_MOST
        assert image[~soft].mean() <= JPEG_MEAN
        assert (item.image == item.deoccluded_input)[:, item.not_M_D[0] == 1].all()
        assert not item.deoccluded_input[:, item.not_M_D[0] == 0].any()
        assert not item.removed_input[:, item.not_M_R[0] == 0].any()
    assert len(edges) > 10
    assert max(edges) <= EDGE_MEAN


def test_image_and_target_agree_where_nothing_is_hidden_or_removed(aih_tree: Path, by_index: dict[int, Sample]) -> None:
    for item, sample in served(aih_tree, by_index):
        same = (item.not_M_D * item.not_M_R)[0] == 1
        apart = np.abs(item.image_u8.astype(int) - item.target_u8)[same]
        assert apart.max() == 0 if sample.engine == "sync" else apart.mean() < JPEG_MEAN


def test_what_is_left_out_is_counted_by_reason(aih_dataset: Path, aih_tree: Path) -> None:
    about = json.loads((aih_tree / EXPORT_FILE).read_text())
    dataset = open_dataset(aih_dataset)
    assert sum(about["written"].values()) + sum(about["left_out"].values()) == len(dataset)
    rendered = [s for s in dataset if s.engine == "render"]
    single = sum(not s.hand_present.all() for s in rendered)
    both = sum(s.framing == "both" and bool(s.hand_present.all()) for s in rendered)
    assert about["left_out"] == {"a single hand": single, "framed around both hands": both}
    listed = json.loads((aih_dataset / "dataset.json").read_text())
    assert about["source"]["plan_hash"] == listed["plan_hash"]
    assert "cam_joints_m" in about["not_carried"]
    assert set(NOT_CARRIED) < set(SPECS)


def test_two_processes_write_the_same_tree(aih_dataset: Path, aih_tree: Path, tmp_path: Path) -> None:
    again = export_aih(aih_dataset, tmp_path / "again", jobs=2).folder
    for path in sorted(p for p in aih_tree.rglob("*") if p.is_file()):
        assert (again / path.relative_to(aih_tree)).read_bytes() == path.read_bytes(), path
    assert sum(1 for p in again.rglob("*") if p.is_file()) == sum(1 for p in aih_tree.rglob("*") if p.is_file())


def test_nothing_but_samples_lies_where_the_reader_lists(aih_tree: Path) -> None:
    for folder in (aih_tree / "AIH_render").rglob("IH"):
        assert {path.suffix for path in folder.iterdir()} == {".jpg"}


def test_flagged_samples_are_left_out(aih_dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(aih_dataset, tmp_path / "copy"))
    (index,) = [s.index for s in open_dataset(copy, split="train", engine="sync")[:1]]
    flag_samples(copy, {index: "fingers cut"})
    pieces, left_out = select(open_dataset(copy), 0.4)
    assert left_out["flagged"] == 1
    assert ("sync", name_of(index).number, "train") not in {(p.engine, p.number, p.group.split) for p in pieces}


def test_the_only_sample_of_a_list_that_nobody_opens_is_left_out(
    aih_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lonely,) = [s.index for s in open_dataset(aih_dataset, split="test", engine="sync")[:1]]

    def one_human(told: str, split: Split, index: int, share: float) -> str:
        return "human" if index == lonely else annotation_of(told, split, index, share)

    monkeypatch.setattr(official_aih, "annotation_of", one_human)
    made = export_aih(aih_dataset, tmp_path / "out")
    assert made.left_out["the only one of its list, which the reader cannot read"] == 1
    assert not list(made.folder.rglob("*human_annot_test*"))
    assert len(OfficialReader(made.folder, "test")) == 4


@pytest.mark.parametrize(("share", "missing"), [(0.0, "human_annot/train"), (1.0, "machine_annot/train")])
def test_a_list_that_would_stay_empty_is_refused_and_nothing_is_written(
    aih_dataset: Path, tmp_path: Path, share: float, missing: str
) -> None:
    with pytest.raises(ConfigError, match=rf"AIH_syn {missing}: 0 of at least 2; .*a single hand: \d"):
        export_aih(aih_dataset, tmp_path / "out", human_share=share)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a{0}", "a}", "x.jpg.d"])
def test_a_path_that_the_reader_cannot_take_is_refused(aih_dataset: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot read a path"):
        export_aih(aih_dataset, tmp_path / name / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_of_another_size_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="96 x 96 pixels, the official reader takes 256 x 256"):
        export_aih(small_dataset, tmp_path / "out")


def test_a_folder_that_holds_something_is_left_untouched(aih_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty folder"):
        export_aih(aih_dataset, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_export_that_fails_half_way_leaves_nothing(
    aih_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(official_aih, "_write_render", full)
    with pytest.raises(ShardError, match="No space left"):
        export_aih(aih_dataset, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_whose_annotation_a_sample_counts_as() -> None:
    assert annotation_of("human", "val", 3, 0.0) == "human"
    assert annotation_of("machine", "train", 3, 1.0) == "machine"
    assert {annotation_of("", split, 3, 1.0) for split in ("val", "test")} == {"machine"}
    drawn = [annotation_of("", "train", index, 0.25) for index in range(2000)]
    assert 0.2 < drawn.count("human") / 2000 < 0.3
