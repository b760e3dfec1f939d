"""AIH-Render: textured hand meshes in front of a background."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, NamedTuple, final

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.config import Manifest
from aih_builder.errors import ConfigError, Rejected
from aih_builder.geometry import FloatArray, project, transform
from aih_builder.hands.folds import build_folds
from aih_builder.hands.model import PosedHand
from aih_builder.hands.surface import SurfacePose, boundary_loop
from aih_builder.identity import EngineName, Split, name_of
from aih_builder.imaging import ImageU8
from aih_builder.pixels import put_where
from aih_builder.rng import Purpose, draw_share, sample_rng
from aih_builder.sample import MIN_HAND_PIXELS, Mask, Sample, mean_luma, occlusion_rates
from aih_builder.sources.backgrounds import Background
from aih_builder.sources.cameras import CropJitter, crop_intrinsics, draw_crop_jitter, draw_standpoint, draw_view
from aih_builder.sources.licences import PUBLIC_DOMAIN, strictest
from aih_builder.sources.lights import Lights, draw_lights
from aih_builder.sources.poses import PosePair
from aih_builder.sources.textures import TextureSet
from aih_builder.synth.assets import Assets
from aih_builder.synth.camera_effects import photographed
from aih_builder.synth.camera_settings import NEUTRAL, CameraSettings, draw_settings
from aih_builder.synth.compose import Composite, compose, front_surface, right_in_front_by_depth
from aih_builder.synth.engine import Attempt, Engine, Tally
from aih_builder.synth.forearms import Arms, ForearmMaker, ends_inside, forearm_amiss
from aih_builder.synth.joints import depth_in_flesh_m, visible_joints
from aih_builder.synth.renderers.base import HandDraw, Layer, Renderer, RenderRequest
from aih_builder.synth.shading import HandShading
from aih_builder.synth.views import ROUGH_PX, RoughLook, along_forearm, nearest_m

VIEWS = 16  # candidate views per attempt
_NEAREST_M = 0.08  # no part of a hand may be nearer to the camera
_DEPTH_UNIT_M = 0.05e-3


class Design(NamedTuple):
    """What a sample shall be. Drawn once per index, so that refused draws do not shift the histogram."""

    target: int
    single: int | None
    framing: str
    occlusion: tuple[float, float]  # lowest, and the first rate that is too high

    def accepts(self, rate: float) -> bool:
        """Whether an occlusion rate of the target is the one asked for."""
        return self.single is not None or self.occlusion[0] <= rate < self.occlusion[1]


class Scene(NamedTuple):
    """Hands in front of the camera, rounded to what the record stores."""

    hands: tuple[PosedHand | None, PosedHand | None]
    pose_rad: FloatArray  # float32 (2, 48)
    betas: FloatArray  # float32 (2, 10)
    trans_m: FloatArray  # float32 (2, 3)
    K_px: FloatArray  # float32 (3, 3)
    arms: Arms


class Drawn(NamedTuple):
    """An accepted draw, and what it was made of."""

    sample: Sample
    background_rgb: ImageU8  # (H, W, 3)
    layers: tuple[Layer | None, Layer | None]

    def arms(self) -> Mask:
        """Where each hand alone shows its forearm, bool (2, H, W)."""
        arms = np.zeros((2, *self.background_rgb.shape[:2]), np.bool_)
        for side, layer in enumerate(self.layers):
            if layer is not None and layer.forearm is not None:
                arms[side] = layer.forearm
        return arms


@final
class RenderEngine(Engine):
    """Poses, skins, draws and composites one sample at a time."""

    name: ClassVar[EngineName] = "render"

    def __init__(self, manifest: Manifest, assets: Assets, renderer: Renderer) -> None:
        self._manifest = manifest
        self._assets = assets
        self._renderer = renderer
        self._look = RoughLook()
        self._forearm_cosine = np.cos(np.deg2rad(manifest.camera.forearm_clearance_deg))
        self._hand_licence = assets.hands[0].arrays.licence or PUBLIC_DOMAIN
        arms = manifest.look.forearms
        self._forearms = None if arms is None else ForearmMaker(arms, assets.hands, assets.surfaces)
        self._rims = [boundary_loop(model.arrays.faces) for model in assets.hands]
        self._shading = HandShading((assets.hands[0].arrays, assets.hands[1].arrays), assets.surfaces)
        self._folds = [
            build_folds(model.arrays, surface) for model, surface in zip(assets.hands, assets.surfaces, strict=True)
        ]
        self._in_flesh_m = [
            depth_in_flesh_m(model, surface) for model, surface in zip(assets.hands, assets.surfaces, strict=True)
        ]

    def _attempt(self, index: int, attempt: int, tally: Tally) -> Attempt:
        drawn = self.draw(index, attempt, name_of(index).split, self.design(index), tally)
        return Attempt(drawn.sample, drawn.background_rgb, drawn.arms())

    def draw(self, index: int, attempt: int, split: Split, design: Design, tally: Tally) -> Drawn:
        """One draw of what a design asks for, from the streams of an index. Raises Rejected where it is refused."""
        manifest, assets = self._manifest, self._assets

        def rng(purpose: Purpose) -> np.random.Generator:
            return sample_rng(manifest.seed, index, attempt, purpose)

        with tally.stage("pose"):
            pair = assets.poses.draw(rng(Purpose.POSE), split, design.single)
        with tally.stage("view"):
            scene = self._place(pair, design, split, rng(Purpose.CAMERA), rng(Purpose.FOREARM))
        with tally.stage("background"):
            background = assets.backgrounds.draw(rng(Purpose.BACKGROUND), split, manifest.image_size_px)
        texture = assets.textures.draw(rng(Purpose.TEXTURE), split)
        with tally.stage("render"):
            request = self._request(scene, texture, background.rgb, rng(Purpose.LIGHT))
            layers = self._renderer.render(request)
            if self._forearms is not None:
                openness_of = None if manifest.look.shading is None else self._shading.of_points
                layers = self._forearms.add(request, layers, scene.hands, scene.arms, self._renderer, openness_of)
        with tally.stage("compose"):
            composite = compose(layers, right_in_front_by_depth(layers), background.rgb)
            rates = self._accept(composite, pair, design)
        taken = NEUTRAL
        if (effects := manifest.look.camera) is not None:
            with tally.stage("camera"):
                sensor, uncovered = rng(Purpose.SENSOR), composite.seen_mask[::-1]
                taken = draw_settings(sensor, effects, manifest.image_size_px)
                composite, seen_rgb = photographed(taken, sensor, composite, background.rgb, pair.present, uncovered)
                background = replace(background, rgb=seen_rgb)
        with tally.stage("record"):
            sample = self._record(
                index, attempt, split, design, pair, scene, layers, composite, rates, texture, background, taken
            )
        return Drawn(sample, background.rgb, layers)

    def design(self, index: int) -> Design:
        """What the sample of an index shall be."""
        stream = self._manifest.streams.render
        if stream is None:
            raise ConfigError("streams.render: the manifest names no such stream.")
        rng = sample_rng(self._manifest.seed, index, 1, Purpose.DESIGN)
        target = int(rng.integers(2))
        single = target if rng.random() < stream.single_hand_fraction else None
        framing = ("target", "both")[
            draw_share(rng, (self._manifest.camera.framing.target, self._manifest.camera.framing.both))
        ]
        occlusion = stream.occlusion
        wanted = draw_share(rng, occlusion.share)
        low, high = occlusion.bins[wanted], occlusion.bins[wanted + 1]
        if wanted + 2 == len(occlusion.bins):
            # The last bin holds its upper edge, as float32 rates spell it, so that a rate of 1 can be asked for.
            high = float(np.nextafter(np.float32(high), np.float32(2)))
        return Design(target, single, framing, (low, high))

    def asked(self, index: int) -> str:
        """See Engine."""
        design = self.design(index)
        if design.single is not None:
            return "a single hand"
        return f"a target hand occluded by {design.occlusion[0]:.4g} to {design.occlusion[1]:.4g}"

    def _place(
        self, pair: PosePair, design: Design, split: Split, rng: np.random.Generator, arm_rng: np.random.Generator
    ) -> Scene:
        """The first of VIEWS random views whose rough occlusion rate is the one asked for."""
        camera = self._manifest.camera
        hands = [
            model.pose(pair.pose_rad[i], pair.betas[i], pair.trans_m[i]) if pair.present[i] else None
            for i, model in enumerate(self._assets.hands)
        ]
        arms: Arms = (None, None)
        if self._forearms is not None:
            arms = self._forearms.draw(arm_rng, split, (hands[0], hands[1]))
        drawn_arms = [] if self._forearms is None else self._forearms.rows_of_balls((hands[0], hands[1]), arms)
        shown = [hand.joints_m for hand in hands if hand is not None]
        joints_m = np.concatenate(shown)
        middle_m = (joints_m.min(axis=0) + joints_m.max(axis=0)) / 2
        for _ in range(VIEWS):
            rotation = draw_view(rng, camera)
            shift_m = draw_standpoint(rng, camera) - transform(middle_m, rotation, np.zeros(3))
            jitter = draw_crop_jitter(rng, camera)
            points = [None if h is None else transform(h.vertices_m, rotation, shift_m) for h in hands]
            if any(p is not None and self._in_the_way(p, side) for side, p in enumerate(points)):
                continue
            if any(forearm_amiss(arm.centres_m, rotation, shift_m, self._forearm_cosine) for arm in drawn_arms):
                continue
            framed = [points[design.target]] if design.framing == "target" else points
            around = np.concatenate([p for p in framed if p is not None])

            def intrinsics(size_px: int, around: FloatArray = around, jitter: CropJitter = jitter) -> FloatArray:
                return crop_intrinsics(around, camera.framing_factor, jitter, size_px)

            K_px = intrinsics(ROUGH_PX)
            if any(ends_inside(arm, rotation, shift_m, K_px, ROUGH_PX) for arm in drawn_arms):
                continue
            if self._looks_right(points, design, intrinsics):
                return self._settle(pair, rotation, shift_m, intrinsics(self._manifest.image_size_px), arms)
        raise Rejected("no fitting view")

    def _in_the_way(self, cam_vertices_m: FloatArray, side: int) -> bool:
        """Whether a hand is too near, or the camera looks along its forearm from behind the cut, where a real arm would
        hide the hand.
        """
        if nearest_m(cam_vertices_m) < _NEAREST_M:
            return True
        return along_forearm(cam_vertices_m, self._rims[side]) > self._forearm_cosine

    def _looks_right(
        self,
        points: list[FloatArray | None],
        design: Design,
        intrinsics: Callable[[int], FloatArray],
    ) -> bool:
        target, other = points[design.target], points[1 - design.target]
        if target is None or other is None:
            return True
        faces = [hand.arrays.faces for hand in self._assets.hands]
        rate = self._look.occlusion_rate(
            target, faces[design.target], other, faces[1 - design.target], intrinsics(ROUGH_PX)
        )
        return design.accepts(rate)

    def _settle(self, pair: PosePair, rotation: FloatArray, shift_m: FloatArray, K_px: FloatArray, arms: Arms) -> Scene:
        """Move the hands by their parameters, round these as stored, and pose the hands from what is stored."""
        pose_rad, trans_m = np.zeros((2, 48), np.float32), np.zeros((2, 3), np.float32)
        betas = pair.betas.astype(np.float32)
        hands: list[PosedHand | None] = [None, None]
        for i, model in enumerate(self._assets.hands):
            if pair.present[i]:
                moved = model.moved(
                    pair.pose_rad[i],
                    betas[i].astype(np.float64),
                    pair.trans_m[i],
                    rotation,
                    shift_m,
                )
                pose_rad[i], trans_m[i] = moved
                hands[i] = model.pose(pose_rad[i], betas[i], trans_m[i])
        return Scene((hands[0], hands[1]), pose_rad, betas, trans_m, K_px.astype(np.float32), arms)

    def _request(
        self, scene: Scene, texture: TextureSet, background_rgb: ImageU8, rng: np.random.Generator
    ) -> RenderRequest:
        draws: list[HandDraw | None] = [None, None]
        light_rng, shade_rng = rng.spawn(2)
        lights = draw_lights(light_rng, self._manifest.lights, background_rgb)
        surfaces = self._assets.surfaces
        posed = [None if h is None else s.pose(h.vertices_m) for h, s in zip(scene.hands, surfaces, strict=True)]
        shades = self._shades(shade_rng, scene, lights, posed)
        for i, (pose, surface) in enumerate(zip(posed, surfaces, strict=True)):
            if pose is not None:
                draws[i] = HandDraw(
                    pose.positions_m, pose.normals, pose.tangents, surface.uv, surface.faces,
                    surface.uv_per_m, texture, i, shades[i], self._fold_gain(scene, i),
                )  # fmt: skip
        return RenderRequest(
            size_px=self._manifest.image_size_px,
            K_px=scene.K_px.astype(np.float64),
            lights=lights,
            hands=(draws[0], draws[1]),
            with_normals="normal" in self._manifest.fields_of(self.name),
        )

    def _shades(
        self, rng: np.random.Generator, scene: Scene, lights: Lights, posed: list[SurfacePose | None]
    ) -> tuple[FloatArray | None, FloatArray | None]:
        look = self._manifest.look.shading
        if look is None:
            return None, None
        vertices = [None if hand is None else hand.vertices_m for hand in scene.hands]
        return self._shading.shades(rng, look, lights, vertices, posed)

    def _fold_gain(self, scene: Scene, side: int) -> FloatArray | None:
        look = self._manifest.look.shading
        return self._folds[side].gain(scene.pose_rad[side]) if look is not None and look.wrinkles else None

    def _accept(self, composite: Composite, pair: PosePair, design: Design) -> FloatArray:
        """The occlusion rates (2,). Raises Rejected."""
        areas = np.array([np.count_nonzero(mask) for mask in composite.amodal_mask])
        if (areas[pair.present] < MIN_HAND_PIXELS).any():
            raise Rejected("a hand out of the frame")
        rates = occlusion_rates(composite.amodal_mask, composite.visible_mask)
        if not design.accepts(float(rates[design.target])):
            raise Rejected("occlusion outside the wanted bin")
        return rates

    def _record(
        self,
        index: int,
        attempt: int,
        split: Split,
        design: Design,
        pair: PosePair,
        scene: Scene,
        layers: tuple[Layer | None, Layer | None],
        composite: Composite,
        rates: FloatArray,
        texture: TextureSet,
        background: Background,
        taken: CameraSettings,
    ) -> Sample:
        present = np.array(pair.present, bool)
        joints_m, joints_px = np.zeros((2, 21, 3), np.float32), np.zeros((2, 21, 2), np.float32)
        joint_visible, K_px = np.zeros((2, 21), bool), np.zeros((2, 3, 3), np.float32)
        target_rgb, changed = composite.target_rgb, composite.changed_mask
        for i in range(2):
            hand, layer = scene.hands[i], layers[i]
            if hand is None or layer is None:
                target_rgb[i], changed[i] = 0, False
                continue
            K_px[i] = scene.K_px
            joints_m[i] = hand.joints_m
            joints_px[i] = project(joints_m[i].astype(np.float64), K_px[i].astype(np.float64))
            joint_visible[i] = visible_joints(
                joints_px[i],
                joints_m[i, :, 2],
                composite.visible_mask[i],
                layer.depth_m,
                self._in_flesh_m[i],
            )
        wanted = self._manifest.fields_of(self.name)
        every_joint = np.repeat(present[:, None], 21, axis=1)
        return Sample(
            image_rgb=composite.image_rgb, target_rgb=target_rgb, target_valid=present, changed_mask=changed,
            hand_present=present.copy(), amodal_mask=composite.amodal_mask, visible_mask=composite.visible_mask,
            occlusion_rate=rates,
            cam_joints_m=joints_m, joint3d_valid=every_joint, joints_px=joints_px, joint2d_valid=every_joint.copy(),
            joint_visible=joint_visible, joint_visible_valid=present.copy(),
            K_px=K_px, mano_pose_rad=scene.pose_rad.astype(np.float32),
            mano_betas=np.where(present[:, None], scene.betas, 0).astype(np.float32),
            mano_trans_m=scene.trans_m.astype(np.float32), pose_valid=present.copy(),
            penetration_mm=float(np.float32(pair.penetration_mm)),
            contact_fraction=float(np.float32(pair.contact_fraction)), interaction_valid=bool(pair.interaction_valid),
            framing=design.framing, target_hand=design.target, scene_id=index,
            skin_tone=np.where(present, texture.tone, 0).astype(np.int8), pose_family=pair.family,
            mean_luma=mean_luma(composite.image_rgb),
            hands_shade=any(layer is not None and layer.beside_rgba is not None for layer in layers),
            skin_age=np.where(present, texture.age, 0).astype(np.float32),
            defocus_px=taken.defocus_px, motion_px=taken.motion_px, noise_level=taken.noise_level,
            index=index, seed=self._manifest.seed, attempt=attempt, engine=self.name, split=split,
            annotation=pair.annotation,
            shape_id=pair.shape_id, pose_id=pair.source_id, texture_id=texture.id, background_id=background.source_id,
            licence=strictest(texture.licence, background.licence, pair.licence, self._hand_licence),
            depth=_depth_units(front_surface(layers, composite)) if "depth" in wanted else None,
            normal=_front_normals(layers, composite) if "normal" in wanted else None,
            background_rgb=background.rgb if "background_rgb" in wanted else None,
            forearm_mask=composite.forearm_mask if "forearm_mask" in wanted else None,
        )  # fmt: skip


@compiled
def _depth_units(depth_m):
    """Depth (H, W) in metres as what the record stores, u16."""
    units = np.empty(depth_m.shape, np.uint16)
    for y in range(depth_m.shape[0]):
        for x in range(depth_m.shape[1]):
            rounded = np.floor(np.divide(np.float64(depth_m[y, x]), _DEPTH_UNIT_M) + 0.5)
            units[y, x] = np.uint16(min(max(rounded, 0.0), 65535.0))
    return units


def _front_normals(layers: tuple[Layer | None, Layer | None], composite: Composite) -> np.ndarray:
    normal = np.zeros(composite.image_rgb.shape, np.int8)
    for layer, seen in zip(layers, composite.seen_mask, strict=True):
        if layer is not None and layer.normal is not None:
            put_where(seen, layer.normal, normal)
    return normal
