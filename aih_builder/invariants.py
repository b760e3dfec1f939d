"""What must hold in every sample. Checked when a sample is made and again by `aih validate`.

Each check yields sentences that name what is wrong; an empty list is a good sample.
"""

from collections.abc import Iterator
from math import ceil

import numpy as np

from aih_builder.errors import SampleError
from aih_builder.forearm_region import forearm_region
from aih_builder.geometry import project
from aih_builder.imaging import grown, shrunk, spread
from aih_builder.pixels import byte_counts, departure, differing, near_mask
from aih_builder.sample import (
    MASK_BITS,
    MIN_HAND_PIXELS,
    SIDES,
    Array,
    Mask,
    Sample,
    hdr_masks_of,
    intruder_mask,
    mean_luma,
    occlusion_rates_of,
    packed_masks,
)

MAX_PROJECTION_ERROR_PX = 1e-3
MAX_LUMA_DRIFT = 2.0  # levels: what JPEG may do to the mean of an image
MAX_BACKGROUND_DRIFT = 8.0  # levels, on average over what a target uncovers: JPEG's part on common backgrounds
# How far from a hand and its forearm it may change a pixel: the soft edge of a cut-out is wider than a rendered one's.
RENDER_REACH_PX, SYNC_REACH_PX = 1, 3
# What a target uncovers may show what the image does, to these levels, in this share of the pixels: skin before skin.
UNCHANGED_LEVELS, MAX_UNCHANGED = 2, 0.5
MIN_CONTRAST = 1.0  # levels: the standard deviation of an image that shows something

# Which masks are set in each of the 256 combinations that a pixel can hold, bool (2, 256), hand by hand: a rule about
# masks in one pixel is one about combinations, and one count of these answers all such rules.
_AMODAL, _VISIBLE, _CHANGED, _FOREARM = (
    np.arange(256) & np.array(MASK_BITS[name])[:, None] > 0
    for name in ("amodal_mask", "visible_mask", "changed_mask", "forearm_mask")
)
_HIDDEN, _INTRUDER = _AMODAL & ~_VISIBLE, (_VISIBLE | _FOREARM)[::-1]
_M_D, _M_R, _, _ = hdr_masks_of(_AMODAL, _VISIBLE, _INTRUDER)


def violations(sample: Sample, *, background_rgb: Array | None = None, arms: Mask | None = None) -> list[str]:
    """Every broken invariant of a sample; background_rgb (H, W, 3), where known, allows one more check.

    arms (2, H, W) is where each hand's forearm would be seen without the other hand, but for soft edges. Where it is
    not known, and forearm_mask says that there may be one, it may be anywhere behind the wrist.
    """
    counts = byte_counts(packed_masks(sample))  # of pixels, by their combination of masks
    found = [
        *_masks(sample, counts),
        *_targets(sample, counts),
        *_undefined(sample),
        *_geometry(sample),
        *_appearance(sample),
    ]
    background = sample.background_rgb if background_rgb is None else background_rgb
    if background is not None:
        found += [*_target_shows_hand(sample, background), *_target_shows_background(sample, background, arms)]
    return found


def require(sample: Sample, *, background_rgb: Array | None = None, arms: Mask | None = None) -> None:
    """Raise SampleError with every broken invariant of a sample. Arguments as for violations()."""
    if found := violations(sample, background_rgb=background_rgb, arms=arms):
        raise SampleError(f"sample {sample.index} of seed {sample.seed}: " + "; ".join(found))


def _masks(s: Sample, counts: Array) -> Iterator[str]:
    if counts[(_VISIBLE & ~_AMODAL).any(axis=0)].any():
        yield "a visible mask leaves its amodal mask"
    if counts[_VISIBLE.all(axis=0)].any():
        yield "the visible masks overlap"
    areas, hidden = ([int(counts[of_hand].sum()) for of_hand in combinations] for combinations in (_AMODAL, _HIDDEN))
    for hand in (0, 1):
        if s.hand_present[hand] != (areas[hand] >= MIN_HAND_PIXELS):
            yield f"{SIDES[hand]} hand: present is {s.hand_present[hand]} with {areas[hand]} amodal pixels"
    rates = occlusion_rates_of(areas, hidden)
    if (rates != s.occlusion_rate).any():
        yield f"occlusion rates are stored as {s.occlusion_rate.tolist()}, the masks give {rates.tolist()}"
    if s.target_hand not in (-1, 0, 1):
        yield f"target_hand is {s.target_hand}, expected 0, 1 or, where there is none, -1"
    elif s.target_hand >= 0 and not s.hand_present[s.target_hand]:
        yield "the target hand is not present"
    for target in (0, 1):
        if counts[(_M_D | _M_R)[target] != _INTRUDER[target]].any():
            yield f"{SIDES[target]} target: M_D or M_R is not what is visible of the other hand"


def _targets(s: Sample, counts: Array) -> Iterator[str]:
    for target in (0, 1):
        changed = s.changed_mask[target]
        if not s.target_valid[target]:
            if changed.any() or s.target_rgb[target].any():
                yield f"{SIDES[target]} target: invalid, yet not empty"
            continue
        if counts[((_M_D | _M_R) & ~_CHANGED)[target]].any():
            yield f"{SIDES[target]} target: M_D or M_R leaves changed_mask"
        if outside := differing(s.image_rgb, s.target_rgb[target], changed):
            yield f"{SIDES[target]} target: {outside} pixels differ from the image outside changed_mask"
        reach, from_where = reach_px(s), "the other hand" + (" and its own" if s.hands_shade else "")
        if (changed & ~grown(_may_change(s, target), reach)).any():
            yield f"{SIDES[target]} target: changed_mask reaches over {reach} px beyond {from_where}"


def reach_px(s: Sample) -> int:
    """How far from a hand it may change a picture: its soft edge, spread by the lens and by motion."""
    edge = RENDER_REACH_PX if s.engine == "render" else SYNC_REACH_PX
    return edge + ceil(s.defocus_px + s.motion_px / 2)


def _may_change(s: Sample, target: int) -> Mask:
    """Where removing the other hand may change a picture, but for edges: where it is and, in its shade, the target."""
    whole = s.amodal_mask if s.forearm_mask is None else s.amodal_mask | s.forearm_mask
    return whole[1 - target] | whole[target] if s.hands_shade else whole[1 - target]


def _undefined(s: Sample) -> Iterator[str]:
    """What is marked unknown must be 0, so that nobody takes it for a value."""
    known = {
        "cam_joints_m": s.joint3d_valid,
        "joints_px": s.joint2d_valid,
        "joint_visible": s.joint_visible_valid,
        "mano_pose_rad": s.pose_valid,
        "mano_betas": s.pose_valid,
        "mano_trans_m": s.pose_valid,
    }
    for name, valid in known.items():
        if getattr(s, name)[~valid].any():
            yield f"{name} holds values that are marked unknown"
    if (s.joint_visible & ~s.joint2d_valid).any():
        yield "a joint is visible, yet its place is unknown"
    if not s.interaction_valid and (s.penetration_mm or s.contact_fraction):
        yield "penetration and contact hold values that are marked unknown"


def _geometry(s: Sample) -> Iterator[str]:
    for hand in (0, 1):
        if s.K_px[hand].any() and s.K_px[hand, 2].tolist() != [0, 0, 1]:
            yield f"{SIDES[hand]} hand: the last row of K_px is {s.K_px[hand, 2].tolist()}, expected 0, 0, 1"
        known = s.joint3d_valid[hand] & s.joint2d_valid[hand]
        if known.any():
            joints = s.cam_joints_m[hand][known].astype(np.float64)
            if (joints[:, 2] <= 0).any():
                yield f"{SIDES[hand]} hand: a joint lies behind the camera"
                continue
            error = np.abs(project(joints, s.K_px[hand].astype(np.float64)) - s.joints_px[hand][known]).max()
            if error > MAX_PROJECTION_ERROR_PX:
                yield f"{SIDES[hand]} hand: joints project {error:.4f} px from joints_px"
        if (s.joint_visible[hand] & ~near_mask(s.joints_px[hand], s.visible_mask[hand])).any():
            yield f"{SIDES[hand]} hand: a visible joint lies off the visible mask"


def _appearance(s: Sample) -> Iterator[str]:
    found = mean_luma(s.image_rgb)
    if abs(found - s.mean_luma) > MAX_LUMA_DRIFT:
        yield f"mean luma is {found:.1f}, stored is {s.mean_luma:.1f}"
    if (contrast := spread(s.image_rgb)) < MIN_CONTRAST:
        yield f"the image is blank (standard deviation {contrast:.2f} levels)"


def _target_shows_hand(s: Sample, background_rgb: Array) -> Iterator[str]:
    """Well inside the visible mask a target must show skin; some skin may match the background by chance."""
    for target in np.flatnonzero(s.target_valid).tolist():
        core = shrunk(s.visible_mask[target], 2)
        found = departure(s.target_rgb[target], background_rgb, core, limit=2)
        if found.pixels >= MIN_HAND_PIXELS and found.share < 0.05:
            yield f"{SIDES[target]} target: shows the background where the hand is visible"


def _target_shows_background(s: Sample, background_rgb: Array, arms: Mask | None) -> Iterator[str]:
    """Where the other hand is removed, and neither this one nor its forearm may be, a target must show the background.

    JPEG changes a background of noise by far more than MAX_BACKGROUND_DRIFT; what counts then is whether the target
    comes nearer to it than the image does, which shows the other hand there. Where the forearm may be, a target that
    shows what the image shows is at fault, and no other.
    """
    for target in np.flatnonzero(s.target_valid).tolist():
        uncovered = intruder_mask(s, target) & ~grown(s.amodal_mask[target], reach_px(s))
        if s.forearm_mask is not None:
            found = departure(s.target_rgb[target], s.image_rgb, uncovered, limit=UNCHANGED_LEVELS)
            hand = departure(s.image_rgb, background_rgb, uncovered)
            if found.pixels >= MIN_HAND_PIXELS and found.share < 1 - MAX_UNCHANGED and hand.mean > MAX_BACKGROUND_DRIFT:
                yield f"{SIDES[target]} target: shows the other hand where it is removed"
                continue
            arm = forearm_region(s, target) if arms is None else arms[target]
            uncovered &= ~grown(arm, reach_px(s))
        drift = departure(s.target_rgb[target], background_rgb, uncovered)
        hand = departure(s.image_rgb, background_rgb, uncovered)
        if drift.pixels >= MIN_HAND_PIXELS and drift.mean > max(MAX_BACKGROUND_DRIFT, hand.mean / 2):
            yield f"{SIDES[target]} target: does not show the background where the other hand is removed"
