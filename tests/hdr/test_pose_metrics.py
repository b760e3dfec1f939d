import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from aih_builder.errors import ConfigError, SampleError
from aih_builder.geometry import random_rotation
from aih_builder.hdr.metrics import (
    PCK_THRESHOLDS_MM,
    PoseScore,
    auc,
    bone_length,
    bootstrap_interval,
    joint_errors_mm,
    pck_curve,
    procrustes_aligned,
    root_relative,
    with_bone_length,
    with_true_scale,
)

SEEDS = st.integers(0, 2**32 - 1)


def hands_mm(seed: int, *shape: int) -> np.ndarray:
    """Random joints (*shape, 21, 3), half a metre before the camera."""
    return np.random.default_rng(seed).normal(0, 40, (*shape, 21, 3)) + np.array([10, -20, 500])


def moved(joints: np.ndarray, seed: int) -> np.ndarray:
    """Joints under a random similarity."""
    rng = np.random.default_rng([seed, 1])
    return rng.uniform(0.01, 30) * joints @ random_rotation(rng).T + rng.normal(0, 300, 3)


@given(SEEDS)
def test_procrustes_undoes_any_rotation_scale_and_shift(seed: int) -> None:
    true = hands_mm(seed, 2)
    aligned = procrustes_aligned(np.stack([moved(true[0], seed), moved(true[1], seed + 1)]), true)
    np.testing.assert_allclose(aligned, true, atol=1e-6)


@given(SEEDS)
def test_no_alignment_leaves_less_squared_error_than_procrustes(seed: int) -> None:
    true, found = hands_mm(seed), hands_mm(seed + 1)
    least = (joint_errors_mm(procrustes_aligned(found, true), true) ** 2).sum()
    for other in (found, with_true_scale(found, true), moved(found, seed)):
        assert least <= (joint_errors_mm(other, true) ** 2).sum() + 1e-6


@given(SEEDS)
def test_procrustes_turns_as_scipy_does(seed: int) -> None:
    true, found = hands_mm(seed), hands_mm(seed + 1)
    to, away = true - true.mean(axis=0), found - found.mean(axis=0)
    turned = Rotation.align_vectors(to, away)[0].apply(away)
    expected = (turned * to).sum() / (turned**2).sum() * turned + true.mean(axis=0)
    np.testing.assert_allclose(procrustes_aligned(found, true), expected, atol=1e-6)


@given(SEEDS)
def test_procrustes_does_not_reflect(seed: int) -> None:
    true = hands_mm(seed)
    mirrored = true * [-1, 1, 1]
    assert joint_errors_mm(procrustes_aligned(mirrored, true), true).mean() > 1.0


def test_invalid_joints_do_not_steer_procrustes_and_are_moved_along() -> None:
    true = hands_mm(3)
    found, valid = moved(true, 3), np.ones(21, bool)
    valid[[4, 8]] = False
    broken = true.copy()
    broken[[4, 8]] = np.nan
    np.testing.assert_allclose(procrustes_aligned(found, broken, valid), true, atol=1e-6)


def test_procrustes_asks_for_three_valid_joints_apart() -> None:
    true, valid = hands_mm(1), np.zeros(21, bool)
    valid[:2] = True
    with pytest.raises(SampleError, match="2 valid joints, expected at least 3"):
        procrustes_aligned(true, true, valid)
    with pytest.raises(SampleError, match="all lie in one point"):
        procrustes_aligned(np.full((21, 3), 1.1), true)


@given(SEEDS, st.floats(0.01, 100.0))
def test_true_scale_undoes_scale_and_shift_exactly_and_keeps_a_turn(seed: int, scale: float) -> None:
    true = hands_mm(seed, 2)
    np.testing.assert_allclose(with_true_scale(scale * (true + np.array([5, 6, 7])), true), true, atol=1e-8)
    turned = true @ random_rotation(np.random.default_rng(seed)).T
    aligned = with_true_scale(turned, true)
    assert (joint_errors_mm(aligned, true)[:, 0] == 0).all()  # the wrist, exactly
    np.testing.assert_allclose(root_relative(aligned), root_relative(turned), atol=1e-8)
    np.testing.assert_allclose(bone_length(aligned), bone_length(true))


def test_a_hand_brought_to_scale_is_the_one_worked_out_by_hand() -> None:
    """Bones: found 0.5, true 80 mm: scale 160. Joint 12 is 1.25 above the wrist, so 200 mm; the true one is 30 off."""
    found, true = np.zeros((2, 21, 3))
    found[:] = [1.0, 2.0, 3.0]
    found[9], found[12] = [1.5, 2.0, 3.0], [1.0, 3.25, 3.0]
    true[:] = [10.0, 20.0, 500.0]
    true[9], true[12] = [10.0, 20.0, 580.0], [10.0, 250.0, 500.0]
    errors_mm = joint_errors_mm(with_true_scale(found, true), true)
    expected = np.zeros(21)
    expected[9], expected[12] = 80.0 * np.sqrt(2.0), 30.0
    np.testing.assert_allclose(errors_mm, expected, atol=1e-9)
    np.testing.assert_allclose(with_bone_length(found, 100.0)[12], [0.0, 250.0, 0.0])


def test_a_mean_bone_is_wrong_by_its_own_share_of_each_joint() -> None:
    true = hands_mm(5, 3)
    errors_mm = joint_errors_mm(with_bone_length(7.0 * true, 1.1 * bone_length(true)), root_relative(true))
    np.testing.assert_allclose(errors_mm, 0.1 * np.linalg.norm(root_relative(true), axis=-1), atol=1e-9)


def test_an_unknown_true_bone_is_refused_and_a_collapsed_hand_stays_finite() -> None:
    true = hands_mm(0, 4)
    with pytest.raises(SampleError, match="1 of 4 hands are not above 0"):
        with_true_scale(true, np.concatenate([true[:3], np.zeros((1, 21, 3))]))
    assert (joint_errors_mm(with_true_scale(np.zeros_like(true), true), true)[:, 0] == 0).all()
    with pytest.raises(SampleError, match="expected one shape"):
        joint_errors_mm(true[0], true)


def test_the_official_mean_and_the_pooled_one_differ_as_worked_out_by_hand() -> None:
    """Joint 0: 1, 3 (mean 2); joint 1: 10 alone; joint 2 never. By joints (2 + 10) / 2 = 6, pooled 14 / 3."""
    score = PoseScore(3)
    score.add(np.array([1.0, 10.0, np.nan]), np.array([True, True, False]))
    score.add(np.array([[3.0, np.inf, -1.0], [7.0, 7.0, 7.0]]), np.array([[True, False, False], [False] * 3]))
    assert score.official_mm() == 6.0
    assert score.pooled_mm() == pytest.approx(14 / 3)
    assert (score.samples, score.valid_joints) == (2, 3)
    np.testing.assert_equal(score.per_joint_mm(), [2.0, 10.0, np.nan])


@given(SEEDS)
def test_a_score_that_sums_up_equals_the_one_of_all_errors_at_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors_mm, valid = rng.choice([0.0, 10.0, 17.3, 50.0, 50.1, 400.0], (6, 21)), rng.random((6, 21)) < 0.6
    valid[0] = True
    score = PoseScore()
    for k in (slice(0, 1), slice(1, 4), slice(4, 6)):
        score.add(errors_mm[k], valid[k])
    means = [errors_mm[valid[:, j], j].mean() for j in range(21)]
    assert score.official_mm() == pytest.approx(np.mean(means))
    assert score.pooled_mm() == pytest.approx(errors_mm[valid].mean())
    naive = [(errors_mm[valid] <= t).mean() for t in range(51)]
    np.testing.assert_allclose(score.pck(), naive)
    np.testing.assert_allclose(pck_curve(errors_mm[valid]), naive)
    assert score.auc() == pytest.approx(np.trapezoid(naive, np.arange(51)) / 50)


def test_perfect_predictions_score_perfectly_and_shuffled_ones_do_not() -> None:
    true, valid = hands_mm(8, 5), np.ones((5, 21), bool)
    perfect, shuffled = PoseScore(), PoseScore()
    perfect.add(joint_errors_mm(with_true_scale(true / 80, true), true).round(9), valid)
    shuffled.add(joint_errors_mm(with_true_scale(np.roll(true, 1, axis=0), true), true), valid)
    assert (perfect.official_mm(), perfect.pooled_mm(), perfect.auc()) == (0.0, 0.0, 1.0)
    assert perfect.pck().tolist() == [1.0] * 51
    assert shuffled.official_mm() > 10
    assert shuffled.auc() < 0.9


def test_area_under_a_straight_curve_is_half_and_thresholds_may_be_uneven() -> None:
    assert auc(PCK_THRESHOLDS_MM / 50, PCK_THRESHOLDS_MM) == pytest.approx(0.5)
    assert auc([0.0, 1.0, 1.0], [20.0, 30.0, 50.0]) == pytest.approx((5 + 20) / 30)


def test_what_cannot_be_scored_is_refused() -> None:
    score = PoseScore(2)
    for ask in (score.official_mm, score.pooled_mm, score.pck, score.auc, lambda: pck_curve([])):
        with pytest.raises(SampleError, match="valid joint"):
            ask()
    with pytest.raises(SampleError, match=r"errors \(3,\), validity \(3,\): expected both to be \(..., 2\)"):
        score.add(np.zeros(3), np.ones(3, bool))
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(SampleError, match="negative or not finite"):
            score.add(np.array([0.0, bad]), np.ones(2, bool))
    assert score.samples == 0
    for thresholds in ([1.0], [0.0, 0.0], [3.0, 2.0]):
        with pytest.raises(ConfigError, match="at least two that rise"):
            PoseScore(2, np.array(thresholds))
    with pytest.raises(ConfigError, match="expected one value for each"):
        auc([1.0], [0.0, 1.0])


def test_an_interval_holds_the_mean_and_is_as_wide_as_the_normal_one() -> None:
    values = np.random.default_rng(2).normal(20, 5, 400)
    low, high = bootstrap_interval(values, seed=3)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    narrow = bootstrap_interval(values, confidence=0.5, seed=3)
    assert low < narrow[0] < narrow[1] < high


def test_an_interval_depends_on_its_seed_alone_and_not_on_how_many_draws_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, groups = np.arange(50.0) % 7, np.arange(50) // 3
    whole = bootstrap_interval(values, groups=groups, seed=4)
    assert whole == bootstrap_interval(values, groups=groups, seed=4)
    assert whole != bootstrap_interval(values, groups=groups, seed=5)
    monkeypatch.setattr("aih_builder.hdr.metrics._DRAWS", 100)
    assert whole == bootstrap_interval(values, groups=groups, seed=4)


def test_two_hands_of_an_image_do_not_count_as_two_images() -> None:
    once = np.random.default_rng(6).normal(20, 5, 100)
    twice, names = np.repeat(once, 2), [f"image {k}" for k in np.repeat(np.arange(100), 2)]
    alone = bootstrap_interval(once, seed=7)
    assert bootstrap_interval(twice, groups=names, seed=7) == pytest.approx(alone)
    low, high = bootstrap_interval(twice, seed=7)
    assert high - low < 0.8 * (alone[1] - alone[0])
    assert bootstrap_interval(once, groups=np.arange(100), seed=7) == alone


def test_a_mean_over_groups_weighs_each_value_alike() -> None:
    assert bootstrap_interval([1.0, 1.0, 1.0], groups=["a", "a", "b"], seed=0) == (1.0, 1.0)
    low, high = bootstrap_interval([0.0, 0.0, 0.0, 1.0], groups=[0, 0, 0, 1], seed=0, confidence=0.2)
    assert (low, high) == (0.25, 0.25)  # one of each: half the draws, three values of 0 and one of 1


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        ([], {}, r"finite values, got shape \(0,\)"),
        ([1.0, np.nan], {}, "finite values"),
        ([1.0], {"groups": [1, 2]}, "2 group ids for 1 values"),
        ([1.0], {"resamples": 0}, "0 resamples"),
        ([1.0], {"confidence": 1.0}, "at 1.0"),
    ],
)
def test_a_bootstrap_without_sense_is_refused(values: list[float], more: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bootstrap_interval(values, seed=0, **more)
