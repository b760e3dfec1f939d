"""From a photograph and the fit of a hand model to an entry of a bank: the fit's silhouette is what is cut out."""

from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import SampleError
from aih_builder.geometry import FloatArray, project
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.model import HandModel, PosedHand
from aih_builder.hands.surface import boundary_loop, build_surface
from aih_builder.imaging import ImageU8, feathered
from aih_builder.sample import Mask
from aih_builder.sources.bank import picture_side_px
from aih_builder.sources.picture_crop import MOST_ENLARGED, SMALLEST_BOX_PX, cropped
from aih_builder.synth.joints import depth_in_flesh_m, visible_joints
from aih_builder.synth.renderers.base import AMODAL_ALPHA
from aih_builder.synth.renderers.rasterize import coverage
from aih_builder.synth.views import along_forearm

LEAST_CORE_PX = 256  # of a coarser picture, a warped mask is too far from the mesh (IoU below 0.98)
_BLACK = 12  # mean level of a hand in a picture that shows nothing
_NEAREST_M = 0.08
_FOREARM_COSINE = np.cos(np.deg2rad(40.0))  # as camera.forearm_clearance_deg is by default


class Crop(NamedTuple):
    """How pictures are cropped around a hand's box."""

    core_px: int = LEAST_CORE_PX  # side of the part that fills an image at scale 1
    factor: float = 2.0  # side of the core / longer side of the box

    @property
    def size_px(self) -> int:
        """Side of a picture."""
        return picture_side_px(self.core_px)


class FittedHand(NamedTuple):
    """One hand before a camera, as parameters: rounded to what a bank stores."""

    side: int
    pose_rad: FloatArray  # float32 (48,)
    betas: FloatArray  # float32 (10,)
    trans_m: FloatArray  # float32 (3,)


class Picture(NamedTuple):
    """A crop of a photograph with the silhouette of the fit."""

    rgb: ImageU8  # (S, S, 3)
    alpha: ImageU8  # (S, S) coverage by the fit, soft at its edges, not yet feathered
    to_px: FloatArray  # (2, 3) from the photograph's pixels to the crop's
    fields: dict[str, Any]  # of a BankEntry: pose, joints and camera


class Cutter:
    """Cuts hands out of photographs along their fits. Keeps a model and a surface of each side."""

    def __init__(self, hand: HandArrays, crop: Crop) -> None:
        self.hands = hand_pair(hand, "native")
        self.crop = crop
        self._surfaces = build_surface(self.hands[0].arrays), build_surface(self.hands[1].arrays)
        self._rims = [boundary_loop(model.arrays.faces) for model in self.hands]
        self._in_flesh_m = [
            depth_in_flesh_m(model, surface) for model, surface in zip(self.hands, self._surfaces, strict=True)
        ]

    def cut(self, rgb: ImageU8, fit: FittedHand, K_px: FloatArray) -> Picture | str:
        """The picture of a fitted hand in a photograph (H, W, 3) taken with K_px; or why it cannot serve."""
        try:
            posed = self.hands[fit.side].pose(*fit[1:])
        except SampleError:
            return "a fit that is no pose"
        surface = self._surfaces[fit.side]
        positions_m = surface.pose(posed.vertices_m).positions_m
        if not np.isfinite(positions_m).all() or positions_m[:, 2].min() < _NEAREST_M:
            return "a fit behind the camera, or at its lens"
        if along_forearm(posed.vertices_m, self._rims[fit.side]) > _FOREARM_COSINE:
            return "a view along the forearm, which may hide the hand"
        outline_px = project(positions_m, K_px)
        low, high = outline_px.min(axis=0), outline_px.max(axis=0)
        if (low < 0).any() or (high > np.array(rgb.shape[1::-1]) - 1).any():
            return "a hand cut by the picture's border"
        longer = float((high - low).max())
        if longer < SMALLEST_BOX_PX:
            return f"a hand of less than {SMALLEST_BOX_PX} px"
        scale = self.crop.core_px / (self.crop.factor * longer)
        if scale > MOST_ENLARGED:
            return f"a hand that would be enlarged more than {MOST_ENLARGED:g} times"
        picture, to_px = cropped(rgb, scale, (low + high) / 2, self.crop.size_px)
        cropped_K = (np.concatenate([to_px, [[0.0, 0.0, 1.0]]]) @ K_px).astype(np.float32)
        alpha, depth_m = coverage(positions_m, surface.faces, cropped_K.astype(np.float64), self.crop.size_px)
        mask = alpha >= AMODAL_ALPHA
        if picture[mask].mean() < _BLACK:
            return "a black picture"
        return Picture(picture, alpha, to_px, self._fields(fit, posed, cropped_K, mask, depth_m))

    def _fields(
        self, fit: FittedHand, posed: PosedHand, K_px: FloatArray, mask: Mask, depth_m: np.ndarray
    ) -> dict[str, Any]:
        joints_m = posed.joints_m.astype(np.float32)
        joints_px = project(joints_m.astype(np.float64), K_px.astype(np.float64)).astype(np.float32)
        seen = visible_joints(joints_px, joints_m[:, 2], mask, depth_m, self._in_flesh_m[fit.side])
        return {
            "side": fit.side, "joints_px": joints_px, "joint2d_valid": np.ones(21, bool),
            "cam_joints_m": joints_m, "joint3d_valid": np.ones(21, bool),
            "joint_visible": seen, "joint_visible_valid": True, "K_px": K_px,
            "mano_pose_rad": fit.pose_rad, "mano_betas": fit.betas, "mano_trans_m": fit.trans_m, "pose_valid": True,
        }  # fmt: skip


def soft_rgba(picture: Picture, alpha: ImageU8 | None = None) -> ImageU8:
    """The picture (S, S, 4) as a bank stores it, alpha feathered: the fit's, or another."""
    return np.dstack([picture.rgb, feathered(picture.alpha if alpha is None else alpha)])


def before_camera(
    hand: HandModel,
    side: int,
    fit: tuple[FloatArray, FloatArray, FloatArray],
    rotation: FloatArray,
    shift_m: FloatArray,
) -> FittedHand:
    """Pose (48,), betas (10,) and trans (3,) moved by x -> rotation @ x + shift_m, exactly, then rounded."""
    pose_rad, betas, trans_m = fit
    stored = betas.astype(np.float32).astype(np.float64)
    moved_rad, moved_m = hand.moved(pose_rad, stored, trans_m, rotation, shift_m)
    return rounded(side, moved_rad, stored, moved_m)


def rounded(side: int, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> FittedHand:
    """Parameters as a bank stores them."""
    return FittedHand(side, *(values.astype(np.float32) for values in (pose_rad, betas, trans_m)))


_cutters: dict[tuple[str, Crop], Cutter] = {}


def cutter_for(hand: HandArrays, crop: Crop) -> Cutter:
    """This process's own cutter; the last one is kept."""
    key = hand.digest(), crop
    if key not in _cutters:
        _cutters.clear()
        _cutters[key] = Cutter(hand, crop)
    return _cutters[key]
