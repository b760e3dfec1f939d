"""Body frame: x to the person's left, y up, z forward."""

import numpy as np
import pytest

from aih_builder.sources.reach import reachable

FORWARD, UP, LEFT = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])


def hand_points(wrist_m: np.ndarray, distal: np.ndarray) -> np.ndarray:
    """Stand-in keypoints (21, 3): a line of 18 cm from the wrist to the fingertips."""
    return wrist_m + np.linspace(0.0, 0.18, 21)[:, None] * distal


def reached(wrists_m: np.ndarray, distal: np.ndarray, palmar: np.ndarray) -> bool:
    distal = distal / np.linalg.norm(distal, axis=1, keepdims=True)
    palmar = palmar - distal * (distal * palmar).sum(axis=1, keepdims=True)
    palmar = palmar / np.linalg.norm(palmar, axis=1, keepdims=True)
    points = np.stack([hand_points(w, d) for w, d in zip(wrists_m, distal, strict=True)])
    return reachable(wrists_m, distal, palmar, points, 0.042)


APART = np.stack([-0.05 * LEFT, 0.05 * LEFT])
POSSIBLE = {
    "praying": (APART, [FORWARD + UP, FORWARD + UP], [LEFT, -LEFT]),
    "typing": (APART * 2, [FORWARD, FORWARD], [-UP, -UP]),
    "holding a tray": (APART * 2, [FORWARD, FORWARD], [UP, UP]),
    "clasping before the belly": (APART, [FORWARD + LEFT, FORWARD - LEFT], [LEFT - FORWARD, -LEFT - FORWARD]),
}
IMPOSSIBLE = {
    "forearms coming from the front": (APART, [-FORWARD, -FORWARD], [LEFT, -LEFT]),
    "palms up at the ends of forearms from the front": (APART, [-FORWARD, -FORWARD], [UP, UP]),
    "each hand beyond the other's shoulder": (-9 * APART, [FORWARD, FORWARD], [LEFT, -LEFT]),
    "a hand that points out and back": (APART, [-LEFT - FORWARD, LEFT - FORWARD], [-UP, -UP]),
    "a forearm through the other hand": (
        np.stack([np.zeros(3), -0.1 * FORWARD - 0.02 * LEFT]),
        [FORWARD, FORWARD],
        [LEFT, -LEFT],
    ),
    "further apart than arms are long": (20 * APART, [FORWARD, FORWARD], [LEFT, -LEFT]),
}


@pytest.mark.parametrize("name", POSSIBLE)
def test_what_people_do_is_reached(name: str) -> None:
    wrists_m, distal, palmar = POSSIBLE[name]
    assert reached(wrists_m, np.stack(distal), np.stack(palmar))


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_no_body_does_is_not_reached(name: str) -> None:
    wrists_m, distal, palmar = IMPOSSIBLE[name]
    assert not reached(wrists_m, np.stack(distal), np.stack(palmar))


@pytest.mark.parametrize("name", POSSIBLE)
def test_reach_does_not_depend_on_where_the_scene_lies(name: str) -> None:
    wrists_m, distal, palmar = POSSIBLE[name]
    assert reached(wrists_m + np.array([3.0, -2.0, 1.0]), np.stack(distal), np.stack(palmar))


@pytest.mark.parametrize("name", POSSIBLE | IMPOSSIBLE)
def test_left_and_right_may_be_exchanged_in_a_mirror(name: str) -> None:
    wrists_m, distal, palmar = (np.array(part)[::-1] * [-1.0, 1.0, 1.0] for part in (POSSIBLE | IMPOSSIBLE)[name])
    assert reached(np.ascontiguousarray(wrists_m), distal, palmar) == (name in POSSIBLE)
