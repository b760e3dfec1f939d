"""The commands `aih export` and `aih import`: to and from the formats of others."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from aih_builder.cli import exporting_formats
from aih_builder.cli.terminal import answer as say
from aih_builder.cli.terminal import bar
from aih_builder.errors import ConfigError
from aih_builder.interop.hasm_tree import export_hasm
from aih_builder.interop.official_aih import export_aih
from aih_builder.interop.official_import import IMPORT_FILE, import_aih
from aih_builder.interop.official_tree import Exported

export_app = typer.Typer(no_args_is_help=True, help="Write a dataset in the format of others.")
import_app = typer.Typer(no_args_is_help=True, help="Make a dataset of what others have published.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A dataset folder.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; not there yet, or empty.")]
Share = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Of train samples that say nothing about it: how many count as human_annot."),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]

_SHOWN_BAD = 20


def aih(folder: Folder, out: Out, human_share: Share = 0.4, jobs: Jobs = 1, as_json: Json = False) -> None:
    """The AIH tree that HDR's official reader opens, unmodified, in train, val and test. Needs pictures of 256 px."""
    _export(export_aih, folder, out, human_share, jobs, as_json)


def hasm(folder: Folder, out: Out, human_share: Share = 0.4, jobs: Jobs = 1, as_json: Json = False) -> None:
    """The tree of images and masks that HDR's authors train hand amodal segmentation on."""
    _export(export_hasm, folder, out, human_share, jobs, as_json)


def _export(
    export: Callable[..., Exported], folder: Path, out: Path, human_share: float, jobs: int, as_json: bool
) -> None:
    with bar("samples") as show:
        made = export(folder, out, human_share=human_share, jobs=jobs, on_progress=show)
    total = sum(count for count in made.written.values())
    say({"folder": str(made.folder), "samples": total, "written": made.written, "left_out": made.left_out}, as_json)


EXPORTS: dict[str, Callable[..., None]] = {"aih": aih, "hasm": hasm}

for _name, _command in EXPORTS.items():
    export_app.command(_name)(_command)
exporting_formats.register(export_app)


@export_app.callback()
def _exports() -> None:
    """Write a dataset in the format of others."""


@import_app.callback()
def _imports() -> None:
    """Make a dataset of what others have published."""


@import_app.command("aih")
def import_aih_tree(
    tree: Annotated[Path, typer.Argument(metavar="TREE", help="The folder that holds AIH_syn and AIH_render.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The dataset folder to write.")],
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave bad samples out, count and list them, instead of ending there.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="Of all samples [that of an export of ours, else CC-BY-NC-4.0].")
    ] = None,
    jobs: Jobs = 1,
    as_json: Json = False,
) -> None:
    """The AIH data set as HDR's authors published it. What it does not tell is marked unknown."""
    if not tree.is_dir():
        raise ConfigError(f"{tree}: is not a folder. Expected the one that holds AIH_syn and AIH_render.")
    with bar("samples") as show:
        made = import_aih(tree, out, licence=licence, skip_bad=skip_bad, jobs=jobs, on_progress=show)
    answer: dict[str, Any] = {"folder": str(made.folder), "samples": made.samples, "left_out": made.left_out}
    answer["bad"] = made.bad if as_json else len(made.bad)
    say(answer, as_json)
    if not as_json:
        for text in made.bad[:_SHOWN_BAD]:
            typer.echo(f"BAD {text}")
        if len(made.bad) > _SHOWN_BAD:
            typer.echo(f"... and {len(made.bad) - _SHOWN_BAD} more: {made.folder / IMPORT_FILE} lists all")
