"""Everything an engine draws from, loaded from a plan's cache folder. Workers only read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.config import Manifest
from aih_builder.hands.arrays import load_hand_arrays
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.model import HandModel
from aih_builder.hands.surface import HandSurface, build_surface
from aih_builder.identity import Split
from aih_builder.sources.backends import POSE_LIBRARIES, POSE_SOURCES
from aih_builder.sources.backgrounds import BackgroundPool
from aih_builder.sources.bank import Bank
from aih_builder.sources.library_poses import LibraryPoses
from aih_builder.sources.pools import by_split, draw_item
from aih_builder.sources.pose_library import load_library
from aih_builder.sources.poses import PoseSource
from aih_builder.sources.shapes import ShapePool
from aih_builder.sources.textures import (
    FolderTextures,
    TextureSet,
    TextureSource,
)
from aih_builder.synth.byte_cache import ByteCache

HAND_FILE = "hand.npz"
POSES_FILE = "poses.npz"
BANK_FILE = "bank.h5"
TEXTURES_FOLDER = "textures"
_FINE_FROM_PX = 384  # side of an image from which surfaces are divided twice: a facet of 3 mm is then 4 px or more
_TEXTURE_BYTES = 96 * 2**20  # about 1.5 MB a set at 512 px


class TexturePool:
    """The texture sets of a source by split. Sets are read on first use; the latest used are kept."""

    def __init__(self, source: TextureSource) -> None:
        self._source = source
        self._by_split = by_split([entry.id for entry in source.entries])
        self._loaded: ByteCache[TextureSet] = ByteCache(_TEXTURE_BYTES, lambda texture: texture.albedo_rgb.nbytes)

    def draw(self, rng: np.random.Generator, split: Split) -> TextureSet:
        """One set of a split. Raises ConfigError where the split has none."""
        set_id = draw_item(rng, self._by_split, split, "texture sets")
        return self._loaded.get(set_id, lambda: self._source.load(set_id))


@dataclass(frozen=True, slots=True, eq=False)
class Assets:
    """What scenes are made of. Pairs are right, left."""

    hands: tuple[HandModel, HandModel]
    surfaces: tuple[HandSurface, HandSurface]
    poses: PoseSource
    textures: TexturePool
    backgrounds: BackgroundPool
    bank: Bank | None = None


def load_hands(manifest: Manifest, cache: Path) -> tuple[tuple[HandModel, HandModel], tuple[HandSurface, HandSurface]]:
    """The plan's hand models and their drawn surfaces, right and left: finer where facets would show."""
    hands = hand_pair(load_hand_arrays(cache / HAND_FILE), manifest.hands.backend)
    levels = 1 if manifest.image_size_px < _FINE_FROM_PX else 2
    return hands, (build_surface(hands[0].arrays, levels), build_surface(hands[1].arrays, levels))


def load_assets(manifest: Manifest, cache: Path, backgrounds: dict[str, Any], bank: Path | None = None) -> Assets:
    """All assets of a plan; `backgrounds` is the plan's record of that pool, `bank` its file where it has one."""
    hands, surfaces = load_hands(manifest, cache)
    textures = FolderTextures(cache / TEXTURES_FOLDER, hands[0].arrays)
    return Assets(
        hands=hands,
        surfaces=surfaces,
        poses=_poses(manifest, cache, hands),
        textures=TexturePool(textures),
        backgrounds=BackgroundPool.from_json(backgrounds),
        bank=None if bank is None else Bank(bank),
    )


def _poses(manifest: Manifest, cache: Path, hands: tuple[HandModel, HandModel]) -> PoseSource:
    chosen = manifest.pools.poses
    if chosen.source in POSE_LIBRARIES:
        return LibraryPoses(load_library(cache / POSES_FILE), hands, chosen.jitter_deg, chosen.other_hand)
    shapes = manifest.hands.shapes
    return POSE_SOURCES[chosen.source](hands, ShapePool(shapes.count, shapes.beta_limit, manifest.seed))
