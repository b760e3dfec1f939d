"""Writes the open hand's files so that the same content gives the same bytes."""

import importlib.metadata
import io
import zipfile
from pathlib import Path

import numpy as np

from aih_builder.files import write_json, write_whole
from aih_builder.imaging import encode_png
from tools.open_hand.build import SEED, OpenHand
from tools.open_hand.makehuman import PREFIX, MakeHuman

_LIBRARIES = ("numpy", "scipy", "fast-simplification")
VERSION = 1  # raised when the arrays change
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_open_hand(hand: OpenHand, source: MakeHuman, folder: Path) -> None:
    """Write hand.npz, nails.png and provenance.json into the folder, which is made if need be."""
    write_whole(folder / "hand.npz", _npz(hand.arrays))
    write_whole(folder / "nails.png", encode_png(hand.nails_rgb))
    write_json(folder / "provenance.json", _provenance(hand, source))


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    """numpy's own writer stamps the time into the archive; this one does not."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())
    return whole.getvalue()


def _provenance(hand: OpenHand, source: MakeHuman) -> dict[str, object]:
    """Where the hand comes from, and what was measured while it was built."""
    name, version = source.wheel.name.split("-")[:2]
    return {
        "what": "Right hand in the layout of MANO's files, derived from the MakeHuman base mesh, targets and rig.",
        "licence": "CC0-1.0",
        "licence_note": "MakeHuman's base mesh, targets, rig weights and nail mask are CC0; so is the result.",
        "tool": "tools/build_open_hand.py",
        "tool_version": VERSION,
        "seed": SEED,
        "libraries": {library: importlib.metadata.version(library) for library in _LIBRARIES},
        "wheel": {
            "file": source.wheel.name,
            "project": name,
            "version": version,
            "sha256": source.wheel_sha256(),
            "folder": PREFIX,
        },
        "counts": hand.counts,
        "measured": {
            key: [round(item, 4) for item in value] if isinstance(value, list) else round(value, 4)
            for key, value in hand.measured.items()
        },
        "files_read_sha256": dict(sorted(source.files.items())),
    }
