import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aih_builder.errors import ConfigError
from aih_builder.geometry import random_rotation
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.checking import check_file, check_hands
from aih_builder.hands.mano_checks import side_of
from tests.hands.mano_pickles import content_of, foreign_hand, published_left, write_pickle, write_published

RIGHT = foreign_hand()
HANDS = {"right": RIGHT, "left": RIGHT.mirrored()}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("mano"))


def arrays_of(hand: HandArrays, tmp_path: Path) -> dict[str, np.ndarray]:
    content = content_of(hand, tmp_path / "hand.pkl")
    return content | {"J_regressor": content["J_regressor"].toarray()}


def test_published_files_are_sound_and_their_left_hand_has_the_fault(published: Path) -> None:
    checked = check_hands(published)
    assert checked.wrong == []
    assert checked.left_shapedirs == "as-published"
    assert [(file.side, file.vertices, file.faces, file.joints, file.betas) for file in checked.files] == [
        ("right", 778, 1538, 16, 10),
        ("left", 778, 1538, 16, 10),
    ]
    for file in checked.files:
        assert file.finger_means
        assert file.length_m == pytest.approx(np.ptp(RIGHT.v_template, axis=0).max())
        assert file.volume_ml is not None
        assert 200 < file.volume_ml < 400


def test_a_fixed_pair_is_told_from_a_published_one(tmp_path: Path) -> None:
    for side, hand in HANDS.items():
        write_pickle(hand, tmp_path / f"MANO_{side.upper()}.pkl")
    assert check_hands(tmp_path).left_shapedirs == "fixed"


@pytest.mark.parametrize("name", ["MANO_RIGHT.pkl", "MANO_LEFT.pkl"])
def test_one_file_alone_does_not_tell_whether_the_left_hand_has_the_fault(published: Path, name: str) -> None:
    checked = check_hands(published / name)
    assert checked.left_shapedirs is None
    assert checked.wrong == []


@pytest.mark.parametrize(
    "hand", [*HANDS.values(), open_hand(), published_left(RIGHT)], ids=["R", "L", "open R", "pub L"]
)
@pytest.mark.parametrize("seed", range(3))
def test_the_side_is_told_however_the_hand_lies_and_whatever_its_unit(
    tmp_path: Path, hand: HandArrays, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rotation = random_rotation(rng)
    arrays = arrays_of(hand, tmp_path)
    # The mean pose turns along, so that it bends the same fingers the same way.
    turns = arrays["hands_mean"].reshape(-1, 3) @ rotation.T
    moved = {"v_template": 1000 * arrays["v_template"] @ rotation.T + rng.normal(size=3), "hands_mean": turns.ravel()}
    assert side_of(arrays) == hand.side
    assert side_of(arrays | moved) == hand.side


def test_a_hand_without_a_mean_pose_has_no_side_but_that_of_its_name(tmp_path: Path) -> None:
    path = write_pickle(RIGHT, tmp_path / "MANO_LEFT.pkl", lambda c: c.update(hands_mean=np.zeros(45)))
    file = check_file(path)
    assert (file.side, file.named, file.finger_means, file.wrong) == (None, "left", False, [])


def test_swapped_files_are_told(tmp_path: Path) -> None:
    write_pickle(HANDS["left"], tmp_path / "MANO_RIGHT.pkl")
    write_pickle(HANDS["right"], tmp_path / "MANO_LEFT.pkl")
    wrong = check_hands(tmp_path).wrong
    assert len(wrong) == 2
    assert "MANO_RIGHT.pkl: its name says right hand, it holds a left hand" in wrong[0]
    assert "MANO_LEFT.pkl: its name says left hand, it holds a right hand" in wrong[1]


def test_a_mesh_mirrored_without_its_faces_is_told(tmp_path: Path) -> None:
    mirrored = replace(HANDS["left"], faces=RIGHT.faces)
    (text,) = check_file(write_pickle(mirrored, tmp_path / "MANO_LEFT.pkl")).wrong
    assert text.startswith("its faces look inward")


def nan(content: dict) -> None:
    content["posedirs"][7, 1, 3] = np.nan


def millimetres(content: dict) -> None:
    for key in ("v_template", "shapedirs", "posedirs"):
        content[key] *= 1000


def wrong_shape(content: dict) -> None:
    content["shapedirs"] = content["shapedirs"][:, :, :9]


def two_things(content: dict) -> None:
    nan(content)
    millimetres(content)


@pytest.mark.parametrize(
    ("spoil", "texts"),
    [
        (nan, ["posedirs holds NaN"]),
        (millimetres, ["the hand is 225.5 long, expected 0.08 to 0.5 m. These look like millimetres"]),
        (wrong_shape, ["shapedirs has shape (778, 3, 9), expected (778, 3, 10)"]),
        (lambda content: content.pop("weights"), ["lacks weights"]),
        (lambda content: content.update(weights="none"), ["weights: it is a str, expected an array"]),
        (two_things, ["posedirs holds NaN", "the hand is 225.5 long"]),
    ],
    ids=["NaN", "millimetres", "shape", "missing", "text", "two"],
)
def test_each_thing_that_is_wrong_has_its_line(tmp_path: Path, spoil: Callable, texts: list[str]) -> None:
    wrong = check_file(write_pickle(RIGHT, tmp_path / "MANO_RIGHT.pkl", spoil)).wrong
    assert len(wrong) == len(texts)
    for line, text in zip(wrong, texts, strict=True):
        assert line.startswith(text)


def test_a_damaged_file_does_not_keep_the_other_from_being_checked(published: Path, tmp_path: Path) -> None:
    (tmp_path / "MANO_RIGHT.pkl").write_bytes((published / "MANO_RIGHT.pkl").read_bytes()[:9999])
    (tmp_path / "MANO_LEFT.pkl").write_bytes((published / "MANO_LEFT.pkl").read_bytes())
    checked = check_hands(tmp_path)
    assert [file.is_sound for file in checked.files] == [False, True]
    assert "MANO_RIGHT.pkl: not a readable pickle" in checked.wrong[0]


def test_a_path_with_spaces_and_letters_of_any_kind_is_read(published: Path, tmp_path: Path) -> None:
    folder = tmp_path / "meine Hände — 手"
    folder.mkdir()
    (folder / "MANO_RIGHT.pkl").write_bytes((published / "MANO_RIGHT.pkl").read_bytes())
    assert check_hands(folder).wrong == []


def test_what_is_no_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    loop = tmp_path / "MANO_RIGHT.pkl"
    loop.symlink_to(loop)
    os.mkfifo(tmp_path / "MANO_LEFT.pkl")
    right, left = check_hands(tmp_path).wrong
    assert "MANO_RIGHT.pkl: cannot be read (Too many levels of symbolic links)" in right
    assert "MANO_LEFT.pkl: is not a file" in left
    with pytest.raises(ConfigError, match="Too many levels of symbolic links"):
        check_hands(loop)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "MANO_RIGHT.pkl").open("wb") as file:
        file.truncate(2**40)
    (text,) = check_hands(tmp_path).wrong
    assert "has 1048576 MiB, a hand model 4" in text


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_path_without_files_is_a_config_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"No such file|holds no MANO_RIGHT\.pkl and no MANO_LEFT\.pkl"):
        check_hands(tmp_path / name)
