import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aih_builder.cli.app import app
from tests.interop.official_reader import OfficialReader

run = CliRunner()


def aih(*arguments: str | Path) -> str:
    result = run.invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str | Path) -> tuple[int, str]:
    result = run.invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_there_and_back_by_the_commands(aih_dataset: Path, tmp_path: Path) -> None:
    made = json.loads(aih("export", "aih", aih_dataset, tmp_path / "tree", "--human-share", "0.5", "--json"))
    assert made["samples"] == sum(made["written"].values())
    assert len(OfficialReader(tmp_path / "tree", "val")) == 5
    back = json.loads(aih("import", "aih", tmp_path / "tree", "--out", tmp_path / "back", "--json"))
    assert sum(back["samples"].values()) == made["samples"]
    assert back["bad"] == []
    for command in (("info",), ("validate",), ("stats",)):
        assert "aih-import" in aih(*command, tmp_path / "back") or command[0] != "info"
    aih(
        "sheet",
        tmp_path / "back",
        "--out",
        tmp_path / "sheet.png",
        "--count",
        "2",
        "--where",
        "any(occlusion_rate > 0)",
    )
    assert (tmp_path / "sheet.png").is_file()
    for command in (("status",), ("repair",), ("index",), ("regenerate", "--index", "0"), ("flag",)):
        code, said = refused(command[0], tmp_path / "back", *command[1:])
        assert code == 2
        assert "was imported, so there is no plan" in said


def test_bad_samples_are_counted_and_listed(aih_tree: Path, tmp_path: Path) -> None:
    tree = Path(shutil.copytree(aih_tree, tmp_path / "tree"))
    first = sorted((tree / "AIH_render/machine_annot/train/images/l_images/IH").iterdir())[0]
    first.write_bytes(b"")
    code, said = refused("import", "aih", tree, "--out", tmp_path / "out")
    assert code == 1
    assert f"{first}: not a JPEG file" in said
    said = aih("import", "aih", tree, "--out", tmp_path / "out", "--skip-bad")
    assert f"BAD {first}: not a JPEG file. Fetch it again." in said


def test_hasm_by_the_command(both_dataset: Path, tmp_path: Path) -> None:
    assert "machine_annot/test" in aih("export", "hasm", both_dataset, tmp_path / "hasm")


@pytest.mark.parametrize("arguments", [("export", "aih"), ("export", "hasm"), ("import", "aih", "--out")])
def test_a_path_that_is_none_is_a_wrong_argument(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    places = [tmp_path / "nowhere", tmp_path / "out"]
    given = [*arguments[:2], places[0], *arguments[2:], places[1]]
    code, said = refused(*given)
    assert code == 2
    assert "nowhere" in said
    assert not list(tmp_path.iterdir())
