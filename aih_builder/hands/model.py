"""HandModel: pose and shape in, vertices and keypoints out.

Conventions are smplx's MANO with use_pca=False and flat_hand_mean=False: pose_rad (48,) is the root's axis-angle and
45 finger values to which hands_mean is added; the root turns about the rest wrist; trans_m is added last.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.errors import SampleError
from aih_builder.geometry import FloatArray, rotation_matrix, rotation_vector
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import KEYPOINTS, N_BETAS, N_JOINTS, PARENTS


class PosedHand(NamedTuple):
    """A hand in space, metres."""

    vertices_m: FloatArray  # (V, 3)
    joints_m: FloatArray  # (21, 3) in keypoint order


class HandModel(ABC):
    """A hand of one side. Implementations differ in who computes the skinning."""

    def __init__(self, arrays: HandArrays) -> None:
        self.arrays = arrays

    @property
    def side(self) -> str:
        """`right` or `left`."""
        return self.arrays.side

    def pose(self, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> PosedHand:
        """Vertices and keypoints for pose (48,), betas (10,) and translation (3,).

        Raises SampleError on a wrong shape or a value that is not finite.
        """
        for name, value, length in (
            ("pose_rad", pose_rad, 3 * N_JOINTS),
            ("betas", betas, N_BETAS),
            ("trans_m", trans_m, 3),
        ):
            if np.shape(value) != (length,):
                raise SampleError(f"{name}: expected shape ({length},), got {np.shape(value)}.")
            if not np.isfinite(value).all():
                raise SampleError(f"{name}: holds NaN or infinity.")
        vertices_m, joints_m = self._skin(
            np.ascontiguousarray(pose_rad, np.float64),
            np.ascontiguousarray(betas, np.float64),
            np.ascontiguousarray(trans_m, np.float64),
        )
        tips_m = vertices_m[self.arrays.tip_vertices]
        return PosedHand(vertices_m, np.concatenate([joints_m, tips_m])[KEYPOINTS])

    @abstractmethod
    def _skin(self, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Vertices (V, 3) and the 16 MANO joints (16, 3)."""

    def rest_wrist_m(self, betas: FloatArray) -> FloatArray:
        """The rest wrist (3,): the point about which the root turns."""
        a = self.arrays
        return np.einsum("v,vc->c", a.J_regressor[0], a.v_template + np.einsum("vcb,b->vc", a.shapedirs, betas))

    def moved(
        self,
        pose_rad: FloatArray,
        betas: FloatArray,
        trans_m: FloatArray,
        rotation: FloatArray,
        translation_m: FloatArray,
    ) -> tuple[FloatArray, FloatArray]:
        """Pose (48,) and trans (3,) of the same hand after x -> rotation @ x + translation_m, exactly."""
        wrist_m = self.rest_wrist_m(betas)
        root = np.asarray(rotation) @ rotation_matrix(np.ascontiguousarray(pose_rad[:3], np.float64))
        moved_pose = np.array(pose_rad, dtype=np.float64)
        moved_pose[:3] = rotation_vector(root)
        return moved_pose, rotation @ (np.asarray(trans_m) + wrist_m) - wrist_m + translation_m


class NativeHandModel(HandModel):
    """Linear blend skinning in a fixed order of operations, one sample at a time, float64, no BLAS.

    Batched libraries give last-bit differences with the batch size and the thread count; this does not.
    """

    def __init__(self, arrays: HandArrays) -> None:
        super().__init__(arrays)
        self._joint_template, self._joint_shapedirs = _regress_joints(arrays)
        directions = np.concatenate([arrays.shapedirs, arrays.posedirs], axis=2)  # (V, 3, 10 + 135)
        self._directions = np.ascontiguousarray(directions.reshape(-1, directions.shape[2]).T, np.float64)
        self._weights = np.ascontiguousarray(arrays.weights)
        # What shape and fingers made of the template last, and their amounts: a hand is often posed again with another
        # root alone, since a view and its rounding to what is stored differ from the pose in nothing else.
        self._amounts = np.full(self._directions.shape[0], np.nan)
        self._blended_m = np.empty_like(arrays.v_template)

    def _skin(self, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> tuple[FloatArray, FloatArray]:
        full_pose = pose_rad.copy()
        full_pose[3:] += self.arrays.hands_mean
        return _skin_vertices(
            full_pose.reshape(N_JOINTS, 3),
            betas,
            trans_m,
            self.arrays.v_template,
            self._directions,
            self._amounts,
            self._blended_m,
            self._weights,
            self._joint_template,
            self._joint_shapedirs,
            PARENTS,
        )


def _regress_joints(arrays: HandArrays) -> tuple[FloatArray, FloatArray]:
    """Joints as a linear function of betas: template (16, 3) and directions (16, 3, 10)."""
    template = np.einsum("jv,vc->jc", arrays.J_regressor, arrays.v_template)
    directions = np.einsum("jv,vcb->jcb", arrays.J_regressor, arrays.shapedirs)
    return template, directions


@compiled
def _add_weighted(rows, amounts, to):
    """Add each row (K, N) times its amount to the sums (N,), in the order of the rows: the loop over N has no order."""
    k = 0
    while k + 5 <= rows.shape[0]:  # five at a time: the sums are then fetched and stored a fifth as often
        r0, r1, r2, r3, r4 = rows[k], rows[k + 1], rows[k + 2], rows[k + 3], rows[k + 4]
        a0, a1, a2, a3, a4 = amounts[k], amounts[k + 1], amounts[k + 2], amounts[k + 3], amounts[k + 4]
        for i in range(to.shape[0]):
            to[i] = to[i] + r0[i] * a0 + r1[i] * a1 + r2[i] * a2 + r3[i] * a3 + r4[i] * a4
        k += 5
    while k < rows.shape[0]:
        row, amount = rows[k], amounts[k]
        for i in range(to.shape[0]):
            to[i] += row[i] * amount
        k += 1


@compiled
def _skin_vertices(
    full_pose,
    betas,
    trans_m,
    v_template,
    directions,
    amounts,
    blended,
    weights,
    joint_template,
    joint_shapedirs,
    parents,
):
    """Sum orders are written out, so that the same input gives the same bits on one CPU type.

    directions (10 + 135, 3 V) move the template's coordinates with the betas, then with the pose. amounts and blended
    hold the last call's, and are made anew where they differ.
    """
    n_vertices, n_joints, n_betas = v_template.shape[0], full_pose.shape[0], betas.shape[0]

    rest = joint_template.copy()
    for j in range(n_joints):
        for c in range(3):
            for b in range(n_betas):
                rest[j, c] += joint_shapedirs[j, c, b] * betas[b]

    # Global rotation and position of each joint, and the betas with the pose feature R - I of all but the root.
    rotations = np.empty((n_joints, 3, 3))
    joints = np.empty((n_joints, 3))
    same = True
    for b in range(n_betas):
        same &= amounts[b] == betas[b]
        amounts[b] = betas[b]
    for j in range(n_joints):
        local = rotation_matrix(full_pose[j])
        if j == 0:
            rotations[0] = local
            joints[0] = rest[0]
            continue
        for a in range(3):
            for b in range(3):
                amount, place = local[a, b] - (1.0 if a == b else 0.0), n_betas + 9 * (j - 1) + 3 * a + b
                same &= amounts[place] == amount
                amounts[place] = amount
        p = parents[j]
        for a in range(3):
            for b in range(3):
                rotations[j, a, b] = (
                    rotations[p, a, 0] * local[0, b]
                    + rotations[p, a, 1] * local[1, b]
                    + rotations[p, a, 2] * local[2, b]
                )
            joints[j, a] = (
                joints[p, a]
                + rotations[p, a, 0] * (rest[j, 0] - rest[p, 0])
                + rotations[p, a, 1] * (rest[j, 1] - rest[p, 1])
                + rotations[p, a, 2] * (rest[j, 2] - rest[p, 2])
            )

    vertices = np.empty((n_vertices, 3))
    if not same:
        blended[:] = v_template
        _add_weighted(directions, amounts, blended.reshape(-1))
    for v in range(n_vertices):
        point = blended[v]
        x, y, z = 0.0, 0.0, 0.0
        for j in range(n_joints):
            w = weights[v, j]
            if w == 0.0:
                continue
            dx, dy, dz = point[0] - rest[j, 0], point[1] - rest[j, 1], point[2] - rest[j, 2]
            r = rotations[j]
            x += w * (r[0, 0] * dx + r[0, 1] * dy + r[0, 2] * dz + joints[j, 0])
            y += w * (r[1, 0] * dx + r[1, 1] * dy + r[1, 2] * dz + joints[j, 1])
            z += w * (r[2, 0] * dx + r[2, 1] * dy + r[2, 2] * dz + joints[j, 2])
        vertices[v, 0], vertices[v, 1], vertices[v, 2] = (
            x + trans_m[0],
            y + trans_m[1],
            z + trans_m[2],
        )
    for j in range(n_joints):
        for c in range(3):
            joints[j, c] += trans_m[c]
    return vertices, joints
