"""AIH-Sync: pictures of single hands, moved in the plane and laid over one another."""

from typing import ClassVar, NamedTuple, final

import numpy as np

from aih_builder.config import Affine, Manifest
from aih_builder.errors import ConfigError, Rejected
from aih_builder.geometry import FloatArray, inplane_motion, project, transform
from aih_builder.hands.model import HandModel
from aih_builder.identity import EngineName, Split, name_of
from aih_builder.imaging import ImageU8, recoloured
from aih_builder.invariants import SYNC_REACH_PX
from aih_builder.pixels import near_mask
from aih_builder.rng import Purpose, draw_share, sample_rng
from aih_builder.sample import MIN_HAND_PIXELS, Sample, mean_luma, occlusion_rates
from aih_builder.sources.bank import Bank, BankEntry
from aih_builder.sources.licences import strictest
from aih_builder.synth.assets import Assets
from aih_builder.synth.compose import Composite, compose
from aih_builder.synth.cutouts import NO_GAIN, canvas, gain_table, hidden_share, paste
from aih_builder.synth.engine import Attempt, Engine, Tally
from aih_builder.synth.renderers.base import Layer

_TURNED_SHARE = 0.6  # of the hands; the others keep their angle


class Design(NamedTuple):
    """What a sample shall be. Drawn once per index, so that refused draws do not shift the shares."""

    mode: str  # photo or canvas
    target: int  # the hand below; the other one occludes it


class Moved(NamedTuple):
    """What the record says of a hand, once its picture is moved."""

    joints_m: FloatArray  # float32 (21, 3)
    joints_px: FloatArray  # float32 (21, 2)
    K_px: FloatArray  # float32 (3, 3), 0 where unknown
    pose_rad: FloatArray  # float32 (48,)
    trans_m: FloatArray  # float32 (3,)


@final
class SyncEngine(Engine):
    """Draws two pictures of a bank, moves, colours and composites them."""

    name: ClassVar[EngineName] = "sync"

    def __init__(self, manifest: Manifest, assets: Assets) -> None:
        if manifest.streams.sync is None or assets.bank is None:
            raise ConfigError("streams.sync: the manifest names no such stream, or its plan has no bank.")
        self._manifest, self._stream = manifest, manifest.streams.sync
        self._assets, self._bank = assets, assets.bank

    def asked(self, index: int) -> str:
        """See Engine."""
        del index
        low, high = self._stream.occlusion.range
        return f"a target hand occluded by {low:.4g} to {high:.4g}"

    def _attempt(self, index: int, attempt: int, tally: Tally) -> Attempt:
        split, size = name_of(index).split, self._manifest.image_size_px

        def rng(purpose: Purpose) -> np.random.Generator:
            return sample_rng(self._manifest.seed, index, attempt, purpose)

        design = self._design(index)
        target, other = design.target, 1 - design.target
        with tally.stage("bank"):
            entries = self._draw_pair(rng(Purpose.ENTRY), split, target)
        with tally.stage("warp"):
            affines = draw_affines(rng(Purpose.AFFINE), self._stream.affine, self._bank, size, target)
            gain = self._draw_gain(rng(Purpose.COLOUR), split)
            photo = None
            if design.mode == "photo":
                photo = canvas(entries[target].rgba, affines[target], size, gain, self._stream.border)
                below = photo.rgba
            else:
                below = paste(entries[target].rgba, affines[target], size, gain)
            above = paste(entries[other].rgba, affines[other], size, gain)
            self._accept(below, above, 0 if photo is None else photo.mirrored_px)
        with tally.stage("background"):
            if photo is not None:
                behind, background_id, licence = photo.rgb, entries[target].entry_id, self._bank.head.licence
            else:
                drawn = self._assets.backgrounds.draw(rng(Purpose.BACKGROUND), split, size)
                behind = recoloured(drawn.rgb, gain)
                background_id, licence = drawn.source_id, strictest(self._bank.head.licence, drawn.licence)
        with tally.stage("compose"):
            rgba = (below, above) if target == 0 else (above, below)
            nothing = np.zeros((size, size), np.float32)  # pictures have no depth
            layers = Layer(rgba[0], nothing), Layer(rgba[1], nothing)
            composite = compose(layers, np.full((size, size), target == 1), behind, SYNC_REACH_PX)
        with tally.stage("record"):
            moved = [
                move_hand(entry, affine, hand)
                for entry, affine, hand in zip(entries, affines, self._assets.hands, strict=True)
            ]
            sample = self._record(index, attempt, design, entries, moved, composite, background_id, licence)
        return Attempt(sample, None if photo is not None else behind)

    def _design(self, index: int) -> Design:
        rng = sample_rng(self._manifest.seed, index, 1, Purpose.DESIGN)
        mode = ("photo", "canvas")[draw_share(rng, (self._stream.modes.photo, self._stream.modes.canvas))]
        return Design(mode, int(rng.integers(2)))

    def _draw_pair(self, rng: np.random.Generator, split: Split, target: int) -> tuple[BankEntry, BankEntry]:
        """A right and a left hand; at times both of one skin tone, where it is asked for of one annotation."""
        pool = self._bank.pool(split, target)
        first = pool[int(rng.integers(len(pool)))]
        by = self._bank.annotations[first] if self._stream.same_annotation else None
        alike = self._bank.pool(split, 1 - target, self._bank.tones[first], by)
        if rng.random() >= self._stream.same_tone or not alike:
            alike = self._bank.pool(split, 1 - target, 0, by)
        if not alike:
            raise Rejected("no other hand of the same annotation")
        second = alike[int(rng.integers(len(alike)))]
        pair = (first, second) if target == 0 else (second, first)
        return self._bank.entry(pair[0]), self._bank.entry(pair[1])

    def _draw_gain(self, rng: np.random.Generator, split: Split) -> ImageU8:
        """One gain for the whole picture; val and test keep their colours, as published."""
        return gain_table(rng.uniform(*self._stream.colour_gain, size=3)) if split == "train" else NO_GAIN

    def _accept(self, below: ImageU8, above: ImageU8, mirrored_px: int) -> None:
        if mirrored_px:
            raise Rejected("the hand's mirror image in the frame")
        n_target, n_other, rate = hidden_share(below, above)
        if min(n_target, n_other) < MIN_HAND_PIXELS:
            raise Rejected("a hand out of the frame")
        low, high = self._stream.occlusion.range
        if not np.float32(low) <= rate <= np.float32(high):
            raise Rejected("occlusion outside the range")

    def _record(
        self,
        index: int,
        attempt: int,
        design: Design,
        entries: tuple[BankEntry, BankEntry],
        moved: list[Moved],
        composite: Composite,
        background_id: str,
        licence: str,
    ) -> Sample:
        known = np.ones(2, bool)
        if design.mode == "photo":  # what the target hides of the other hand's surroundings was never seen
            known[1 - design.target] = False
        seen = np.zeros((2, 21), bool)
        for i, entry in enumerate(entries):
            if entry.joint_visible_valid:
                seen[i] = (
                    entry.joint_visible & entry.joint2d_valid & near_mask(moved[i].joints_px, composite.visible_mask[i])
                )
        target_rgb, changed = composite.target_rgb, composite.changed_mask
        target_rgb[~known], changed[~known] = 0, False
        sources = "+".join(entry.entry_id for entry in entries)
        annotations = {entry.annotation for entry in entries}
        name = name_of(index)
        return Sample(
            image_rgb=composite.image_rgb, target_rgb=target_rgb, target_valid=known, changed_mask=changed,
            hand_present=np.ones(2, bool), amodal_mask=composite.amodal_mask, visible_mask=composite.visible_mask,
            occlusion_rate=occlusion_rates(composite.amodal_mask, composite.visible_mask),
            cam_joints_m=np.stack([m.joints_m for m in moved]),
            joint3d_valid=np.stack([e.joint3d_valid for e in entries]),
            joints_px=np.stack([m.joints_px for m in moved]),
            joint2d_valid=np.stack([e.joint2d_valid for e in entries]),
            joint_visible=seen, joint_visible_valid=np.array([e.joint_visible_valid for e in entries]),
            K_px=np.stack([m.K_px for m in moved]), mano_pose_rad=np.stack([m.pose_rad for m in moved]),
            mano_betas=np.stack([e.mano_betas for e in entries]), mano_trans_m=np.stack([m.trans_m for m in moved]),
            pose_valid=np.array([e.pose_valid for e in entries]),
            penetration_mm=0.0, contact_fraction=0.0, interaction_valid=False,
            framing="target", target_hand=design.target, scene_id=index,
            skin_tone=np.array([e.skin_tone for e in entries], np.int8),
            pose_family=f"{design.mode}/{entries[0].pose_family}-{entries[1].pose_family}",
            mean_luma=mean_luma(composite.image_rgb),
            skin_age=np.array([e.skin_age for e in entries], np.float32),
            index=index, seed=self._manifest.seed, attempt=attempt, engine=name.engine, split=name.split,
            annotation=annotations.pop() if len(annotations) == 1 else "",
            shape_id=sources, pose_id=sources, texture_id=sources, background_id=background_id, licence=licence,
        )  # fmt: skip


def draw_affines(
    rng: np.random.Generator, affine: Affine, bank: Bank, size_px: int, target: int
) -> tuple[FloatArray, FloatArray]:
    """Where each picture goes: affines (2, 3) from its pixels to the image's, right and left.

    As in HDR's synthesis: source = centre + shift + scale * turn(image - centre), shift and extent in sides of the
    picture's core. Scale above 1 shrinks the hand. The hand in front is shifted less, so that it stays over the target.
    """
    size, core, middle = bank.head.size_px, bank.head.core_px, (size_px - 1) / 2
    affines = []
    for side in (0, 1):
        shift = rng.uniform(-affine.shift, affine.shift, size=2)
        scale = 1.0 + affine.scale * float(np.clip(rng.normal(), -1, 1))
        turned, spread = rng.random() < _TURNED_SHARE, float(np.clip(rng.normal(), -2, 2))
        if side != target:
            shift *= affine.occluder_shift_gain
        angle = np.deg2rad(affine.rotation_deg) * spread if turned else 0.0
        sine, cosine = np.sin(angle), np.cos(angle)
        zoom = size_px / (core * scale)
        linear = zoom * np.array([[cosine, sine], [-sine, cosine]])  # the inverse of the turn above
        centre = (size - 1) / 2 + core * shift
        offset = middle - linear @ centre
        affines.append(np.concatenate([linear, offset[:, None]], axis=1))
    return affines[0], affines[1]


def move_hand(entry: BankEntry, affine_px: FloatArray, hand: HandModel) -> Moved:
    """What is known of an entry's hand after its picture has been moved by an affine (2, 3), exactly.

    In-plane rotation goes into pose and joints, scale, shift and residual skew into K.
    """
    flat = entry.joints_px.astype(np.float64) @ affine_px[:, :2].T + affine_px[:, 2]
    joints_px = np.where(entry.joint2d_valid[:, None], flat, 0.0)
    joints_m, K_px = entry.cam_joints_m, entry.K_px
    pose_rad, trans_m = entry.mano_pose_rad, entry.mano_trans_m
    if entry.K_px.any():
        rotation, K = inplane_motion(affine_px, entry.K_px.astype(np.float64))
        K_px = K.astype(np.float32)
        joints_m = transform(entry.cam_joints_m.astype(np.float64), rotation, np.zeros(3)).astype(np.float32)
        both = entry.joint3d_valid & entry.joint2d_valid
        joints_px[both] = project(joints_m[both].astype(np.float64), K_px.astype(np.float64))
        if entry.pose_valid:
            betas = entry.mano_betas.astype(np.float64)
            moved = hand.moved(pose_rad.astype(np.float64), betas, trans_m.astype(np.float64), rotation, np.zeros(3))
            pose_rad, trans_m = moved[0].astype(np.float32), moved[1].astype(np.float32)
    return Moved(joints_m, joints_px.astype(np.float32), K_px, pose_rad, trans_m)
