"""What pycocotools reads back from an export."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from aih_builder import open_dataset
from aih_builder.errors import ConfigError, ShardError
from aih_builder.identity import SPLITS, Split
from aih_builder.imaging import decode_image
from aih_builder.interop import coco as coco_format
from aih_builder.interop.coco import annotations_of, export_coco
from aih_builder.shards.flags import Flag, add_flags
from aih_builder.shards.reader import ShardReader
from tests.cli_runs import temporary_files
from tests.shards.fabricate import fabricate

# pycocotools' masks do not know numpy 2's `copy` yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def exported(both_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coco") / "out"
    export_coco(both_dataset, out)
    return out


def opened(out: Path, split: str) -> Any:
    return COCO(str(out / "annotations" / f"{split}.json"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("split", SPLITS)
def test_every_sample_comes_back_with_its_masks_joints_and_rates(
    exported: Path, both_dataset: Path, split: Split
) -> None:
    coco, dataset = opened(exported, split), open_dataset(both_dataset, split)
    assert set(coco.getImgIds()) == {sample.index for sample in dataset}
    hands = 0
    for sample in dataset:
        annotations = {a["category_id"] - 1: a for a in coco.loadAnns(coco.getAnnIds(imgIds=[sample.index]))}
        assert sorted(annotations) == np.flatnonzero(sample.hand_present).tolist()
        for hand, annotation in annotations.items():
            amodal, visible = sample.amodal_mask[hand], sample.visible_mask[hand]
            assert np.array_equal(coco.annToMask(annotation) > 0, amodal)
            assert np.array_equal(codec.decode(annotation["visible_mask"]) > 0, visible)
            assert annotation["inmodal_seg"] == annotation["visible_mask"]
            hidden = codec.decode(annotation["invisible_mask"]) if "invisible_mask" in annotation else amodal & False
            assert np.array_equal(hidden > 0, amodal & ~visible)
            assert annotation["bbox"] == codec.toBbox(annotation["segmentation"]).tolist()
            assert annotation["inmodal_bbox"] == codec.toBbox(annotation["visible_mask"]).tolist()
            assert annotation["area"] == codec.area(annotation["segmentation"]) == amodal.sum()
            assert annotation["occlude_rate"] == pytest.approx(sample.occlusion_rate[hand], abs=1e-6)
            assert annotation["iscrowd"] == 0
            keypoints = np.array(annotation["keypoints"]).reshape(21, 3)
            assert np.allclose(keypoints[:, :2], sample.joints_px[hand], atol=1e-4)
            assert np.array_equal(keypoints[:, 2] == 2, sample.joint_visible[hand])
            assert np.array_equal(keypoints[:, 2] > 0, sample.joint2d_valid[hand])
            assert annotation["num_keypoints"] == sample.joint2d_valid[hand].sum()
            hands += 1
    assert hands == len(coco.anns) >= len(dataset)


def test_ids_are_unique_and_none_is_0(exported: Path) -> None:
    ids = [a["id"] for split in SPLITS for a in opened(exported, split).dataset["annotations"]]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids


def test_pictures_are_the_stored_bytes(exported: Path, both_dataset: Path) -> None:
    for shard in open_dataset(both_dataset).shards:
        reader = ShardReader(both_dataset / shard["file"])
        entries = {entry["id"]: entry for entry in opened(exported, shard["split"]).dataset["images"]}
        for i, index in enumerate(reader.plain["index"].tolist()):
            entry = entries[index]
            data = (exported / "images" / entry["file_name"]).read_bytes()
            assert data == reader.encoded(i)[0]
            assert decode_image(data).shape == (entry["height"], entry["width"], 3)
            assert entry["file_name"].endswith(".jpg")


def test_categories_and_licences_are_those_of_the_record(exported: Path, both_dataset: Path) -> None:
    coco = opened(exported, "train")
    assert {c["id"]: c["name"] for c in coco.dataset["categories"]} == {1: "right hand", 2: "left hand"}
    for category in coco.dataset["categories"]:
        assert len(category["keypoints"]) == 21
        assert len(category["skeleton"]) == 20
        assert {joint for bone in category["skeleton"] for joint in bone} == set(range(1, 22))
    licences = {entry["id"]: entry["name"] for entry in coco.dataset["licenses"]}
    images = coco.loadImgs(coco.getImgIds())
    assert {i["id"]: licences[i["license"]] for i in images} == {
        s.index: s.licence for s in open_dataset(both_dataset, "train")
    }


def test_the_truth_scores_1_by_cocos_own_evaluation(exported: Path) -> None:
    coco = opened(exported, "train")
    found = [a | {"score": 1.0} for a in coco.dataset["annotations"]]
    for kind in ("segm", "bbox", "keypoints"):
        evaluation = COCOeval(coco, coco.loadRes([dict(a) for a in found]), kind)
        if kind == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.full(21, 0.05)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == 1


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(1, 40))
def test_any_masks_and_joints_survive(seed: int, height: int, width: int) -> None:
    sample = fabricate(seed, height, width)
    annotations = json.loads(json.dumps(list(annotations_of(sample))))
    assert [a["category_id"] - 1 for a in annotations] == np.flatnonzero(sample.hand_present).tolist()
    for annotation in annotations:
        hand = annotation["category_id"] - 1
        assert np.array_equal(codec.decode(annotation["segmentation"]) > 0, sample.amodal_mask[hand])
        assert np.array_equal(codec.decode(annotation["visible_mask"]) > 0, sample.visible_mask[hand])
        assert annotation["bbox"] == codec.toBbox(annotation["segmentation"]).tolist()
        v = np.array(annotation["keypoints"]).reshape(21, 3)[:, 2]
        assert not v[~sample.joint2d_valid[hand]].any()
        assert annotation["keypoints_visibility"] == sample.joint_visible_valid[hand]
        assert annotation["keypoints_visibility"] or (v < 2).all()


def test_one_split_alone_and_two_processes_give_the_same_bytes(
    exported: Path, both_dataset: Path, tmp_path: Path
) -> None:
    done = export_coco(both_dataset, tmp_path / "val", split="val")
    assert done.images == 4
    assert list(done.annotations) == ["val"]
    whole, part = contents(exported), contents(tmp_path / "val")
    assert {name for name in part if "train" in name or "test" in name} == set()
    assert all(whole[name] == data for name, data in part.items() if name != "export.json")
    export_coco(both_dataset, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "two") == whole


def test_an_export_that_was_stopped_goes_on(
    exported: Path, both_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped amid a shard, then amid the annotations; finished shards are not written again."""
    real, calls = coco_format.image_entry, []

    def stop_at_the_seventh(*arguments):
        calls.append(1)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(coco_format, "image_entry", stop_at_the_seventh)
    with pytest.raises(KeyboardInterrupt):
        export_coco(both_dataset, tmp_path / "out")
    assert not (tmp_path / "out/annotations").exists()
    monkeypatch.setattr(coco_format, "_assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export_coco(both_dataset, tmp_path / "out")
    monkeypatch.undo()
    made: list[int] = []
    export_coco(both_dataset, tmp_path / "out", on_progress=lambda done, _: made.append(done))
    assert made == []
    assert temporary_files(tmp_path / "out") == []
    assert contents(tmp_path / "out") == contents(exported)
    export_coco(both_dataset, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(exported)


def test_flagged_samples_are_left_out(copy: Path, tmp_path: Path) -> None:
    add_flags(copy, {1: Flag("blurred", 1)})
    export_coco(copy, tmp_path / "out")
    assert opened(tmp_path / "out", "val").getImgIds() == [17]


# What cannot be exported, or not there.


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no dataset\.json"):
        export_coco(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_anything_else_is_left_untouched(
    small_dataset: Path, exported: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"is not empty and holds no export \(found mine\.txt\)"):
        export_coco(small_dataset, tmp_path)
    assert contents(tmp_path) == {"mine.txt": b"mine"}
    with pytest.raises(ConfigError, match=r"is no folder to export into"):
        export_coco(small_dataset, tmp_path / "mine.txt")
    before = contents(exported)
    with pytest.raises(ConfigError, match="holds an export of something else; it differs in dataset"):
        export_coco(small_dataset, exported)
    assert contents(exported) == before


def test_a_missing_library_is_named_with_its_extra(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aih_builder.interop.whole_dataset.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs pycocotools: pip install 'aih-builder\[export\]'"):
        export_coco(small_dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_shard_is_named_and_leaves_no_annotations(copy: Path, tmp_path: Path) -> None:
    damaged = copy / "render/val/render-val-00000.h5"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(ShardError, match=r"render-val-00000\.h5: not a readable shard"):
        export_coco(copy, tmp_path / "out", split="val")
    assert not (tmp_path / "out/annotations").exists()


def test_a_disk_that_is_full_is_told_and_nothing_half_written_stays(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aih_builder.interop.coco.shutil.copyfileobj", full)
    with pytest.raises(ShardError, match=r"train\.json: cannot be written \(No space left on device\)|\.json: cannot"):
        export_coco(small_dataset, tmp_path / "out")
    assert temporary_files(tmp_path / "out") == []
    assert not list((tmp_path / "out").glob("annotations/*"))
    shutil.rmtree(tmp_path / "out")
