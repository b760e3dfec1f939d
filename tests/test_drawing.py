"""Truth against prediction, drawn: each kind of pixel has its colour."""

import numpy as np

from aih_builder.drawing import (
    BOTH_COLOUR,
    INVENTED_COLOUR,
    MISSED_COLOUR,
    draw_comparison,
    draw_two_skeletons,
)

BLACK = np.zeros((40, 60, 3), np.uint8)
NONE, ALL = np.zeros(21, bool), np.ones(21, bool)


def coloured(tile: np.ndarray, colour: tuple[int, int, int], share: float) -> np.ndarray:
    """Where a tile over black has this colour (H, W)."""
    return np.abs(tile - share * np.array(colour)).max(axis=2) <= 1


def test_pixels_in_both_missed_and_invented_have_a_colour_each_below_the_true_outline() -> None:
    true, found = np.zeros((2, 40, 60), bool), np.zeros((2, 40, 60), bool)
    true[1, 10:30, 10:30], found[1, 10:30, 20:40] = True, True
    for zoom in (1, 3):
        tile = draw_comparison(BLACK, true, found, hand=1, zoom=zoom)
        assert tile.shape == (40 * zoom, 60 * zoom, 3)
        here = tile[20 * zoom]
        for x, colour, share in ((15, MISSED_COLOUR, 0.8), (25, BOTH_COLOUR, 0.45), (35, INVENTED_COLOUR, 0.8)):
            assert coloured(here[None, x * zoom : (x + 1) * zoom], colour, share).all()
        assert here[10 * zoom].tolist() == here[30 * zoom - 1].tolist() == [255, 255, 255]
        assert not here[: 10 * zoom].any()
        assert not here[40 * zoom :].any()
    assert not draw_comparison(BLACK, true, found, hand=0).any()


def test_joints_lie_where_they_were_given_and_what_is_unknown_is_not_drawn() -> None:
    y, x = np.divmod(np.arange(21), 7)
    true_px, found_px = np.stack([4.0 + 8 * x, 4.0 + 8 * y], axis=1), np.stack([4.0 + 8 * x, 28.0 + 4 * y], axis=1)
    far_px = np.full((21, 2), 1e9)
    for zoom in (1, 4):
        tile = draw_two_skeletons(BLACK, true_px, found_px, ALL, ALL, zoom)
        spots = np.rint((true_px + 0.5) * zoom - 0.5).astype(int)
        assert coloured(tile[spots[:7, 1], spots[:7, 0]][None], BOTH_COLOUR, 1).all()
        spots = np.rint((found_px + 0.5) * zoom - 0.5).astype(int)
        assert coloured(tile[spots[:, 1], spots[:, 0]][None], (255, 255, 255), 1).all()
        assert not coloured(draw_two_skeletons(BLACK, true_px, far_px, ALL, NONE, zoom), (255, 255, 255), 1).any()
        assert not coloured(draw_two_skeletons(BLACK, far_px, found_px, NONE, ALL, zoom), MISSED_COLOUR, 1).any()
    assert not draw_two_skeletons(BLACK, true_px, found_px, NONE, NONE).any()
