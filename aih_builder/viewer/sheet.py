"""A contact sheet: for each sample the image with its joints, both targets, the masks, and a caption."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aih_builder.drawing import HAND_COLOURS, draw_masks, draw_skeleton, hatch, magnified, write_text
from aih_builder.errors import ConfigError
from aih_builder.files import write_whole
from aih_builder.imaging import ImageU8, encode_png
from aih_builder.sample import SIDES, Sample

TITLES = ("image", "right alone", "left alone", "masks", "joints")

_PAPER, _INK, _FAINT = (24, 24, 28), (235, 235, 235), (150, 150, 158)
_TILE_PX = 256  # smaller images are magnified towards this by a whole factor
_GAP_PX, _BLOCK_GAP_PX, _CAPTION_PX, _HEAD_PX, _FOOT_PX = 4, 16, 40, 30, 24
_LEGEND = (
    "joints: wrist in the hand's colour, visible ones filled, hidden ones hollow     "
    "masks: the whole hand outlined, what is visible filled, what is hidden hatched"
)


def sheet_indices(n_total: int, n_wanted: int, seed: int) -> list[int]:
    """Up to n_wanted different indices below n_total, rising: one at random from each of as many equal stretches."""
    count = min(n_total, n_wanted)
    rng = np.random.default_rng([n_total, count, seed, 1])
    return [int(rng.integers(i * n_total // count, (i + 1) * n_total // count)) for i in range(count)]


def write_sheet(samples: Sequence[Sample], path: Path) -> None:
    """Write a contact sheet as PNG. Raises ConfigError for another suffix, ShardError where it cannot be written."""
    if path.suffix.lower() != ".png":
        raise ConfigError(f"{path}: a sheet is a PNG. Give a name that ends in .png.")
    write_whole(path, encode_png(contact_sheet(samples)))


def contact_sheet(samples: Sequence[Sample], samples_per_row: int | None = None) -> ImageU8:
    """The sheet (rows, columns, 3) u8 of samples of one image size: five tiles each, two samples beside each other.

    Large images go one to a row. Raises ConfigError where there is no sample, or where sizes differ.
    """
    if not samples:
        raise ConfigError("sheet: no sample to show. Ask for at least one, from a dataset that holds some.")
    if len({sample.image_rgb.shape for sample in samples}) > 1:
        raise ConfigError("sheet: samples of different image sizes. Show one dataset at a time.")
    blocks = [sample_block(sample) for sample in samples]
    height, width = blocks[0].shape[:2]
    per_row = samples_per_row or (2 if width <= 1400 else 1)
    rows = -(-len(blocks) // per_row)
    across = per_row * (width + _BLOCK_GAP_PX) + _BLOCK_GAP_PX
    sheet = _paper(_HEAD_PX + rows * (height + _BLOCK_GAP_PX) + _FOOT_PX, across)
    for column in range(min(per_row, len(blocks))):
        _titles(sheet, _BLOCK_GAP_PX + column * (width + _BLOCK_GAP_PX), width)
    for number, block in enumerate(blocks):
        row, column = divmod(number, per_row)
        y, x = _HEAD_PX + row * (height + _BLOCK_GAP_PX), _BLOCK_GAP_PX + column * (width + _BLOCK_GAP_PX)
        sheet[y : y + height, x : x + width] = block
    write_text(sheet, _LEGEND, (_BLOCK_GAP_PX + 2, sheet.shape[0] - 12), _FAINT)
    return sheet


def sample_block(sample: Sample) -> ImageU8:
    """One sample: the image, the right and the left target, the masks and the joints, with a caption below."""
    tiles = [
        magnified(sample.image_rgb, _zoom(sample.image_rgb)),
        *(target_tile(sample, hand) for hand in (0, 1)),
        masks_tile(sample),
        joints_tile(sample),
    ]
    height, width = tiles[0].shape[:2]
    block = _paper(height + _CAPTION_PX, len(tiles) * (width + _GAP_PX) - _GAP_PX)
    for column, tile in enumerate(tiles):
        x = column * (width + _GAP_PX)
        block[:height, x : x + width] = tile
    for line, (text, colour) in enumerate(zip(caption(sample), (_INK, _FAINT), strict=True)):
        write_text(block, text, (2, height + 16 + 17 * line), colour)
    return block


def caption(sample: Sample) -> tuple[str, str]:
    """Two lines of text: which sample it is and how it was framed; what is measured."""
    target = SIDES[sample.target_hand] if sample.target_hand in (0, 1) else "none"
    framed = f"framed on {'the target' if sample.framing == 'target' else 'both'}"
    first = f"#{sample.index}  {sample.engine} / {sample.split}  target {target}, {framed}  {sample.pose_family}"
    hidden = (
        f"{side} {100 * rate:.0f}%" if present else f"{side} absent"
        for side, rate, present in zip(SIDES, sample.occlusion_rate, sample.hand_present, strict=True)
    )
    depth = f"{sample.penetration_mm:.1f} mm" if sample.interaction_valid else "none"
    tones = "/".join(str(tone) if tone else "-" for tone in sample.skin_tone.tolist())
    second = f"hidden: {', '.join(hidden)}   tone {tones}   penetration {depth}   {sample.background_id}"
    return first, second


def joints_tile(sample: Sample) -> ImageU8:
    """The image with both skeletons: visible joints filled, hidden ones hollow, unknown visibility small."""
    zoom = _zoom(sample.image_rgb)
    tile = magnified(sample.image_rgb, zoom)
    for hand in np.argsort(-sample.occlusion_rate, kind="stable").tolist():  # the hand in front comes last
        if sample.hand_present[hand]:
            seen = sample.joint_visible[hand] if sample.joint_visible_valid[hand] else None
            draw_skeleton(tile, sample.joints_px[hand], sample.joint2d_valid[hand], seen, hand, zoom)
    return tile


def target_tile(sample: Sample, hand: int) -> ImageU8:
    """One hand alone, or a grey hatch where that picture is not known."""
    if sample.target_valid[hand]:
        return magnified(sample.target_rgb[hand], _zoom(sample.image_rgb))
    tile = magnified(np.full_like(sample.image_rgb, 70), _zoom(sample.image_rgb))
    tile[hatch(tile.shape[0], tile.shape[1], 1)] = 90
    write_text(tile, "no target", (tile.shape[1] // 2 - 30, tile.shape[0] // 2), _INK)
    return tile


def masks_tile(sample: Sample) -> ImageU8:
    """The image in dim grey with each hand's visible part filled, its hidden part hatched and its whole outlined."""
    return draw_masks(sample.image_rgb, sample.amodal_mask, sample.visible_mask, _zoom(sample.image_rgb))


def _titles(sheet: ImageU8, left: int, width: int) -> None:
    for column, title in enumerate(TITLES):
        colour = HAND_COLOURS[column - 1] if column in (1, 2) else _INK
        write_text(sheet, title, (left + 2 + column * (width + _GAP_PX) // len(TITLES), 20), colour)


def _zoom(image: ImageU8) -> int:
    return max(1, round(_TILE_PX / image.shape[1]))


def _paper(height: int, width: int) -> ImageU8:
    return np.full((height, width, 3), _PAPER, np.uint8)
