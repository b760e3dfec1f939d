"""Commands over backgrounds."""

from pathlib import Path
from typing import Annotated

import typer

from aih_builder.cli.terminal import answer as say
from aih_builder.cli.terminal import bar
from aih_builder.sources.interhand_backgrounds import extract_backgrounds
from aih_builder.sources.pose_imports import INTERHAND_LICENCE

app = typer.Typer(no_args_is_help=True, help="Folders of backgrounds, which a manifest names.")


@app.callback()
def _group() -> None:
    """Folders of backgrounds, which a manifest names."""


@app.command()
def interhand(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="InterHand2.6M: holds annotations/ and images/.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to write, new or empty.")],
    every: Annotated[int, typer.Option(min=1, help="Look at each n-th image.")] = 1,
    most: Annotated[int, typer.Option(min=1, help="Look at this many images of a split, evenly spread.")] = 1000,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out and log files that are missing or damaged.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Cut what is beside the hands out of InterHand2.6M's images: DIR/train, DIR/val, DIR/test."""
    with bar("images") as progress:
        made, left_out = extract_backgrounds(root, out, every=every, most=most, skip_bad=skip_bad, on_progress=progress)
    told = {"folder": str(out), "backgrounds": dict(made), "licence": INTERHAND_LICENCE}
    say(told | {"left_out": dict(sorted(left_out.items()))}, as_json)
