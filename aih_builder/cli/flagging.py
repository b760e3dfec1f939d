"""The command `aih flag`: samples that are bad, and why."""

from typing import Annotated

import typer

from aih_builder.cli.datasets import Folder, Json
from aih_builder.cli.terminal import answer as say
from aih_builder.errors import ConfigError
from aih_builder.identity import name_of
from aih_builder.shards.flags import read_flags, remove_flags
from aih_builder.shards.marking import flag_samples
from aih_builder.shards.plan import load_plan


def register(app: typer.Typer) -> None:
    """Add this module's command to the app."""
    app.command()(flag)


def flag(
    folder: Folder,
    index: Annotated[
        list[int] | None, typer.Option("--index", "-i", min=0, help="Index of a sample; give it for each one.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="What is wrong with it, in at most 500 characters.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the flags away instead.")] = False,
    as_json: Json = False,
) -> None:
    """Flag samples as bad, take flags away, or list them. Readers and training leave flagged samples out; `aih repair
    --flagged` makes them anew.
    """
    indices = index or []
    if remove or reason is not None:
        if not indices:
            raise ConfigError(f"--{'remove' if remove else 'reason'} needs --index I: which samples are meant.")
        if remove and reason is not None:
            raise ConfigError("--remove and --reason exclude one another.")
    elif indices:
        raise ConfigError("--index needs --reason TEXT, or --remove.")
    plan = load_plan(folder)
    if remove:
        if unknown := sorted(set(indices) - read_flags(folder).keys()):
            raise ConfigError(
                f"{folder}: {', '.join(map(str, unknown))} are not flagged. `aih flag {folder}` lists what is."
            )
        remove_flags(folder, indices)
    elif reason is not None:
        flag_samples(folder, dict.fromkeys(indices, reason))
    flags = read_flags(folder)
    if as_json:
        flagged = {str(index): flag._asdict() for index, flag in flags.items()}
        say({"folder": str(folder), "flagged": flagged}, as_json)
        return
    for number, entry in flags.items():
        engine, split, _ = name_of(number)
        typer.echo(f"{number:>8}  {engine}/{split}  attempt {entry.attempt}  {entry.reason}")
    typer.echo(f"{folder}: {len(flags)} of {plan.manifest.total()} samples are flagged")
