"""The command `aih view`: a dataset in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from aih_builder.cli.datasets import Folder
from aih_builder.cli.terminal import bar
from aih_builder.cli.workers import Jobs


def register(app: typer.Typer) -> None:
    """Add this module's command to the app."""
    app.command()(view)


def view(
    folder: Folder,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port on this machine; else the first free one from 7860.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="What `aih predict` wrote for it: shown, the worst first.")
    ] = None,
    problems: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `aih validate DIR --json` printed: marked, and listed.")
    ] = None,
    jobs: Jobs = 1,
) -> None:
    """Look at a dataset in the browser: a page on this machine alone. Interrupt it to end.

    Over ssh, forward the port: ssh -L 7860:127.0.0.1:7860 HOST. --jobs are the processes of a check that is started
    from the page.
    """
    from aih_builder.viewer.web.server import require_gradio, serve

    require_gradio()
    from aih_builder.viewer.web.checking import read_problems
    from aih_builder.viewer.web.desk import Desk

    with bar("read") as show:
        desk = Desk(
            folder, predictions, problems=None if problems is None else read_problems(problems), jobs=jobs,
            on_progress=show,
        )  # fmt: skip
    serve(desk, port, lambda address: typer.echo(f"{folder}: {len(desk.state.columns):,} samples at {address}"))
