#!/usr/bin/env python3
"""Write the page of the format from what the code declares: python tools/format_page.py [--check].

With --check nothing is written; exit code 1 where the page is not current.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aih_builder import invariants
from aih_builder.sample import MASK_BITS, MIN_HAND_PIXELS, SCHEMA_VERSION, SIDES, SPECS
from aih_builder.shards import format as shard_format
from aih_builder.shards.validate import MAX_JOINT_ERROR_M, MIN_MASK_IOU

PAGE = Path(__file__).resolve().parents[1] / "aih_builder" / "shards" / "FORMAT.md"

# By a field's name, else by the end of it: names carry their unit.
UNITS = {
    "depth": "0.05 mm",
    "normal": "1/127",
    "mean_luma": "level",
    "noise_level": "level",
    "skin_age": "year",
    "mano_betas": "1",
    "occlusion_rate": "share",
    "contact_fraction": "share",
    "_rgb": "sRGB level",
    "_mm": "mm",
    "_m": "m",
    "_px": "px",
    "_rad": "rad",
}
INVARIANTS = (
    "visible_mask lies inside amodal_mask; the visible masks of the two hands share no pixel",
    f"hand_present where a hand has at least {MIN_HAND_PIXELS} amodal pixels, and nowhere else; target_hand is -1 or a "
    "hand "
    "that is present",
    "occlusion_rate is exactly what the masks give: area(amodal and not visible) / area(amodal), in the frame, 0 if "
    "empty",
    "of each target, M_D or M_R = what is visible of the other hand or its forearm (M_D = amodal and not visible of "
    "the "
    "target; M_R = visible of the other hand, outside the target's amodal mask)",
    "of a valid target, M_D and M_R lie inside changed_mask; outside changed_mask target and image are equal, to the "
    "byte",
    f"changed_mask reaches at most {invariants.RENDER_REACH_PX} px (AIH-Render) or {invariants.SYNC_REACH_PX} px "
    "(AIH-Sync: soft edges) beyond the other hand's amodal mask and forearm, and, where hands_shade, beyond the "
    "target's own; ceil(defocus_px + motion_px / 2) px more where a picture is blurred",
    "of a target that is not valid, picture and changed_mask are 0; likewise every value that a flag calls unknown",
    "a visible joint is known in 2D, and its pixel lies within 1 px of the visible mask",
    f"known joints lie before the camera and project onto joints_px to {invariants.MAX_PROJECTION_ERROR_PX} px; K_px "
    "ends in "
    "0, 0, 1",
    f"mean_luma is that of the image, to {invariants.MAX_LUMA_DRIFT} levels (JPEG); no image is blank (standard "
    "deviation at "
    f"least {invariants.MIN_CONTRAST} levels)",
    "where the scene without hands is known: a target shows skin where its hand is visible, and the background where "
    "the other hand is removed (with forearms: not the other hand, since the target's own forearm may lie there)",
    f"the stored pose gives the stored joints to {MAX_JOINT_ERROR_M} m, and a mesh whose silhouette is the amodal mask "
    "(IoU "
    f"at least {MIN_MASK_IOU})",
    "nothing is NaN; index is unique in the dataset, and engine, split and number follow from it: index = 16 x number "
    "+ 3 x "
    "engine (render 0, sync 1) + split (train 0, val 1, test 2)",
)  # fmt: skip


def unit_of(name: str) -> str:
    """A field's unit; '' where it has none."""
    return next((unit for end, unit in UNITS.items() if name == end or (end[0] == "_" and name.endswith(end))), "")


def page() -> str:
    """The page, Markdown."""
    paragraphs = (shard_format.__doc__ or "").strip().split("\n\n")
    return "\n\n".join([
        f"# The format, schema {SCHEMA_VERSION}",
        "Written by `python tools/format_page.py` from the declarations in the code; do not edit it by hand.",
        "## The record",
        "Hand axis: 0 right, 1 left. Camera axes: x right, y down, z forward. The centre of pixel (0, 0) lies at (0, "
        "0). Joints: "
        "wrist, then thumb, index, middle, ring, little, each base to tip. What is undefined is 0 and flagged; an "
        "optional field "
        "is there where the manifest's `fields` asks for it. H x W: the image, of at most "
        f"{shard_format.MAX_SIDE_PX} px a side.",
        _fields(),
        "## A dataset",
        _files(),
        "## A shard",
        "\n\n".join(paragraphs[1:]),
        _masks(),
        "An HDF5 file as version 1.8 writes it; its datasets are contiguous and of fixed type, so that they can be "
        "mapped. Texts "
        "are of fixed length, UTF-8, padded with zeros. A reader refuses links and pictures whose head states another "
        "size than "
        "they should have, and reads no attribute but numbers and texts of fixed length.",
        "## What holds in every sample",
        "Checked when a sample is made, and by `aih validate`.",
        "\n".join(f"* {rule}" for rule in INVARIANTS),
    ]) + "\n"  # fmt: skip


def _fields() -> str:
    rows = ["| field | type | shape | unit | stored | meaning |", "|---|---|---|---|---|---|"]
    for name, spec in SPECS.items():
        kind = f"text, {spec.max_bytes} bytes" if spec.max_bytes else spec.dtype
        stored = "encoded" if spec.is_image else "plain"
        about = f"{spec.about} (optional)" if spec.optional else spec.about
        rows.append(f"| `{name}` | {kind} | {spec.dims or 'scalar'} | {unit_of(name)} | {stored} | {about} |")
    return "\n".join(rows)


def _masks() -> str:
    rows = ["| bit of the part `masks` | " + " | ".join(SIDES) + " |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{name}` | {right} | {left} |" for name, (right, left) in MASK_BITS.items())])


def _files() -> str:
    rows = {
        f"{shard_format.LISTING_FILE}": "written last: shards with sha256, bytes and counts, versions, refused draws, "
        "sources, "
        "licences; `plan_hash` and `overrides` say which dataset it is",
        "manifest.yaml": "what was asked for, every key resolved",
        "plan.json, cache/": "all that a sample depends on, and the plan's hash over it",
        "ENGINE/SPLIT/ENGINE-SPLIT-NUMBER.h5": "a shard: samples of one engine and split, in the order of their "
        "indices",
        "the same .json": "its record: sha256, bytes, samples, renderer, refused draws, seconds by stage, versions",
        "flags.json, overrides.json": "samples that somebody marked bad; samples drawn from a later attempt on",
        "croissant.json, DATASHEET.md": "its card for machines and for people",
        f"{shard_format.COLUMNS_FILE}, {shard_format.STATS_FILE}": "what viewers keep; made again where they are away",
    }
    return "\n".join(["| file | what |", "|---|---|", *(f"| `{name}` | {what} |" for name, what in rows.items())])


def main() -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is not current")
    check = parser.parse_args().check
    current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page()
    if check:
        print(f"{PAGE.name}: {'current' if current else 'not current: run python tools/format_page.py'}")
        return 0 if current else 1
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
