"""Commands over hand models."""

from pathlib import Path
from typing import Annotated, Any

import typer

from aih_builder.cli.terminal import answer, bar
from aih_builder.errors import ConfigError
from aih_builder.hands.arrays import load_hand_arrays, open_hand, save_hand_arrays
from aih_builder.hands.bringing import HAND_NAME, MANO_LICENCE, SUFFIX, Brought, bring_hand
from aih_builder.hands.checking import CheckedFile, check_hands
from aih_builder.hands.mano_file import export_hand
from aih_builder.sources.textures import shipped_textures

app = typer.Typer(no_args_is_help=True, help="Hand models: the open one, and MANO's files.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
FixLeft = Annotated[
    str, typer.Option(help="auto, true or false: turn x of the left hand's shape directions, wrong as published.")
]
Licence = Annotated[
    str | None, typer.Option(help=f"Licence id, which samples made with this hand record [{MANO_LICENCE}].")
]
TEXTURES_NAME = "textures"
_UNTOLD = "not known: it takes sound files of both hands to tell"
_FIXES = {"auto": None, "true": True, "false": False}


@app.callback()
def _group() -> None:
    """Hand models: the open one, and MANO's files."""


@app.command()
def export(
    out: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder to write MANO_RIGHT.pkl and MANO_LEFT.pkl into."),
    ],
    hand: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="A hand that `aih hand convert` made [the open hand].")
    ] = None,
) -> None:
    """Write a hand as files that smplx and manopth load unmodified."""
    if hand is not None and not hand.is_file():
        raise ConfigError(f"--hand {hand}: is not a file. Make one with `aih hand convert`.")
    for path in export_hand(out, open_hand() if hand is None else load_hand_arrays(hand)):
        typer.echo(path)


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A MANO pickle, or a folder with one or both.")],
    as_json: Json = False,
) -> None:
    """Say what MANO files hold and all that is wrong with them. No code of theirs is run. Ends with 1 where any is."""
    checked = check_hands(path)
    told: dict[str, Any] = {"files": {str(file.path): _described(file) for file in checked.files}}
    told["left_shapedirs"] = checked.left_shapedirs or _UNTOLD
    told["wrong"] = checked.wrong
    if as_json:
        answer(told, as_json)
    else:
        answer({key: value for key, value in told.items() if key != "wrong"}, as_json)
        for text in checked.wrong:
            typer.echo(f"wrong: {text}.")
    if checked.wrong:
        raise typer.Exit(1)


@app.command()
def convert(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A MANO pickle, or a folder with one or both.")],
    out: Annotated[Path, typer.Argument(metavar="FILE.npz", help="The hand to write.")],
    fix_left: FixLeft = "auto",
    licence: Licence = None,
    as_json: Json = False,
) -> None:
    """Make a hand of MANO files, with texture coordinates and joint axes, for `hands.model` of a manifest or --hand."""
    if out.suffix != SUFFIX:
        raise ConfigError(f"{out}: a hand is a {SUFFIX}. Give a name that ends in {SUFFIX}.")
    if out.exists():
        load_or_refuse(out)
    brought = _brought(path, fix_left, licence)
    save_hand_arrays(brought.arrays, out)
    answer({"file": str(out)} | _told(brought), as_json)


@app.command()
def prepare(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A MANO pickle, or a folder with one or both.")],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write hand.npz and textures/ into.")],
    fix_left: FixLeft = "auto",
    licence: Licence = None,
    as_json: Json = False,
) -> None:
    """Make a hand of MANO files as `convert` does, and the shipped persons' skin for it, once for all manifests.

    DIR then serves as `hands.model`, DIR/textures as `pools.textures` of source folder.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is not a folder. Give another name.")
    if out.is_dir() and any(out.iterdir()):
        load_or_refuse(out / HAND_NAME)
    brought = _brought(path, fix_left, licence)
    source = shipped_textures(brought.arrays)
    save_hand_arrays(brought.arrays, out / HAND_NAME)
    with bar("sets of skin") as on_progress:
        source.write_to(out / TEXTURES_NAME, brought.arrays, on_progress)
    made = {"file": str(out / HAND_NAME), "textures": str(out / TEXTURES_NAME), "texture_sets": len(source.entries)}
    answer(made | _told(brought), as_json)


def _brought(path: Path, fix_left: str, licence: str | None) -> Brought:
    if fix_left not in _FIXES:
        raise ConfigError(f"--fix-left {fix_left}: expected {', '.join(_FIXES)}.")
    return bring_hand(path, _FIXES[fix_left], licence)


def _told(brought: Brought) -> dict[str, Any]:
    return brought.told | {"licence": brought.arrays.licence or "CC0-1.0", "digest": brought.arrays.digest()}


def load_or_refuse(path: Path) -> None:
    """A hand may take the place of a hand, and of nothing else. Raises ConfigError."""
    if not path.is_file():
        raise ConfigError(f"{path}: is not a file. Give another name.")
    load_hand_arrays(path)


def _described(file: CheckedFile) -> dict[str, Any]:
    return {
        "side": file.side or file.named or "unknown",
        "vertices": file.vertices,
        "faces": file.faces,
        "joints": file.joints,
        "betas": file.betas,
        "length_m": None if file.length_m is None else round(file.length_m, 4),
        "volume_ml": None if file.volume_ml is None else round(file.volume_ml, 1),
        "finger_means": {True: "stored", False: "all zero", None: "missing"}[file.finger_means],
        "wrong": len(file.wrong),
    }
