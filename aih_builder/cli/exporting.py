"""The command group `aih export`."""

import typer

from aih_builder.cli import exporting_formats

export_app = typer.Typer(no_args_is_help=True, help="Write a dataset in the formats of others.")
exporting_formats.register(export_app)
