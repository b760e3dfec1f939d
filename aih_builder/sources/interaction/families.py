"""Families of two-hand interaction: how the hands start, what draws them together, what makes the family.

Directions are in the own-side frame of sources/arrangements.py: (out, up, forward).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from aih_builder.sources import arrangements as arr
from aih_builder.sources.arrangements import Arrangement, Role
from aih_builder.sources.handshapes import HAND_SHAPES, HandShape
from aih_builder.sources.interaction import predicates as are
from aih_builder.sources.interaction.pair import Pair

MOVER, STILL = "mover", "still"


class Pull(NamedTuple):
    """Draws the nearest `share` of a region's vertices to within gap_mm of another region."""

    one: tuple[str, str]  # role and region
    two: tuple[str, str]
    share: float = 0.5
    weight: float = 1.0
    gap_mm: float = 1.0


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to start and to hold a family."""

    arrangement: Arrangement
    pulls: tuple[Pull, ...]
    margin_mm: tuple[float, float] = (0.0, 0.0)  # range of the gap that the hands keep everywhere
    stiffness: float = 0.3  # how strongly the fingers keep the shape that they start with


class Family(NamedTuple):
    """A family of interactions. `number` never changes: the poses of a family hang on it."""

    number: int
    variants: dict[str, Variant]  # by name; "" where there is one
    holds: Callable[[Pair, int, str], bool]  # pair, side of the mover, variant's name


# What a hand does that holds another; see handshapes.HandShape.
HELD_SHAPES: dict[str, HandShape] = {
    "laced": HandShape((22, 24, 24, 22), (24, 26, 26, 24), (1.3, 0, 1.0, 1.3), (-4, 8, 0, 6, 8)),
    "around": HandShape((12, 14, 16, 18), (26, 28, 28, 26), (-0.5, 0, -0.5, -0.5), (-4, 18, 0, 6, 8)),
    "wrap": HandShape((38, 40, 42, 44), (42, 44, 44, 42), (-0.5, 0, -0.5, -0.5), (4, 24, -10, 8, 10)),
    "tube": HandShape((58, 60, 62, 62), (66, 70, 70, 66), (-0.6, 0, -0.6, -0.6), (8, 20, -12, 18, 22)),
}
SHAPES = HAND_SHAPES | HELD_SHAPES


def both(one: str, two: str, share: float, weight: float = 1.0, gap_mm: float = 1.0) -> tuple[Pull, Pull]:
    """A region of each hand drawn to a region of the other, both ways."""
    return (
        Pull((MOVER, one), (STILL, two), share, weight, gap_mm),
        Pull((STILL, one), (MOVER, two), share, weight, gap_mm),
    )


def _each(fingers: tuple[str, ...], suffix: str, share: float, weight: float = 1.0) -> tuple[Pull, ...]:
    """Each finger drawn to its like."""
    return tuple(p for f in fingers for p in both(f + suffix, f + suffix, share, weight))


_FOUR = ("index", "middle", "ring", "little")
_FIVE = ("thumb", *_FOUR)

_FACING = Role((-0.12, 0.88, 0.45), (-1, 0, 0), arr.PALM, ("flat", "open"))
_PRAYER = Variant(
    Arrangement(1, _FACING, _FACING, (-1, 0, 0), pitch_deg=(-45, 35), own_deg=4, offset_mm=4, alike=0.7),
    (*both("palm", "palm", 0.5, 4.0), *_each(_FOUR, "-pad", 0.6, 0.3)),
    stiffness=1.0,
)
_CLAP = Variant(
    Arrangement(
        1,
        Role((-0.6, 0.1, 0.75), (0, -1, 0.1), arr.PALM, ("flat", "open", "spread")),
        Role((-0.6, 0.1, 0.75), (0, 1, -0.1), arr.PALM, ("flat", "open", "spread")),
        (0, -1, 0),
        pitch_deg=(-20, 60),
        own_deg=9,
        offset_mm=10,
        alike=0.4,
    ),
    (*both("palm", "palmar", 0.4, 4.0), *both("pads", "palmar", 0.25, 0.5)),
    stiffness=1.5,
)
_CLASP = Variant(
    Arrangement(
        1,
        Role((-0.7, 0.1, 0.7), (0, -1, 0.1), arr.PALM, ("around",)),
        Role((-0.7, 0.1, 0.7), (0, 1, -0.1), arr.PALM, ("around",)),
        (0, -1, 0),
        pitch_deg=(-20, 60),
        own_deg=7,
        offset_mm=5,
        slid=False,
        apart_mm=(36, 46),
    ),
    (
        *both("palm", "palmar", 0.3, 2.0),
        *both("pads", "back", 0.4, 1.0),
        *(p for f in _FOUR for p in both(f"{f}-pad", "all", 0.5, 0.3)),
        *both("thumb-pad", "all", 0.5, 0.6),
    ),
    stiffness=0.1,
)


def _interlock(between: str) -> Variant:
    def role(anchor: str) -> Role:
        return Role((-0.15, 0.85, 0.45), (-1, 0, 0), anchor, ("laced",))

    arrangement = Arrangement(
        1, role("middle-2"), role(between), (-1, 0, 0), pitch_deg=(-50, 25), own_deg=6, offset_mm=2, slid=False
    )
    return Variant(
        arrangement,
        (*(p for f in _FOUR for p in both(f"{f}-pad", "dorsal", 0.3, 0.5)), *both("thumb-pad", "all", 0.4, 0.4)),
    )


_ROOF = Role((-0.45, 0.8, 0.4), (-0.9, -0.4, 0.1), arr.TIPS, ("open", "spread", "relaxed", "cupped"))
_STEEPLE = Variant(
    Arrangement(1, _ROOF, _ROOF, (-1, 0, 0), pitch_deg=(-45, 35), own_deg=6, offset_mm=5, alike=1.0),
    _each(_FIVE, "-tip", 0.4),
)


def _fingertips(names: str, shapes: tuple[str, ...]) -> Variant:
    pairs = [tuple(pair.split("-")) for pair in names.split("+")]
    mine, other = pairs[0]

    def role(finger: str) -> Role:
        return Role((-0.85, 0.25, 0.45), (-0.15, -0.3, -0.9), f"{finger}-tip", shapes)

    arrangement = Arrangement(
        1, role(mine), role(other), (-1, 0, 0), pitch_deg=(-50, 50), own_deg=15, offset_mm=8, alike=0.5
    )
    pulls = [
        pull
        for m, s in pairs
        for pull in (
            Pull((MOVER, f"{m}-tip"), (STILL, f"{s}-tip"), 0.4),
            Pull((STILL, f"{s}-tip"), (MOVER, f"{m}-tip"), 0.4),
        )
    ]
    return Variant(arrangement, tuple(pulls))


def _in_fist(finger: str, distal: arr.Direction, palmar: arr.Direction) -> Variant:
    shapes = ("thumb-up",) if finger == "thumb" else ("point",)
    arrangement = Arrangement(
        1,
        Role(distal, palmar, f"{finger}-3", shapes),
        Role((-0.85, 0.1, 0.5), (-0.3, -0.1, -0.95), arr.GRASP, ("tube",)),
        (-1, 0, 0),
        pitch_deg=(-40, 40),
        own_deg=8,
        offset_mm=3,
        slid=False,
        forearm_clear_m=0.036,
    )
    return Variant(
        arrangement,
        (
            *(Pull((STILL, f"{f}-pad"), (MOVER, f"{finger}-shaft"), 0.6) for f in _FOUR),
            Pull((MOVER, f"{finger}-shaft"), (STILL, "palm"), 0.2, 0.5),
            Pull((STILL, "thumb-pad"), (STILL, "index"), 0.4, 0.5),
        ),
    )


_OVER = Variant(
    Arrangement(
        1,
        Role((-0.7, 0.1, 0.7), (0, -1, -0.1), arr.PALM, ("relaxed", "cupped", "open", "flat")),
        Role(
            (-0.7, 0.1, 0.7),
            (0, -1, -0.1),
            arr.KNUCKLES,
            ("open", "relaxed", "cupped", "spread", "flat", "fist", "grip"),
        ),
        (0, -1, 0),
        pitch_deg=(-20, 70),
        own_deg=9,
        offset_mm=15,
    ),
    (
        Pull((MOVER, "palmar"), (STILL, "dorsal"), 0.35),
        *(Pull((MOVER, f"{f}-pad"), (STILL, "all"), 0.5, 0.5) for f in _FIVE),
    ),
)
_GRAB = Variant(
    Arrangement(
        1,
        Role((-0.95, 0.1, 0.25), (0, -1, -0.1), "middle-1", ("wrap",)),
        Role((-0.45, 0.2, 0.85), (-0.2, -0.95, 0), arr.WRIST, ("open", "relaxed", "fist", "cupped", "grip", "flat")),
        (0, -1, 0),
        pitch_deg=(-20, 60),
        own_deg=8,
        offset_mm=6,
        slid=False,
        apart_mm=(36, 44),
        forearm_clear_m=0.024,
    ),
    (
        Pull((MOVER, "palm"), (STILL, "wrist"), 0.3),
        *(Pull((MOVER, f"{f}-pad"), (STILL, "wrist"), 0.5, 0.8) for f in _FIVE),
    ),
)
_PINCHING = Role((-0.75, 0.0, 0.65), (-0.5, -0.3, -0.7), arr.PINCH, ("pinch", "tripod"))
_HANDOVER = Variant(
    Arrangement(
        1, _PINCHING, _PINCHING, (-1, 0, 0), pitch_deg=(-40, 60), own_deg=14, offset_mm=3, slid=False, apart_mm=(12, 18)
    ),
    (
        *both("index-tip", "thumb-tip", 0.3, 0.3, 6.0),
        *(Pull((role, "thumb-tip"), (role, "index-tip"), 0.3, 1.0, 2.0) for role in (MOVER, STILL)),
    ),
)


def _counting(finger: str) -> Variant:
    arrangement = Arrangement(
        1,
        Role((-0.75, -0.1, 0.6), (-0.4, -0.6, -0.6), arr.INDEX_TIP, ("point",)),
        Role(
            (-0.25, 0.8, 0.5),
            (-0.6, 0.3, -0.7),
            f"{finger}-tip",
            ("spread", "open", "four") if finger != "thumb" else ("spread", "open", "thumb-up"),
        ),
        (-0.7, -0.5, 0.2),
        pitch_deg=(-40, 40),
        own_deg=12,
        offset_mm=5,
    )
    return Variant(
        arrangement,
        (
            Pull((MOVER, "index-tip"), (STILL, f"{finger}-tip"), 0.3),
            Pull((STILL, f"{finger}-tip"), (MOVER, "index-tip"), 0.3),
        ),
    )


def _apart(variant: Variant) -> Variant:
    """The same without contact: hands keep a gap, and only the nearest parts are drawn to its width."""
    return replace(variant, pulls=both("all", "all", 0.02), margin_mm=(3.0, 14.0))


FAMILIES: dict[str, Family] = {
    "clasp": Family(1, {"": _CLASP}, are.is_clasp),
    "prayer": Family(2, {"": _PRAYER}, are.is_prayer),
    "interlock": Family(3, {name: _interlock(name) for name in (arr.INDEX_MIDDLE, arr.MIDDLE_RING)}, are.is_interlock),
    "fingertips": Family(
        4,
        {
            "index-index": _fingertips("index-index", ("point", "relaxed", "open", "pinch")),
            "thumb-thumb": _fingertips("thumb-thumb", ("thumb-up", "open", "fist", "relaxed")),
            "index-index+thumb-thumb": _fingertips("index-index+thumb-thumb", ("open", "relaxed", "cupped", "pinch")),
            "index-thumb": _fingertips("index-thumb", ("relaxed", "open", "point", "pinch")),
            "middle-middle": _fingertips("middle-middle", ("relaxed", "open", "cupped")),
            "little-little": _fingertips("little-little", ("relaxed", "open", "cupped", "spread")),
        },
        are.is_fingertips,
    ),
    "finger-in-fist": Family(
        5,
        {
            "index-from-above": _in_fist("index", (-0.3, -0.85, 0.4), (-0.6, 0, -0.7)),
            "index-from-below": _in_fist("index", (-0.3, 0.9, 0.3), (-0.8, 0.2, -0.5)),
            "thumb-from-below": _in_fist("thumb", (-0.7, 0.1, 0.7), (-0.6, 0, -0.7)),
        },
        are.is_finger_in_fist,
    ),
    "over": Family(6, {"": _OVER}, are.is_over),
    "wrist-grab": Family(7, {"": _GRAB}, are.is_wrist_grab),
    "handover": Family(8, {"": _HANDOVER}, are.is_handover),
    "counting": Family(9, {finger: _counting(finger) for finger in _FIVE}, are.is_counting),
    "clap": Family(10, {"": _CLAP}, are.is_clap),
    "steeple": Family(11, {"": _STEEPLE}, are.is_steeple),
    "near-miss": Family(
        12,
        {
            "facing": _apart(_PRAYER),
            "crossed": _apart(_CLAP),
            "over": _apart(_OVER),
            "tips": _apart(_fingertips("index-index", ("open", "relaxed", "point", "spread", "cupped"))),
            "counting": _apart(_counting("middle")),
        },
        are.is_near_miss,
    ),
}
