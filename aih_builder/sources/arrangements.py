"""How two hands of one person are held against one another: named arrangements.

Directions are in the *own-side frame* of each hand: (out, up, forward), where out points away from
the body's midline, so that one description serves the right and the left hand.
"""

from dataclasses import dataclass

import numpy as np

from aih_builder.geometry import FloatArray

Direction = tuple[float, float, float]

# Anchors: places on a hand that are brought together.
PALM, FINGERS, TIPS, INDEX_TIP, WRIST, THUMB_EDGE, LITTLE_EDGE = (
    "palm",
    "fingers",
    "tips",
    "index-tip",
    "wrist",
    "thumb-edge",
    "little-edge",
)
KNUCKLES, PINCH, GRASP = "knuckles", "pinch", "grasp"
INDEX_MIDDLE, MIDDLE_RING = "index-middle", "middle-ring"  # between their middle joints

_ANY = ("open", "relaxed", "cupped", "spread", "flat", "claw", "grip", "point", "fist", "pinch")
_OPEN = ("open", "flat", "relaxed", "spread")
_ROUND = ("relaxed", "cupped", "grip", "open")
_CLOSED = ("fist", "thumb-up", "grip", "hook", "tripod")
_POINTING = ("point", "pinch", "two", "tripod", "relaxed")
_COUNTING = ("point", "two", "three", "four", "spread", "fist", "thumb-up")


@dataclass(frozen=True, slots=True)
class Role:
    """One hand of an arrangement."""

    distal: Direction  # wrist to fingers
    palmar: Direction  # out of the palm
    anchor: str
    shapes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Two hands: the mover slides along `approach` (its own-side frame) until it meets the other.

    pitch_deg is the range of a turn of the pair about the body's x axis; + raises the fingers.
    """

    weight: float
    mover: Role
    still: Role
    approach: Direction
    pitch_deg: tuple[float, float] = (-25.0, 25.0)
    yaw_deg: float = 20.0  # standard deviation of a turn of the pair about the vertical
    own_deg: float = 10.0  # standard deviation of each hand's own turn, about each axis
    offset_mm: float = 12.0  # standard deviation across the approach
    alike: float = 0.0  # share of draws in which both hands take the same shape
    slid: bool = True  # slid to first contact; else the anchors are put together
    apart_mm: tuple[float, float] = (0.0, 0.0)  # of anchors that are put together: gap along the approach
    forearm_clear_m: float = 0.042  # what a forearm's centre line keeps from the other hand's keypoints


ARRANGEMENTS: dict[str, Arrangement] = {
    # Prayer, clap, steeple: palm against palm, fingers alike.
    "facing": Arrangement(
        1.3,
        Role((-0.15, 0.8, 0.6), (-1, 0, 0), PALM, (*_OPEN, "cupped", "claw")),
        Role((-0.15, 0.8, 0.6), (-1, 0, 0), PALM, (*_OPEN, "cupped", "claw")),
        approach=(-1, 0, 0),
        pitch_deg=(-45.0, 25.0),
        own_deg=7.0,
        alike=0.6,
    ),
    # A clap across: palm on palm, fingers crossing at an angle.
    "crossed": Arrangement(
        1.3,
        Role((-0.7, 0.1, 0.7), (0, -1, 0.1), PALM, (*_OPEN, "cupped", "grip")),
        Role((-0.7, 0.1, 0.7), (0, 1, -0.1), PALM, (*_OPEN, "cupped", "grip")),
        approach=(0, -1, 0),
        pitch_deg=(-15.0, 60.0),
        offset_mm=16.0,
        alike=0.3,
    ),
    # Hand over hand: a palm on the other's back.
    "over": Arrangement(
        1.3,
        Role((-0.7, 0.1, 0.7), (0, -1, -0.1), PALM, (*_ROUND, "flat")),
        Role((-0.7, 0.1, 0.7), (0, -1, -0.1), PALM, _ANY),
        approach=(0, -1, 0),
        pitch_deg=(-20.0, 70.0),
        offset_mm=20.0,
    ),
    # Hands side by side, thumbs together.
    "thumbs": Arrangement(
        0.7,
        Role((-0.2, 0.5, 0.8), (0, -0.8, 0.5), THUMB_EDGE, _ANY),
        Role((-0.2, 0.5, 0.8), (0, -0.8, 0.5), THUMB_EDGE, _ANY),
        approach=(-1, 0, 0),
        alike=0.5,
    ),
    # Hands side by side, little fingers together: a bowl, an open book.
    "book": Arrangement(
        0.8,
        Role((-0.3, 0.3, 0.9), (-0.2, 0.9, -0.4), LITTLE_EDGE, (*_OPEN, "cupped")),
        Role((-0.3, 0.3, 0.9), (-0.2, 0.9, -0.4), LITTLE_EDGE, (*_OPEN, "cupped")),
        approach=(-1, 0, 0),
        pitch_deg=(-15.0, 55.0),
        alike=0.6,
    ),
    # Fingertips to fingertips, or fingers over fingers.
    "tips": Arrangement(
        1.0,
        Role((-0.9, 0.2, 0.4), (-0.1, -0.3, -1), TIPS, _ANY),
        Role((-0.9, 0.2, 0.4), (-0.1, -0.3, -1), TIPS, _ANY),
        approach=(-1, 0, 0),
        pitch_deg=(-50.0, 50.0),
        offset_mm=14.0,
        alike=0.5,
    ),
    # A pointing or pinching hand touches the other's palm.
    "touch": Arrangement(
        1.0,
        Role((-0.7, -0.5, 0.5), (-0.6, -0.6, -0.3), INDEX_TIP, _POINTING),
        Role((-0.5, 0.3, 0.8), (-0.3, 0.9, -0.3), PALM, (*_OPEN, "cupped")),
        approach=(-0.6, -0.7, 0.3),
        own_deg=15.0,
        offset_mm=25.0,
    ),
    # The same on the back of the hand or on the fingers.
    "tap": Arrangement(
        0.8,
        Role((-0.7, -0.5, 0.5), (-0.6, -0.6, -0.3), INDEX_TIP, _POINTING),
        Role((-0.6, 0.1, 0.8), (0, -1, 0), FINGERS, _ANY),
        approach=(-0.5, -0.8, 0.2),
        own_deg=15.0,
        offset_mm=25.0,
    ),
    # A fist in the other's palm, a hand around a fist.
    "in-palm": Arrangement(
        1.0,
        Role((-0.75, 0.35, 0.6), (-0.2, -0.3, -0.9), FINGERS, _CLOSED),
        Role((-0.2, 0.7, 0.7), (-1, 0, -0.1), PALM, (*_ROUND, "flat")),
        approach=(-1, 0, 0),
        pitch_deg=(-40.0, 40.0),
    ),
    # A hand on the other's wrist.
    "wrist": Arrangement(
        0.7,
        Role((-0.9, 0.1, 0.4), (0, -1, -0.1), PALM, _ROUND),
        Role((-0.6, 0.2, 0.8), (-0.3, -0.9, 0), WRIST, _ANY),
        approach=(0, -1, 0),
        pitch_deg=(-20.0, 60.0),
    ),
    # Both hands shown upright, counting or gesturing, close to one another.
    "gesture": Arrangement(
        0.8,
        Role((-0.1, 1, 0.1), (-0.2, 0, 1), PALM, _COUNTING),
        Role((-0.1, 1, 0.1), (-0.2, 0, 1), PALM, _COUNTING),
        approach=(-0.8, 0, -0.5),
        pitch_deg=(-30.0, 30.0),
        yaw_deg=25.0,
        own_deg=16.0,
        offset_mm=25.0,
        alike=0.2,
    ),
}


def own_side_to_body(direction: Direction, side: int) -> FloatArray:
    """Unit vector (3,) in the body frame (x left, y up, z forward) of an own-side direction."""
    vector = np.array(direction, np.float64)
    if side == 0:  # the right hand lies at -x: out is -x
        vector[0] = -vector[0]
    return vector / np.sqrt((vector**2).sum())


def draw_shapes(rng: np.random.Generator, arrangement: Arrangement) -> tuple[str, str]:
    """Names of the hand shapes of the mover and of the other hand."""
    own = [role.shapes[int(rng.integers(len(role.shapes)))] for role in (arrangement.mover, arrangement.still)]
    if rng.random() < arrangement.alike:
        return own[0], own[0]
    return own[0], own[1]
