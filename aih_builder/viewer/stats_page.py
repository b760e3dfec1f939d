"""The page of `aih stats`: the figures of viewer/stats.py as plots and tables, in one HTML file without links."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

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
    section,
    table,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Figures = dict[str, Any]


def stats_page(name: str, figures: Figures) -> str:
    """The page as HTML. Raises ConfigError where matplotlib is not installed."""
    with plain_text():  # names of families are not formulas
        return _page(name, figures)


def _page(name: str, figures: Figures) -> str:
    count = figures.get("poses", figures.get("samples", 0))
    noun = "poses" if figures["kind"] == "pose library" else "samples"
    splits = ", ".join(f"{split} {n:,}" for split, n in figures["splits"].items())
    if figures.get("read", count) < count:
        splits += f"; of {figures['read']:,} evenly spaced ones"
    parts = [f"<h1>{html.escape(name)}</h1><p>{html.escape(figures['kind'])}: {count:,} {noun} ({splits})</p>"]
    if count:
        parts += [_families(figures), _joints(figures), _nearest(figures), _interaction(figures)]
        parts += [_occlusion(engine, found) for engine, found in figures.get("occlusion", {}).items()]
        parts += [_views(figures["views"])] if figures.get("views", {}).get("directions") else []
    return document(f"{name}: statistics", "".join(parts), figures)


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
    axes, drawn = canvas(2, 0.28 * len(names) + 0.7)
    axes[0].barh(names, [families[n]["count"] for n in names], color=BLUE)
    axes[0].set_xlabel("count")
    axes[1].barh(names, [families[n].get("effective_rank", 0) for n in names], color=GREEN)
    axes[1].set_xlabel("effective rank")
    text = (
        "Effective rank: how many directions the poses of a family spread over: exp of the entropy of the "
        "eigenvalues of their covariance, in the space of both hands' finger angles (degrees) and of the left wrist's "
        "turn (degrees) and place (mm) as seen from the right one. In contact: nearer than 2 mm."
    )
    return section("Families", text, drawn(), table(head, rows))


def _acceptance(figures: Figures, family: str) -> str:
    made = figures["acceptance"].get(family)
    return "" if made is None else f"{made['accepted']} of {made['tried']} ({100 * made['share']:.0f} %)"


def _joints(figures: Figures) -> str:
    joints = figures["joints"]
    if not joints:
        return ""
    (axes,), drawn = canvas(1, 0.2 * len(joints) + 0.7)
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
    axes, drawn = canvas(len(shown), 2.6)
    for axis, (key, label, colour) in zip(axes, shown, strict=True):
        _histogram(axis, nearest[key], label + ", mm", colour)
        if "cluster_radius" in nearest:
            axis.axvline(nearest["cluster_radius"], color=INK, ls="--", lw=1)
    radius = f" Dashed: the radius of a cluster, {nearest['cluster_radius']} mm." if "cluster_radius" in nearest else ""
    least = f" Least from test to train: {nearest['test_to_train']['least']:.2f} mm." if len(shown) > 1 else ""
    text = f"Root mean square distance of the 42 joints, of {nearest['distinct_poses']:,} different pairs."
    if nearest["pairs"] < nearest["of_pairs"]:
        text += f" Over {nearest['pairs']:,} of {nearest['of_pairs']:,} pairs, evenly spaced, as the ranks."
    return section("Nearest neighbours", text + radius + least, drawn())


def _interaction(figures: Figures) -> str:
    if not figures["penetration_mm"]["count"]:
        return ""
    axes, drawn = canvas(2, 2.6)
    _histogram(axes[0], figures["penetration_mm"], "penetration, mm", BLUE)
    _histogram(axes[1], figures["contact_fraction"], "share of vertices in contact", GREEN)
    depth = figures["penetration_mm"]
    text = (
        f"{100 * figures['contact_share']:.1f} % of the pairs touch. Depth of the deepest vertex: median "
        f"{depth['median']:.2f}, 99 % {depth['q99']:.2f}, greatest {depth['greatest']:.2f} mm."
    )
    return section("Penetration and contact", text, drawn())


def _occlusion(engine: str, found: Figures) -> str:
    if "target" not in found:
        return ""
    (axes,), drawn = canvas(1, 2.8)
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


def _views(views: Figures) -> str:
    (axes,), drawn = canvas(1, 3.2)
    picture = axes.imshow(views["cells"], origin="lower", extent=(-180, 180, -1, 1), aspect="auto", cmap="viridis")
    axes.set_xlabel("around the hand's z axis, degrees")
    axes.set_ylabel("height")
    bar = axes.figure.colorbar(picture, ax=axes)
    bar.ax.tick_params(colors=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    text = (
        f"{views['directions']:,} directions from a hand to the camera, in the frame of its root (left hands "
        f"mirrored), in cells of equal area; {100 * views['covered']:.0f} % of the cells are hit."
    )
    return section("View directions", text, drawn())


def _histogram(axis: Axes, spread: Figures, label: str, colour: str) -> None:
    edges = np.array(spread["histogram"]["edges"])
    axis.bar(edges[:-1], spread["histogram"]["counts"], np.diff(edges), align="edge", color=colour)
    axis.set_xlabel(label)
