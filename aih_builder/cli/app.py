"""The `aih` command. Results go to stdout, the log to stderr. Exit codes: 2 for arguments, manifests and input paths,
1 for all else.
"""

import logging
import sys
from typing import Annotated, Any

import typer
from rich.logging import RichHandler
from typer.core import TyperGroup

from aih_builder import __version__
from aih_builder.cli import (
    background_sets,
    banks,
    checkup,
    datasets,
    end_interrupted,
    exporting,
    flagging,
    hands,
    photo_banks,
    planning,
    poses,
    prediction,
    statistics,
    training,
    viewing,
)
from aih_builder.cli.terminal import STDERR
from aih_builder.errors import AihError

_INTERRUPTED = 130  # typer's exit code


class _Commands(TyperGroup):
    """Turns what a command may raise on a user's account into one message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AihError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            end_interrupted()
        except MemoryError:
            _fail("out of memory. Finished shards are kept: run again with fewer --jobs.", 1)

    def main(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().main(*arguments, **options)
        except SystemExit as ended:
            if ended.code == _INTERRUPTED:  # typer heard it, before `invoke` could: while the arguments were read
                end_interrupted()
            raise
        except OSError as error:  # a full disk may be met anywhere: by --help, by a library's cache
            place = f"{error.filename}: " if error.filename else ""
            _fail(f"{place}{error.strerror or error}. Free space or fix permissions, then run again.", 1)


def _fail(message: str, code: int) -> None:
    print(f"aih: {message}", file=sys.stderr)
    sys.exit(code)


app = typer.Typer(
    name="aih",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Build, check and look at AIH datasets: interacting hands with amodal masks and HDR's targets.",
)
planning.register(app)
datasets.register(app)
flagging.register(app)
statistics.register(app)
training.register(app)
prediction.register(app)
viewing.register(app)
checkup.register(app)
photo_banks.register(banks.app)
app.add_typer(hands.app, name="hand")
app.add_typer(banks.app, name="bank")
app.add_typer(poses.app, name="poses")
app.add_typer(exporting.export_app, name="export")
app.add_typer(exporting.import_app, name="import")
app.add_typer(background_sets.app, name="backgrounds")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aih-builder {__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is done.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options before the command."""
    del version
    # Progress bars speak on a terminal; elsewhere the log does.
    terminal = STDERR.is_terminal
    level = logging.INFO if verbose or not terminal else logging.WARNING
    handler = RichHandler(console=STDERR, show_path=False) if terminal else logging.StreamHandler()
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)
