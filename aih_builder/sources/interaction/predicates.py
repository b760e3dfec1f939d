"""What makes a pair of hands a clasp, a prayer, ...: one predicate per family, on exact surface distances.

A predicate knows the pair alone, which hand is the mover, and the variant's name. It does not know how the
pair was made, so it holds for, and can be asked of, poses from anywhere.
"""

import numpy as np

from aih_builder.hands.conventions import FINGERS
from aih_builder.sources.interaction.pair import Pair
from aih_builder.sources.interaction.regions import FOUR

TOUCH_MM = 3.0
_EXTENDED_DEG = 55.0  # sum of a finger's flexion, below which it is straight
_CURLED_DEG = 110.0


def is_prayer(pair: Pair, mover: int, variant: str) -> bool:
    """Palm on palm (at least 20 % of each within 3 mm of the other), fingers straight and parallel."""
    del mover, variant
    palms = min(pair.share(side, "palm", "palm", TOUCH_MM) for side in (0, 1))
    return palms >= 0.2 and pair.between_deg(*pair.distal) < 25.0 and _straight(pair, 0) and _straight(pair, 1)


def is_clap(pair: Pair, mover: int, variant: str) -> bool:
    """Palm on palm (at least 10 % of each palmar surface touches), fingers straight, hands crossed by 25 degrees."""
    del mover, variant
    touching = min(pair.share(side, "palmar", "palmar", TOUCH_MM) for side in (0, 1))
    crossed = 25.0 <= pair.between_deg(*pair.distal) < 130.0
    facing = pair.between_deg(*pair.palmar) > 130.0
    return touching >= 0.1 and crossed and facing and _straight(pair, 0) and _straight(pair, 1)


def is_clasp(pair: Pair, mover: int, variant: str) -> bool:
    """Palms together, the fingers of both hands bent around the other: three or more touch it, two beyond its palm."""
    del mover, variant
    for side in (0, 1):
        if pair.share(side, "palm", "palmar", 4.0) < 0.08:
            return False
        if len(_four(pair.fingers_touching(side, "-pad", "all", TOUCH_MM))) < 3:
            return False
        if len(_four(pair.fingers_touching(side, "", "dorsal", 5.0))) < 2:
            return False
    return True


def is_interlock(pair: Pair, mover: int, variant: str) -> bool:
    """Fingers alternate: three or more, of both hands, pass between two fingers of the other hand, each elsewhere."""
    del mover, variant
    laced = [pair.laced(side) for side in (0, 1)]
    distinct = [len(set(webs.values())) for webs in laced]
    return min(distinct) >= 1 and sum(distinct) >= 3 and _touch(pair)


def is_steeple(pair: Pair, mover: int, variant: str) -> bool:
    """Four or more tips touch their like, palms apart."""
    del mover, variant
    tips = [finger for finger in FINGERS if pair.gap_mm(0, f"{finger}-tip", f"{finger}-tip") <= TOUCH_MM]
    return len(tips) >= 4 and pair.gap_mm(0, "palm", "palm") > 12.0


def is_fingertips(pair: Pair, mover: int, variant: str) -> bool:
    """The tips that the variant names touch, and the hands touch nowhere but at their fingers."""
    wanted = [names.split("-") for names in variant.split("+")]
    for mine, other in wanted:
        if pair.gap_mm(mover, f"{mine}-tip", f"{other}-tip") > TOUCH_MM:
            return False
    return all(pair.share(side, region, "all", TOUCH_MM) == 0 for side in (0, 1) for region in ("palm", "back"))


def is_finger_in_fist(pair: Pair, mover: int, variant: str) -> bool:
    """Three or more fingers of the other hand lie around the named finger, three quarters of the way round."""
    finger = variant.split("-")[0]
    fist = 1 - mover
    start, end = pair.keypoint_m(mover, f"{finger}2"), pair.keypoint_m(mover, f"{finger}4")
    around = pair.coverage_deg(fist, ("palmar", "thumb", *FOUR), start, end, 0.022)
    touching = [f for f in FOUR if pair.distances_mm(fist, f, finger, 5.0).min() < 4.0]
    return around >= 270.0 and len(touching) >= 3 and all(pair.curl_deg(fist, f) > _CURLED_DEG for f in touching[:3])


def is_over(pair: Pair, mover: int, variant: str) -> bool:
    """A palm on the other hand's back: 10 % of the palmar surface touches it, both palms face alike."""
    del variant
    alike = pair.between_deg(*pair.palmar) < 60.0
    return alike and pair.share(mover, "palmar", "dorsal", TOUCH_MM) >= 0.1


def is_wrist_grab(pair: Pair, mover: int, variant: str) -> bool:
    """Around the other's wrist by at least 150 degrees: thumb or palm and two or more fingers touch there."""
    del variant
    held = 1 - mover
    wrist = pair.keypoint_m(held, "wrist")
    start, end = wrist - 0.05 * pair.distal[held], wrist + 0.02 * pair.distal[held]
    around = pair.coverage_deg(mover, ("palmar", "thumb", *FOUR), start, end, 0.05)
    touching = pair.fingers_touching(mover, "", "wrist", 4.0)
    palm = pair.distances_mm(mover, "palm", "wrist", 5.0).min() < 4.0
    return around >= 150.0 and len(_four(touching)) >= 2 and ("thumb" in touching or bool(palm))


def is_handover(pair: Pair, mover: int, variant: str) -> bool:
    """Both hands pinch, and the pinches are within 25 mm: room for a thing that passes from one to the other."""
    del mover, variant
    pinches = []
    for side in (0, 1):
        if pair.between_mm((side, "thumb4"), (side, "index4")) > 25.0:
            return False
        pinches.append((pair.keypoint_m(side, "thumb4") + pair.keypoint_m(side, "index4")) / 2)
    apart = 1000.0 * float(np.linalg.norm(pinches[0] - pinches[1]))
    return 4.0 < apart <= 25.0


def is_counting(pair: Pair, mover: int, variant: str) -> bool:
    """A pointing index tip touches the last phalanx of the named finger, which is straight; others stay off."""
    still = 1 - mover
    if pair.gap_mm(mover, "index-tip", f"{variant}-shaft") > TOUCH_MM:
        return False
    pointing = pair.curl_deg(mover, "index") < 80.0 and min(pair.curl_deg(mover, f) for f in FOUR[2:]) > _CURLED_DEG
    shown = pair.curl_deg(still, variant) < 80.0
    tips = [pair.gap_mm(mover, "index-tip", f"{finger}-tip", 20.0) for finger in FINGERS]
    return pointing and shown and list(FINGERS)[int(np.argmin(tips))] == variant


def is_near_miss(pair: Pair, mover: int, variant: str) -> bool:
    """Close, but apart: the gap is above 2 and at most 25 mm."""
    del mover, variant
    return 2.0 < pair.gap_mm(0, "all", "all", 30.0) <= 25.0


def _touch(pair: Pair) -> bool:
    return pair.gap_mm(0, "all", "all", 5.0) < 2.0


def _straight(pair: Pair, side: int) -> bool:
    return max(pair.curl_deg(side, finger) for finger in FOUR) < _EXTENDED_DEG


def _four(fingers: list[str]) -> list[str]:
    return [finger for finger in fingers if finger != "thumb"]
