"""Commands that write a dataset in the formats of others: COCO, WebDataset, and its card."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from aih_builder.cli.datasets import Folder, Json
from aih_builder.cli.terminal import answer as say
from aih_builder.cli.terminal import bar
from aih_builder.cli.workers import Jobs
from aih_builder.interop.card import write_card
from aih_builder.interop.coco import export_coco
from aih_builder.interop.webdataset import export_webdataset

Out = Annotated[Path, typer.Argument(metavar="OUT", help="A new folder, or one where the same export was stopped.")]
SplitOption = Annotated[
    Literal["train", "val", "test"] | None, typer.Option("--split", help="Only this split [all of them].")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the group `export`."""
    for command in (coco, webdataset, card):
        app.command()(command)


def coco(folder: Folder, out: Out, split: SplitOption = None, jobs: Jobs = 1, as_json: Json = False) -> None:
    """COCO with amodal masks: OUT/images, OUT/annotations/SPLIT.json, keypoints; stop and start it as you like."""
    with bar("shards") as show:
        done = export_coco(folder, out, split=split, jobs=jobs, on_progress=show)
    annotations = {name: str(path) for name, path in done.annotations.items()}
    say({"folder": str(out), "images": done.images, "annotations": annotations}, as_json)


def webdataset(
    folder: Folder,
    out: Out,
    split: SplitOption = None,
    targets: Annotated[
        Literal["png", "jpg"], typer.Option("--targets", help="png: exact; jpg: quality 95, smaller.")
    ] = "png",
    jobs: Jobs = 1,
    as_json: Json = False,
) -> None:
    """WebDataset: OUT/SPLIT/*.tar with every field of every sample; stop and start it as you like."""
    with bar("shards") as show:
        done = export_webdataset(folder, out, split=split, targets=targets, jobs=jobs, on_progress=show)
    answer = {"folder": str(out), "samples": done.samples, "tars_made": done.made, "tars_kept": done.kept}
    say(answer | {"urls": done.urls}, as_json)


def card(
    folder: Folder,
    url: Annotated[str | None, typer.Option("--url", help="Where the dataset is published; kept from then on.")] = None,
    creator: Annotated[str | None, typer.Option("--creator", help="Who publishes it; kept from then on.")] = None,
    published: Annotated[
        str | None, typer.Option("--published", metavar="YYYY-MM-DD", help="When; kept from then on.")
    ] = None,
) -> None:
    """Write the card anew: DIR/croissant.json and DIR/DATASHEET.md, as `generate`, `index` and `repair` leave them."""
    for path in write_card(folder, url=url, creator=creator, date_published=published):
        typer.echo(path)
