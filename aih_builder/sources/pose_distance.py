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
