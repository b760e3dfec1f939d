"""The pages of an evaluation and of a study: what was measured, beside what the paper prints, in one HTML file each.

The records that they show are plain JSON, `aih-evaluation 1` and `aih-study 1`. Any part may be missing; then its
section is, too. A page holds its record, without the pictures, as JSON.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from aih_builder.errors import ConfigError
from aih_builder.hdr.report_parts import (
    DAGGER,
    PAPER,
    Columns,
    beside,
    caution,
    count,
    data_and_networks,
    evaluation_parts,
    facts,
    figure,
    interval,
    listing,
    made_with,
    networks,
    opening,
    plot,
    word,
)
from aih_builder.hdr.report_plots import study_plot
from aih_builder.webpage import document, number, plain_text, section

Figures = dict[str, Any]

EVALUATION_FORMAT = "aih-evaluation 1"
STUDY_FORMAT = "aih-study 1"

_STYLE = """
* { box-sizing: border-box; }
h1, h2, p, li, dd, figcaption, summary { overflow-wrap: anywhere; }
h2.part { font-size: 20px; margin: 34px 0 0; }
h2 + p:empty { display: none; }
section > p { max-width: 92ch; }
ul { margin: 6px 0 8px; padding-left: 20px; }
ul.verdict { font-size: 17px; }
ul.notes { color: var(--faint); }
td:first-child, th:first-child { background: var(--card); left: 0; padding-right: 16px; position: sticky; }
tr.group td { color: var(--faint); font-weight: 600; padding-top: 12px; position: static; white-space: normal; }
tr.group span { display: inline-block; left: 0; max-width: calc(100vw - 48px); position: sticky; }
td.lines { line-height: 1.3; padding: 3px 14px 6px 10px; white-space: pre; }
td.published, th.published { background: color-mix(in srgb, var(--card), #9aa0aa 14%); font-style: italic;
  padding-left: 10px; padding-right: 10px; }
td.pass { color: #2f9462; } td.FAIL { color: #d9473f; font-weight: 700; }
.scroll { margin: 10px 0; }
.caution { border-left: 3px solid #e8893c; padding-left: 10px; }
.beside { display: grid; gap: 14px 28px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
  margin: 14px 0; }
.beside > div { min-width: 0; }
figure { margin: 0; min-width: 0; }
.plot figcaption { font-weight: 600; margin-bottom: 4px; }
/* Letters are drawn in one grey; here they take that of the page. */
.plot svg [style*='fill: #7b818c'] { fill: var(--faint) !important; }
.plot svg { max-width: min(100%, 490px); width: 100%; }
.example + .example { border-top: 1px solid var(--line); margin-top: 14px; padding-top: 10px; }
.pictures { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(min(30%, 130px), 1fr)); }
.pictures img { border-radius: 6px; display: block; height: auto; width: 100%; }
.pictures figcaption { color: var(--faint); font-size: 13px; }
dl { display: grid; gap: 2px 18px; grid-template-columns: max-content minmax(0, 1fr); margin: 8px 0; }
dt { color: var(--faint); } dd { margin: 0; }
details { margin: 8px 0; } summary { color: var(--faint); cursor: pointer; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin: 18px 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; color: var(--faint);
  font-size: 13px; padding: 10px 14px; }
.tiles b { color: var(--ink); display: block; font-size: 24px; font-weight: 600; line-height: 1.3; }
@media (max-width: 600px) {
  body { padding: 16px 10px 40px; }
  section { padding: 14px 12px; }
  td, th { padding-right: 11px; }
  td:first-child, th:first-child { min-width: 112px; white-space: normal; }
}
"""


def evaluation_page(evaluation: Figures) -> str:
    """The page of one evaluation. Raises ConfigError for another format or where matplotlib is not installed."""
    _check_format(evaluation, EVALUATION_FORMAT)
    with plain_text("the page of an evaluation"):
        parts = [
            opening(evaluation, "Evaluation of HDR"),
            _tiles(evaluation),
            *evaluation_parts(evaluation),
            data_and_networks(evaluation),
            made_with(evaluation),
        ]
        return _page(evaluation, "Evaluation of HDR", parts)


def study_page(study: Figures) -> str:
    """The page of a study: verdict, rows, floors, then the first evaluation. Raises as evaluation_page does."""
    _check_format(study, STUDY_FORMAT)
    with plain_text("the page of a study"):
        parts = [
            opening(study, "Study of HDR"),
            _verdict(study.get("verdict", [])),
            _rows(study),
            _floors(study.get("floors", [])),
            _first_evaluation(study.get("evaluations", [])),
            _effort(study),
            made_with(study),
        ]
        return _page(study, "Study of HDR", parts)


def _page(record: Figures, kind: str, parts: Sequence[str]) -> str:
    return document(record.get("title", kind), f"<main>{''.join(parts)}</main>", _storable(record), _STYLE)


def _check_format(record: Figures, expected: str) -> None:
    found = record.get("format", expected)
    if found != expected:
        raise ConfigError(f"format: found {found!r}, expected {expected!r}. Is this another command's file?")


def _storable(value: Any) -> Any:
    """The record as strict JSON: no pictures, since the page shows them, and null for what is no number."""
    if isinstance(value, dict):
        return {key: _storable(part) for key, part in value.items() if key != "png"}
    if isinstance(value, list | tuple):
        return [_storable(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _tiles(evaluation: Figures) -> str:
    """The few figures that one looks for first."""
    masks = evaluation.get("masks", {}).get("all", {})
    shown = [(number(masks.get("amodal_iou"), 3), "amodal IoU of the masks found")]
    for row in evaluation.get("images", {}).get("rows", []):
        if row.get("method") == "HDRM" and row.get("masks") == "predicted":
            shown.append((number(row.get("M_D", {}).get("psnr_db"), 1), "dB PSNR where a hand was hidden"))
    for row in evaluation.get("pose", {}).get("rows", []):
        shown.append((number(row.get("mpjpe_mm"), 1), f"mm MPJPE, {row['name']}"))
    tiles = "".join(f"<div><b>{value}</b>{html.escape(text)}</div>" for value, text in shown if value)
    return f'<div class="tiles">{tiles}</div>' if tiles else ""


def _verdict(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return section("Verdict", "", f'<ul class="verdict">{items}</ul>') if items else ""


def _rows(study: Figures) -> str:
    rows = study.get("rows", [])
    if not rows:
        return ""
    seeds = list(dict.fromkeys(found["seed"] for row in rows for found in row.get("seeds", [])))
    ours, theirs = _order(rows, "mean_mm"), _order(rows, "paper_mm")
    per_seed: Columns = {f"seed {s}, mm": _of_seed(s, "mpjpe_mm", "interval_mm") for s in seeds}
    columns: Columns = {
        "variant": word("name"),
        "ours, mm": figure("mean_mm", 2),
        "order": lambda row: ours.get(row["name"], ""),
        PAPER: figure("paper_mm", 2),
        f"order {DAGGER}": lambda row: theirs.get(row["name"], ""),
        **per_seed,
    }
    less: Columns = {f"seed {s}, mm": _of_seed(s, "less_than_shpe_mm", "less_interval_mm") for s in seeds}
    better = [row for row in rows if any(of_seed(row) for of_seed in less.values())]
    text = (
        "MPJPE, the mean distance of the joints from the truth; less is better. Ours: the mean of the seeds; each "
        "seed's interval stands below its value. Order: 1 is the best of the variants that the paper has, too."
    )
    if hands := _hands(study):
        text = f"{hands} {text}"
    if study.get("mean_pose_mm") is not None:
        text += f" The mean pose, given for every hand, has {study['mean_pose_mm']:.2f} mm."
    drawn = (
        [plot("MPJPE of each seed", study_plot(rows, seeds, "mpjpe_mm", "interval_mm", "MPJPE, mm"))] if seeds else []
    )
    if better:
        svg = study_plot(rows, seeds, "less_than_shpe_mm", "less_interval_mm", "less than SHPE only, mm")
        drawn.append(plot("How much less than SHPE only", svg))
    return section(
        "Variants",
        text,
        listing(columns, rows),
        caution() if any(row.get("paper_mm") is not None for row in rows) else "",
        beside(*drawn),
        listing({"less than SHPE only by": word("name"), **less}, better) if better else "",
    )


def _of_seed(seed: int, key: str, bounds: str) -> Any:
    """What writes one seed's figure of a row, with its interval."""

    def cell(row: Figures) -> str:
        found = next((found for found in row.get("seeds", []) if found["seed"] == seed), {})
        value, between = number(found.get(key), 2), interval(found.get(bounds))
        return "\n".join(filter(None, (value, between)))

    return cell


def _order(rows: Sequence[Figures], key: str) -> dict[str, str]:
    """Row's name -> its place, among the rows that both we and the paper have."""
    both = [row for row in rows if row.get("mean_mm") is not None and row.get("paper_mm") is not None]
    placed = sorted(both, key=lambda row: row[key])
    return {row["name"]: str(place) for place, row in enumerate(placed, 1)} if len(both) > 1 else {}


def _hands(study: Figures) -> str:
    data = study.get("data", {})
    hands = f"{count(data['hands'])} hands: " if "hands" in data else ""
    return f"{hands}{data['subset']}." if data.get("subset") else ""


def _floors(floors: Sequence[Figures]) -> str:
    columns: Columns = {
        "what": word("name"),
        "seed": word("seed"),
        "value": figure("value", 3),
        "floor": word("floor"),
        "result": lambda floor: "pass" if floor["passed"] else "FAIL",
    }
    text = "What each network must reach by itself, so that the rows say something about the method."
    return section("Floors", text, listing(columns, floors)) if floors else ""


def _first_evaluation(evaluations: Sequence[Figures]) -> str:
    if not evaluations:
        return ""
    parts = "".join([*evaluation_parts(evaluations[0]), data_and_networks(evaluations[0])])
    title = evaluations[0].get("title", "The first seed in detail")
    return f'<h2 class="part">{html.escape(title)}</h2>{parts}' if parts else ""


def _effort(study: Figures) -> str:
    data, models, minutes = (study.get(key, {}) for key in ("data", "models", "minutes"))
    named = {
        "training samples": count(data.get("train")),
        "test samples": count(data.get("test")),
        "image size": f"{data['image_size_px']} px" if "image_size_px" in data else None,
    }
    steps = [{"name": name, "minutes": value} for name, value in minutes.items()]
    table = listing({"minutes": word("name"), "spent": figure("minutes", 1)}, steps) if steps else ""
    shown = [facts(named), networks(models), table]
    return section("Data, networks and time", "", *shown) if any(shown) else ""
