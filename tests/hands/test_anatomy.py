import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.geometry import rotation_matrix
from aih_builder.hands.anatomy import ABDUCTION, FLEXION, angles_from_pose, pose_from_angles, within_limits
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import FINGERS, N_JOINTS, mirror_pose
from aih_builder.hands.model import NativeHandModel

RIGHT = open_hand()
HANDS = {"right": RIGHT, "left": RIGHT.mirrored()}


@pytest.fixture(params=sorted(HANDS))
def arrays(request: pytest.FixtureRequest) -> HandArrays:
    return HANDS[request.param]


def angles_within_limits(arrays: HandArrays, seed: int) -> np.ndarray:
    low, high = arrays.dof_limits_rad[..., 0], arrays.dof_limits_rad[..., 1]
    return low + (high - low) * np.random.default_rng(seed).random((N_JOINTS, 3))


@given(seed=st.integers(0, 2**32))
def test_a_joint_turns_about_flexion_then_abduction_then_twist(seed: int) -> None:
    angles = angles_within_limits(RIGHT, seed)
    joints = (pose_from_angles(RIGHT, angles) + RIGHT.hands_mean).reshape(-1, 3)
    for j in range(1, N_JOINTS):
        parts = [rotation_matrix(axis * angle) for axis, angle in zip(RIGHT.dof_axes[j], angles[j], strict=True)]
        assert np.abs(rotation_matrix(joints[j - 1]) - parts[0] @ parts[1] @ parts[2]).max() < 1e-12


@given(seed=st.integers(0, 2**32), side=st.sampled_from(sorted(HANDS)))
def test_angles_come_back_from_the_stored_pose(seed: int, side: str) -> None:
    arrays = HANDS[side]
    angles = angles_within_limits(arrays, seed)
    angles[0] = 0.0
    assert np.abs(angles_from_pose(arrays, pose_from_angles(arrays, angles)) - angles).max() < 1e-9


def test_the_rest_pose_is_the_negative_mean(arrays: HandArrays) -> None:
    assert (pose_from_angles(arrays, np.zeros((N_JOINTS, 3))) == -arrays.hands_mean).all()


@given(seed=st.integers(0, 2**32))
def test_the_same_angles_give_mirrored_hands(seed: int) -> None:
    angles = angles_within_limits(RIGHT, seed)
    mirrored = mirror_pose(pose_from_angles(RIGHT, angles))
    assert np.abs(mirrored - pose_from_angles(HANDS["left"], angles)).max() < 1e-12


def tips_m(arrays: HandArrays, angles: np.ndarray) -> np.ndarray:
    pose_rad = np.concatenate([np.zeros(3), pose_from_angles(arrays, angles)])
    posed = NativeHandModel(arrays).pose(pose_rad, np.zeros(10), np.zeros(3))
    return posed.joints_m[[4, 8, 12, 16, 20]]


def test_flexion_brings_fingertips_to_the_palm(arrays: HandArrays) -> None:
    rest = tips_m(arrays, np.zeros((N_JOINTS, 3)))
    for tip, base in enumerate(FINGERS.values()):
        angles = np.zeros((N_JOINTS, 3))
        angles[base : base + 3, FLEXION] = 0.4
        palm = np.einsum("jv,vc->jc", arrays.J_regressor, arrays.v_template)[[0, 1, 4, 7, 10]].mean(axis=0)
        moved = tips_m(arrays, angles)[tip]
        assert np.linalg.norm(moved - palm) < np.linalg.norm(rest[tip] - palm) - 0.005


def test_abduction_lifts_the_thumb_off_the_palm(arrays: HandArrays) -> None:
    angles = np.zeros((N_JOINTS, 3))
    angles[FINGERS["thumb"], ABDUCTION] = 0.4
    joints_m = np.einsum("jv,vc->jc", arrays.J_regressor, arrays.v_template)
    flexion_axis = arrays.dof_axes[[1, 4, 7, 10], FLEXION].sum(axis=0)
    palmar = np.cross(flexion_axis, joints_m[FINGERS["middle"]] - joints_m[0])
    lift = tips_m(arrays, angles)[0] - tips_m(arrays, np.zeros((N_JOINTS, 3)))[0]
    assert lift @ palmar / np.linalg.norm(palmar) > 0.005


@given(seed=st.integers(0, 2**32), joint=st.integers(1, N_JOINTS - 1), axis=st.integers(0, 2))
def test_one_angle_beyond_its_limit_is_noticed(seed: int, joint: int, axis: int) -> None:
    angles = angles_within_limits(RIGHT, seed)
    assert within_limits(RIGHT, angles)
    angles[joint, axis] = RIGHT.dof_limits_rad[joint, axis, seed % 2] + (0.01 if seed % 2 else -0.01)
    assert not within_limits(RIGHT, angles)
