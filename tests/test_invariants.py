"""Each invariant is broken on purpose, and found."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from aih_builder import Sample, SampleError
from aih_builder.forearm_region import forearm_region
from aih_builder.invariants import require, violations


@pytest.fixture
def pair(samples: list[Sample]) -> Sample:
    """A sample of two hands, both partly seen."""
    return next(
        s for s in samples if s.hand_present.all() and (s.occlusion_rate < 0.7).all() and s.occlusion_rate.any()
    )


def test_generated_samples_break_none(samples: list[Sample]) -> None:
    for sample in samples:
        assert violations(sample) == []


def with_pixel(array: np.ndarray, where: tuple, value: object) -> np.ndarray:
    changed = array.copy()
    changed[where] = value
    return changed


def first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0])


BROKEN: dict[str, tuple[Callable[[Sample], dict], str]] = {
    "visible outside amodal": (
        lambda s: {"visible_mask": with_pixel(s.visible_mask, first(~s.amodal_mask), True)},
        "visible mask leaves its amodal mask",
    ),
    "both visible at one pixel": (
        lambda s: {"visible_mask": s.amodal_mask.copy()},
        "visible masks overlap",
    ),
    "swapped masks": (
        lambda s: {"amodal_mask": s.amodal_mask[::-1].copy(), "visible_mask": s.visible_mask[::-1].copy()},
        "lies off the visible mask",
    ),
    "wrong occlusion rate": (
        lambda s: {"occlusion_rate": s.occlusion_rate + np.float32(0.01)},
        "occlusion rates are stored as",
    ),
    "a target hand that is none": (
        lambda _: {"target_hand": 7},
        "target_hand is 7, expected 0, 1 or, where there is none, -1",
    ),
    "a hand that is not there": (
        lambda _: {"hand_present": np.array([True, False])},
        "left hand: present is False",
    ),
    "a pixel changed outside changed_mask": (
        lambda s: {"target_rgb": with_pixel(s.target_rgb, first(~s.changed_mask), 77)},
        "1 pixels differ from the image outside changed_mask",
    ),
    "changed_mask without M_R": (
        lambda s: {"changed_mask": s.changed_mask & s.amodal_mask},
        "M_D or M_R leaves changed_mask",
    ),
    "changed_mask everywhere": (
        lambda s: {"changed_mask": np.ones_like(s.changed_mask)},
        "over 1 px beyond the other hand",
    ),
    "an invalid target with content": (
        lambda _: {"target_valid": np.array([False, True])},
        "right target: invalid, yet not empty",
    ),
    "joints moved by 0.01 px": (
        lambda s: {"joints_px": s.joints_px + np.float32(0.01)},
        "px from joints_px",
    ),
    "a joint behind the camera": (
        lambda s: {"cam_joints_m": with_pixel(s.cam_joints_m, (0, 3, 2), -0.1)},
        "a joint lies behind the camera",
    ),
    "visibility without knowledge": (
        lambda _: {"joint_visible_valid": np.zeros(2, bool), "joint_visible": np.ones((2, 21), bool)},
        "joint_visible holds values that are marked unknown",
    ),
    "a pose without knowledge": (
        lambda _: {"pose_valid": np.array([True, False])},
        "mano_betas holds values that are marked unknown",
    ),
    "joints without knowledge": (
        lambda s: {"joint3d_valid": with_pixel(s.joint3d_valid, (1, 4), False)},
        "cam_joints_m holds values that are marked unknown",
    ),
    "contact without knowledge": (
        lambda _: {"interaction_valid": False, "contact_fraction": 0.25},
        "penetration and contact hold values",
    ),
    "a blank image": (
        lambda s: {"image_rgb": np.full_like(s.image_rgb, int(s.mean_luma))},
        "the image is blank",
    ),
    "another image": (
        lambda s: {"image_rgb": s.image_rgb // 2},
        "mean luma is",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_breach_is_found(pair: Sample, name: str) -> None:
    change, message = BROKEN[name]
    assert any(message in found for found in violations(replace(pair, **change(pair))))


def test_a_target_that_shows_the_background_is_found(pair: Sample) -> None:
    background = pair.image_rgb.copy()
    assert any("shows the background" in found for found in violations(pair, background_rgb=background))


def test_a_target_that_still_shows_the_other_hand_is_found(pair: Sample) -> None:
    """Two grey steps stand for the background: what a target uncovers shows it, and the image does not."""
    background = np.where(pair.image_rgb < 128, np.uint8(200), np.uint8(30))
    uncovered = np.stack([pair.visible_mask[1], pair.visible_mask[0]]) & ~pair.amodal_mask
    clean = replace(pair, target_rgb=np.where(uncovered[..., None], background, pair.target_rgb))
    unclean = replace(pair, target_rgb=np.stack([pair.image_rgb, pair.image_rgb]))
    told = "does not show the background where the other hand is removed"
    assert not any(told in found for found in violations(clean, background_rgb=background))
    assert [told in found for found in violations(unclean, background_rgb=background)].count(True) == 2


def unchanged(sample: Sample) -> Sample:
    """The same with targets equal to the image, and no pixel of the other hand: only the rule of reach can break."""
    empty = np.zeros_like(sample.visible_mask)
    return replace(
        sample,
        target_rgb=np.stack([sample.image_rgb] * 2),
        amodal_mask=empty,
        visible_mask=empty.copy(),
        changed_mask=empty.copy(),
        forearm_mask=empty.copy(),
    )


def reaches_too_far(sample: Sample, target: int = 0) -> bool:
    told = f"{('right', 'left')[target]} target: changed_mask reaches over"
    return any(found.startswith(told) for found in violations(sample))


@pytest.mark.parametrize(
    ("defocus_px", "motion_px", "reach"), [(0.0, 0.0, 1), (1.2, 0.0, 3), (0.0, 3.0, 3), (1.5, 2.4, 4)]
)
@pytest.mark.parametrize("mask", ["amodal_mask", "forearm_mask"])
def test_a_hand_changes_a_picture_as_far_as_its_edge_and_the_blur_reach(
    pair: Sample, mask: str, defocus_px: float, motion_px: float, reach: int
) -> None:
    """Of the other hand's amodal mask, and of its forearm alike."""
    blank = replace(unchanged(pair), defocus_px=defocus_px, motion_px=motion_px)
    other = with_pixel(np.zeros_like(blank.amodal_mask), (1, 40, 40), True)
    for away in (reach, reach + 1):
        changed = with_pixel(blank.changed_mask, (0, 40 - away, 40 + away), True)
        assert reaches_too_far(replace(blank, changed_mask=changed, **{mask: other})) == (away > reach)


@pytest.mark.parametrize("mask", ["amodal_mask", "forearm_mask"])
def test_only_shade_changes_the_target_itself(pair: Sample, mask: str) -> None:
    own = with_pixel(np.zeros_like(pair.amodal_mask), (0, 40, 40), True)
    shaded = with_pixel(np.zeros_like(own), (0, 40, 40), True)
    blank = replace(unchanged(pair), changed_mask=shaded, **{mask: own})
    assert reaches_too_far(blank)
    assert not reaches_too_far(replace(blank, hands_shade=True))
    beyond = with_pixel(shaded, (0, 40, 42), True)
    assert reaches_too_far(replace(blank, hands_shade=True, changed_mask=beyond))


def test_with_forearms_a_target_may_show_its_own_where_the_other_hand_is_removed(pair: Sample) -> None:
    """It need not show the background there; but it must not show what the image does."""
    background = np.where(pair.image_rgb < 128, np.uint8(200), np.uint8(30))
    uncovered = np.stack([pair.visible_mask[1], pair.visible_mask[0]]) & ~pair.amodal_mask
    own_arm = np.where(uncovered[..., None], np.uint8(90), pair.target_rgb)
    armed = replace(pair, target_rgb=own_arm, forearm_mask=np.zeros_like(pair.amodal_mask))
    unclean = replace(armed, target_rgb=np.stack([pair.image_rgb, pair.image_rgb]))
    told, arms = "shows the other hand where it is removed", uncovered
    assert not any("removed" in found for found in violations(armed, background_rgb=background, arms=arms))
    assert [told in found for found in violations(unclean, background_rgb=background, arms=arms)].count(True) == 2


def test_with_forearms_a_target_must_show_the_background_but_where_its_own_may_be(pair: Sample) -> None:
    """Magenta instead of the other hand: found where no forearm is, or where it cannot be, and nowhere else."""
    background = np.where(pair.image_rgb < 128, np.uint8(200), np.uint8(30))
    uncovered = np.stack([pair.visible_mask[1], pair.visible_mask[0]]) & ~pair.amodal_mask
    clean = replace(
        pair, target_rgb=np.where(uncovered[..., None], background, pair.target_rgb),
        forearm_mask=np.zeros_like(pair.amodal_mask),
    )  # fmt: skip
    magenta = np.array([255, 0, 255], np.uint8)
    everywhere, nowhere = np.ones_like(uncovered), np.zeros_like(uncovered)
    behind_wrists = np.stack([forearm_region(pair, hand) for hand in (0, 1)])
    told = "does not show the background where the other hand is removed"
    for where, arms, expected in (
        (everywhere, nowhere, 2), (everywhere, everywhere, 0), (everywhere, None, 2), (behind_wrists, None, 0),
    ):  # fmt: skip
        painted = replace(clean, target_rgb=np.where((uncovered & where)[..., None], magenta, clean.target_rgb))
        found = violations(painted, background_rgb=background, arms=arms)
        assert [told in text for text in found].count(True) == expected
        assert not any("removed" in text for text in violations(clean, background_rgb=background, arms=arms))


def test_require_names_the_sample_and_every_breach(pair: Sample) -> None:
    broken = replace(pair, occlusion_rate=np.zeros(2, np.float32), mean_luma=0.0)
    with pytest.raises(SampleError, match=rf"sample {pair.index} of seed .*occlusion rates.*; mean luma"):
        require(broken)
