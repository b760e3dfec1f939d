"""Scenes as the engine draws them, and how far two renderers agree on one of them."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from aih_builder.identity import SampleName, index_of
from aih_builder.imaging import shrunk
from aih_builder.shards.plan import make_plan
from aih_builder.synth.assets import load_assets
from aih_builder.synth.engine import Tally
from aih_builder.synth.render import RenderEngine
from aih_builder.synth.renderers.base import AMODAL_ALPHA, HandDraw, Layer, RenderRequest
from tests.builders import small_manifest
from tools.bench.scenes import Recorder

_STEP_M = 0.003  # in depth, between neighbours on one finger
_LUMA = np.array([0.2126, 0.7152, 0.0722])


def scenes(count: int, size_px: int) -> list[RenderRequest]:
    """The requests behind the first samples of the small manifest, at another size; with normals, shade, folds."""
    manifest = small_manifest(image_size_px=size_px, fields=["normal"], look={"shading": {"shadows": 0.8}})
    requests, recorder = [], Recorder()
    rng = np.random.default_rng(11)
    creases = cv2.GaussianBlur(rng.integers(0, 256, (512, 512), np.uint8), (0, 0), 2.0)
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(manifest, Path(folder) / "dataset")
        engine = RenderEngine(manifest, load_assets(manifest, plan.cache, plan.backgrounds), recorder)
        for number in range(count):
            engine.make(index_of(SampleName("render", "train", number)), Tally())
            assert recorder.last is not None
            hands = [None if hand is None else _folded(hand, creases, rng) for hand in recorder.last.hands]
            requests.append(replace(recorder.last, hands=(hands[0], hands[1])))
    return requests


def _folded(hand: HandDraw, creases: np.ndarray, rng: np.random.Generator) -> HandDraw:
    """The hand with folds all over, deepened here and smoothed there."""
    texture = replace(hand.texture, id=f"{hand.texture.id} folded", creases=creases)
    return replace(hand, texture=texture, fold_gain=rng.uniform(0, 2.5, len(hand.uv)))


class Agreement(NamedTuple):
    """How far two layers of one hand agree; colour in levels, luma and contrast of the first layer."""

    mask_iou: float
    colour_mean: float  # over the pixels that either covers, alpha included
    off_by_3: float  # share of them with a channel that differs by more than 2
    depth_mm: float  # greatest difference, where both cover all around and no other finger begins within a pixel
    depth_off: float  # share of the pixels that both cover all around whose depth differs by more than 0.2 mm
    normal_off: float  # share of the pixels that both cover fully whose normal differs by more than 2 of 127
    luma: float  # mean, over fully covered pixels
    contrast: float  # their standard deviation


def agreement(a: Layer, b: Layer) -> Agreement:
    """Compare the layers that two renderers gave for one hand."""
    masks = a.rgba[..., 3] >= AMODAL_ALPHA, b.rgba[..., 3] >= AMODAL_ALPHA
    either = (a.rgba[..., 3] > 0) | (b.rgba[..., 3] > 0)
    both = (a.rgba[..., 3] == 255) & (b.rgba[..., 3] == 255)
    colour = np.abs(a.rgba.astype(int) - b.rgba)[either]
    inside = shrunk(masks[0] & masks[1], 1)
    assert a.normal is not None
    assert b.normal is not None
    square = np.ones((3, 3), np.uint8)
    smooth = inside & (cv2.dilate(a.depth_m, square) - cv2.erode(a.depth_m, square) < _STEP_M)
    depth_mm = np.abs(a.depth_m - b.depth_m) * 1e3
    luma = a.rgba[both][:, :3] @ _LUMA
    return Agreement(
        mask_iou=float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()),
        colour_mean=float(colour.mean()),
        off_by_3=float((colour.max(axis=1) > 2).mean()),
        depth_mm=float(depth_mm[smooth].max(initial=0.0)),
        depth_off=float((depth_mm[inside] > 0.2).mean()),
        normal_off=float((np.abs(a.normal.astype(int) - b.normal)[both].max(axis=1) > 2).mean()),
        luma=float(luma.mean()),
        contrast=float(luma.std()),
    )


def worst(found: list[Agreement]) -> str:
    """The worst of each measure: what a failing test, or one run by hand, shows."""
    columns = {name: [getattr(one, name) for one in found] for name in Agreement._fields}
    lowest = ("mask_iou", "luma", "contrast")
    return ", ".join(f"{name} {(min if name in lowest else max)(values):.5g}" for name, values in columns.items())
