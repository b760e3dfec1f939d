"""Draw twelve hands to judge the look by: python -m tools.look_sheet OUT.png [--plain] [--size 512] [--seed 3].

Rows: open, fist, pinch, and two clasped hands. Columns: people of different tones and ages. With --plain, shading is
plain and there are no forearms and no camera's faults.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml
from scipy.optimize import minimize

from aih_builder.config import Manifest, parse_manifest
from aih_builder.errors import Rejected
from aih_builder.geometry import FloatArray, rotation_matrix
from aih_builder.hands.anatomy import angles_of_poses, pose_from_angles
from aih_builder.hands.conventions import FINGERS
from aih_builder.hands.model import HandModel
from aih_builder.identity import Split
from aih_builder.imaging import ImageU8, encode_png
from aih_builder.paths import manifests, render_assets
from aih_builder.shards.plan import make_plan
from aih_builder.sources.pose_library import load_library
from aih_builder.sources.poses import PosePair, PoseSource
from aih_builder.sources.textures import TextureSet, shipped_textures
from aih_builder.synth.assets import Assets, TexturePool, load_assets
from aih_builder.synth.engine import Tally
from aih_builder.synth.render import Design, RenderEngine
from aih_builder.synth.renderers.numba_renderer import NumbaRenderer

_ROWS = ("open", "fist", "pinch", "clasp")
_TONES = ((2, 4, 8), (4, 8, 10), (8, 10, 2), (10, 2, 4))  # of the rows' people: four tones, each three times
_OLD = ((0, 1, 0), (1, 0, 1), (0, 1, 0), (1, 0, 1))  # whether the person is the oldest of the tone, or the youngest
_TURNS_DEG = ((10, 165, -40), (0, 40, 200), (-60, 30, 80), (0, 60, -50))  # about the vertical
# A right hand's rest axes in the body's: fingers up, the back to the front.
_UPRIGHT = np.array([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])


class _FixedPose(PoseSource):
    """Always the same pose."""

    pair: PosePair

    def draw(self, rng: np.random.Generator, split: Split, single: int | None) -> PosePair:
        """See PoseSource."""
        del rng, split, single
        return self.pair


class _FixedTexture(TexturePool):
    """Always the same person."""

    texture: TextureSet

    def __init__(self) -> None:
        pass  # nothing is read

    def draw(self, rng: np.random.Generator, split: Split) -> TextureSet:
        """See TexturePool."""
        del rng, split
        return self.texture


def main() -> None:
    """Draw and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seed", type=int, default=3)
    chosen = parser.parse_args()
    manifest = _manifest(chosen.size, chosen.seed, plain=chosen.plain)
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(manifest, Path(folder) / "dataset")
        assets = load_assets(plan.manifest, plan.cache, plan.backgrounds)
        tiles = list(_tiles(manifest, assets))
    rows = [np.concatenate(tiles[k : k + 3], axis=1) for k in range(0, len(tiles), 3)]
    chosen.out.write_bytes(encode_png(np.concatenate(rows)))


def _manifest(size_px: int, seed: int, *, plain: bool) -> Manifest:
    content = yaml.safe_load((manifests() / "demo.yaml").read_text(encoding="utf-8"))
    content.update(image_size_px=size_px, seed=seed, renderer="numba", streams={"render": {"count": {"train": 1}}})
    view = {"azimuth_deg": [-10, 10], "elevation_deg": [0, 35], "roll_deg": 10}
    content["camera"].update(framing_factor=1.35, view=view)
    content["pools"]["backgrounds"] = {"procedural": ["studio", "indoor"]}
    if plain:
        content.pop("look", None)
    return parse_manifest(content, where="sheet", folder=Path())


def _tiles(manifest: Manifest, assets: Assets) -> Iterator[ImageU8]:
    poses, textures = _FixedPose(), _FixedTexture()
    engine = RenderEngine(manifest, replace(assets, poses=poses, textures=textures), NumbaRenderer())
    people = shipped_textures(assets.hands[0].arrays)
    for row, name in enumerate(_ROWS):
        for column in range(3):
            tone, number = _TONES[row][column], 3 * row + column
            same_tone = [people.load(entry.id) for entry in people.entries if entry.tone == tone]
            same_tone.sort(key=lambda texture: texture.age)
            textures.texture = same_tone[-1 if _OLD[row][column] else 0]
            poses.pair = _pose(name, assets.hands, number, np.deg2rad(_TURNS_DEG[row][column]))
            single = None if poses.pair.present.all() else 0
            yield _captioned(_drawn(engine, number, single), f"{name}, tone {tone}, {textures.texture.age:.0f} years")


def _drawn(engine: RenderEngine, number: int, single: int | None) -> ImageU8:
    design = Design(0, single, "both", (0.0, 1.0))
    for attempt in range(1, 2000):
        try:
            return engine.draw(16 * number, attempt, "train", design, Tally()).sample.image_rgb
        except Rejected:
            continue
    raise SystemExit(f"hand {number}: no view is accepted")


def _pose(name: str, hands: tuple[HandModel, HandModel], number: int, turn_rad: float) -> PosePair:
    turn = rotation_matrix(np.array([0.0, turn_rad, 0.0]))
    library = load_library(render_assets() / "poses" / "open_hand.npz")
    families = np.array(library.family)
    if name == "clasp":
        k = int(np.flatnonzero(families == "clasp")[number])
        moved = [
            hands[i].moved(library.pose_rad[k, i], library.betas[k, i], library.trans_m[k, i], turn, np.zeros(3))
            for i in (0, 1)
        ]
        return PosePair(
            np.ones(2, bool), "library", library.betas[k], np.stack([m[0] for m in moved]),
            np.stack([m[1] for m in moved]), name, str(library.ids[k]), 0.0, 0.0, True,
        )  # fmt: skip
    pose_rad, trans_m = np.zeros((2, 48)), np.zeros((2, 3))
    if name == "fist":  # of the library's, the tightest
        rows = np.flatnonzero(np.char.startswith(families.astype(str), "finger-in-fist"))
        bent = angles_of_poses(hands[0].arrays, library.pose_rad[rows, 0, 3:])[..., 0].sum(axis=1)
        pose_rad[0, 3:] = library.pose_rad[rows[np.argsort(-bent)[number % 3]], 0, 3:]
    else:
        pose_rad[0, 3:] = pose_from_angles(hands[0].arrays, _angles(name, hands[0]))
    pose_rad[0], trans_m[0] = hands[0].moved(
        pose_rad[0], np.zeros(10), np.zeros(3), np.einsum("ij,jk->ik", turn, _UPRIGHT), np.zeros(3)
    )
    return PosePair(np.array([True, False]), "mean", np.zeros((2, 10)), pose_rad, trans_m, name, name, 0.0, 0.0, False)


def _angles(name: str, hand: HandModel) -> FloatArray:
    """Joint angles (16, 3) of an open hand, or of a pinch, whose thumb is sought so that it meets the index."""
    angles = np.zeros((16, 3))
    fingers = {finger: first for finger, first in FINGERS.items() if finger != "thumb"}
    for first in fingers.values():
        angles[first : first + 3, 0] = np.deg2rad((10, 12, 8) if name == "open" else (25, 28, 18))
    if name == "open":
        for finger, degrees in {"index": 8, "middle": 0, "ring": -6, "little": -14}.items():
            angles[fingers[finger], 1] = np.deg2rad(degrees)
        return angles
    angles[fingers["index"] : fingers["index"] + 3, 0] = np.deg2rad([48, 52, 28])
    arrays, thumb = hand.arrays, FINGERS["thumb"]
    limits = arrays.dof_limits_rad[thumb : thumb + 3]

    def posed(free: FloatArray) -> FloatArray:
        tried = angles.copy()
        tried[thumb : thumb + 3] = free.reshape(3, 3)
        return tried

    def gap(free: FloatArray) -> float:
        pose = np.concatenate([np.zeros(3), pose_from_angles(arrays, posed(free))])
        joints = hand.pose(pose, np.zeros(10), np.zeros(3)).joints_m
        return float(1e4 * ((np.linalg.norm(joints[4] - joints[8]) - 0.012) ** 2) + 0.02 * (free**2).sum())

    best = minimize(gap, np.full(9, 0.1), bounds=[tuple(pair) for pair in limits.reshape(-1, 2)], method="L-BFGS-B")
    return posed(best.x)


def _captioned(image: ImageU8, text: str) -> ImageU8:
    image = image.copy()
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(image, text, (8, image.shape[0] - 10), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width, cv2.LINE_AA)
    return image


if __name__ == "__main__":
    main()
