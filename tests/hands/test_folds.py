"""Folds: what flexion does to creases, at every point of the drawn surface."""

import time
from functools import cache

import numpy as np
import pytest

from aih_builder.hands.anatomy import FLEXION, pose_from_angles
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import FINGERS
from aih_builder.hands.folds import MOST_GAIN, Folds, build_folds
from aih_builder.hands.landmarks import anatomy
from aih_builder.hands.lending import lend
from aih_builder.hands.surface import HandSurface, build_surface
from tests.hands.mano_pickles import foreign_hand

HANDS = {
    "open right": open_hand,
    "open left": lambda: open_hand().mirrored(),
    "foreign": lambda: lend(open_hand(), foreign_hand()).arrays,
}


@cache
def folded(name: str) -> tuple[HandArrays, HandSurface, Folds]:
    arrays = HANDS[name]()
    surface = build_surface(arrays)
    return arrays, surface, build_folds(arrays, surface)


def pose(arrays: HandArrays, flexion_deg: dict[int, float]) -> np.ndarray:
    angles = np.zeros((16, 3))
    for joint, degrees in flexion_deg.items():
        angles[joint, FLEXION] = np.deg2rad(degrees)
    return np.concatenate([np.zeros(3), pose_from_angles(arrays, angles)])


def near(arrays: HandArrays, surface: HandSurface, joint: int, back: bool) -> np.ndarray:
    """Render vertices on the back, or on the palm side, within 5 mm along the bone and 4 mm across."""
    marks, posed = anatomy(arrays), surface.pose(arrays.v_template)
    offset = (posed.positions_m - marks.wrist_m) @ marks.to_palm.T - marks.joints[joint]
    facing = (posed.normals @ marks.to_palm.T) @ marks.dorsal[joint] / np.linalg.norm(marks.to_palm[0])
    close = (np.abs(offset @ marks.bones[joint]) < 5) & (np.abs(offset @ marks.lateral[joint]) < 5)
    return np.flatnonzero(close & ((facing > 0.75) if back else (facing < -0.75)))


@pytest.mark.parametrize("name", HANDS)
def test_a_flat_hand_has_its_creases_as_they_were_drawn(name: str) -> None:
    arrays, _, folds = folded(name)
    assert np.abs(folds.gain(pose(arrays, {})) - 1).max() < 1e-12


@pytest.mark.parametrize("name", HANDS)
@pytest.mark.parametrize("finger", ["index", "middle", "ring", "little"])
def test_bending_a_joint_smooths_its_back_and_deepens_its_palm_side(name: str, finger: str) -> None:
    arrays, surface, folds = folded(name)
    joint = FINGERS[finger] + 1
    gain = folds.gain(pose(arrays, {joint: 65}))
    assert gain[near(arrays, surface, joint, back=True)].max() < 0.45
    assert gain[near(arrays, surface, joint, back=True)].min() < 0.05
    assert gain[near(arrays, surface, joint, back=False)].min() > 1.6
    assert gain[near(arrays, surface, joint, back=False)].max() == pytest.approx(2.1, abs=0.15)


@pytest.mark.parametrize("name", HANDS)
def test_a_bent_finger_leaves_the_others_as_they_are(name: str) -> None:
    arrays, _, folds = folded(name)
    index, little = FINGERS["index"], FINGERS["little"]
    gain = folds.gain(pose(arrays, {index + 1: 80, index + 2: 50}))
    weights = np.zeros((len(folds.starts) - 1, 16))
    weights[: len(arrays.weights)] = arrays.weights
    others = weights[folds.of_render][:, little : little + 3].sum(axis=1) > 0.6
    assert others.sum() > 30
    assert np.abs(gain[others] - 1).max() < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_gains_stay_in_their_range_and_both_hands_fold_alike(seed: int) -> None:
    right, left = folded("open right"), folded("open left")
    flexion = dict(enumerate(np.random.default_rng(seed).uniform(-40, 110, 16)))
    gains = [folds.gain(pose(arrays, flexion)) for arrays, _, folds in (right, left)]
    for gain in gains:
        assert gain.min() >= 0
        assert gain.max() <= MOST_GAIN
    # The mirrored faces list the same render vertices in another order.
    assert np.sort(gains[0]) == pytest.approx(np.sort(gains[1]), abs=1e-9)


def test_a_pose_takes_less_than_a_tenth_of_a_millisecond() -> None:
    arrays, _, folds = folded("open right")
    flexed = pose(arrays, {2: 40.0, 5: 70.0})
    folds.gain(flexed)
    took = []
    for _ in range(50):
        start = time.perf_counter()
        folds.gain(flexed)
        took.append(time.perf_counter() - start)
    assert min(took) < 1e-4
