"""The parts of an evaluation's page, one function each. A part whose figures are missing is ''."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from aih_builder.hdr.published import (
    ABLATION_MM,
    CAUTION,
    CAUTION_BENCHMARK,
    SAME_METHOD,
    SOURCE,
    TRAINING_DATA,
    benchmark_rows,
)
from aih_builder.hdr.report_plots import (
    masks_plot,
    pck_plot,
    percent,
    pose_occlusion_plot,
    share_bins,
    training_plot,
)
from aih_builder.webpage import Cell, Row, number, picture, section, table

Figures = dict[str, Any]
Columns = dict[str, Callable[[Figures], str]]

DAGGER = "†"
PAPER = f"paper {DAGGER}"
NOTHING = "—"
_REGIONS = {
    "M_D": "M_D: the part of the hand that the other hand hides, to be filled in",
    "M_R": "M_R: what is seen of the other hand, to be removed",
    "whole": "The whole crop",
}
_NETWORKS = {"hasm": "HASM (masks)", "hdrm": "HDRM (images)", "shpe": "SHPE (pose)"}
_STEPS = {"hasm": "masks, HASM", "crops": "cutting out", "hdrm": "images, HDRM", "shpe": "pose, SHPE"}


def evaluation_parts(evaluation: Figures) -> list[str]:
    """What an evaluation measured: masks, images, pose, benchmarks, examples, time, training."""
    return [
        _masks(evaluation.get("masks", {})),
        _images(evaluation.get("images", {}).get("rows", [])),
        _pose(evaluation.get("pose", {})),
        *(_benchmark(benchmark) for benchmark in evaluation.get("benchmarks", [])),
        _examples(evaluation.get("examples", [])),
        _timing(evaluation.get("timing_ms", {})),
        _training(evaluation.get("training", {})),
    ]


def opening(page: Figures, kind: str) -> str:
    """The title and the notes."""
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in page.get("notes", []))
    title = html.escape(page.get("title", kind))
    return f"<h1>{title}</h1><p>{html.escape(kind)}</p>" + (f'<ul class="notes">{notes}</ul>' if notes else "")


def listing(columns: Columns, rows: Sequence[Figures | str]) -> str:
    """A table of records; a row that is a string is a heading. A column that is empty in all of them is left out."""
    records = [row for row in rows if not isinstance(row, str)]
    shown = {name: cell for name, cell in columns.items() if any(cell(row) for row in records)}
    body: list[Row] = [
        row if isinstance(row, str) else [_styled(name, cell(row) or NOTHING) for name, cell in shown.items()]
        for row in rows
    ]
    return table([_styled(name, name) for name in shown], body)


def _styled(column: str, text: str) -> Cell:
    if DAGGER in column:
        return text, "published"
    return (text, text) if text in ("pass", "FAIL") else (text, "lines") if "\n" in text else text


def figure(key: str, digits: int) -> Callable[[Figures], str]:
    """What writes one number of a record; '' where it has none."""
    return lambda row: number(row.get(key), digits)


def count(value: int | None) -> str:
    """A count for a table; '' for none."""
    return "" if value is None else f"{value:,}"


def counted(key: str) -> Callable[[Figures], str]:
    """What writes one count of a record; '' where it has none."""
    return lambda row: count(row.get(key))


def word(key: str) -> Callable[[Figures], str]:
    """What writes one text of a record; '' where it has none."""
    return lambda row: "" if row.get(key) is None else str(row[key])


def interval(bounds: Sequence[float] | None, digits: int = 2) -> str:
    """'1.20 to 3.40'; '' for none."""
    return " to ".join(number(bound, digits) for bound in bounds) if bounds else ""


def facts(named: dict[str, str | None]) -> str:
    """Names and what they are; those without a value are left out."""
    pairs = [f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in named.items() if v]
    return f"<dl>{''.join(pairs)}</dl>" if pairs else ""


def plot(caption: str, svg: str) -> str:
    """A plot below its caption."""
    return f'<figure class="plot"><figcaption>{html.escape(caption)}</figcaption>{svg}</figure>'


def beside(*content: str) -> str:
    """Tables and plots beside each other where there is room. Empty ones take none."""
    shown = "".join(f"<div>{part}</div>" for part in content if part)
    return f'<div class="beside">{shown}</div>' if shown else ""


def folded(title: str, *content: str) -> str:
    """Content that opens on demand."""
    return f"<details><summary>{html.escape(title)}</summary>{''.join(content)}</details>"


def caution(text: str = CAUTION) -> str:
    """What stands below every table that holds published figures."""
    return f'<p class="caution">† {html.escape(text)} Source: {html.escape(SOURCE)}.</p>'


def made_with(page: Figures) -> str:
    """Versions and machines."""
    made = page.get("made_with", {})
    if not made:
        return ""
    named = {"version": "AIH Builder", "commit": "commit", "torch": "torch", "machine": "machine", "device": "device"}
    return section("Made with", "", facts({label: made.get(key) for key, label in named.items()}))


def networks(models: Figures) -> str:
    """The table of the three networks; '' for none."""
    rows = [{"name": _NETWORKS.get(name, name), **model} for name, model in models.items()]
    columns: Columns = {
        "network": word("name"),
        "size": word("size"),
        "parameters": counted("parameters"),
        "steps": lambda row: count(row.get("steps", row.get("step"))),
        "batch": counted("batch"),
        "checkpoint": word("checkpoint"),
    }
    return listing(columns, rows) if rows else ""


def data_and_networks(evaluation: Figures) -> str:
    """What was measured, on what."""
    data, models = evaluation.get("data", {}), evaluation.get("models", {})
    if not data and not models:
        return ""
    engines = ", ".join(f"AIH-{name.capitalize()} {n:,}" for name, n in data.get("engines", {}).items())
    named = {
        "data": ", ".join(filter(None, (data.get("name"), data.get("split")))),
        "samples": count(data.get("samples")) + (f" ({engines})" if engines else ""),
        "hands": count(data.get("hands")),
        "image size": f"{data['image_size_px']} px" if "image_size_px" in data else None,
    }
    return section("Data and networks", "", facts(named), networks(models))


def _masks(masks: Figures) -> str:
    if not any(masks.values()):
        return ""
    bins = [{"name": share_bins([row["from"], row["to"]])[0], **row} for row in masks.get("by_occlusion", [])]
    rows = [*([{"name": "all hands", **masks["all"]}] if masks.get("all") else []), *bins]
    columns: Columns = {
        "hidden share": word("name"),
        "hands": counted("hands"),
        "amodal IoU": figure("amodal_iou", 3),
        "visible IoU": figure("visible_iou", 3),
        "invisible IoU": figure("invisible_iou", 3),
    }
    sides = [{"name": name, "iou": iou} for name, iou in masks.get("by_mask", {}).items()]
    text = (
        "Masks found by HASM against the true ones. IoU: what both hold over what either holds, 1 is perfect. Amodal: "
        "the whole hand, as if nothing hid it. Invisible: the part that the other hand hides. Hands count whose target "
        "is known and that the frame hardly cuts."
    )
    return section(
        "Masks",
        text,
        beside(
            (listing(columns, rows) if rows else "")
            + (listing({"mask": word("name"), "IoU": figure("iou", 3)}, sides) if sides else ""),
            plot("IoU by the hidden share", masks_plot(masks["by_occlusion"])) if bins else "",
        ),
    )


def _images(rows: list[Figures]) -> str:
    groups = [[label, *({**row, **row[key]} for row in rows if row.get(key))] for key, label in _REGIONS.items()]
    columns: Columns = {
        "method": word("method"),
        "masks": word("masks"),
        "hands": counted("hands"),
        "L1": figure("l1", 4),
        "PSNR, dB": figure("psnr_db", 2),
        "SSIM": figure("ssim", 3),
    }
    text = (
        "Crops in which HDRM filled in the hidden part of a hand and removed the other one, against the true picture "
        "of that hand alone. L1: less is better; PSNR and SSIM: more is better."
    )
    filled = list(chain.from_iterable(group for group in groups if len(group) > 1))
    return section("De-occlusion and removal", text, listing(columns, filled)) if filled else ""


def _pose(pose: Figures) -> str:
    if not any(pose.get(key) for key in ("rows", "pck", "by_occlusion")):
        return ""
    rows = [{"paper": ABLATION_MM.get(SAME_METHOD.get(row["name"], "")), **row} for row in pose.get("rows", [])]
    columns: Columns = {
        "method": word("name"),
        "hands": counted("hands"),
        "MPJPE, mm": figure("mpjpe_mm", 2),
        "interval, mm": lambda row: interval(row.get("interval_mm")),
        "mean bone, mm": figure("mpjpe_mean_bone_mm", 2),
        "PA, mm": figure("pa_mpjpe_mm", 2),
        "AUC": figure("auc", 3),
        "EPE, px": figure("epe_px", 2),
        f"{PAPER}, mm": figure("paper", 2),
    }
    text = (
        "MPJPE: mean distance of the 21 joints, wrist on wrist (the wrist itself counts as 0, here, in AUC and in the "
        "curves), scaled by the true length of a bone; mean bone: scaled by "
        "the mean length instead; PA: after the best turn, shift and scale; EPE: in the image. AUC: area below the "
        "curve of joints within a distance, more is better."
    )
    text = (f"Hands: {pose['subset']}. " if pose.get("subset") else "") + text
    if pose.get("mean_pose_mm") is not None:
        text += f" The mean pose, given for every hand, has {pose['mean_pose_mm']:.2f} mm."
    paper = [caution(), _paper_tables()] if any(row["paper"] for row in rows) else []
    return section("Pose", text, listing(columns, rows) if rows else "", *paper, _pose_plots(pose))


def _pose_plots(pose: Figures) -> str:
    left, right = "", ""
    if by := pose.get("by_occlusion"):
        rows = [
            {
                "name": name,
                **({"hands": by["hands"][k]} if by.get("hands") else {}),
                **{c: v[k] for c, v in by["curves"].items()},
            }
            for k, name in enumerate(share_bins(by["edges"]))
        ]
        names = {f"{name}, mm": figure(name, 2) for name in by["curves"]}
        left = plot("MPJPE of all hands by the hidden share", pose_occlusion_plot(by))
        left += listing({"hidden share": word("name"), "hands": counted("hands"), **names}, rows)
    if pck := pose.get("pck"):
        curves = {name: percent(curve) for name, curve in pck["curves"].items()}
        rows = [
            {"name": f"{mm:g} mm", **{c: v[k] for c, v in curves.items()}} for k, mm in enumerate(pck["thresholds_mm"])
        ]
        names = {f"{name}, %": figure(name, 1) for name in pck["curves"]}
        right = plot("Joints within a distance", pck_plot(pck))
        right += folded("As a table", listing({"within": word("name"), **names}, rows))
    return beside(left, right)


def _paper_tables() -> str:
    ablation = [{"name": name, "mm": mm} for name, mm in ABLATION_MM.items()]
    keys = ("name", "ALL: IH", "ALL: ALL", "M: IH", "M: ALL")
    training: list[Figures] = [dict(zip(keys, row, strict=True)) for row in TRAINING_DATA]
    return folded(
        "The paper's ablation and training data, MPJPE in mm on InterHand2.6M",
        listing({"ablation, branch M": word("name"), f"{PAPER}, mm": figure("mm", 2)}, ablation),
        listing({"training data": word("name"), **{f"{key} {PAPER}": figure(key, 2) for key in keys[1:]}}, training),
    )


def _benchmark(benchmark: Figures) -> str:
    rows, published = benchmark.get("rows", []), benchmark_rows(benchmark["name"])
    if not rows:
        return ""
    keys = dict.fromkeys(key for row in chain(rows, *(group for _, group in published)) for key in row if key != "name")
    head = ["method", *keys]
    body: list[Row] = ["Ours" + (f", split {benchmark['split']}" if "split" in benchmark else "")]
    body += [[row["name"], *(number(row.get(key), 2) or NOTHING for key in keys)] for row in rows]
    for label, group in published:
        body.append(f"{label} †")
        body += [
            [(row["name"], "published"), *((number(row.get(k), 2) or NOTHING, "published") for k in keys)]
            for row in group
        ]
    unit = {"mm": "MPJPE in mm", "px": "Error in pixels"}.get(benchmark.get("unit", ""), benchmark.get("unit", ""))
    text = f"{unit}; less is better." if unit else ""
    if benchmark.get("images") is not None:
        text += f" {benchmark['images']:,} images."
    if benchmark["name"] == "InterHand2.6M":
        text += " SH: single hands, IH: interacting hands, ALL: both. A star: the paper took it from another work."
    return section(
        f"Benchmark: {benchmark['name']}", text, table(head, body), caution(CAUTION_BENCHMARK) if published else ""
    )


def _examples(examples: list[Figures]) -> str:
    shown = "".join(
        f'<div class="example"><p>{html.escape(example.get("caption", ""))}</p><div class="pictures">'
        + "".join(
            f"<figure>{picture(': '.join(filter(None, (example.get('caption'), found['title']))), found['png'])}"
            f"<figcaption>{html.escape(found['title'])}</figcaption></figure>"
            for found in example["pictures"]
        )
        + "</div></div>"
        for example in examples
        if example.get("pictures")
    )
    return section("Examples", "", shown) if shown else ""


def _timing(timing: Figures) -> str:
    image = timing.get("image", {})
    if not image:
        return ""
    rows = [{"name": _STEPS.get(step, step), "ms": ms} for step, ms in image.items()]
    rows.append({"name": "together", "ms": sum(image.values())})
    known = [
        f"device {timing['device']}" if "device" in timing else "",
        f"batches of {timing['batch']}" if "batch" in timing else "",
    ]
    text = f"Milliseconds per image; {', '.join(filter(None, known))}." if any(known) else "Milliseconds per image."
    return section("Time", text, listing({"step": word("name"), "ms": figure("ms", 2)}, rows))


def _training(training: Figures) -> str:
    drawn = [
        plot(_NETWORKS.get(name, name), training_plot(_NETWORKS.get(name, name), found["step"], found["loss"]))
        for name, found in training.items()
        if found.get("step") and found.get("loss")
    ]
    text = "The loss over the steps. The networks' losses are different sums: compare no curve with another network's."
    return section("Training", text, beside(*drawn)) if drawn else ""
