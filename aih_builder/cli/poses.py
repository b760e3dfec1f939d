"""Commands over pose libraries."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from aih_builder.cli.terminal import answer as say
from aih_builder.cli.terminal import bar
from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import load_hand_arrays, open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.model import HandModel
from aih_builder.identity import SPLITS
from aih_builder.sources.interaction.build import PoseOrder, build_library
from aih_builder.sources.interaction.families import FAMILIES
from aih_builder.sources.pose_clusters import nearest_across
from aih_builder.sources.pose_distance import pair_joints_mm
from aih_builder.sources.pose_imports import ForeignFits, import_interhand, import_parameters
from aih_builder.sources.pose_library import PoseLibrary, hands_digest, load_library, shipped_library
from aih_builder.synth.renderers.backends import RENDERERS, resolve
from aih_builder.viewer.pose_sheet import write_pose_sheet
from aih_builder.viewer.sheet import sheet_indices

app = typer.Typer(no_args_is_help=True, help="Libraries of poses of two hands, from which AIH-Render draws.")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Hand = Annotated[
    Path | None, typer.Option(metavar="FILE.npz", help="A hand in this package's own layout [the open hand].")
]
OtherHand = Annotated[bool, typer.Option("--other-hand", help="Show poses of another hand on this one all the same.")]
Library = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="A pose library [the one that comes with the package].")
]


@app.callback()
def _group() -> None:
    """Libraries of poses of two hands, from which AIH-Render draws."""


@app.command()
def build(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz", help="The library to write.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Poses, evenly over the families.")] = 2000,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Another one gives other poses.")] = 0,
    families: Annotated[str | None, typer.Option(help=f"Some of {', '.join(FAMILIES)} [all].")] = None,
    hand: Hand = None,
    licence: Annotated[str | None, typer.Option(help="Licence id of poses solved on --hand [user].")] = None,
    as_json: Json = False,
) -> None:
    """Solve interacting poses. Stop and start it as you like: finished blocks of 64 candidates are kept."""
    _refuse_overwriting(out)
    if licence is not None and hand is None:
        raise ConfigError("--licence is for --hand: poses of the open hand are CC0-1.0.")
    order = PoseOrder(
        count,
        seed,
        hand,
        tuple(FAMILIES) if families is None else tuple(name.strip() for name in families.split(",")),
        "CC0-1.0" if hand is None else (licence or "user"),
    )
    with bar("poses") as progress:
        library = build_library(order, out, jobs=jobs, on_progress=progress)
    say({"file": str(out)} | _described(library), as_json)


@app.command("import")
def import_poses(
    source: Annotated[str, typer.Argument(metavar="KIND", help="interhand or parameters.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="InterHand2.6M's root, or a .npz of MANO parameters.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz", help="The library to write.")],
    fits_of: Annotated[
        str, typer.Option(help="mano, open, or hand (that of --hand): whose model they were fitted with.")
    ] = "mano",
    left_shapedirs: Annotated[
        str, typer.Option(help="fixed or as-published: of the left hand that they were fitted with.")
    ] = "fixed",
    every: Annotated[int, typer.Option(min=1, help="Take each n-th frame.")] = 1,
    hand: Hand = None,
    as_json: Json = False,
) -> None:
    """Turn poses of another source into a library, measured on the hand in use."""
    for option, value, known in (
        ("KIND", source, ("interhand", "parameters")),
        ("--fits-of", fits_of, ("mano", "open", "hand")),
        ("--left-shapedirs", left_shapedirs, ("fixed", "as-published")),
    ):
        if value not in known:
            raise ConfigError(f"{option} {value}: expected {' or '.join(known)}.")
    if (fits_of == "hand") != (hand is not None) and fits_of != "mano":
        raise ConfigError(
            "--fits-of hand is for fits of the hand that --hand names, --fits-of open for those without it."
        )
    _refuse_overwriting(out)
    if not path.exists():
        raise ConfigError(f"{path}: is not there.")
    load = import_interhand if source == "interhand" else import_parameters
    library = load(path, _hands(hand), ForeignFits(fits_of, left_shapedirs, every))
    library.save(out)
    dropped: dict[str, Any] = {"left_out": library.provenance.get("dropped", {})}
    if library.provenance.get("fit_error_checked") is False:
        dropped["fit_error"] = "not checked: the fits are of another hand"
    say({"file": str(out)} | _described(library) | dropped, as_json)


@app.command()
def info(path: Library = None, hand: Hand = None, as_json: Json = False) -> None:
    """What a library holds: families, splits, clusters, measured penetration and contact."""
    library = shipped_library() if path is None else load_or_refuse(path)
    answer = _described(library)
    hands = _hands(hand)
    if library.hand == hands_digest(hands):
        answer |= _apart(library, hands)
    say(answer, as_json)


@app.command()
def sheet(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.png", help="The picture to write.")],
    path: Library = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Poses shown, evenly over the library.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Another one shows others.")] = 0,
    hand: Hand = None,
    other_hand: OtherHand = False,
) -> None:
    """Draw poses from two views each."""
    library = shipped_library() if path is None else load_or_refuse(path)
    hands = hands_for(library, hand, other_hand)
    rows = sheet_indices(len(library), count, seed)
    write_pose_sheet(library, rows, hands, RENDERERS[resolve("auto")](0), out)
    typer.echo(out)


def _refuse_overwriting(out: Path) -> None:
    """A library may take the place of a library, and of nothing else. Raises ConfigError."""
    if out.suffix != ".npz":
        raise ConfigError(f"{out}: a library is a .npz. Give a name that ends in .npz.")
    if out.exists():
        load_or_refuse(out)


def load_or_refuse(path: Path) -> PoseLibrary:
    """The library of a file. Raises ConfigError where it is none: a wrong argument."""
    if not path.is_file():
        raise ConfigError(f"{path}: is not a file. Expected a library that `aih poses build` made.")
    try:
        return load_library(path)
    except AssetError as error:
        raise ConfigError(str(error)) from error


def hands_for(library: PoseLibrary, hand: Path | None, other_hand: bool) -> tuple[HandModel, HandModel]:
    """The hands that a library belongs to. Raises ConfigError where those in use are others, unless that is meant."""
    hands = _hands(hand)
    if library.hand != hands_digest(hands) and not other_hand:
        raise ConfigError(
            f"the poses belong to the hand model {library.hand[:12]}, this is {hands_digest(hands)[:12]}. "
            "Name theirs with --hand, or take this one all the same with --other-hand."
        )
    return hands


def _hands(path: Path | None) -> tuple[HandModel, HandModel]:
    if path is not None and not path.is_file():
        raise ConfigError(f"--hand {path}: is not a file. Expected a hand in the layout of render_assets/open_hand.")
    return hand_pair(open_hand() if path is None else load_hand_arrays(path), "native")


def _described(library: PoseLibrary) -> dict[str, Any]:
    """The figures of a library that need no hand model."""
    splits = Counter(library.splits())
    families = Counter(str(name).partition("/")[0] for name in library.family)
    both = library.present.all(axis=1)
    depth = library.penetration_mm[both]
    within = library.self_penetration_mm[library.present]
    return {
        "poses": len(library),
        "of_both_hands": int(both.sum()),
        "families": dict(families),
        "splits": {split: splits[split] for split in SPLITS},
        "clusters": len(set(library.cluster)),
        "largest_cluster": max(Counter(library.cluster).values()),
        "penetration_mm": _quantiles(depth),
        "self_penetration_mm": _quantiles(within),
        "share_in_contact": round(float((library.contact_fraction[both] > 0).mean()), 4) if both.any() else 0.0,
        "licence": library.licence,
        "hand": library.hand,
        "digest": library.digest(),
        "acceptance": {
            name: f"{counts['accepted']}/{counts['tried']}"
            for name, counts in library.provenance.get("families", {}).items()
        },
    }


def _quantiles(values: np.ndarray) -> dict[str, float]:
    if len(values) == 0:
        return {}
    found = np.quantile(values, (0.5, 0.95, 0.99, 1.0))
    return {name: round(float(v), 3) for name, v in zip(("median", "q95", "q99", "greatest"), found, strict=True)}


def _apart(library: PoseLibrary, hands: tuple[HandModel, HandModel]) -> dict[str, Any]:
    """How far poses of test lie from the nearest of train."""
    both = library.present.all(axis=1)
    joints_mm = pair_joints_mm(hands, library.pose_rad[both], library.betas[both], library.trans_m[both])
    splits = np.array(library.splits())[both]
    nearest = nearest_across(joints_mm, splits == "test", splits == "train")
    if nearest is None:
        return {}
    apart = {"least": round(nearest.least_mm, 2), "median": round(nearest.median_mm, 2)}
    radius = library.provenance.get("cluster_radius_mm")
    return {"test_to_train_mm": apart} | ({} if radius is None else {"cluster_radius_mm": radius})
