"""Images of foreign test sets as one record. Their readers: interhand_benchmark, tzionas_benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aih_builder.geometry import FloatArray

HandType = Literal["right", "left", "interacting"]
HAND_TYPES: tuple[HandType, ...] = get_args(HandType)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BenchmarkImage:
    """One annotated photograph. Hand axis: 0 right, 1 left; joints in keypoint order; float64.

    The flags say which joints count. Values of others are 0, or what is annotated all the same (a joint beyond the
    image's border); all values of a hand that is not there are 0. The centre of pixel (0, 0) lies at (0, 0).
    """

    path: Path  # of the image file, which the readers do not open
    box_px: tuple[float, float, float, float]  # x0, y0, x1, y1 around the valid joints_px; a single joint has no area
    hand_type: HandType  # as annotated
    annotation: str  # human, machine, or "" where nothing tells
    joints_px: FloatArray  # (2, 21, 2), x then y
    joint2d_valid: NDArray[np.bool_]  # (2, 21)
    cam_joints_mm: FloatArray  # (2, 21, 3), x right, y down, z forward
    joint3d_valid: NDArray[np.bool_]  # (2, 21)
    bone_valid: NDArray[np.bool_]  # (2,) whether both ends of the reference bone are in cam_joints_mm, valid or not

    @property
    def present(self) -> NDArray[np.bool_]:
        """Whether any joint of each hand is valid, (2,)."""
        return np.array([valid.any() for valid in self.joint2d_valid | self.joint3d_valid])


def tight_box_px(joints_px: FloatArray, valid: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 around the valid ones (..., bool) of points (..., 2), at least one."""
    (x0, y0), (x1, y1) = joints_px[valid].min(axis=0), joints_px[valid].max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)
