"""Bake the shipped texture sets of the open hand into render_assets/textures.

    python -m tools.bake_textures [--out FOLDER]

Run it again whenever the open hand's texture coordinates, its nails or the skin's code change; a test compares.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from aih_builder.hands.arrays import open_hand
from aih_builder.paths import render_assets
from aih_builder.sources.pools import split_of
from aih_builder.sources.skin import Bakery, open_hand_nails
from aih_builder.sources.skin_people import SEED, SHIPPED, SIZE_PX
from aih_builder.sources.texture_set import TextureSet
from aih_builder.sources.textures import ProceduralTextures, TextureEntry, all_sets, write_sets


def main() -> None:
    """Bake and write; print one line per set."""
    parser = argparse.ArgumentParser(description="Bake the shipped texture sets.")
    parser.add_argument("--out", type=Path, default=render_assets() / "textures")
    out = parser.parse_args().out
    hand = open_hand()
    source = ProceduralTextures(Bakery(hand, open_hand_nails(), SIZE_PX), SHIPPED, SEED)
    write_sets(out, _told(source), hand)
    total = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {total / 2**20:.2f} MiB")


def _told(source: ProceduralTextures) -> Iterator[tuple[TextureEntry, TextureSet]]:
    start = time.perf_counter()
    for entry, texture in all_sets(source):
        person = SHIPPED[entry.id]
        print(
            f"{entry.id}  {split_of(entry.id):5}  {person.age} years, hair {person.hair} %  "
            f"{time.perf_counter() - start:.2f} s"
        )
        yield entry, texture
        start = time.perf_counter()


if __name__ == "__main__":
    main()
