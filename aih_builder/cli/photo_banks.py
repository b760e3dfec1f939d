"""Commands that make banks of published data sets' photographs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aih_builder.cli.banks import describe, require_bank_name
from aih_builder.cli.hand_choice import OPEN, chosen_hand
from aih_builder.cli.terminal import answer as say
from aih_builder.cli.terminal import bar
from aih_builder.errors import ConfigError
from aih_builder.sources.freihand import VERSIONS
from aih_builder.synth.fitted_pictures import LEAST_CORE_PX, Crop
from aih_builder.synth.freihand_bank import FreihandImages, build_freihand_bank
from aih_builder.synth.interhand_bank import InterhandImages, build_interhand_bank
from aih_builder.synth.picture_tasks import LeftOut

_FILES_SHOWN = 20

Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE.h5", help="The bank to write.")]
Every = Annotated[int, typer.Option(min=1, help="Take each n-th.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out and list files that are missing or damaged.")]
Size = Annotated[int, typer.Option(min=LEAST_CORE_PX, max=2048, help="Side of the images to be made, in pixels.")]
Factor = Annotated[float, typer.Option(min=1, max=8, help="Side of an image / longer side of a hand's box.")]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `aih bank`."""
    app.command()(interhand)
    app.command()(freihand)


def interhand(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="InterHand2.6M: holds annotations/ and images/.")],
    out: Out,
    hand: Annotated[
        str, typer.Option(metavar="FILE|open", help="The hand model that the fits belong to: MANO's, or open.")
    ],
    every: Every = 1,
    grey: Annotated[str, typer.Option(help="keep or drop: pictures of grey cameras.")] = "keep",
    subjects: Annotated[
        str,
        typer.Option(help="disjoint: a subject's pictures come from one split alone. source: as the data set has it."),
    ] = "disjoint",
    lists: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Holds aid_human_annot_{train,test}.txt [beside the annotations, if any]."),
    ] = None,
    skip_bad: SkipBad = False,
    size: Size = LEAST_CORE_PX,
    factor: Factor = 2.0,
    jobs: Jobs = 1,
    as_json: Json = False,
) -> None:
    """Cut single hands out of InterHand2.6M's images along their MANO fits."""
    for option, value, known in (("--grey", grey, ("keep", "drop")), ("--subjects", subjects, ("disjoint", "source"))):
        if value not in known:
            raise ConfigError(f"{option} {value}: expected {' or '.join(known)}.")
    require_bank_name(out)
    images = InterhandImages(
        root, every, grey == "keep", subjects == "disjoint", skip_bad, lists, Crop(size, factor)
    )  # fmt: skip
    with bar("images") as progress:
        left_out = build_interhand_bank(
            out, images, chosen_hand(hand), licensed=hand != OPEN, jobs=jobs, on_progress=progress
        )
    _answer(out, left_out, as_json)


def freihand(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="FreiHAND: holds training/ and training_K.json.")],
    out: Out,
    hand: Annotated[
        str | None,
        typer.Option(metavar="FILE|open", help="The hand model of the fits, MANO's, to cut along them [along joints]."),
    ] = None,
    versions: Annotated[str, typer.Option(help="Backgrounds: some of these.")] = ",".join(VERSIONS),
    every: Every = 1,
    skip_bad: SkipBad = False,
    size: Size = LEAST_CORE_PX,
    factor: Factor = 2.0,
    jobs: Jobs = 1,
    as_json: Json = False,
) -> None:
    """Cut right hands out of FreiHAND's training pictures: inside their masks, which hold the arm, too."""
    require_bank_name(out)
    chosen = tuple(name.strip() for name in versions.split(","))
    images = FreihandImages(root, every, chosen, skip_bad, Crop(size, factor))
    with bar("pictures") as progress:
        left_out = build_freihand_bank(
            out,
            images,
            None if hand is None else chosen_hand(hand),
            licensed=hand != OPEN,
            jobs=jobs,
            on_progress=progress,
        )
    _answer(out, left_out, as_json)


def _answer(out: Path, left_out: LeftOut, as_json: bool) -> None:
    told: dict[str, Any] = {"left_out": dict(sorted(left_out.reasons.items()))}
    if left_out.bad_files:
        more = len(left_out.bad_files) - _FILES_SHOWN
        told["bad_files"] = {str(n): text for n, text in enumerate(left_out.bad_files[:_FILES_SHOWN], 1)}
        told["bad_files"] |= {"and_more": more} if more > 0 else {}
    say(describe(out) | told, as_json)
