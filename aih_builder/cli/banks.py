"""Commands over banks of single-hand pictures."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from aih_builder.cli.terminal import answer as say
from aih_builder.config import load_manifest
from aih_builder.errors import AssetError, ConfigError
from aih_builder.identity import SPLITS
from aih_builder.sample import SIDES
from aih_builder.shards.plan_pools import build_bank
from aih_builder.sources.bank import Bank
from aih_builder.sources.photos import PhotoFolder, build_photo_bank

app = typer.Typer(no_args_is_help=True, help="Banks of single-hand pictures, from which AIH-Sync draws.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


@app.callback()
def _group() -> None:
    """Banks of single-hand pictures, from which AIH-Sync draws."""


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", "-o", help="The .h5 file to write.")],
    manifest: Annotated[
        Path | None,
        typer.Argument(metavar="[MANIFEST]", help="Render pools.bank.build of this manifest from the open hand."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take photographs instead: DIR/images, DIR/masks and, optional, DIR/joints."),
    ] = None,
    licence: Annotated[str | None, typer.Option(help="Licence id of the photographs [user].")] = None,
    size: Annotated[
        int | None, typer.Option(min=32, max=2048, help="Side of the images to be made, in pixels [256].")
    ] = None,
    factor: Annotated[
        float | None, typer.Option(min=1, max=8, help="Side of an image / longer side of a hand's box [2].")
    ] = None,
    side: Annotated[str | None, typer.Option(help="right or left: of photographs that do not tell.")] = None,
    as_json: Json = False,
) -> None:
    """Make a bank: render it from a manifest, or read a folder of photographs with masks."""
    if (manifest is None) == (images is None):
        raise ConfigError("bank build: give a MANIFEST or --images DIR, one of them.")
    if side is not None and side not in SIDES:
        raise ConfigError(f"--side {side}: expected right or left.")
    require_bank_name(out)
    options = {"--licence": licence, "--size": size, "--factor": factor, "--side": side}
    given = [name for name, value in options.items() if value is not None]
    left_out: Counter[str] = Counter()
    if manifest is not None:
        if given:
            raise ConfigError(f"{given[0]} is for --images; a manifest says how its bank is rendered.")
        build_bank(load_manifest(manifest), out)
    elif images is not None:
        chosen_side = None if side is None else SIDES.index(side)
        photos = PhotoFolder(images, 256 if size is None else size, 2.0 if factor is None else factor, chosen_side)
        _, left_out = build_photo_bank(out, photos, "user" if licence is None else licence)
    say(describe(out) | {"left_out": dict(left_out)}, as_json)


@app.command()
def info(path: Annotated[Path, typer.Argument(metavar="FILE", help="A bank.")], as_json: Json = False) -> None:
    """What a bank holds. Reads all of it and compares with its digest."""
    if not path.is_file():
        raise ConfigError(f"{path}: is not a file. Name a bank that `aih bank build` made.")
    Bank(path).check()
    say(describe(path), as_json)


def require_bank_name(out: Path) -> None:
    """A bank may take the place of a bank, and of nothing else. Raises ConfigError."""
    if out.exists() and not (out.is_file() and _is_bank(out)):
        raise ConfigError(f"{out}: is there and is no bank. It was left untouched. Choose another name.")


def _is_bank(path: Path) -> bool:
    try:
        Bank(path)
    except AssetError:
        return False
    return True


def describe(path: Path) -> dict[str, Any]:
    """What a bank's file tells, for an answer."""
    bank = Bank(path)
    counts = {f"{split}_{name}": len(bank.pool(split, i)) for split in SPLITS for i, name in enumerate(SIDES)}
    return {
        "file": str(path),
        "pictures": len(bank),
        "counts": counts,
        "size_px": bank.head.size_px,
        "core_px": bank.head.core_px,
        "storage": bank.storage,
        "kib_per_picture": round(path.stat().st_size / 1024 / len(bank), 1),
        "licence": bank.head.licence,
        "made_from": bank.head.provenance,
        "digest": bank.digest,
    }
