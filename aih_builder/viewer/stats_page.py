"""The page of `aih stats`: the figures of viewer/stats.py as plots and tables, in one HTML file without links."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import numpy as np

from aih_builder.viewer.histogram_page import histogram_sections
from aih_builder.webpage import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    canvas,
    document,
    number,
    plain_text,
    plots,
    section,
    table,
)

Figures = dict[str, Any]

_WIDTH = 4.9  # inches: two beside each other on a screen, one on a phone


def stats_page(name: str, figures: Figures) -> str:
    """The page as HTML. Raises ConfigError where matplotlib is not installed."""
    return document(f"{name}: statistics", statistics_body(name, figures), figures)


def statistics_body(name: str, figures: Figures, link: Callable[[str], str] | None = None) -> str:
    """The heading and the sections, as HTML. `link` gives the address of the samples that a query finds: with it the
    bars of a dataset's histograms are links. Raises ConfigError where matplotlib is not installed.
    """
    with plain_text():  # names of families are not formulas
        return "".join(_parts(name, figures, link))


def _parts(name: str, figures: Figures, link: Callable[[str], str] | None) -> list[str]:
    count = figures.get("poses", figures.get("samples", 0))
    noun = "poses" if figures["kind"] == "pose library" else "samples"
    splits = ", ".join(f"{split} {n:,}" for split, n in figures["splits"].items())
    told = f"{figures['kind']}: {count:,} {noun} ({splits})"
    if unreadable := figures.get("unreadable"):
        told += f"; {unreadable:,} cannot be read and are left out"
    parts = [f"<h1>{html.escape(name)}</h1><p>{html.escape(told)}</p>"]
    if "histograms" in figures:
        parts += histogram_sections(figures, link)
    if figures.get("read", count):
        parts += [_families(figures), _joints(figures), _nearest(figures)]
        parts += [_interaction(figures)] if "histograms" not in figures else []
        parts += [_occlusion(engine, found) for engine, found in figures.get("occlusion", {}).items()]
    return parts


def _families(figures: Figures) -> str:
    families = figures["families"]
    rows = [
        [
            name,
            f"{entry['count']:,}",
            f"{100 * entry['share']:.1f} %",
            number(entry.get("effective_rank")),
            "" if "contact_share" not in entry else f"{100 * entry['contact_share']:.0f} %",
            number(entry.get("penetration_mm", {}).get("median"), 2),
            number(entry.get("penetration_mm", {}).get("greatest"), 2),
            *([_acceptance(figures, name)] if figures.get("acceptance") else []),
        ]
        for name, entry in families.items()
    ]
    head = ["family", "count", "share", "effective rank", "in contact", "depth, median mm", "greatest mm"]
    head += ["accepted"] if figures.get("acceptance") else []
    names = list(families)[::-1]
    drawings, ranks = [], [families[n].get("effective_rank", 0) for n in names]
    for label, values, colour in (
        ("count", [families[n]["count"] for n in names], BLUE),
        ("effective rank", ranks, GREEN),
    ):
        (axes,), drawn = canvas(1, 0.24 * len(names) + 0.7, _WIDTH)
        axes.barh(names, values, color=colour)
        axes.set_xlabel(label)
        drawings.append(drawn())
    text = (
        "Effective rank: how many directions the poses of a family spread over: exp of the entropy of the "
        "eigenvalues of their covariance, in the space of both hands' finger angles (degrees) and of the left wrist's "
        "turn (degrees) and place (mm) as seen from the right one. In contact: nearer than 2 mm."
    )
    return section("Families", text, plots(*drawings), table(head, rows))


def _acceptance(figures: Figures, family: str) -> str:
    made = figures["acceptance"].get(family)
    return "" if made is None else f"{made['accepted']} of {made['tried']} ({100 * made['share']:.0f} %)"


def _joints(figures: Figures) -> str:
    joints = figures["joints"]
    if not joints:
        return ""
    (axes,), drawn = canvas(1, 0.2 * len(joints) + 0.7, 1.3 * _WIDTH)
    for k, joint in enumerate(reversed(joints)):
        axes.plot([joint["low"], joint["high"]], [k, k], color=FAINT, lw=7, solid_capstyle="butt")
        axes.plot([joint["q01"], joint["q99"]], [k, k], color=BLUE, lw=4, solid_capstyle="butt")
        axes.plot([joint["least"], joint["most"]], [k, k], color=BLUE, lw=1)
        axes.plot(joint["median"], k, "|", color=ORANGE, ms=9, mew=2)
    axes.set_yticks(range(len(joints)), [f"{j['joint']} {j['axis']}" for j in reversed(joints)], fontsize=8)
    axes.set_xlabel("degrees")
    axes.set_ylim(-1, len(joints))
    outside = sum(joint["outside"] for joint in joints)
    used = float(np.mean([joint["used"] for joint in joints]))
    text = (
        f"Grey: the limits. Blue: 1 to 99 % of the poses, thin from least to greatest; orange: the median. On average "
        f"{100 * used:.0f} % of a range is used; {outside} angles lie outside their limits."
    )
    return section("Joint ranges used", text, drawn())


def _nearest(figures: Figures) -> str:
    nearest = figures["nearest_mm"]
    if "to_nearest" not in nearest:
        return ""
    shown = [("to_nearest", "to the nearest other pose", BLUE), ("test_to_train", "from test to train", ORANGE)]
    shown = [item for item in shown if item[0] in nearest]
    dashed = nearest.get("cluster_radius")
    drawings = [_histogram(nearest[key], label + ", mm", colour, dashed) for key, label, colour in shown]
    radius = f" Dashed: the radius of a cluster, {nearest['cluster_radius']} mm." if "cluster_radius" in nearest else ""
    least = f" Least from test to train: {nearest['test_to_train']['least']:.2f} mm." if len(shown) > 1 else ""
    text = f"Root mean square distance of the 42 joints, of {nearest['distinct_poses']:,} different pairs."
    if nearest["pairs"] < nearest["of_pairs"]:
        text += f" Over {nearest['pairs']:,} of {nearest['of_pairs']:,} pairs, evenly spaced, as the ranks."
    return section("Nearest neighbours", text + radius + least, plots(*drawings))


def _interaction(figures: Figures) -> str:
    if not figures["penetration_mm"]["count"]:
        return ""
    drawings = (
        _histogram(figures["penetration_mm"], "penetration, mm", BLUE),
        _histogram(figures["contact_fraction"], "share of vertices in contact", GREEN),
    )
    depth = figures["penetration_mm"]
    text = (
        f"{100 * figures['contact_share']:.1f} % of the pairs touch. Depth of the deepest vertex: median "
        f"{depth['median']:.2f}, 99 % {depth['q99']:.2f}, greatest {depth['greatest']:.2f} mm."
    )
    return section("Penetration and contact", text, plots(*drawings))


def _occlusion(engine: str, found: Figures) -> str:
    if "target" not in found:
        return ""
    (axes,), drawn = canvas(1, 2.8, 1.3 * _WIDTH)
    labels = [f"{a:g} to {b:g}" for a, b in zip(found["bins"], found["bins"][1:], strict=False)]
    shown = [("asked", FAINT), ("target", BLUE), ("right", ORANGE), ("left", GREEN)]
    shown = [(key, colour) for key, colour in shown if key in found]
    width = 0.8 / len(shown)
    for k, (key, colour) in enumerate(shown):
        places = np.arange(len(labels)) + (k - (len(shown) - 1) / 2) * width
        axes.bar(places, [100 * share for share in found[key]], width, label=key, color=colour)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylabel("% of samples")
    axes.legend(frameon=False, labelcolor=INK)
    turns = ", ".join(f"{side} {100 * share:.0f} %" for side, share in found["target_side"].items())
    text = f"{found['count']:,} samples of two hands; the target is the {turns} of the time."
    return section(f"Occlusion rate, AIH-{engine.capitalize()}", text, drawn())


def _histogram(spread: Figures, label: str, colour: str, dashed: float | None = None) -> str:
    (axes,), drawn = canvas(1, 2.4, _WIDTH)
    edges = np.array(spread["histogram"]["edges"])
    axes.bar(edges[:-1], spread["histogram"]["counts"], np.diff(edges), align="edge", color=colour)
    axes.set_xlabel(label)
    if dashed is not None:
        axes.axvline(dashed, color=INK, ls="--", lw=1)
    return drawn()
