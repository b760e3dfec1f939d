"""Bake the twelve texture sets of the open hand into render_assets/textures.

    python -m tools.bake_textures [--out FOLDER]

Run it again whenever the open hand's texture coordinates, its nails or the skin's code change; a test compares.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from aih_builder.hands.arrays import open_hand
from aih_builder.paths import render_assets
from aih_builder.sources.licences import PUBLIC_DOMAIN
from aih_builder.sources.pools import split_of
from aih_builder.sources.skin import Bakery, open_hand_nails
from aih_builder.sources.textures import TextureEntry, write_sets

SIZE_PX = 512
SEED = 0
# id -> (tone, number). A set's split is the hash of its id. The letters are chosen such that val and test get two
# sets each, one of lighter and one of darker skin, and train gets eight tones.
SHIPPED = {
    "monk01-a": (1, 1),
    "monk02-a": (2, 1),
    "monk03-a": (3, 1),
    "monk03-l": (3, 12),  # test
    "monk04-a": (4, 1),  # val
    "monk05-a": (5, 1),
    "monk06-a": (6, 1),
    "monk07-a": (7, 1),
    "monk08-a": (8, 1),
    "monk08-g": (8, 7),  # val
    "monk09-c": (9, 3),  # test
    "monk10-a": (10, 1),
}


def main() -> None:
    """Bake and write; print one line per set."""
    parser = argparse.ArgumentParser(description="Bake the shipped texture sets.")
    parser.add_argument("--out", type=Path, default=render_assets() / "textures")
    out = parser.parse_args().out
    hand = open_hand()
    bakery = Bakery(hand, open_hand_nails(), SIZE_PX)

    def sets():
        for name, (tone, number) in SHIPPED.items():
            start = time.perf_counter()
            texture = replace(bakery.bake_person(tone, number, SEED), id=name)
            print(f"{name}  {split_of(name):5}  {time.perf_counter() - start:.2f} s")
            yield TextureEntry(name, tone, PUBLIC_DOMAIN), texture

    write_sets(out, sets(), hand)
    total = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out}: {total / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
