"""What follows from a sample's small arrays and is worth filtering by; no image is decoded."""

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.anatomy import angles_of_poses
from aih_builder.hands.model import HandModel
from aih_builder.sample import Array, Spec

AXES = ("flexion", "abduction", "twist")  # of the angles of a joint
VIEW_RINGS, VIEW_SECTORS = 8, 16  # cells of equal area on the sphere of view directions

# Hand axis: 0 right, 1 left. What is not known is 0.
DERIVED = {
    "occlusion_target": Spec("float32", "", "occlusion_rate of the target hand; 0 where there is no target"),
    "distance_m": Spec("float32", "2", "from the camera to the middle of a hand's keypoints, metres"),
    "view_direction": Spec("float32", "2 3", "unit vector from a hand's wrist to the camera, in the frame of its root"),
    "view_cell": Spec("uint8", "2", "cell of view_direction on the sphere, 1 to 128: 8 rings of 16, palm side first"),
    "visible_joints": Spec("int8", "2", "keypoints that are visible"),
    "angles_deg": Spec("float16", "2 15 3", "flexion, abduction, twist of MANO's joints 1 to 15, degrees"),
}


def derive(plain: dict[str, Array], hands: tuple[HandModel, HandModel]) -> dict[str, Array]:
    """The DERIVED columns of the samples of a shard, from its fields without pixels, each (S, ...)."""
    count = len(plain["index"])
    joints_m = np.asarray(plain["cam_joints_m"], np.float64)
    known = plain["joint3d_valid"].all(axis=2) & plain["hand_present"]  # (S, 2)
    target = plain["target_hand"]
    rates = plain["occlusion_rate"][np.arange(count), np.clip(target, 0, 1)]
    distance_m = np.linalg.norm(joints_m.mean(axis=2), axis=-1)
    posed = plain["pose_valid"] & plain["hand_present"]
    directions, angles = np.zeros((count, 2, 3), np.float32), np.zeros((count, 2, 15, 3), np.float16)
    for side, hand in enumerate(hands):
        rows = np.flatnonzero(posed[:, side])
        pose_rad = np.asarray(plain["mano_pose_rad"][rows, side], np.float64)
        directions[rows, side] = view_directions(hand, pose_rad[:, :3], joints_m[rows, side, 0])
        angles[rows, side] = np.rad2deg(angles_of_poses(hand.arrays, pose_rad[:, 3:])[:, 1:])
    seen = plain["joint_visible"].sum(axis=2) * (plain["joint_visible_valid"] & plain["hand_present"])
    return {
        "occlusion_target": np.where(target >= 0, rates, 0).astype(np.float32),
        "distance_m": np.where(known, distance_m, 0).astype(np.float32),
        "view_direction": directions,
        "view_cell": view_cells(directions),
        "visible_joints": seen.astype(np.int8),
        "angles_deg": angles,
    }


def view_directions(hand: HandModel, turn_rad: FloatArray, wrist_m: FloatArray) -> FloatArray:
    """Unit vectors (N, 3) from wrists (N, 3) to the camera, in the frame of the hand's root, of a left hand mirrored.

    turn_rad (N, 3) is the hand's global orientation as axis-angle.
    """
    angle = np.linalg.norm(turn_rad, axis=1, keepdims=True)
    axis = -turn_rad / np.maximum(angle, 1e-12)  # the other way round: from the camera's frame to the root's
    towards = -wrist_m / np.maximum(np.linalg.norm(wrist_m, axis=1, keepdims=True), 1e-12)
    cos, sin = np.cos(angle), np.sin(angle)
    along = (axis * towards).sum(axis=1, keepdims=True)
    turned = cos * towards + sin * np.cross(axis, towards) + (1 - cos) * along * axis
    return turned * ([-1.0, 1.0, 1.0] if hand.side == "left" else [1.0, 1.0, 1.0])


def view_cells(directions: FloatArray) -> Array:
    """The cell (...) uint8 of each view direction (..., 3), from 1 on; 0 where the direction is 0, which is unknown.

    Rings are of equal height along y, from -1 (before the palm) to 1 (behind the back of the hand). Sectors go around y
    from the wrist (x) over the little finger's side (-z), the fingers (-x) and the thumb's side (z).
    """
    x, y, z = (directions[..., k] for k in range(3))
    ring = np.clip((y + 1) / 2 * VIEW_RINGS, 0, VIEW_RINGS - 1).astype(np.uint8)
    turn = (np.arctan2(z, -x) + np.pi) / (2 * np.pi)
    sector = np.clip(turn * VIEW_SECTORS, 0, VIEW_SECTORS - 1).astype(np.uint8)
    return np.where(directions.any(axis=-1), 1 + ring * np.uint8(VIEW_SECTORS) + sector, 0).astype(np.uint8)
