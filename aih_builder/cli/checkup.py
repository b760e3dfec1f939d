"""The command `aih doctor`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from aih_builder.doctor import examine

_MARKS = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}


def register(app: typer.Typer) -> None:
    """Add this module's command to the app."""
    app.command()(doctor)


def doctor(
    manifest: Annotated[
        Path | None, typer.Argument(metavar="[MANIFEST]", help="Also: is there room for its dataset?")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where that dataset is to lie.")] = Path(),
    mano: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder with MANO_RIGHT.pkl, MANO_LEFT.pkl.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """What this machine has of what is needed, and each finding's fix. Exit code 1 where a default cannot work."""
    findings = []
    for finding in examine(manifest, out, mano):
        findings.append(finding)
        if not as_json:
            typer.echo(f"{_MARKS[finding.state]} {finding.what}: {finding.found}")
            if finding.fix:
                typer.echo(f"       {finding.fix}")
    if as_json:
        typer.echo(json.dumps([finding._asdict() for finding in findings], indent=2))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
