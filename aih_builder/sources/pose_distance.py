"""How far apart two poses of a pair are: joints of both hands, seen from the right wrist."""

import numpy as np

from aih_builder.geometry import FloatArray, rotation_matrix
from aih_builder.hands.model import HandModel


def pair_joints_mm(
    hands: tuple[HandModel, HandModel], pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray
) -> FloatArray:
    """Descriptors (N, 126) of pairs: 21 joints of the right, then of the left hand, mm, seen from the right wrist.

    pose_rad (N, 2, 48), betas (N, 2, 10), trans_m (N, 2, 3). A rigid motion of the pair changes nothing.
    """
    found = np.zeros((len(pose_rad), 42, 3))
    for row in range(len(pose_rad)):
        joints_m = np.concatenate(
            [hand.pose(pose_rad[row, i], betas[row, i], trans_m[row, i]).joints_m for i, hand in enumerate(hands)]
        )
        turn = rotation_matrix(np.ascontiguousarray(pose_rad[row, 0, :3], np.float64))
        found[row] = 1000.0 * (joints_m - joints_m[0]) @ turn
    return found.reshape(len(pose_rad), 126)


def hand_joints_mm(hand: HandModel, pose_rad: FloatArray, betas: FloatArray) -> FloatArray:
    """Descriptors (N, 63) of single hands, poses (N, 48) and betas (N, 10): 21 joints, mm, seen from the wrist."""
    found = np.zeros((len(pose_rad), 21, 3))
    for row in range(len(pose_rad)):
        still = np.concatenate([np.zeros(3), pose_rad[row, 3:]])
        joints_m = hand.pose(still, betas[row], np.zeros(3)).joints_m
        found[row] = 1000.0 * (joints_m - joints_m[0])
    return found.reshape(len(pose_rad), 63)
