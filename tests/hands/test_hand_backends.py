import builtins
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aih_builder.errors import ConfigError, SampleError
from aih_builder.geometry import random_rotation
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import HAND_BACKENDS, hand_pair
from aih_builder.hands.conventions import MIRROR, N_VERTICES, RIGHT, mirror_pose
from aih_builder.hands.model import HandModel, PosedHand, _add_weighted
from aih_builder.sample import SIDES

ARRAYS = open_hand()
# manopth cannot be installed from PyPI: test_manopth_backend.py holds it to the same.
PAIRS = {name: hand_pair(ARRAYS, name) for name in HAND_BACKENDS if name != "manopth"}
SEEDS = st.integers(0, 2**32 - 1)
BACKENDS = st.sampled_from(sorted(PAIRS))


def random_input(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose with any root, betas and translation; fingers as the prior has them, exaggerated."""
    rng = np.random.default_rng(seed)
    fingers = 0.5 * rng.normal(size=45)
    root = rng.normal(size=3)
    root *= rng.uniform(0, 3.1) / np.linalg.norm(root)
    return np.concatenate([root, fingers]), rng.normal(size=10), rng.normal(size=3)


def furthest_m(a: PosedHand, b: PosedHand) -> float:
    return float(max(np.abs(a.vertices_m - b.vertices_m).max(), np.abs(a.joints_m - b.joints_m).max()))


@settings(max_examples=50)
@given(seed=SEEDS, side=st.sampled_from([0, 1]))
def test_every_backend_equals_the_native_one_to_a_micrometre(seed: int, side: int) -> None:
    expected = PAIRS["native"][side].pose(*random_input(seed))
    for name, pair in PAIRS.items():
        assert furthest_m(pair[side].pose(*random_input(seed)), expected) < 1e-6, name


@settings(max_examples=50)
@given(seed=SEEDS, backend=BACKENDS)
def test_the_left_hand_is_the_mirrored_right_hand(seed: int, backend: str) -> None:
    right, left = PAIRS[backend]
    pose_rad, betas, trans_m = random_input(seed)
    mirrored = left.pose(mirror_pose(pose_rad), betas, trans_m * MIRROR)
    original = right.pose(pose_rad, betas, trans_m)
    assert np.abs(mirrored.vertices_m * MIRROR - original.vertices_m).max() < 1e-6
    assert np.abs(mirrored.joints_m * MIRROR - original.joints_m).max() < 1e-6


@settings(max_examples=50)
@given(seed=SEEDS, backend=BACKENDS, side=st.sampled_from([0, 1]))
def test_a_moved_hand_is_the_hand_moved_rigidly(seed: int, backend: str, side: int) -> None:
    model = PAIRS[backend][side]
    pose_rad, betas, trans_m = random_input(seed)
    rng = np.random.default_rng(seed)
    rotation, shift_m = random_rotation(rng), rng.normal(size=3)
    moved_pose_rad, moved_trans_m = model.moved(pose_rad, betas, trans_m, rotation, shift_m)
    before, after = model.pose(pose_rad, betas, trans_m), model.pose(moved_pose_rad, betas, moved_trans_m)
    # smplx adds 1e-8 to every rotation vector before it takes the norm.
    tolerance_m = 1e-12 if backend == "native" else 1e-7
    assert np.abs(before.vertices_m @ rotation.T + shift_m - after.vertices_m).max() < tolerance_m
    assert np.abs(before.joints_m @ rotation.T + shift_m - after.joints_m).max() < tolerance_m
    assert (moved_pose_rad[3:] == pose_rad[3:]).all()


@pytest.fixture(params=sorted(PAIRS))
def right(request: pytest.FixtureRequest) -> HandModel:
    return PAIRS[request.param][RIGHT]


def test_a_pair_is_right_then_left_whichever_hand_it_is_made_of() -> None:
    for arrays in (ARRAYS, ARRAYS.mirrored()):
        pair = hand_pair(arrays, "native")
        assert tuple(model.side for model in pair) == SIDES
        assert pair[RIGHT].arrays.digest() == ARRAYS.digest()


def test_shapes_are_those_of_the_contract(right: HandModel) -> None:
    posed = right.pose(*random_input(0))
    assert posed.vertices_m.shape == (N_VERTICES, 3)
    assert posed.joints_m.shape == (21, 3)
    assert posed.vertices_m.dtype == posed.joints_m.dtype == np.float64


def test_tips_are_vertices_of_the_mesh(right: HandModel) -> None:
    posed = right.pose(*random_input(1))
    assert (posed.joints_m[[4, 8, 12, 16, 20]] == posed.vertices_m[right.arrays.tip_vertices]).all()


def test_the_root_turns_about_the_rest_wrist(right: HandModel) -> None:
    pose_rad, betas, _ = random_input(2)
    wrist_m = right.pose(pose_rad, betas, np.zeros(3)).joints_m[0]
    assert np.abs(wrist_m - right.rest_wrist_m(betas)).max() < 1e-7


def test_minus_the_mean_pose_gives_the_template(right: HandModel) -> None:
    pose_rad = np.concatenate([np.zeros(3), -right.arrays.hands_mean])
    posed = right.pose(pose_rad, np.zeros(10), np.zeros(3))
    assert np.abs(posed.vertices_m - right.arrays.v_template).max() < 1e-7


def test_the_same_input_gives_the_same_bytes(right: HandModel) -> None:
    first, second = (right.pose(*random_input(3)) for _ in range(2))
    assert first.vertices_m.tobytes() == second.vertices_m.tobytes()
    assert first.joints_m.tobytes() == second.joints_m.tobytes()


def test_what_a_hand_was_posed_as_before_leaves_no_trace(right: HandModel) -> None:
    pose_rad, betas, trans_m = random_input(6)
    turned = np.concatenate([pose_rad[:3] + 0.5, pose_rad[3:]])
    other_pose, other_betas, _ = random_input(7)
    for before in (
        (turned, betas, trans_m),
        (other_pose, betas, trans_m),
        (pose_rad, other_betas, trans_m),
    ):
        right.pose(*before)
        again, fresh = right.pose(pose_rad, betas, trans_m), type(right)(right.arrays).pose(pose_rad, betas, trans_m)
        assert again.vertices_m.tobytes() == fresh.vertices_m.tobytes()
        assert again.joints_m.tobytes() == fresh.joints_m.tobytes()


@pytest.mark.parametrize("rows", [4, 5, 13])
def test_weighted_rows_are_added_in_their_order(rows: int) -> None:
    rng = np.random.default_rng(rows)
    directions, amounts, found = rng.normal(size=(rows, 50)), rng.normal(size=rows), rng.normal(size=50)
    expected = found.copy()
    for row, amount in zip(directions, amounts, strict=True):
        expected += row * amount
    _add_weighted(directions, amounts, found)
    assert np.array_equal(found, expected)


def test_input_stays_as_it_was(right: HandModel) -> None:
    given_arrays = random_input(4)
    right.pose(*given_arrays)
    assert all((a == b).all() for a, b in zip(given_arrays, random_input(4), strict=True))


@pytest.mark.parametrize(
    ("position", "spoil", "message"),
    [
        (0, lambda a: a[:45], r"pose_rad: expected shape \(48,\), got \(45,\)"),
        (1, lambda a: a[None], r"betas: expected shape \(10,\), got \(1, 10\)"),
        (2, lambda a: a * np.nan, "trans_m: holds NaN"),
    ],
)
def test_wrong_input_is_a_sample_error(right: HandModel, position: int, spoil: Callable, message: str) -> None:
    inputs = list(random_input(5))
    inputs[position] = spoil(inputs[position])
    with pytest.raises(SampleError, match=message):
        right.pose(*inputs)


def test_an_unknown_backend_is_a_config_error_that_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'manpth' is unknown.*manopth, native, smplx"):
        hand_pair(ARRAYS, "manpth")


def test_a_missing_library_is_a_config_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_smplx(name: str, *args: object, **kwargs: object) -> object:
        if name == "smplx":
            raise ModuleNotFoundError("No module named 'smplx'", name="smplx")
        return real_import(name, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(builtins, "__import__", no_smplx)
    with pytest.raises(ConfigError, match=r"needs smplx.*pip install aih-builder\[hands\]"):
        hand_pair(ARRAYS, "smplx")
