"""Forearms of a scene: drawn from a stream of their own, kept clear of the other hand, and joined to their hands.

A forearm is drawn by the same renderer as its hand, then laid over or under it, pixel by pixel, by depth: from then on
the two are one layer. People wear the same on both arms.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.config.look import Forearms
from aih_builder.errors import Rejected
from aih_builder.geometry import FloatArray
from aih_builder.hands.forearm import Limb, RingMesh, build_forearm, centre_line, girth
from aih_builder.hands.model import HandModel, PosedHand
from aih_builder.hands.sleeve import Cut, build_sleeve
from aih_builder.hands.surface import HandSurface, SurfacePose
from aih_builder.identity import Split
from aih_builder.sources.cloths import cloth, draw_cloth, kind_of
from aih_builder.sources.textures import TextureSet
from aih_builder.synth.renderers.base import AMODAL_ALPHA, HandDraw, Layer, Renderer, RenderRequest

_BENDS = 8  # draws of how wrists bend, until forearms are clear of hands and of each other
_DEEPEST_M = 0.008  # how far a forearm may go into the other hand, or the other forearm
_NEAREST_M = 0.10  # no part of a forearm's axis may be nearer to the camera
_BALL_STEP_M = 0.012
_FACING = 0.4  # cosine: a seen face's corner may look so far away from the camera
_BARE_M = 0.035  # of skin under a cuff that leaves the wrist bare

# By kind of cloth: cuff's length, how far it stands off, the cloth beyond it, its thickness, height of folds.
_CUTS_M = {
    "knit": ((0.035, 0.06), (0.002, 0.004), (0.003, 0.009), 0.0020, (0.0006, 0.0016)),
    "shirt": ((0.045, 0.07), (0.003, 0.006), (0.004, 0.012), 0.0014, (0.0010, 0.0026)),
    "jacket": ((0.03, 0.05), (0.005, 0.009), (0.008, 0.016), 0.0030, (0.0012, 0.0030)),
}


class Arm(NamedTuple):
    """One forearm of a scene."""

    limb: Limb
    cut: Cut | None  # of its sleeve
    cloth_id: str  # '' for a bare arm


Arms = tuple[Arm | None, Arm | None]  # right, left
Hands = tuple[PosedHand | None, PosedHand | None]


OpennessOf = Callable[[int, FloatArray, FloatArray], FloatArray]  # see HandShading.of_points


class Balls(NamedTuple):
    """A forearm as a row of balls, for tests of distance."""

    centres_m: FloatArray  # (N, 3)
    radii_m: FloatArray  # (N,)


class ForearmMaker:
    """Draws forearms for the hands of one manifest."""

    def __init__(
        self, chosen: Forearms, hands: tuple[HandModel, HandModel], surfaces: tuple[HandSurface, HandSurface]
    ) -> None:
        self._chosen = chosen
        self._surfaces = surfaces
        self._forearms = [build_forearm(model.arrays, s) for model, s in zip(hands, surfaces, strict=True)]
        self._sleeves = [build_sleeve(len(forearm.rim_rows)) for forearm in self._forearms]

    def draw(self, rng: np.random.Generator, split: Split, hands: Hands) -> Arms:
        """Forearms for posed hands, or none. Raises Rejected where one would run through the other hand."""
        chosen = self._chosen
        if rng.random() >= chosen.share:
            return None, None
        cloth_id = draw_cloth(rng, split) if rng.random() < chosen.sleeve else ""
        length_m = rng.uniform(*chosen.length_m)
        cuts = self._cuts(rng, cloth_id)
        bends = np.deg2rad(chosen.bend_deg) * rng.uniform(-1, 1, (_BENDS, 2, 2))
        for bend in bends:
            arms = [None if hand is None else Arm(Limb(length_m, bend[i]), cuts[i], cloth_id)
                    for i, hand in enumerate(hands)]  # fmt: skip
            if self._clear(hands, (arms[0], arms[1])):
                return arms[0], arms[1]
        raise Rejected("a forearm through the other hand")

    def _cuts(self, rng: np.random.Generator, cloth_id: str) -> list[Cut | None]:
        if not cloth_id:
            return [None, None]
        cuff_m, stand_m, loose_m, thick_m, fold_m = _CUTS_M[kind_of(cloth_id)]
        shared = rng.uniform(*cuff_m), rng.uniform(*stand_m)
        start_m, loose_m, fold_m = rng.uniform(-0.5, 0.8), rng.uniform(*loose_m), rng.uniform(*fold_m)
        cuts: list[Cut | None] = []
        for forearm in self._forearms:
            own_m = (start_m + rng.uniform(-0.15, 0.15)) * forearm.stub_m
            folds = np.stack(
                [fold_m * rng.uniform(0.3, 1.0, 5), rng.integers(-2, 3, 5).astype(float), rng.uniform(-26, 26, 5),
                 rng.uniform(0, 2 * np.pi, 5)], axis=1,
            )  # fmt: skip
            cuts.append(Cut(own_m, *shared, loose_m, thick_m, folds))
        return cuts

    def balls(self, side: int, hand: PosedHand, arm: Arm) -> Balls:
        """A forearm of a posed hand, in the hand's frame."""
        forearm = self._forearms[side]
        stations_m = np.append(np.arange(0.5 * _BALL_STEP_M, arm.limb.length_m, _BALL_STEP_M), arm.limb.length_m)
        frame = forearm.frame(hand.vertices_m)
        rim_m = np.linalg.norm(hand.vertices_m[forearm.rim_vertices] - frame.origin_m, axis=1).mean()
        cloth_m = 0.0 if arm.cut is None else arm.cut.loose_m
        return Balls(centre_line(stations_m, frame, arm.limb.bend_rad), rim_m * girth(stations_m) + cloth_m)

    def _clear(self, hands: Hands, arms: Arms) -> bool:
        if hands[0] is None or hands[1] is None or arms[0] is None or arms[1] is None:
            return True
        right, left = self.balls(0, hands[0], arms[0]), self.balls(1, hands[1], arms[1])
        return bool(
            _depth_m(*right, hands[1].vertices_m, np.zeros(len(hands[1].vertices_m))) <= _DEEPEST_M
            and _depth_m(*left, hands[0].vertices_m, np.zeros(len(hands[0].vertices_m))) <= _DEEPEST_M
            and _depth_m(*right, *left) <= _DEEPEST_M
        )

    def rows_of_balls(self, hands: Hands, arms: Arms) -> list[Balls]:
        """The balls of each forearm, from the wrist to its end."""
        return [
            self.balls(side, hand, arm)
            for side, (hand, arm) in enumerate(zip(hands, arms, strict=True))
            if hand is not None and arm is not None
        ]

    def add(
        self, request: RenderRequest, layers: tuple[Layer | None, Layer | None], hands: Hands, arms: Arms,
        renderer: Renderer, openness_of: OpennessOf | None = None,
    ) -> tuple[Layer | None, Layer | None]:  # fmt: skip
        """The layers of a request's hands, each with its forearm, which is shaded where openness_of is given."""
        parts: list[list[HandDraw]] = [[], []]
        for side, (hand, arm, draw) in enumerate(zip(hands, arms, request.hands, strict=True)):
            if hand is not None and arm is not None and draw is not None:
                parts[side] = self._draws(side, hand, arm, draw, openness_of)
        drawn: list[list[Layer]] = [[], []]
        for number in range(max(map(len, parts))):
            pair = [part[number] if number < len(part) else None for part in parts]
            found = renderer.render(replace(request, hands=(pair[0], pair[1])))
            for side, layer in enumerate(found):
                if layer is not None:
                    drawn[side].append(layer)
        right, left = (
            layer if layer is None or not forearm else with_forearm(layer, forearm)
            for layer, forearm in zip(layers, drawn, strict=True)
        )
        return right, left

    def _draws(
        self, side: int, hand: PosedHand, arm: Arm, draw: HandDraw, openness_of: OpennessOf | None
    ) -> list[HandDraw]:
        """The parts of a forearm: skin, sleeve or both."""
        forearm, sleeve = self._forearms[side], self._sleeves[side]
        frame = forearm.frame(hand.vertices_m)
        skin_pose = SurfacePose(draw.positions_m, draw.normals, draw.tangents)
        section = forearm.section(skin_pose, frame)
        draws = []
        if arm.cut is None or arm.cut.start_m > -0.5 * _BARE_M:
            limb = arm.limb if arm.cut is None else arm.limb._replace(length_m=arm.cut.start_m + _BARE_M)
            posed = forearm.pose_skin(skin_pose, frame, section, limb)
            draws.append(_drawn(draw.side, posed, forearm.skin, draw.texture, side, openness_of))
        if arm.cut is not None:
            posed = sleeve.pose(frame, section, arm.limb, arm.cut)
            draws.append(_drawn(0, posed, sleeve.mesh, cloth(arm.cloth_id), side, openness_of))
        return draws


def _drawn(
    albedo: int, pose: SurfacePose, mesh: RingMesh, texture: TextureSet, side: int, openness_of: OpennessOf | None
) -> HandDraw:
    openness = None
    if openness_of is not None:
        points_m, normals = mesh.of_points(pose.positions_m), mesh.of_points(pose.normals)
        faces_us = _facing(points_m, normals)
        of_points = np.ones((len(points_m), 4))
        of_points[faces_us] = openness_of(side, points_m[faces_us], normals[faces_us])
        openness = of_points[mesh.of_render]
    return HandDraw(
        pose.positions_m, pose.normals, pose.tangents, mesh.uv, mesh.faces, mesh.uv_per_m, texture, albedo, openness
    )


def _facing(cam_points_m: FloatArray, normals: FloatArray) -> NDArray[np.bool_]:
    """Which points (N, 3) with unit normals may be corners of faces that the camera sees."""
    away = np.einsum("ij,ij->i", cam_points_m, normals)
    return away < _FACING * np.sqrt(np.einsum("ij,ij->i", cam_points_m, cam_points_m))


def forearm_amiss(axis_m: FloatArray, rotation: FloatArray, shift_m: FloatArray, cosine: float) -> bool:
    """Whether, moved into the camera's frame, a forearm comes too near, or the camera looks along it.

    cosine is that of the least angle between a forearm (N, 3) and the ray from its wrist to the camera.
    """
    return _amiss(axis_m, rotation, shift_m, cosine)


def ends_inside(arm: Balls, rotation: FloatArray, shift_m: FloatArray, K_px: FloatArray, size_px: int) -> bool:
    """Whether any of the ball at a forearm's end, moved into the camera's frame, lies in the picture."""
    return _ends_inside(arm.centres_m[-1], arm.radii_m[-1], rotation, shift_m, K_px, size_px)


def with_forearm(hand: Layer, parts: list[Layer]) -> Layer:
    """One layer of a hand and the parts of its forearm, ordered by depth at each pixel.

    A pixel that the hand covers by half or more is the hand's, unless the forearm does so in front of it; any other
    that both together cover by half or more is the forearm's. So no pixel at the wrist belongs to neither.
    """
    arm = parts[0]
    for part in parts[1:]:
        arm = replace(_joined(arm, part), forearm=None)
    return _joined(hand, arm)


def _joined(hand: Layer, arm: Layer) -> Layer:
    rgba, depth_m, forearm = hand.rgba.copy(), hand.depth_m.copy(), np.zeros(hand.depth_m.shape, np.bool_)
    _join(arm.rgba, hand.depth_m, arm.depth_m, rgba, depth_m, forearm)
    normal = None
    if hand.normal is not None and arm.normal is not None:
        normal = np.where((depth_m == hand.depth_m)[..., None], hand.normal, arm.normal)
    beside_rgba = None
    if hand.beside_rgba is not None or arm.beside_rgba is not None:
        beside_rgba = (hand.rgba if hand.beside_rgba is None else hand.beside_rgba).copy()
        shaded_arm = arm.rgba if arm.beside_rgba is None else arm.beside_rgba
        _join(shaded_arm, hand.depth_m, arm.depth_m, beside_rgba, depth_m, forearm)
    return Layer(rgba, depth_m, normal, beside_rgba, forearm)


@compiled
def _amiss(axis, rotation, shift, cosine):
    n = axis.shape[0]
    first, last = np.empty(3), np.empty(3)
    for c in range(3):
        first[c] = shift[c] + rotation[c, 0] * axis[0, 0] + rotation[c, 1] * axis[0, 1] + rotation[c, 2] * axis[0, 2]
        last[c] = (
            shift[c]
            + rotation[c, 0] * axis[n - 1, 0]
            + rotation[c, 1] * axis[n - 1, 1]
            + rotation[c, 2] * axis[n - 1, 2]
        )
    along, length, away = 0.0, 0.0, 0.0
    for c in range(3):
        along -= (last[c] - first[c]) * first[c]
        length += (last[c] - first[c]) ** 2
        away += first[c] ** 2
    return min(first[2], last[2]) < _NEAREST_M or along > cosine * np.sqrt(length * away)


@compiled
def _depth_m(centres, radii, others, other_radii):
    """How deep the deepest of other balls (M, 3) lies in balls (N, 3)."""
    deepest = -np.inf
    for i in range(centres.shape[0]):
        for j in range(others.shape[0]):
            reach = radii[i] + other_radii[j]
            x, y, z = centres[i, 0] - others[j, 0], centres[i, 1] - others[j, 1], centres[i, 2] - others[j, 2]
            square = x * x + y * y + z * z
            if square < reach * reach:
                deepest = max(deepest, reach - np.sqrt(square))
    return deepest


@compiled
def _ends_inside(end, radius, rotation, shift, K, size):
    moved = shift.copy()
    for c in range(3):
        for a in range(3):
            moved[c] += rotation[c, a] * end[a]
    u = np.divide(K[0, 0] * moved[0] + K[0, 1] * moved[1], moved[2]) + K[0, 2]
    v = np.divide(K[1, 1] * moved[1], moved[2]) + K[1, 2]
    r_u, r_v = np.divide(radius * K[0, 0], moved[2]), np.divide(radius * K[1, 1], moved[2])
    return -0.5 - r_u < u < size - 0.5 + r_u and -0.5 - r_v < v < size - 0.5 + r_v


@compiled
def _join(arm, hand_depth, arm_depth, rgba, depth, forearm):
    """Lay an arm over or under the hand that rgba holds."""
    for y in range(rgba.shape[0]):
        for x in range(rgba.shape[1]):
            a = np.int32(arm[y, x, 3])
            if a == 0:
                continue
            h = np.int32(rgba[y, x, 3])
            first = h == 0 or arm_depth[y, x] < hand_depth[y, x]
            through = 255 - (a if first else h)
            for c in range(4):
                over, below = np.int32(rgba[y, x, c]), np.int32(arm[y, x, c])
                if first:
                    over, below = below, over
                rgba[y, x, c] = np.uint8(min(over + (below * through + 127) // 255, 255))
            of_hand = h >= AMODAL_ALPHA and not (first and a >= AMODAL_ALPHA)
            forearm[y, x] = not of_hand and rgba[y, x, 3] >= AMODAL_ALPHA
            if forearm[y, x] or (first and not of_hand):
                depth[y, x] = arm_depth[y, x]
