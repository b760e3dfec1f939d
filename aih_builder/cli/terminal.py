"""What the commands print: answers for people or programs on stdout, progress on stderr."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

STDERR = Console(stderr=True)  # one for bar and log, so that they do not write over each other


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere; call it with what is done and the total."""
    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True, disable=not STDERR.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def answer(content: dict[str, Any], as_json: bool) -> None:
    """Print a command's result: as JSON, or a line for each key."""
    if as_json:
        typer.echo(json.dumps(content, indent=2))
        return
    width = max(len(key) for key in content)
    for key, value in content.items():
        name = key.replace("_", " ")
        if isinstance(value, dict) and value and all(isinstance(inner, dict) for inner in value.values()):
            typer.echo(name)
            for inner, told in value.items():
                typer.echo(f"  {inner:<{width - 2}}  {_line(told)}")
        else:
            typer.echo(f"{name:<{width}}  {_line(value)}")


def _line(value: Any) -> str:
    if value is None or value == {}:
        return "none"
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
