import numpy as np
import pytest

from aih_builder.imaging import feathered
from aih_builder.synth.compose import compose
from aih_builder.synth.cutouts import NO_GAIN, canvas, gain_table, hidden_share, paste
from aih_builder.synth.renderers.base import Layer
from tests.bank_pictures import disc

S = 96
STILL = np.array([[1.0, 0, 0], [0, 1, 0]])


def moved(shift_px: float, degrees: float = 0.0, zoom: float = 1.0) -> np.ndarray:
    """Zoom and turn about the picture's middle, then shift to the right."""
    turn = np.deg2rad(degrees)
    linear = zoom * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    middle = np.full(2, (S - 1) / 2)
    return np.concatenate([linear, (middle - linear @ middle + [shift_px, 0])[:, None]], axis=1)


def picture(hand: tuple[int, int, int], ground: tuple[int, int, int], ramp_px: float = 4) -> np.ndarray:
    """A disc of one colour photographed before a ground of another: its edge pixels mix the two."""
    y, x = np.mgrid[:S, :S] - (S - 1) / 2
    coverage = np.clip((24 - np.hypot(x, y)) * 255 / ramp_px + 128, 0, 255).astype(np.uint8)
    share = coverage[..., None] / 255
    rgb = np.round(np.array(hand) * share + np.array(ground) * (1 - share)).astype(np.uint8)
    return np.concatenate([rgb, feathered(coverage)[..., None]], axis=2)


def layer(rgba: np.ndarray) -> Layer:
    return Layer(rgba, np.zeros(rgba.shape[:2], np.float32))


@pytest.mark.parametrize(("degrees", "ramp_px"), [(0, 4), (20, 4), (45, 2), (160, 8), (20, 16), (20, 30)])
def test_a_cut_out_carries_nothing_of_its_old_background(degrees: float, ramp_px: float) -> None:
    """A red hand cut from a bright green ground, however soft its edge: no pixel has green in it, at any coverage."""
    rgba = paste(picture((200, 0, 40), (0, 255, 0), ramp_px), moved(3.3, degrees, 0.9), S, NO_GAIN)
    assert (rgba[..., 3] > 0).sum() > 1000
    assert ((rgba[..., 3] > 20) & (rgba[..., 3] < 235)).sum() > 100
    assert rgba[..., 1].max() <= (5 if ramp_px > 16 else 0)  # alpha from 250 on counts as solid
    alpha = rgba[..., 3].astype(float)
    assert np.abs(rgba[..., 0] - 200 * alpha / 255).max() <= (5 if ramp_px > 16 else 1.5)


def test_a_cut_out_lies_where_the_affine_puts_it() -> None:
    rgba = paste(picture((200, 0, 40), (0, 255, 0)), moved(10.5), S, NO_GAIN)
    y, x = np.mgrid[:S, :S]
    alpha = rgba[..., 3].astype(float)
    assert (alpha * x).sum() / alpha.sum() == pytest.approx((S - 1) / 2 + 10.5, abs=0.02)
    assert (alpha * y).sum() / alpha.sum() == pytest.approx((S - 1) / 2, abs=0.02)
    assert (alpha >= 128).sum() == pytest.approx(np.pi * 24**2, rel=0.01)


def test_over_its_own_canvas_a_hand_changes_nothing_exactly() -> None:
    rng = np.random.default_rng(1)
    noisy = picture((200, 0, 40), (0, 255, 0))
    noisy[..., :3] = rng.integers(0, 256, (S, S, 3))
    gain = gain_table(np.array([0.8, 1.0, 1.2]))
    photo = canvas(noisy, moved(2.2, 33, 1.1), S, gain, "reflect")
    composite = compose((layer(photo.rgba), None), np.ones((S, S), bool), photo.rgb, 3)
    assert np.array_equal(composite.image_rgb, photo.rgb)
    assert composite.amodal_mask[0].sum() > 1000


def test_a_canvas_reaches_to_the_corners_unless_it_shall_be_black() -> None:
    rgba = np.full((S, S, 4), 200, np.uint8)
    rgba[..., 3] = disc(24)
    turned = moved(0, 45, 0.8)
    assert canvas(rgba, turned, S, NO_GAIN, "reflect").rgb.min() == 200
    black = canvas(rgba, turned, S, NO_GAIN, "black")
    assert not black.rgb[:10, :10].any()
    assert black.mirrored_px == 0


def test_the_mirror_image_of_a_hand_is_found_and_is_no_hand() -> None:
    """Shifted until the border lies 10 px beside the hand, the mirror shows it once more."""
    photo = canvas(picture((200, 0, 40), (0, 0, 0)), moved(40, 0, 0.7), S, NO_GAIN, "reflect")
    assert photo.rgb[..., 0].max() >= 199
    assert photo.mirrored_px > 50
    assert not photo.rgba[:, :8, 3].any()
    assert canvas(picture((200, 0, 40), (0, 0, 0)), moved(0), S, NO_GAIN, "reflect").mirrored_px == 0


def test_a_gain_is_that_of_each_channel_rounded_and_clipped() -> None:
    table = gain_table(np.array([1.2, 1.0, 0.8]))
    assert table[0, 100] == 120
    assert table[0, 250] == 255
    assert np.array_equal(table[1], np.arange(256))
    assert table[2, 3] == 2  # 2.4
    assert np.array_equal(gain_table(np.ones(3)), NO_GAIN)


def test_the_hidden_share_is_that_of_the_targets_own_area() -> None:
    target, other = np.zeros((S, S, 4), np.uint8), np.zeros((S, S, 4), np.uint8)
    target[:, :40, 3] = 128
    other[:20, :, 3] = 255
    other[20:, :, 3] = 127
    assert hidden_share(target, other) == (40 * S, 20 * S, float(np.float32(20 / S)))
    assert hidden_share(np.zeros_like(target), other)[2] == 0.0
