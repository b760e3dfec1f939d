import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import ARRAYS, load_hand_arrays, open_hand, save_hand_arrays
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.bringing import bring_hand
from aih_builder.hands.conventions import LEFT, MIRROR, RIGHT, mirror_pose
from aih_builder.hands.lending import bent_onto, lend, nearest
from aih_builder.hands.mano_file import export_hand
from aih_builder.hands.surface import build_surface
from tests.hands.mano_pickles import foreign_hand, published_left, write_pickle, write_published

FOREIGN = foreign_hand()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("mano"))


def test_a_hand_that_borrows_from_itself_gets_its_own_back() -> None:
    hand = open_hand()
    lent = lend(hand, replace(hand, dof_axes=np.zeros((16, 3, 3)), dof_limits_rad=np.zeros((16, 3, 2))))
    assert np.abs(lent.arrays.dof_axes - hand.dof_axes).max() < 1e-12
    assert (lent.arrays.dof_limits_rad == hand.dof_limits_rad).all()
    assert lent.greatest_mm < 1e-9
    assert np.abs(bent_onto(hand, hand) - hand.v_template).max() < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_the_skin_that_is_nearest_on_another_hand_is_that_of_the_same_place(seed: int) -> None:
    hand, rng = open_hand(), np.random.default_rng(seed)
    fingers = np.concatenate([rng.normal(size=3), 0.1 * rng.normal(size=45) - hand.hands_mean])
    vertices_m = hand_pair(hand, "native")[RIGHT].pose(fingers, rng.normal(size=10), rng.normal(size=3)).vertices_m
    other = replace(hand, v_template=vertices_m)
    found = nearest(vertices_m, bent_onto(hand, other)[hand.faces])
    away = 1e3 * np.linalg.norm(found.blend(hand.v_template, hand.faces) - hand.v_template, axis=1)
    assert np.median(away) < 1.5
    assert away.max() < 12  # across the bent wrist's rim, never another finger


def test_lent_axes_are_right_handed_and_follow_the_bones() -> None:
    axes = lend(open_hand(), FOREIGN).arrays.dof_axes[1:]
    assert np.abs(axes @ axes.transpose(0, 2, 1) - np.eye(3)).max() < 1e-12
    assert (np.linalg.det(axes) > 0).all()
    assert np.einsum("jka,jka->jk", axes, open_hand().dof_axes[1:]).min() > np.cos(np.deg2rad(10))


def test_published_files_give_a_hand_whose_left_is_mended_and_the_mirror_image(published: Path) -> None:
    brought = bring_hand(published)
    assert brought.told["left_shapedirs"] == "turned"
    assert brought.told["left_hand"] == "the mirror image of the right one"
    hand = brought.arrays
    assert hand.licence == "LicenseRef-MANO"
    assert (hand.shapedirs == FOREIGN.shapedirs).all()
    assert (hand.other_hand().shapedirs == FOREIGN.shapedirs * MIRROR[:, None]).all()
    assert (hand.faces == FOREIGN.faces).all()
    build_surface(hand)


def test_the_fault_stays_where_that_is_asked_for(published: Path) -> None:
    brought = bring_hand(published, fix_left=False)
    assert brought.told["left_shapedirs"] == "as they are"
    left = brought.arrays.other_hand()
    assert left.side == "left"
    assert (left.shapedirs == published_left(FOREIGN).shapedirs).all()
    assert brought.told["left_hand"].startswith("its own")
    assert brought.arrays.digest() != bring_hand(published).arrays.digest()
    assert hand_pair(brought.arrays, "native")[LEFT].arrays.digest() == left.digest()


def test_a_pair_of_its_own_is_kept_through_a_file_and_back_to_pickles(published: Path, tmp_path: Path) -> None:
    hand = bring_hand(published, fix_left=False).arrays
    save_hand_arrays(hand, tmp_path / "hand.npz")
    again = bring_hand(tmp_path / "hand.npz").arrays
    assert again.digest() == hand.digest()
    assert again.licence == hand.licence
    assert again.uv_digest() == hand.uv_digest() == again.other_hand().mirrored().uv_digest()
    export_hand(tmp_path / "back", again)
    assert bring_hand(tmp_path / "back", fix_left=False).arrays.digest() == hand.digest()
    assert again.other_hand().other_hand().digest() == again.digest()


@pytest.mark.parametrize(
    ("side", "fix_left", "mended"), [("right", None, True), ("left", True, True), ("left", False, False)]
)
def test_a_side_that_is_missing_is_the_mirror_image(
    published: Path, side: str, fix_left: bool | None, mended: bool
) -> None:
    brought = bring_hand(published / f"MANO_{side.upper()}.pkl", fix_left)
    missing = "left" if side == "right" else "right"
    assert brought.told[f"{missing}_hand"].startswith(f"the mirror image of the {side} one: there is no file")
    assert brought.arrays.side == "right"
    assert brought.arrays.other is None
    assert (np.abs(brought.arrays.shapedirs - FOREIGN.shapedirs).max() < 1e-12) == mended
    pair = hand_pair(brought.arrays, "native")
    pose_rad, betas = np.random.default_rng(0).normal(size=48), np.ones(10)
    right, left = (
        model.pose(pose, betas, np.zeros(3)).vertices_m
        for model, pose in zip(pair, (pose_rad, mirror_pose(pose_rad)), strict=True)
    )
    assert np.abs(right - left * MIRROR).max() < 1e-12


@pytest.mark.parametrize(
    ("name", "fix_left", "message"),
    [
        ("MANO_LEFT.pkl", None, "cannot be told from the left file alone.*fix_left"),
        ("MANO_RIGHT.pkl", True, "fix_left is for a left hand's file"),
        ("nowhere", None, "nowhere: cannot be read"),
        ("nowhere.npz", None, "is not a file. Make one with `aih hand convert`"),
        ("hand.npz", True, "fix_left is for MANO's pickles"),
    ],
)
def test_what_does_not_fit_is_a_config_error(published: Path, name: str, fix_left: bool | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bring_hand(published / name, fix_left)


def test_a_left_hand_that_was_fixed_is_not_turned_again(tmp_path: Path) -> None:
    for hand in (FOREIGN, FOREIGN.mirrored()):
        write_pickle(hand, tmp_path / f"MANO_{hand.side.upper()}.pkl")
    assert bring_hand(tmp_path).told["left_shapedirs"] == "as they are"
    with pytest.raises(ConfigError, match="was fixed before"):
        bring_hand(tmp_path, fix_left=True)


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    write_pickle(FOREIGN, tmp_path / "MANO_LEFT.pkl")
    with pytest.raises(AssetError, match=r"holds a right hand.*`aih hand check"):
        bring_hand(tmp_path)


def test_a_file_whose_name_tells_no_side_is_taken_by_its_geometry(tmp_path: Path) -> None:
    path = write_pickle(FOREIGN.mirrored(), tmp_path / "model.pkl")
    assert bring_hand(path, fix_left=False).told["right_hand"].startswith("the mirror image of the left one")
    straight = write_pickle(FOREIGN, tmp_path / "straight.pkl", lambda c: c.update(hands_mean=np.zeros(45)))
    with pytest.raises(ConfigError, match="Put LEFT or RIGHT into the file's name"):
        bring_hand(straight)


def test_the_open_hands_own_files_give_the_open_hand(tmp_path: Path) -> None:
    export_hand(tmp_path, open_hand())
    hand = bring_hand(tmp_path).arrays
    assert hand.digest() == open_hand().digest()
    assert (hand.licence, hand.other) == ("", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v_template": lambda a: 1000 * a}, "millimetres"),
        ({"weights": lambda a: a[:, :15]}, r"weights has shape \(778, 15\)"),
        ({"posedirs": lambda a: a * np.nan}, "posedirs of the right hand is float64, expected finite numbers"),
        ({"uv_faces": lambda a: a + 5000}, "uv_faces holds int64 from"),
        ({"tip_vertices": lambda a: a[:4]}, r"tip_vertices has shape \(4,\), expected \(5,\)"),
        ({"dof_axes": lambda a: a[:15]}, r"dof_axes has shape \(15, 3, 3\)"),
    ],
)
def test_a_wrong_hand_file_is_refused(
    tmp_path: Path, changes: dict[str, Callable[[np.ndarray], np.ndarray]], message: str
) -> None:
    arrays = {name: getattr(FOREIGN, name) for name in ARRAYS}
    arrays |= {name: change(arrays[name]) for name, change in changes.items()}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    (tmp_path / "hand.npz").write_bytes(content.getvalue())
    with pytest.raises(AssetError, match=message):
        bring_hand(tmp_path / "hand.npz")


def test_a_prepared_folder_is_a_hand(tmp_path: Path) -> None:
    save_hand_arrays(FOREIGN, tmp_path / "hand.npz")
    assert bring_hand(tmp_path).arrays.digest() == bring_hand(tmp_path / "hand.npz").arrays.digest()


def test_a_hand_of_no_stated_licence_is_the_users(tmp_path: Path) -> None:
    save_hand_arrays(FOREIGN, tmp_path / "hand.npz")
    assert load_hand_arrays(tmp_path / "hand.npz").licence == ""
    assert bring_hand(tmp_path / "hand.npz").arrays.licence == "user"
    assert bring_hand(tmp_path / "hand.npz", licence="CC-BY-4.0").arrays.licence == "CC-BY-4.0"
