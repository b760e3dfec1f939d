import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.hdr.augment import Look, draw_jitter, draw_look, looked_at
from aih_builder.hdr.crops import NO_JITTER
from aih_builder.hdr.settings import Augment

SEEDS = st.integers(0, 2**32 - 1)
PLAIN = np.repeat(np.arange(256, dtype=np.uint8)[None], 3, axis=0)
NOTHING = Augment(
    shift=0, scale=0, rotation_deg=0, gain=0, brightness=0, contrast=0, blur_share=0, noise_share=0, jpeg_share=0
)


def picture(seed: int = 0, size_px: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)


@given(seed=SEEDS)
def test_jitter_stays_in_its_ranges(seed: int) -> None:
    jitter = draw_jitter(Augment(shift=0.1, scale=0.3, rotation_deg=20, rotation_share=1), np.random.default_rng(seed))
    assert max(abs(jitter.shift_x), abs(jitter.shift_y)) <= 0.1
    assert abs(jitter.gain - 1) <= 0.3
    assert 0 < abs(np.degrees(jitter.angle_rad)) <= 40 + 1e-9


def test_a_share_of_the_jitters_turns() -> None:
    rng = np.random.default_rng(0)
    turned = [draw_jitter(Augment(rotation_share=0.6), rng).angle_rad != 0 for _ in range(2000)]
    assert np.mean(turned) == pytest.approx(0.6, abs=0.04)


@given(seed=SEEDS)
def test_an_augmentation_of_nothing_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert draw_jitter(NOTHING, rng) == NO_JITTER
    look = draw_look(NOTHING, 48, rng)
    assert np.array_equal(look.table, PLAIN)
    assert np.array_equal(looked_at(picture(), look), picture())


@given(seed=SEEDS)
def test_light_is_a_rising_table_per_channel_about_middle_grey(seed: int) -> None:
    augment = NOTHING.model_copy(update={"gain": 0.2, "brightness": 0.1, "contrast": 0.2})
    table = draw_look(augment, 48, np.random.default_rng(seed)).table
    assert table.shape == (3, 256)
    assert (np.diff(table.astype(int), axis=1) >= 0).all()
    middle = table[:, 127:129].mean(axis=1)
    assert (np.abs(middle - 127.5) <= 127.5 * 0.2 + 25.5 + 1).all()
    looked = looked_at(picture(), Look(table, 0.0, None, 0))
    for channel in range(3):
        assert np.array_equal(looked[..., channel], table[channel][picture()[..., channel]])


def test_blur_noise_and_jpeg_come_in_their_shares_and_ranges() -> None:
    augment, rng = (
        Augment(blur_share=0.2, noise_share=0.3, jpeg_share=0.5, jpeg_quality=(40, 42)),
        np.random.default_rng(3),
    )
    looks = [draw_look(augment, 8, rng) for _ in range(2000)]
    assert np.mean([look.blur_px > 0 for look in looks]) == pytest.approx(0.2, abs=0.04)
    assert np.mean([look.noise is not None for look in looks]) == pytest.approx(0.3, abs=0.04)
    assert np.mean([look.jpeg_quality > 0 for look in looks]) == pytest.approx(0.5, abs=0.04)
    assert {look.jpeg_quality for look in looks} == {0, 40, 41, 42}


def test_noise_is_added_and_clipped_and_never_wraps() -> None:
    noise = np.full((48, 48, 3), 300, np.int16)
    noise[:24] = -300
    looked = looked_at(picture(), Look(PLAIN, 0.0, noise, 0))
    assert not looked[:24].any()
    assert (looked[24:] == 255).all()
    few = np.full((48, 48, 3), 5, np.int16)
    wanted = np.minimum(picture().astype(int) + 5, 255)
    assert np.array_equal(looked_at(picture(), Look(PLAIN, 0.0, few, 0)), wanted)


def test_blur_smooths_and_a_lower_jpeg_quality_loses_more() -> None:
    rough = picture()
    assert looked_at(rough, Look(PLAIN, 1.0, None, 0)).std() < 0.6 * rough.std()
    away = [np.abs(looked_at(rough, Look(PLAIN, 0.0, None, q)).astype(int) - rough).mean() for q in (95, 60, 20)]
    assert 0 < away[0] < away[1] < away[2]
