import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from aih_builder import open_dataset
from aih_builder.errors import ConfigError
from aih_builder.identity import name_of
from aih_builder.interop.hasm_tree import export_hasm
from aih_builder.interop.official_import import import_aih
from aih_builder.interop.official_tree import EXPORT_FILE, annotation_of

LABELS = {
    "l_amodal": (1, "amodal"),
    "l_visible": (1, "visible"),
    "r_amodal": (0, "amodal"),
    "r_visible": (0, "visible"),
}


def test_every_sample_lies_where_its_split_and_annotation_say_with_its_four_masks(
    both_dataset: Path, tmp_path: Path
) -> None:
    dataset = open_dataset(both_dataset)
    made = export_hasm(both_dataset, tmp_path / "hasm tree ü")
    assert sum(made.written.values()) == len(dataset) == len(list(made.folder.rglob("images/*.jpg")))
    assert not made.left_out
    absent = 0
    for sample in dataset:
        annotation = annotation_of(sample.annotation, name_of(sample.index).split, sample.index, 0.4)
        folder = made.folder / f"{annotation}_annot" / sample.split
        name = f"{sample.engine}-{name_of(sample.index).number}"
        bgr = cv2.imread(str(folder / "images" / f"{name}.jpg"), cv2.IMREAD_COLOR)
        assert np.abs(np.asarray(bgr)[..., ::-1].astype(int) - sample.image_rgb).mean() < 2
        assert {path.name for path in (folder / "labels").iterdir()} == set(LABELS)
        for label, (side, kind) in LABELS.items():
            found = cv2.imread(str(folder / "labels" / label / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            assert found is not None
            assert found.dtype == np.uint8
            assert (found == getattr(sample, f"{kind}_mask")[side]).all()
            absent += kind == "amodal" and not found.any()
    assert absent == sum(not present for sample in dataset for present in sample.hand_present)


def test_two_processes_write_the_same_hasm_tree(both_dataset: Path, tmp_path: Path) -> None:
    one, two = (export_hasm(both_dataset, tmp_path / str(n), jobs=n).folder for n in (1, 2))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    assert all((one / path).read_bytes() == (two / path).read_bytes() for path in files)


def test_amodal_masks_that_an_import_could_not_know_are_not_taught(aih_tree: Path, tmp_path: Path) -> None:
    imported = import_aih(aih_tree, tmp_path / "back").folder
    made = export_hasm(imported, tmp_path / "hasm")
    dataset = open_dataset(imported)
    rendered = sum(sample.engine == "render" for sample in dataset)
    assert made.left_out == {"a hand whose amodal mask is not known": rendered}
    assert sum(made.written.values()) == len(dataset) - rendered
    assert json.loads((made.folder / EXPORT_FILE).read_text())["left_out"] == made.left_out


def test_hasm_goes_into_a_new_folder_alone_and_takes_a_share_between_0_and_1(
    both_dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(ConfigError, match="not an empty folder"):
            export_hasm(both_dataset, out)
    with pytest.raises(ConfigError, match="human share is 2, expected 0 to 1"):
        export_hasm(both_dataset, tmp_path / "out", human_share=2)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
