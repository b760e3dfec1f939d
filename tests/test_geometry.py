import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from aih_builder.geometry import project, random_rotation, rotation_matrix, rotation_vector, transform

VECTORS = arrays(np.float64, 3, elements=st.floats(-10, 10))


@given(VECTORS)
def test_rotation_matrix_is_scipys(rotvec: np.ndarray) -> None:
    assert np.allclose(rotation_matrix(rotvec), Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-12)


@given(VECTORS)
def test_rotation_vector_undoes_rotation_matrix(rotvec: np.ndarray) -> None:
    matrix = rotation_matrix(rotvec)
    back = rotation_vector(matrix)
    assert np.linalg.norm(back) <= np.pi + 1e-9
    assert np.allclose(rotation_matrix(back), matrix, atol=1e-9)


@pytest.mark.parametrize("axis", np.eye(3))
def test_half_turns_survive(axis: np.ndarray) -> None:
    back = rotation_vector(rotation_matrix(np.pi * axis))
    assert np.allclose(np.abs(back), np.pi * axis, atol=1e-6)


def test_random_rotations_are_rotations_and_uniform() -> None:
    rng = np.random.default_rng(0)
    rotations = np.array([random_rotation(rng) for _ in range(4000)])
    assert np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(rotations), 1)
    assert np.abs(rotations.mean(axis=0)).max() < 0.05  # each axis goes everywhere alike
    angles = np.arccos((np.trace(rotations, axis1=1, axis2=2) - 1) / 2)
    assert angles.mean() == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.03)  # of the uniform distribution


def test_transform_is_the_matrix_product() -> None:
    rng = np.random.default_rng(1)
    points, rotation, shift = rng.normal(size=(4, 5, 3)), random_rotation(rng), rng.normal(size=3)
    assert np.allclose(transform(points, rotation, shift), points @ rotation.T + shift)


def test_projection_by_hand() -> None:
    """A point 0.1 m right and 0.2 m below the axis, 2 m away, through f = 100 px, centre (10, 20)."""
    K_px = np.array([[100.0, 0, 10], [0, 100, 20], [0, 0, 1]])
    assert np.allclose(project(np.array([0.1, 0.2, 2.0]), K_px), [15.0, 30.0])
