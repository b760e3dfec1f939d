"""Commands over hand models."""

from pathlib import Path
from typing import Annotated

import typer

from aih_builder.hands.mano_file import export_hand

app = typer.Typer(no_args_is_help=True, help="Hand models in MANO's file format.")


@app.callback()
def _group() -> None:
    """Hand models in MANO's file format."""


@app.command()
def export(
    out: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder to write MANO_RIGHT.pkl and MANO_LEFT.pkl into."),
    ],
) -> None:
    """Write the open CC0 hand as files that smplx and manopth load unmodified."""
    for path in export_hand(out):
        typer.echo(path)
