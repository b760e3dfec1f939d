"""The command `aih stats`: figures of a dataset or a pose library, printed, plotted, or as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from aih_builder.cli.poses import Hand, OtherHand, hands_for, load_or_refuse
from aih_builder.cli.terminal import bar
from aih_builder.errors import ConfigError
from aih_builder.files import write_whole
from aih_builder.viewer.dataset_stats import dataset_statistics
from aih_builder.viewer.histograms import splits_of
from aih_builder.viewer.stats import library_figures
from aih_builder.viewer.stats_page import stats_page
from aih_builder.webpage import require_matplotlib

_MOST_APART = 10  # quantities in which train and test differ most


def register(app: typer.Typer) -> None:
    """Add this module's command to the app."""
    app.command()(stats)


def stats(
    target: Annotated[Path, typer.Argument(metavar="DIR|FILE.npz", help="A dataset folder or a pose library.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="Plot them on a page.")] = None,
    hand: Hand = None,
    other_hand: OtherHand = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Joint ranges, effective rank, nearest neighbours, families, penetration, contact; of a dataset also histograms
    of occlusion, distance, brightness, tones, angles and views, and train against test.
    """
    if out is not None and out.suffix.lower() != ".html":
        raise ConfigError(f"{out}: the page is HTML. Give a name that ends in .html.")
    if out is not None:
        require_matplotlib()
    if not target.exists():
        raise ConfigError(f"{target}: is not there. Expected a dataset folder or a pose library.")
    if target.is_dir():
        if hand is not None:
            raise ConfigError("--hand is for pose libraries: a dataset has its own.")
        with bar("columns") as on_progress:
            figures = dataset_statistics(target, on_progress)
        name = figures["name"]
    else:
        library = load_or_refuse(target)
        figures, name = library_figures(library, hands_for(library, hand, other_hand)), target.name
    if out is not None:
        write_whole(out, stats_page(name, figures).encode())
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    for line in _lines(figures):
        typer.echo(line)
    if out is not None:
        typer.echo(str(out))


def _lines(figures: dict[str, Any]) -> list[str]:
    count = figures.get("poses", figures.get("samples"))
    lines = [f"{figures['kind']}: {count}, " + ", ".join(f"{split} {n}" for split, n in figures["splits"].items())]
    if not count:
        return lines
    if figures.get("unreadable"):
        lines.append(f"cannot be read, and left out: {figures['unreadable']}")
    if not figures.get("read", count):
        return lines
    if "read" in figures and figures["read"] + figures["unreadable"] < count:
        lines.append(f"poses, contact and joints: of {figures['read']} evenly spaced ones")
    lines += [
        "",
        f"{'family':<18}{'count':>7}{'share':>8}{'rank':>7}{'contact':>9}{'depth mm: median':>18}{'greatest':>10}",
    ]
    for name, entry in figures["families"].items():
        line = f"{name:<18}{entry['count']:>7}{100 * entry['share']:>6.1f} %"
        if "effective_rank" in entry:
            depth = entry["penetration_mm"]
            line += f"{entry['effective_rank']:>7.1f}{100 * entry['contact_share']:>7.0f} %"
            line += f"{depth['median']:>18.2f}{depth['greatest']:>10.2f}"
        lines.append(line)
    if figures["penetration_mm"]["count"]:
        depth = figures["penetration_mm"]
        lines += [
            "",
            f"penetration, mm         median {depth['median']:.2f}, 99 % {depth['q99']:.2f}, "
            f"greatest {depth['greatest']:.2f}",
            f"in contact              {100 * figures['contact_share']:.1f} % of pairs",
        ]
    nearest = figures["nearest_mm"]
    if nearest["pairs"] < nearest["of_pairs"]:
        lines.append(f"ranks and distances are over {nearest['pairs']} of {nearest['of_pairs']} pairs, evenly spaced")
    for key, label in (("to_nearest", "nearest other pose"), ("test_to_train", "test to train")):
        if key in nearest:
            lines.append(f"{label + ', mm':<24}least {nearest[key]['least']:.2f}, median {nearest[key]['median']:.2f}")
    if "cluster_radius" in nearest:
        lines.append(f"cluster radius, mm      {nearest['cluster_radius']}")
    for engine, found in figures.get("occlusion", {}).items():
        bins = " ".join(f"{edge:g}" for edge in found["bins"])
        lines += ["", f"occlusion, {engine} ({found['count']} samples of two hands), shares between {bins}"]
        for key in ("asked", "target", "right", "left"):
            if key in found:
                lines.append(f"  {key:<18}" + " ".join(f"{share:6.3f}" for share in found[key]))
    if figures.get("views", {}).get("directions"):
        lines += ["", f"view directions         {100 * figures['views']['covered']:.0f} % of 128 equal cells hit"]
    if pictures := figures.get("pictures"):
        splits = splits_of(pictures)
        lines += ["", f"{'picture: 5 %, median, 95 %':<34}" + "".join(f"{split:>24}" for split in splits)]
        lines += [_of_pictures(row, splits) for row in pictures]
    if apart := figures.get("train_against_test"):
        lines += ["", f"{'train against test':<32}{'distance':>10}{'by chance':>11}  measure"]
        for entry in apart[:_MOST_APART]:
            name = entry["quantity"] + ("" if entry["part"] == "all" else f", {entry['part']}")
            lines.append(f"{name:<32}{entry['distance']:>10.3f}{entry['by_chance']:>11.3f}  {entry['measure']}")
    if figures["joints"]:
        lines += [
            "",
            f"{'joint':<10}{'axis':<11}{'limits':>12}{'1 %':>8}{'median':>8}{'99 %':>8}{'used':>7}{'outside':>9}",
        ]
    for joint in figures["joints"]:
        limits = f"{joint['low']:.0f} to {joint['high']:.0f}"
        lines.append(
            f"{joint['joint']:<10}{joint['axis']:<11}{limits:>12}{joint['q01']:>8.1f}{joint['median']:>8.1f}"
            f"{joint['q99']:>8.1f}{100 * joint['used']:>5.0f} %{joint['outside']:>9}"
        )
    return lines


def _of_pictures(row: dict[str, Any], splits: Sequence[str]) -> str:
    line = f"{row['quantity'] + ('' if row['part'] == 'all' else ', ' + row['part']):<34}"
    for split in splits:
        spread = row["splits"].get(split)
        numbers = "" if spread is None else "".join(f"{spread[key]:8.2f}" for key in ("q05", "median", "q95"))
        line += f"{numbers:>24}"
    return line
