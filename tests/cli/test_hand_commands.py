"""`aih hand`, run in this process."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import smplx
from typer.testing import CliRunner, Result

from aih_builder.cli.app import app
from aih_builder.hands.arrays import load_hand_arrays, open_hand
from aih_builder.hands.bringing import bring_hand
from aih_builder.sources import skin_people
from aih_builder.sources.textures import FolderTextures
from tests.hands import hostile
from tests.hands.mano_pickles import foreign_hand, write_pickle, write_published


def aih(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("mano") / "Hände 手")


def test_check_tells_what_is_there(published: Path) -> None:
    result = aih("hand", "check", published, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["left_shapedirs"] == "as-published"
    assert answer["wrong"] == []
    right, left = answer["files"].values()
    assert (right["side"], left["side"], right["vertices"], left["finger_means"]) == ("right", "left", 778, "stored")
    plain = aih("hand", "check", published / "MANO_LEFT.pkl").stdout
    assert "side left, vertices 778, faces 1538, joints 16, betas 10" in plain
    assert "not known: it takes sound files of both hands" in plain


def test_check_ends_with_1_and_a_line_for_each_thing_that_is_wrong(tmp_path: Path) -> None:
    write_pickle(foreign_hand(), tmp_path / "MANO_LEFT.pkl")
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(hostile.hand(hostile.called(hostile.named("os", "system"), b"K\x01")))
    result = aih("hand", "check", tmp_path)
    assert result.exit_code == 1
    lines = [line for line in result.stdout.splitlines() if line.startswith("wrong: ")]
    assert len(lines) == 2
    assert "MANO_RIGHT.pkl: the pickle names os.system" in lines[0]
    assert "MANO_LEFT.pkl: its name says left hand, it holds a right hand" in lines[1]
    assert len(json.loads(aih("hand", "check", tmp_path, "--json").stdout)["wrong"]) == 2


def test_convert_makes_a_hand_that_other_commands_take_and_export_gives_back(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "hand.npz"
    result = aih("hand", "convert", published, out, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["left_shapedirs"], answer["licence"]) == ("turned", "LicenseRef-MANO")
    hand = load_hand_arrays(out)
    assert answer["digest"] == hand.digest()
    assert aih("poses", "info", "--hand", out).exit_code == 0

    assert aih("hand", "export", tmp_path / "back", "--hand", out).exit_code == 0
    layer = smplx.create(str(tmp_path / "back" / "MANO_LEFT.pkl"), model_type="mano", is_rhand=False, use_pca=False)
    assert np.abs(np.asarray(layer.shapedirs) - hand.other_hand().shapedirs).max() < 1e-6
    again = aih("hand", "convert", tmp_path / "back", tmp_path / "again.npz", "--json")
    assert json.loads(again.stdout)["digest"] == answer["digest"]


def test_prepare_makes_a_folder_that_a_manifest_takes_as_hand_and_skin(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skin_people, "SIZE_PX", 64)
    monkeypatch.setattr(skin_people, "SHIPPED", dict(list(skin_people.SHIPPED.items())[:2]))
    out = tmp_path / "mano"
    result = aih("hand", "prepare", published, out, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["texture_sets"], answer["licence"]) == (2, "LicenseRef-MANO")
    hand = bring_hand(out).arrays
    assert hand.digest() == answer["digest"]
    source = FolderTextures(out / "textures", hand)
    assert [entry.id for entry in source.entries] == ["monk01-a", "monk01-b"]
    source.check()
    assert aih("hand", "prepare", published, out).exit_code == 0


def test_prepare_writes_into_no_folder_of_other_things(published: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    for path in (tmp_path, tmp_path / "letter.txt"):
        assert aih("hand", "prepare", published, path).exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_convert_says_that_a_missing_side_is_the_mirror_image(published: Path, tmp_path: Path) -> None:
    result = aih("hand", "convert", published / "MANO_RIGHT.pkl", tmp_path / "hand.npz")
    assert "the mirror image of the right one: there is no file of its own" in result.stdout


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("MANO_LEFT.pkl", (), "cannot be told from the left file alone"),
        (".", ("--fix-left", "perhaps"), "--fix-left perhaps: expected auto, true, false"),
        ("nowhere", (), "nowhere: cannot be read (No such file or directory)"),
    ],
)
def test_convert_refuses_what_does_not_fit(
    published: Path, tmp_path: Path, name: str, options: tuple[str, ...], message: str
) -> None:
    result = aih("hand", "convert", published / name, tmp_path / "hand.npz", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_convert_writes_over_a_hand_and_over_nothing_else(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "hand.npz"
    for _ in range(2):
        assert aih("hand", "convert", published / "MANO_RIGHT.pkl", out).exit_code == 0
    other = tmp_path / "other.npz"
    np.savez(other, numbers=np.ones(3))
    before = other.read_bytes()
    for path, code in ((other, 1), (tmp_path / "hand.pkl", 2), (tmp_path, 2)):
        assert aih("hand", "convert", published / "MANO_RIGHT.pkl", path).exit_code == code
    assert other.read_bytes() == before


def test_check_and_convert_of_a_broken_file_end_with_1_and_one_line(published: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "MANO_RIGHT.pkl"
    spoilt.write_bytes((published / "MANO_RIGHT.pkl").read_bytes()[:-100])
    assert aih("hand", "check", spoilt).exit_code == 1
    result = aih("hand", "convert", spoilt, tmp_path / "hand.npz")
    assert result.exit_code == 1
    assert "not a readable pickle" in result.stderr
    assert not (tmp_path / "hand.npz").exists()


def test_export_without_a_hand_writes_the_open_one(tmp_path: Path) -> None:
    assert aih("hand", "export", tmp_path).exit_code == 0
    content = pickle.loads((tmp_path / "MANO_RIGHT.pkl").read_bytes())
    assert (content["v_template"] == open_hand().v_template).all()
    result = aih("hand", "export", tmp_path / "no", "--hand", tmp_path / "nowhere.npz")
    assert result.exit_code == 2
    assert "Make one with `aih hand convert`" in result.stderr
