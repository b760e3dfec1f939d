"""`aih export coco | webdataset | card`, and the card that other commands leave."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aih_builder.cli.app import app
from tests.cli_runs import write_manifest


def aih(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_coco_says_what_it_wrote(small_dataset: Path, tmp_path: Path) -> None:
    run = aih("export", "coco", small_dataset, tmp_path / "out", "--split", "val", "--json")
    assert run.exit_code == 0, run.output
    path = tmp_path / "out/annotations/val.json"
    assert json.loads(run.stdout) == {
        "folder": str(tmp_path / "out"), "images": 2, "annotations": {"val": str(path)},
    }  # fmt: skip
    assert len(json.loads(path.read_text())["images"]) == 2


def test_webdataset_says_what_it_wrote_and_kept(small_dataset: Path, tmp_path: Path) -> None:
    first = json.loads(aih("export", "webdataset", small_dataset, tmp_path / "out", "--json").stdout)
    again = json.loads(aih("export", "webdataset", small_dataset, tmp_path / "out", "--json").stdout)
    assert (first["samples"], first["tars_made"], first["tars_kept"]) == (9, 5, 0)
    assert (again["tars_made"], again["tars_kept"]) == (0, 5)
    assert first["urls"] == again["urls"]
    assert first["urls"]["train"] == "train/render-train-{00000..00002}.tar"


def test_the_card_is_written_anew(copy: Path) -> None:
    run = aih("export", "card", copy, "--url", "https://example.org", "--published", "2026-01-31")
    assert run.stdout.split() == [str(copy / "croissant.json"), str(copy / "DATASHEET.md")]
    assert json.loads((copy / "croissant.json").read_text())["url"] == "https://example.org"


@pytest.mark.parametrize("kind", ["coco", "webdataset", "card"])
def test_what_is_no_dataset_exits_with_2(tmp_path: Path, kind: str) -> None:
    places = [tmp_path / "none"] if kind == "card" else [tmp_path / "none", tmp_path / "out"]
    run = aih("export", kind, *places)
    assert run.exit_code == 2
    assert "holds no dataset.json" in run.stderr
    assert not (tmp_path / "out").exists()


def test_generate_index_and_repair_leave_the_card(small_dataset: Path, tmp_path: Path) -> None:
    folder, manifest = Path(shutil.copytree(small_dataset, tmp_path / "copy")), write_manifest(tmp_path / "it.yaml")
    card, sheet = folder / "croissant.json", folder / "DATASHEET.md"
    for command in (("generate", manifest, "--out", folder), ("index", folder), ("repair", folder)):
        assert aih(*command).exit_code == 0
        before = card.read_bytes(), sheet.read_bytes()
        card.unlink()
        sheet.unlink()
    assert aih("index", folder).exit_code == 0
    assert (card.read_bytes(), sheet.read_bytes()) == before


def test_a_card_that_cannot_be_written_is_told_and_the_dataset_stands(
    copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (copy / "DATASHEET.md").mkdir()
    run = aih("generate", write_manifest(tmp_path / "it.yaml"), "--out", copy)
    assert run.exit_code == 0
    assert "The dataset is whole, but not its card" in run.stderr + caplog.text


def test_a_part_of_a_dataset_has_no_card(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "it.yaml")
    assert aih("generate", manifest, "--out", tmp_path / "out", "--shards", "0:1").exit_code == 0
    assert not (tmp_path / "out/croissant.json").exists()
