"""Joint orders, tips and the mirror rule of MANO-format hands.

MANO joints (16): 0 wrist, 1-3 index, 4-6 middle, 7-9 little, 10-12 ring, 13-15 thumb, base to tip.
Keypoints (21): wrist, thumb 1-4, index 1-4, middle 1-4, ring 1-4, little 1-4, base to tip.
"""

import numpy as np

from aih_builder.geometry import FloatArray

RIGHT, LEFT = 0, 1  # the hand axis of every array

N_VERTICES, N_FACES, N_JOINTS, N_BETAS = 778, 1538, 16, 10
PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])

# First MANO joint of each finger, in the order of the keypoints.
FINGERS = {"thumb": 13, "index": 1, "middle": 4, "ring": 10, "little": 7}

# Vertices that serve as fingertips, thumb to little: manopth's ids for the right hand.
TIP_VERTICES = np.array([745, 317, 444, 556, 673])

KEYPOINT_NAMES = (
    "wrist",
    *(f"{finger}{joint}" for finger in FINGERS for joint in (1, 2, 3, 4)),
)
# keypoints = concatenate([16 MANO joints, 5 tips])[KEYPOINTS]
KEYPOINTS = np.array([0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20], dtype=np.int64)
KEYPOINT_PARENTS = np.array([-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19], dtype=np.int64)

MIRROR = np.array([-1.0, 1.0, 1.0])  # reflects x
MIRROR_AXIS_ANGLE = np.array([1.0, -1.0, -1.0])  # what the reflection does to a rotation vector


def mirror_pose(pose_rad: FloatArray) -> FloatArray:
    """Axis-angle pose (..., 3 k) of one hand as the pose of the other hand, reflected in x."""
    joints = pose_rad.reshape(*pose_rad.shape[:-1], -1, 3) * MIRROR_AXIS_ANGLE
    return joints.reshape(pose_rad.shape)
