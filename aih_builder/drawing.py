"""Hands drawn over pictures: masks filled, hatched and outlined, skeletons, tiles side by side."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aih_builder.hands.conventions import KEYPOINT_NAMES, KEYPOINT_PARENTS
from aih_builder.imaging import ImageU8, to_u8
from aih_builder.sample import Mask

HAND_COLOURS = ((255, 140, 60), (80, 160, 255))  # right, left
BOTH_COLOUR, MISSED_COLOUR, INVENTED_COLOUR = (70, 200, 90), (255, 60, 60), (70, 120, 255)  # of draw_comparison
_WHITE = (255, 255, 255)
FINGER_COLOURS = {
    "thumb": (255, 80, 80),
    "index": (255, 210, 60),
    "middle": (90, 220, 110),
    "ring": (70, 190, 255),
    "little": (210, 120, 255),
}
_SHIFT = 4  # fractional bits of positions, as OpenCV's drawing takes them
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def magnified(image: NDArray[Any], zoom: int) -> NDArray[Any]:
    """A copy (zoom H, zoom W, ...) with each pixel repeated."""
    return np.repeat(np.repeat(image, zoom, axis=0), zoom, axis=1)


def draw_masks(image: ImageU8, amodal: Mask, visible: Mask, zoom: int = 1) -> ImageU8:
    """An image (H, W, 3) in dim grey, magnified, with what is visible of each hand (2, H, W) filled, what is hidden
    hatched, and the whole outlined.
    """
    canvas = _dim_grey(magnified(image, zoom))
    whole, seen = [magnified(mask, zoom) for mask in amodal], [magnified(mask, zoom) for mask in visible]
    for hand, colour in enumerate(HAND_COLOURS):
        canvas[seen[hand]] = 0.5 * canvas[seen[hand]] + 0.5 * np.array(colour)
    for hand, colour in enumerate(HAND_COLOURS):
        hidden = whole[hand] & ~seen[hand]
        canvas[hidden & hatch(hidden.shape[0], hidden.shape[1], 1 - 2 * hand)] = colour
    tile = to_u8(canvas)
    for hand, colour in enumerate(HAND_COLOURS):
        _outline(tile, whole[hand], colour)
    return tile


def draw_comparison(image: ImageU8, true: Mask, found: Mask, hand: int, zoom: int = 1) -> ImageU8:
    """An image (H, W, 3) in dim grey, magnified, with one hand's true and found masks, each (2, H, W), over it.

    Green: in both; red: missed; blue: invented. The true mask is outlined in white.
    """
    canvas = _dim_grey(magnified(image, zoom))
    truth, guess = magnified(true[hand], zoom), magnified(found[hand], zoom)
    for where, colour, share in (
        (truth & guess, BOTH_COLOUR, 0.45),
        (truth & ~guess, MISSED_COLOUR, 0.8),
        (guess & ~truth, INVENTED_COLOUR, 0.8),
    ):
        canvas[where] = (1 - share) * canvas[where] + share * np.array(colour)
    tile = to_u8(canvas)
    _outline(tile, truth, _WHITE)
    return tile


def draw_two_skeletons(
    image: ImageU8,
    true_px: NDArray[np.floating],
    found_px: NDArray[np.floating],
    true_known: Mask,
    found_known: Mask,
    zoom: int = 1,
) -> ImageU8:
    """An image (H, W, 3) in dim grey, magnified, with one hand's true joints (21, 2) in green and the found ones in
    white over it; a thin red line joins each found joint to the true one.

    Positions are x, y in pixels of the image before it was magnified. Only what is known, each (21,), is drawn.
    """
    tile = to_u8(_dim_grey(magnified(image, zoom)))
    true, found = _spots(true_px, zoom), _spots(found_px, zoom)
    for spots, known, colour in ((true, true_known, BOTH_COLOUR), (found, found_known, _WHITE)):
        _draw_bones(tile, spots, known, [colour] * len(spots))
    for joint in np.flatnonzero(true_known & found_known).tolist():
        cv2.line(tile, true[joint], found[joint], MISSED_COLOUR, 1, cv2.LINE_AA, _SHIFT)
    for spots, known, colour in ((true, true_known, BOTH_COLOUR), (found, found_known, _WHITE)):
        for joint in np.flatnonzero(known).tolist():
            _draw_joint(tile, spots[joint], colour, judged=False, seen=False)
    return tile


def draw_skeleton(
    tile: ImageU8, joints_px: NDArray[np.floating], known: Mask, seen: Mask | None, hand: int, zoom: int = 1
) -> None:
    """Draw a hand's 21 joints (x, y in pixels of the image before it was magnified) onto a tile.

    Visible joints are filled, hidden ones hollow; small where that is unknown (seen None). Only what is known is drawn.
    """
    spots, colours = _spots(joints_px, zoom), _joint_colours(HAND_COLOURS[hand])
    _draw_bones(tile, spots, known, colours)
    for joint in np.flatnonzero(known).tolist():
        _draw_joint(tile, spots[joint], colours[joint], seen is not None, seen is not None and bool(seen[joint]))


def _dim_grey(image: ImageU8) -> NDArray[np.float64]:
    grey = 0.6 * (image.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))
    return np.repeat(grey[..., None], 3, axis=2)


def _outline(tile: ImageU8, mask: Mask, colour: tuple[int, int, int]) -> None:
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, outlines, -1, colour, 1)


def _spots(joints_px: NDArray[np.floating], zoom: int) -> list[list[int]]:
    """Positions as OpenCV takes them, on the magnified image."""
    # The centre of pixel 0 lies in the middle of its magnified square. Far points would overflow OpenCV's integers.
    points_px = np.clip((joints_px + 0.5) * zoom - 0.5, -1e5, 1e5)
    return np.rint(points_px * 2**_SHIFT).astype(int).tolist()


def _joint_colours(wrist: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    return [wrist, *(FINGER_COLOURS[name.rstrip("1234")] for name in KEYPOINT_NAMES[1:])]


def _draw_bones(tile: ImageU8, spots: list[list[int]], known: Mask, colours: list[tuple[int, int, int]]) -> None:
    bones = [
        (joint, parent)
        for joint, parent in enumerate(KEYPOINT_PARENTS.tolist())
        if parent >= 0 and known[joint] and known[parent]
    ]
    for joint, parent in bones:
        cv2.line(tile, spots[parent], spots[joint], (0, 0, 0), 2, cv2.LINE_AA, _SHIFT)
    for joint, parent in bones:
        cv2.line(tile, spots[parent], spots[joint], colours[joint], 1, cv2.LINE_AA, _SHIFT)


def _draw_joint(tile: ImageU8, spot: list[int], colour: tuple[int, int, int], judged: bool, seen: bool) -> None:
    """Radii are in 1/16 px, as `spot` is."""
    if judged and not seen:
        cv2.circle(tile, spot, 46, (0, 0, 0), -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(tile, spot, 46, colour, 1, cv2.LINE_AA, _SHIFT)
        return
    radius = 42 if judged else 24
    cv2.circle(tile, spot, radius + 14, (0, 0, 0), -1, cv2.LINE_AA, _SHIFT)
    cv2.circle(tile, spot, radius, colour, -1, cv2.LINE_AA, _SHIFT)


def hatch(height: int, width: int, slope: int) -> Mask:
    """Diagonal stripes (height, width), 2 of 6 pixels wide; slope 1 falls to the left, -1 to the right."""
    y, x = np.ogrid[:height, :width]
    return (x + slope * y) % 6 < 2


def write_text(image: ImageU8, text: str, corner_px: tuple[int, int], colour: tuple[int, int, int]) -> None:
    """Write a line of text, its lower left corner at corner_px; what is not ASCII becomes a question mark."""
    ascii_text = text.encode("ascii", "replace").decode()
    cv2.putText(image, ascii_text, corner_px, _FONT, 0.42, colour, 1, cv2.LINE_AA)
