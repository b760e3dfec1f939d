"""Samples at fault, everything around the fault made consistent, and what `aih validate` says of each."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aih_builder import Sample
from aih_builder.geometry import project
from aih_builder.sample import mean_luma, occlusion_rates


def moved(mask: np.ndarray, pixels: int) -> np.ndarray:
    return np.roll(mask, pixels, axis=-1)


def recounted(sample: Sample, **changes) -> Sample:
    """With occlusion rates that fit the changed masks."""
    changed = replace(sample, **changes)
    return replace(changed, occlusion_rate=occlusion_rates(changed.amodal_mask, changed.visible_mask))


def other_pose(samples: list[Sample]) -> Sample:
    """The first sample with pose, camera and joints of the second, all of which agree with each other."""
    names = ("cam_joints_m", "joints_px", "K_px", "mano_pose_rad", "mano_betas", "mano_trans_m")
    found = {name: getattr(samples[1], name) for name in names}
    return replace(samples[0], **found, joint_visible=np.zeros((2, 21), bool))


def masks_of(samples: list[Sample]) -> Sample:
    """The first sample with all masks, both pictures and all counts of the second."""
    names = (
        "amodal_mask", "visible_mask", "changed_mask", "image_rgb", "target_rgb", "occlusion_rate", "mean_luma",
    )  # fmt: skip
    found = {name: getattr(samples[1], name) for name in names}
    return replace(samples[0], **found, joint_visible=np.zeros((2, 21), bool))


def swapped(sample: Sample) -> Sample:
    """Right for left in everything that is seen: masks, targets and rates fit each other."""
    names = ("amodal_mask", "visible_mask", "changed_mask", "target_rgb", "occlusion_rate")
    found = {name: getattr(sample, name)[::-1].copy() for name in names}
    return replace(sample, **found, joint_visible=np.zeros((2, 21), bool))


def joints_moved(sample: Sample) -> Sample:
    """By one pixel, in 3D as in 2D."""
    depth = sample.cam_joints_m[..., 2:]
    shift = depth * np.array([1, 0, 0], np.float32) / sample.K_px[:, None, :1, 0]
    joints = (sample.cam_joints_m + shift).astype(np.float32)
    pixels = [project(joints[i].astype(float), sample.K_px[i].astype(float)) for i in (0, 1)]
    hidden = np.zeros((2, 21), bool)
    return replace(sample, cam_joints_m=joints, joints_px=np.array(pixels, np.float32), joint_visible=hidden)


def flat(sample: Sample) -> Sample:
    """A blank image, with targets, luma and all that follows from them."""
    image = np.full_like(sample.image_rgb, 90)
    return replace(sample, image_rgb=image, target_rgb=np.stack([image, image]), mean_luma=mean_luma(image))


def turned_off(sample: Sample) -> Sample:
    """A pose that nobody can check."""
    zero = {name: np.zeros_like(getattr(sample, name)) for name in ("mano_pose_rad", "mano_betas", "mano_trans_m")}
    return replace(sample, **zero, pose_valid=np.zeros(2, bool))


def far_off(sample: Sample) -> Sample:
    """Numbers whose products overflow."""
    huge = np.float32(3e38)
    return replace(sample, mano_trans_m=np.full((2, 3), huge), mano_betas=np.full((2, 10), -huge))


def cropped(sample: Sample) -> Sample:
    """All pictures and masks four pixels smaller."""
    masks = {name: getattr(sample, name)[..., :60, :60] for name in ("changed_mask", "amodal_mask", "visible_mask")}
    return replace(sample, **masks, image_rgb=sample.image_rgb[:60, :60], target_rgb=sample.target_rgb[:, :60, :60])


PLANTED: dict[str, tuple[Callable[[list[Sample]], Sample], str]] = {
    "right for left": (lambda s: swapped(s[0]), "amodal mask and projected mesh agree to IoU"),
    "amodal masks swapped": (
        lambda s: recounted(s[0], amodal_mask=s[0].amodal_mask[::-1].copy()),
        "visible mask leaves its amodal mask",
    ),
    "changed masks swapped": (
        lambda s: replace(s[0], changed_mask=s[0].changed_mask[::-1].copy()),
        "M_D or M_R leaves changed_mask",
    ),
    "wrong occlusion rate": (
        lambda s: replace(s[0], occlusion_rate=np.nextafter(s[0].occlusion_rate, np.float32(2))),
        "occlusion rates are stored as",
    ),
    "masks 3 pixels off": (
        lambda s: recounted(
            s[0],
            amodal_mask=moved(s[0].amodal_mask, 3),
            visible_mask=moved(s[0].visible_mask, 3),
            changed_mask=moved(s[0].changed_mask, 3),
            joint_visible=np.zeros((2, 21), bool),
        ),
        "amodal mask and projected mesh agree to IoU",
    ),
    "masks of another pose": (masks_of, "amodal mask and projected mesh agree to IoU"),
    "pose of another sample": (other_pose, "amodal mask and projected mesh agree to IoU"),
    "a grown changed mask": (
        lambda s: replace(s[0], changed_mask=np.ones((2, 64, 64), bool)),
        "changed_mask reaches over 1 px beyond the other hand",
    ),
    "blank": (lambda s: flat(s[0]), "the image is blank"),
    "another luma": (lambda s: replace(s[0], mean_luma=s[0].mean_luma + 3), "mean luma is"),
    "joints in 2D one pixel off": (
        lambda s: replace(s[0], joints_px=s[0].joints_px + np.float32(1), joint_visible=np.zeros((2, 21), bool)),
        "px from joints_px",
    ),
    "joints one pixel off": (lambda s: joints_moved(s[0]), "mm from those of the stored pose"),
    "joints behind the camera": (lambda s: replace(s[0], cam_joints_m=-s[0].cam_joints_m), "behind the camera"),
    "a slightly other pose": (
        lambda s: replace(s[0], mano_pose_rad=s[0].mano_pose_rad + np.float32(1e-3)),
        "mm from those of the stored pose",
    ),
    "another shape": (
        lambda s: replace(s[0], mano_betas=s[0].mano_betas + np.float32(0.01)),
        "mm from those of the stored pose",
    ),
    "numbers that overflow": (lambda s: far_off(s[0]), "mm from those of the stored pose"),
    "a pose marked unknown": (lambda s: turned_off(s[0]), "right hand: a rendered hand is known whole or absent"),
    "a hand marked absent": (lambda s: replace(s[0], hand_present=np.array([False, True])), "present is False"),
    "another seed": (lambda s: replace(s[0], seed=s[0].seed + 1), "seed is 20220702, expected 20220701"),
    "another split": (lambda s: replace(s[0], split="val"), "split is val, expected train"),
    "another engine": (lambda s: replace(s[0], engine="sync"), "engine is sync, expected render"),
    "another index": (lambda s: replace(s[0], index=s[0].index + 16), "sample indices are not those of the plan"),
    "another size": (lambda s: cropped(s[0]), r"the image has \(60, 60\) pixels"),
}
