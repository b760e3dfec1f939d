"""A sheet of poses: each from two views, the right hand lighter than the left, with a caption."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from aih_builder.errors import ConfigError
from aih_builder.files import write_whole
from aih_builder.geometry import FloatArray
from aih_builder.hands.model import HandModel
from aih_builder.hands.surface import build_surface
from aih_builder.imaging import ImageU8, encode_png
from aih_builder.sources.ambient import hemisphere
from aih_builder.sources.cameras import CropJitter, crop_intrinsics
from aih_builder.sources.lights import Lights
from aih_builder.sources.pose_library import PoseLibrary
from aih_builder.sources.textures import TextureSet, shipped_textures
from aih_builder.synth.compose import compose, right_in_front_by_depth
from aih_builder.synth.renderers.base import HandDraw, Renderer, RenderRequest

_TILE_PX, _CAPTION_PX, _GAP_PX = 224, 30, 10
_DISTANCE_M = 0.6
_PAPER, _INK = (236, 236, 234), (30, 30, 34)
_TONES = (3, 8)  # of the right and the left hand
# Where the camera stands, from the middle of the hands, in the body's axes (x left, y up, z forward): before the
# person and above, and at the person's left and above. Poses of other sources have axes of their own.
_VIEWS = ((0.25, 0.45, 0.85), (0.75, 0.6, -0.3))


def write_pose_sheet(
    library: PoseLibrary,
    rows: Sequence[int],
    hands: tuple[HandModel, HandModel],
    renderer: Renderer,
    path: Path,
    per_line: int = 4,
) -> None:
    """Write the PNG. Raises ConfigError for another suffix or no rows, ShardError where it cannot be written."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: a sheet is a PNG. Give a name that ends in .png.")
    if not rows:
        raise ConfigError("sheet: no pose to show. Ask for at least one.")
    tiles = _tiles(library, rows, hands, renderer)
    lines = -(-len(rows) // per_line)
    width, height = 2 * _TILE_PX + _GAP_PX, _TILE_PX + _CAPTION_PX
    sheet = np.full((lines * height + _GAP_PX, per_line * width + _GAP_PX, 3), _PAPER, np.uint8)
    for k, tile in enumerate(tiles):
        y, x = (k // per_line) * height + _GAP_PX, (k % per_line) * width + _GAP_PX
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    write_whole(path, encode_png(sheet))


def _tiles(
    library: PoseLibrary, rows: Sequence[int], hands: tuple[HandModel, HandModel], renderer: Renderer
) -> list[ImageU8]:
    surfaces = [build_surface(hand.arrays) for hand in hands]
    textures = _two_tones(hands[0])
    tiles = []
    for row in rows:
        views = []
        points = [
            hands[i].pose(library.pose_rad[row, i], library.betas[row, i], library.trans_m[row, i]).vertices_m
            if library.present[row, i]
            else None
            for i in (0, 1)
        ]
        for towards in _VIEWS:
            seen = _in_view(points, towards)
            draws: list[HandDraw | None] = [None, None]
            for i in (0, 1):
                vertices = seen[i]
                if vertices is not None:
                    posed, surface = surfaces[i].pose(vertices), surfaces[i]
                    draws[i] = HandDraw(
                        posed.positions_m, posed.normals, posed.tangents, surface.uv, surface.faces,
                        surface.uv_per_m, textures[i], i,
                    )  # fmt: skip
            around = np.concatenate([p for p in seen if p is not None])
            K_px = crop_intrinsics(around, 1.12, CropJitter(1.0, np.zeros(2)), _TILE_PX)
            layers = renderer.render(RenderRequest(_TILE_PX, K_px, _lights(), (draws[0], draws[1])))
            paper = np.full((_TILE_PX, _TILE_PX, 3), (206, 210, 214), np.uint8)
            views.append(compose(layers, right_in_front_by_depth(layers), paper).image_rgb)
        tile = np.full((_TILE_PX + _CAPTION_PX - 4, 2 * _TILE_PX, 3), _PAPER, np.uint8)
        tile[:_TILE_PX] = np.concatenate(views, axis=1)
        text = (
            f"{library.ids[row]}  {library.family[row]}  depth {library.penetration_mm[row]:.1f} mm  "
            f"contact {100 * library.contact_fraction[row]:.0f} %"
        )
        cv2.putText(tile, text, (2, _TILE_PX + 15), cv2.FONT_HERSHEY_SIMPLEX, 0.38, _INK, 1, cv2.LINE_AA)
        tiles.append(tile)
    return tiles


def _in_view(points: list[FloatArray | None], towards: tuple[float, float, float]) -> list[FloatArray | None]:
    """Points in the axes of a camera that looks at their middle from a direction."""
    shown = np.concatenate([p for p in points if p is not None])
    middle = (shown.min(axis=0) + shown.max(axis=0)) / 2
    back = np.array(towards) / np.linalg.norm(towards)
    right = np.cross(-back, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(-back, right)
    turn = np.stack([right, down, -back])
    return [None if p is None else (p - middle) @ turn.T + [0, 0, _DISTANCE_M] for p in points]


def _two_tones(hand: HandModel) -> tuple[TextureSet, TextureSet]:
    source = shipped_textures(hand.arrays)
    nearest = [min(source.entries, key=lambda entry: abs(entry.tone - tone)) for tone in _TONES]
    return source.load(nearest[0].id), source.load(nearest[1].id)


def _lights() -> Lights:
    directions = np.array([[-0.5, -0.75, -0.45], [0.7, -0.2, -0.7]])
    return Lights(
        directions=directions / np.linalg.norm(directions, axis=1, keepdims=True),
        radiance_rgb=np.array([[0.75, 0.73, 0.7], [0.15, 0.15, 0.17]]),
        ambient_rgb=hemisphere(np.full(3, 0.28), np.full(3, 0.14), np.array([0.0, -1.0, 0.0])),
    )
