"""The commands over pose libraries, and `aih stats`, run in this process."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from aih_builder.cli.app import app
from aih_builder.imaging import read_image
from aih_builder.sources.pose_library import load_library, shipped_library
from tests.interhand_capture import write_capture


def aih(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poses")
    write_capture(folder / "ih")
    made = aih("poses", "import", "interhand", folder / "ih", "--fits-of", "open", "--out", folder / "ih.npz", "--json")
    assert made.exit_code == 0, made.stderr
    answer = json.loads(made.stdout)
    assert (answer["poses"], answer["of_both_hands"]) == (7, 3)
    assert answer["left_out"]["fit: more than 10 mm from the joints"] == 1
    return folder / "ih.npz"


def test_a_library_is_built_told_of_drawn_and_plotted(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    out = tmp_path / "a.npz"
    made = aih("poses", "build", "--out", out, "--count", "6", "--families", "near-miss", "--seed", "3", "--json")
    assert made.exit_code == 0, made.stderr
    answer = json.loads(made.stdout)
    assert (answer["poses"], answer["families"], answer["share_in_contact"]) == (6, {"near-miss": 6}, 0.0)
    assert answer["digest"] == load_library(out).digest()
    told = json.loads(aih("poses", "info", out, "--json").stdout)
    assert told["digest"] == answer["digest"]
    shown = aih("poses", "sheet", out, "--out", tmp_path / "a.png", "--count", "5")
    assert shown.exit_code == 0, shown.stderr
    picture = read_image(tmp_path / "a.png")
    assert picture.shape[1] > 4 * 2 * 200
    assert picture.std() > 20
    page = aih("stats", out, "--out", tmp_path / "a.html")
    assert page.exit_code == 0, page.stderr
    assert "near-miss" in page.stdout
    assert (tmp_path / "a.html").read_text().count("<svg") == 7


def test_the_shipped_library_is_told_of_without_a_name() -> None:
    told = json.loads(aih("poses", "info", "--json").stdout)
    assert told["poses"] == 2000
    assert told["digest"] == shipped_library().digest()
    assert told["test_to_train_mm"]["least"] >= told["cluster_radius_mm"]


def test_figures_are_printed_for_people_and_for_programs(imported: Path) -> None:
    told = aih("stats", imported)
    assert told.exit_code == 0, told.stderr
    assert "pose library: 7, train 6, test 1" in told.stdout
    figures = json.loads(aih("stats", imported, "--json").stdout)
    assert (figures["poses"], figures["pairs"]) == (7, 3)
    assert set(figures["families"]) == {"ROM03_RT_No_Occlusion", "ROM09_Interaction"}


def test_figures_of_a_dataset_are_printed(small_dataset: Path) -> None:
    told = aih("stats", small_dataset)
    assert told.exit_code == 0, told.stderr
    for line in ("dataset: 9, render train 5", "occlusion, render", "  asked", "view directions", "index2    flexion"):
        assert line in told.stdout


def test_bad_input_is_one_message_and_exit_code_2(tmp_path: Path, imported: Path, small_dataset: Path) -> None:
    text = tmp_path / "notes.npz"
    text.write_text("mine")
    np.savez(tmp_path / "x.npz", right_pose=np.zeros((2, 45)))
    for arguments, message in (
        (("poses", "build", "--out", text), "notes.npz: not a readable pose library"),
        (("poses", "build", "--out", tmp_path / "a.h5"), "ends in .npz"),
        (("poses", "build", "--out", tmp_path / "a.npz", "--families", "clapp"), "unknown family 'clapp'"),
        (("poses", "build", "--out", tmp_path / "a.npz", "--count", "3"), "expected at least 12"),
        (("poses", "build", "--out", tmp_path / "a.npz", "--licence", "MIT"), "--licence is for --hand"),
        (("poses", "info", tmp_path / "none.npz"), "none.npz: is not a file"),
        (("poses", "sheet", imported, "--out", tmp_path / "a.jpg"), "ends in .png"),
        (("poses", "import", "freihand", tmp_path, "--out", tmp_path / "a.npz"), "expected interhand or parameters"),
        (("poses", "import", "interhand", tmp_path / "no", "--out", tmp_path / "a.npz"), "no: is not there"),
        (("poses", "import", "interhand", tmp_path, "--out", text), "not a readable pose library"),
        (
            ("poses", "import", "interhand", tmp_path, "--out", tmp_path / "a.npz", "--fits-of", "me"),
            "mano or open or hand",
        ),
        (("stats", small_dataset, "--out", tmp_path / "a.png"), "ends in .html"),
        (("stats", small_dataset, "--hand", text), "--hand is for pose libraries"),
        (("stats", tmp_path), "holds no dataset.json"),
        (("stats", tmp_path / "none"), "none: is not there"),
        (("poses", "info", "--hand", tmp_path / "none.npz"), "none.npz: is not a file"),
        (("poses", "import", "interhand", tmp_path, "--out", tmp_path / "a.npz"), "holds no annotations"),
        (("poses", "import", "interhand", tmp_path, "--out", tmp_path / "a.npz", "--fits-of", "hand"), "--hand names"),
    ):
        made = aih(*arguments)
        assert (made.exit_code, made.stdout) == (2, ""), arguments
        assert message in " ".join(made.stderr.split()), made.stderr
    assert text.read_text() == "mine"
    made = aih("poses", "import", "parameters", tmp_path / "x.npz", "--out", tmp_path / "a.npz")
    assert made.exit_code == 1
    assert "Expected right_pose, right_betas and right_trans" in made.stderr


def test_a_library_of_another_hand_is_not_drawn_on_this_one(tmp_path: Path) -> None:
    write_capture(tmp_path / "ih")
    out = tmp_path / "mano.npz"
    assert aih("poses", "import", "interhand", tmp_path / "ih", "--out", out).exit_code == 0
    for arguments in (("poses", "sheet", out, "--out", tmp_path / "a.png"), ("stats", out)):
        made = aih(*arguments)
        assert made.exit_code == 2
        assert "the poses belong to the hand model mano" in made.stderr
        made = aih(*arguments, "--other-hand")
        assert made.exit_code == 0, made.stderr
    assert json.loads(aih("poses", "info", out, "--json").stdout)["hand"] == "mano"
