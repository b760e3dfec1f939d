"""Pictures of single hands for a bank, drawn by AIH-Render: the open hand as if it had been photographed."""

import json
from pathlib import Path

import numpy as np

from aih_builder.config import Manifest
from aih_builder.errors import ConfigError, GenerationError, Rejected
from aih_builder.identity import SPLITS, Split, bank_index, shortened
from aih_builder.imaging import feathered
from aih_builder.invariants import require
from aih_builder.sample import SIDES
from aih_builder.sources.bank import MARGIN, BankEntry, BankHead, picture_side_px, storage_for, write_bank
from aih_builder.synth.assets import Assets
from aih_builder.synth.engine import MAX_ATTEMPTS, Tally
from aih_builder.synth.render import Design, RenderEngine
from aih_builder.synth.renderers.base import Renderer

_LEAST_CORE_PX = 256  # of a coarser picture, a warped mask is too far from the mesh (IoU below 0.98)

_FAMILY_BYTES = 20  # what a picture's record has room for


def build_rendered_bank(path: Path, manifest: Manifest, assets: Assets, renderer: Renderer, licence: str) -> int:
    """Render the bank that a manifest asks for; returns the number of pictures.

    A picture depends on the manifest's hands, pools, camera, lights, look.shading, look.camera (without its blurs) and
    seed and on its own number; licence is that of the pools together. Raises ConfigError where the manifest names a
    bank file instead, GenerationError where no draw is accepted.
    """
    build = manifest.pools.bank.build
    if build is None:
        raise ConfigError(f"pools.bank: names the file {manifest.pools.bank.path}; there is nothing to render.")
    core_px = max(manifest.image_size_px, _LEAST_CORE_PX)
    size_px = picture_side_px(core_px)
    counts = build.per_split
    total = sum(counts.of(split) for split in SPLITS)
    entries = _Pictures(_for_pictures(manifest, size_px), assets, renderer)
    drawn_by = renderer.description().split()[0]
    poses = manifest.pools.poses
    provenance = {"renderer": drawn_by, "seed": manifest.seed, "per_split": counts.model_dump(), "poses": poses.source}
    if poses.other_hand == "mark":
        provenance["other_hand"] = True  # the poses may belong to another hand
    head = BankHead(
        size_px=size_px,
        core_px=core_px,
        licence=licence,
        hand=assets.hands[0].arrays.digest(),
        provenance=json.dumps(provenance, sort_keys=True),
    )
    pictures = (entries.entry(split, number) for split in SPLITS for number in range(counts.of(split)))
    return write_bank(path, head, pictures, storage_for(total, size_px))


def _for_pictures(manifest: Manifest, size_px: int) -> Manifest:
    """The same scenes on a wider, centred crop, sharp and without forearms: a cut-out's edge must be its alpha's, and
    what is pasted ends at the wrist, as its mask does.
    """
    camera = manifest.camera
    wider = camera.model_copy(update={"framing_factor": camera.framing_factor * MARGIN, "framing_jitter": 0.0})
    look, sharp = manifest.look.model_copy(update={"forearms": None}), {"defocus_px": None, "motion_px": None}
    if look.camera is not None:
        look = look.model_copy(update={"camera": look.camera.model_copy(update=sharp)})
    return manifest.model_copy(update={"camera": wider, "image_size_px": size_px, "fields": (), "look": look})


class _Pictures:
    def __init__(self, manifest: Manifest, assets: Assets, renderer: Renderer) -> None:
        self._engine = RenderEngine(manifest, assets, renderer)

    def entry(self, split: Split, number: int) -> BankEntry:
        """Picture `number` of a split: right hands are even, left hands odd."""
        side = number % 2
        design = Design(target=side, single=side, framing="target", occlusion=(0.0, 0.0))
        index, tally = bank_index(split, number), Tally()
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                drawn = self._engine.draw(index, attempt, split, design, tally)
            except Rejected as refusal:
                tally.rejections[refusal.reason] += 1
                continue
            layer, sample = drawn.layers[side], drawn.sample
            if layer is None:
                raise GenerationError(f"bank picture {split} {number}: no {SIDES[side]} hand was drawn.")
            require(sample, background_rgb=drawn.background_rgb)
            alpha = feathered(np.ascontiguousarray(layer.rgba[..., 3]))
            return BankEntry(
                rgba=np.concatenate([sample.image_rgb, alpha[..., None]], axis=2),
                entry_id=f"{split}-{SIDES[side]}-{number:05d}", side=side, split=split,
                source="AIH-Render", annotation="",
                joints_px=sample.joints_px[side], joint2d_valid=sample.joint2d_valid[side],
                cam_joints_m=sample.cam_joints_m[side], joint3d_valid=sample.joint3d_valid[side],
                joint_visible=sample.joint_visible[side], joint_visible_valid=True,
                K_px=sample.K_px[side], mano_pose_rad=sample.mano_pose_rad[side],
                mano_betas=sample.mano_betas[side], mano_trans_m=sample.mano_trans_m[side], pose_valid=True,
                skin_tone=int(sample.skin_tone[side]), skin_age=float(sample.skin_age[side]),
                pose_family=shortened(sample.pose_family.split("/")[1], _FAMILY_BYTES),
                shape_id=sample.shape_id, texture_id=sample.texture_id, background_id=sample.background_id,
            )  # fmt: skip
        counts = ", ".join(f"{reason} {n}" for reason, n in tally.rejections.most_common())
        raise GenerationError(f"bank picture {split} {number}: none of {MAX_ATTEMPTS} draws was accepted ({counts}).")
