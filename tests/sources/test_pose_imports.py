from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.model import NativeHandModel
from aih_builder.sources.contact import close, measure_contact
from aih_builder.sources.pose_imports import ForeignFits, import_interhand, import_parameters, refitted
from aih_builder.sources.pose_library import PoseLibrary, hands_digest, shipped_library
from tests.interhand_capture import HANDS, fits, write_capture

OPEN = ForeignFits(fits_of="open")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("interhand"))


@pytest.fixture(scope="module")
def library(root: Path) -> PoseLibrary:
    return import_interhand(root, HANDS, OPEN)


def parameters(count: int = 3, **changes: Any) -> dict[str, Any]:
    shipped = shipped_library()
    content: dict[str, Any] = {
        f"{side}_{name}": getattr(shipped, column)[:count, i]
        for i, side in enumerate(("right", "left"))
        for name, column in (("pose", "pose_rad"), ("betas", "betas"), ("trans", "trans_m"))
    }
    content.update(changes)
    return {key: value for key, value in content.items() if value is not None}


def saved(path: Path, content: dict[str, Any]) -> Path:
    np.savez(path, **content)
    return path


def test_a_capture_becomes_an_entry_for_each_time_step_with_a_good_fit(library: PoseLibrary) -> None:
    """120's left fit is 42 mm off and goes; 130's and 135's right ones are broken; 110 has one hand."""
    assert dict(zip(library.ids.tolist(), library.present.tolist(), strict=True)) == {
        "train-0-100": [True, True],
        "train-0-105": [True, True],
        "train-0-110": [True, False],
        "train-0-120": [True, False],
        "train-0-130": [False, True],
        "train-0-135": [False, True],
        "test-1-200": [True, True],
    }
    assert library.provenance["dropped"]["fit: more than 10 mm from the joints"] == 1
    assert library.provenance["dropped"]["fit: malformed"] == 2
    assert library.splits() == ["train"] * 6 + ["test"]
    assert set(library.family) == {"ROM03_RT_No_Occlusion", "ROM09_Interaction"}
    assert (library.hand, library.licence) == (hands_digest(HANDS), "CC-BY-NC-4.0")


def test_what_is_imported_is_measured_as_it_was_when_it_was_solved(library: PoseLibrary) -> None:
    """The capture's fits are shipped poses, moved by a metre."""
    shipped = shipped_library()
    np.testing.assert_allclose(library.penetration_mm[0], shipped.penetration_mm[7], atol=1e-3)
    np.testing.assert_allclose(library.self_penetration_mm[0], shipped.self_penetration_mm[7], atol=1e-3)
    surfaces = [close(hand.arrays.faces) for hand in HANDS]
    for row in np.flatnonzero(library.present.all(axis=1)):
        meshes = [
            hand.pose(library.pose_rad[row, i], library.betas[row, i], library.trans_m[row, i]).vertices_m
            for i, hand in enumerate(HANDS)
        ]
        contact = measure_contact(meshes[0], meshes[1], surfaces[0], surfaces[1])
        assert library.penetration_mm[row] == np.float32(contact.penetration_mm)
        assert library.contact_fraction[row] == np.float32(contact.contact_fraction)


def test_fits_of_mano_are_told_from_the_open_hand_s_and_not_judged_on_it(root: Path) -> None:
    library = import_interhand(root, HANDS, ForeignFits())
    assert (library.hand, library.licence) == ("mano", "CC-BY-NC-4.0 AND LicenseRef-MANO")
    assert library.provenance["fit_error_checked"] is False
    assert library.present[library.ids.tolist().index("train-0-120")].tolist() == [True, True]


def test_every_second_frame_can_be_taken(root: Path) -> None:
    library = import_interhand(root, HANDS, ForeignFits(fits_of="open", every=2))
    assert library.ids.tolist() == ["train-0-100", "train-0-110", "train-0-130", "test-1-200"]


def test_a_folder_that_is_no_interhand_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no annotations/train, val or test"):
        import_interhand(tmp_path, HANDS, OPEN)


def test_parameters_come_back_as_they_were_given(tmp_path: Path) -> None:
    content = parameters(present=np.array([[1, 1], [1, 0], [1, 1]]), family=np.array(["a", "", "b"]))
    library = import_parameters(saved(tmp_path / "mine.npz", content), HANDS, OPEN)
    assert library.present.tolist() == [[True, True], [True, False], [True, True]]
    assert library.family.tolist() == ["a", "parameters", "b"]
    assert library.ids.tolist() == ["mine-000000", "mine-000001", "mine-000002"]
    shipped = shipped_library()
    np.testing.assert_array_equal(library.pose_rad[0], shipped.pose_rad[0])
    np.testing.assert_array_equal(library.trans_m[1, 0], shipped.trans_m[1, 0])
    assert not library.pose_rad[1, 1].any()
    assert library.penetration_mm[0] == shipped.penetration_mm[0]
    assert library.penetration_mm[1] == 0


def test_equal_poses_of_a_file_share_a_cluster_and_so_a_split(tmp_path: Path) -> None:
    content = {name: np.repeat(values, 10, axis=0) for name, values in parameters(count=4).items()}
    library = import_parameters(saved(tmp_path / "video.npz", content), HANDS, OPEN)
    assert library.cluster.tolist() == [f"video-{10 * (k // 10):06d}" for k in range(40)]
    assert library.provenance["cluster_radius_mm"] == 8.0
    content["present"] = np.tile([True, False], (40, 1))
    singles = import_parameters(saved(tmp_path / "hands.npz", content), HANDS, OPEN)
    assert len(set(singles.cluster)) == 4


def test_ids_that_stand_twice_are_refused_by_the_file_s_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "mine.npz", parameters(ids=np.array(["a", "a", "b"])))
    with pytest.raises(AssetError, match=r"mine\.npz: two entries have the id 'a'"):
        import_parameters(path, HANDS, OPEN)


def test_fits_of_a_named_hand_belong_to_it_and_are_judged(root: Path, tmp_path: Path) -> None:
    """The capture's fits, said to be of a larger hand: its joints are far from the annotated ones."""
    arrays = HANDS[0].arrays
    larger = replace(arrays, v_template=1.3 * arrays.v_template)
    hands = hand_pair(larger, "native")
    judged = import_interhand(root, hands, ForeignFits(fits_of="hand"))
    assert judged.ids.tolist() == ["train-0-135", "test-1-200"]  # whose left joints nobody annotated
    assert judged.present.tolist() == [[False, True]] * 2
    path = saved(tmp_path / "mine.npz", parameters())
    library = import_parameters(path, hands, ForeignFits(fits_of="hand"))
    assert library.hand == hands_digest(hands)
    with pytest.raises(ConfigError, match="fits of the open hand"):
        import_parameters(path, hands, OPEN)


def test_one_side_alone_makes_single_hands(tmp_path: Path) -> None:
    content = {key: value for key, value in parameters().items() if key.startswith("left")}
    library = import_parameters(saved(tmp_path / "left.npz", content), HANDS, OPEN)
    assert library.present.tolist() == [[False, True]] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left_pose": np.zeros((3, 45))}, r"left_pose is float64 \(3, 45\), expected \(3, 48\) finite numbers"),
        ({"right_betas": np.full((3, 10), np.nan)}, "right_betas .* finite numbers"),
        ({"right_trans": np.full((3, 3), 800.0)}, "divide millimetres by 1000"),
        ({"left_trans": None}, "Expected right_pose, right_betas and right_trans"),
        ({"poses": np.zeros(3)}, "at most present, family, split, ids"),
        ({"split": np.array(["train", "dev", "test"])}, "split holds 'dev'"),
        ({"family": np.zeros(3)}, r"family is float64 \(3,\), expected text"),
        ({"present": np.zeros((3, 2))}, "no pose is left"),
        ({"family": np.array([None, "a", "b"], dtype=object)}, "without pickled objects"),
    ],
)
def test_parameters_of_another_kind_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AssetError, match=message):
        import_parameters(saved(tmp_path / "x.npz", parameters(**changes)), HANDS, OPEN)


def test_betas_of_the_published_left_hand_are_refitted_for_the_fixed_one(tmp_path: Path) -> None:
    """The nearest shape in the least squares: no step along any beta comes nearer; the wrist stays where it was."""
    left = HANDS[1].arrays
    betas = np.array(fits(5)["left"]["shape"])
    found, shift_m, error_mm = refitted(left, betas)
    published = left.shapedirs * np.array([-1.0, 1.0, 1.0])[None, :, None]
    wanted_m = left.v_template + published @ betas
    made_m = left.v_template + left.shapedirs @ found
    for direction in np.moveaxis(left.shapedirs, 2, 0):
        assert abs(((wanted_m - made_m) * direction).sum()) < 1e-9
    wrists_m = left.J_regressor[0] @ wanted_m, left.J_regressor[0] @ made_m + shift_m
    np.testing.assert_allclose(*wrists_m, atol=1e-12)
    away_mm = 1000 * np.linalg.norm(wanted_m - made_m - shift_m, axis=1)
    assert error_mm == pytest.approx(away_mm.max())

    path = saved(tmp_path / "published.npz", parameters())
    library = import_parameters(path, HANDS, ForeignFits("open", "as-published"))
    shipped = shipped_library()
    np.testing.assert_array_equal(library.betas[:, 0], shipped.betas[:3, 0])
    assert (library.betas[:, 1] != shipped.betas[:3, 1]).any()
    assert library.provenance["left_refit_error_mm"] > 0
    arrays = left
    model = NativeHandModel(arrays)
    for row in range(3):  # the wrist joint is where the published hand's was
        rest = arrays.v_template + published @ shipped.betas[row, 1].astype(np.float64)
        wrist_m = arrays.J_regressor[0] @ rest + shipped.trans_m[row, 1]
        now_m = model.pose(library.pose_rad[row, 1], library.betas[row, 1], library.trans_m[row, 1]).joints_m[0]
        np.testing.assert_allclose(now_m, wrist_m, atol=1e-6)
