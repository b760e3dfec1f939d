"""The published recipe, from InterHand2.6M's files to a valid dataset, by the commands that the README names."""

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from aih_builder import open_dataset
from aih_builder.cli.app import app
from aih_builder.paths import manifests
from aih_builder.sources.bank import Bank


def aih(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def work(singles_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, as the recipe names it, and the recipe with one key changed."""
    folder = tmp_path_factory.mktemp("recipe")
    data = folder / "data"
    for command in (
        ("bank", "interhand", singles_root, "--hand", "open", "--out", data / "interhand_bank.h5"),
        ("poses", "import", "interhand", singles_root, "--fits-of", "open", "--out", data / "interhand_poses.npz"),
        ("backgrounds", "interhand", singles_root, "--out", data / "backgrounds"),
    ):
        made = aih(*command, "--json")
        assert made.exit_code == 0, made.stderr
        assert json.loads(made.stdout)["licence"] == "CC-BY-NC-4.0"
    text = (manifests() / "aih_3m.yaml").read_text(encoding="utf-8")
    assert text.count("\nscale: 1 ") == 1
    (folder / "aih_3m.yaml").write_text(text.replace("\nscale: 1 ", "\nscale: 0.000004 "), encoding="utf-8")
    return folder


def test_the_recipe_scaled_down_by_one_key_makes_a_valid_dataset(work: Path) -> None:
    made = aih("generate", work / "aih_3m.yaml", "--out", work / "out")
    assert made.exit_code == 0, made.stderr
    assert aih("validate", work / "out").exit_code == 0
    resolved = yaml.safe_load((work / "out/manifest.yaml").read_text())
    assert resolved["scale"] == 1
    assert resolved["streams"]["render"]["count"] == {"train": 2, "val": 1, "test": 0}
    assert resolved["streams"]["sync"]["count"] == {"train": 4, "val": 1, "test": 3}
    bank = Bank(work / "data/interhand_bank.h5")
    source_of = {bank.entry(i).entry_id: bank.entry(i) for i in range(len(bank))}
    for sample in open_dataset(work / "out"):
        assert sample.framing == "target"
        assert 0.05 <= sample.occlusion_rate[sample.target_hand] <= 0.8 + 1e-6
        assert sample.licence == "CC-BY-NC-4.0"
        assert sample.pose_valid.all()
        assert sample.annotation in ("human", "machine")
        if sample.engine == "sync":
            pair = [source_of[name] for name in sample.pose_id.split("+")]
            assert {(entry.split, entry.annotation) for entry in pair} == {(sample.split, sample.annotation)}
            assert sample.target_valid.tolist() == [side == sample.target_hand for side in (0, 1)]
        else:
            assert sample.background_id.startswith("folder:")


def test_the_recipe_at_its_full_size_is_what_was_published() -> None:
    content = yaml.safe_load((manifests() / "aih_3m.yaml").read_text(encoding="utf-8"))
    totals = {engine: sum(stream["count"].values()) for engine, stream in content["streams"].items()}
    assert totals == {"render": 700_000, "sync": 2_200_000}
    assert content["streams"]["render"]["count"]["test"] == 0
    assert content["image_size_px"] == 256


def test_a_freihand_bank_by_command(tmp_path: Path) -> None:
    from tests.freihand_tree import write_freihand

    write_freihand(tmp_path / "fh")
    out = tmp_path / "b.h5"
    made = aih("bank", "freihand", tmp_path / "fh", "--hand", "open", "--versions", "hom,auto", "--out", out, "--json")
    assert made.exit_code == 0, made.stderr
    answer = json.loads(made.stdout)
    assert (answer["pictures"], answer["licence"], answer["left_out"]) == (12, "LicenseRef-FreiHAND", {})
    (tmp_path / "fh/training/rgb/00000007.jpg").unlink()
    made = aih("bank", "freihand", tmp_path / "fh", "--skip-bad", "--out", out, "--json")
    answer = json.loads(made.stdout)
    assert answer["left_out"] == {"a file that is missing or damaged": 1}
    assert "00000007.jpg: cannot be read" in answer["bad_files"]["1"]
    made = aih("bank", "freihand", tmp_path / "fh", "--out", out)
    assert (made.exit_code, "00000007.jpg" in made.stderr) == (1, True)
    assert len(Bank(out)) == 23  # the old bank is whole


def test_bad_arguments_are_one_message_and_exit_code_2(singles_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "b.h5"
    (tmp_path / "other").write_text("x")
    for arguments, message in (
        (("bank", "interhand", singles_root, "--hand", tmp_path / "none.npz", "--out", out), "is not a file"),
        (
            ("bank", "interhand", singles_root, "--hand", "open", "--grey", "some", "--out", out),
            "expected keep or drop",
        ),
        (
            ("bank", "interhand", singles_root, "--hand", "open", "--subjects", "all", "--out", out),
            "disjoint or source",
        ),
        (("bank", "interhand", tmp_path, "--hand", "open", "--out", out), "holds no annotations"),
        (("bank", "interhand", singles_root, "--hand", "open", "--out", tmp_path / "other"), "is there and is no bank"),
        (("bank", "interhand", singles_root, "--out", out), "Missing option '--hand'"),
        (("bank", "freihand", tmp_path / "none", "--out", out), "is not a folder"),
        (("bank", "freihand", tmp_path, "--versions", "blue", "--out", out), "expected some of gs, hom"),
        (("backgrounds", "interhand", singles_root, "--out", tmp_path), "is no empty folder"),
    ):
        result = aih(*arguments)
        assert result.exit_code == 2, arguments
        assert message in " ".join(result.stderr.replace("│", "").split())
        assert "Traceback" not in result.output
    assert not out.exists()
