"""What a study's figures say, in sentences; and whether they count."""

import math
from typing import Any

Figures = dict[str, Any]

_LEAST_IOU, _LEAST_GAIN = 0.8, 0.3


def floors(seed: int, evaluation: Figures) -> list[Figures]:
    """The floors that one seed's modules must pass for the comparison to count."""
    iou = evaluation["masks"]["all"]["amodal_iou"]
    pose = evaluation["pose"]["true_picture"]
    gain = 1 - pose["mpjpe_mm"] / pose["mean_pose_mm"]
    rows = {(row["method"], row["masks"]): row for row in evaluation["images"]["rows"]}
    made, copied = (
        rows[method, "true"].get("M_D", {}).get("l1", math.nan) for method in ("HDRM", "input copied")
    )  # not a number, which passes nothing, where no test hand hides anything
    return [
        _floor("HASM: amodal IoU", seed, iou, f">= {_LEAST_IOU}", iou >= _LEAST_IOU),
        _floor("SHPE: better than the mean pose by", seed, gain, f">= {_LEAST_GAIN}", gain >= _LEAST_GAIN),
        _floor("HDRM: L1 in M_D / that of the input copied", seed, made / copied, "< 1", made < copied),
    ]


def _floor(name: str, seed: int, value: float, bound: str, passed: bool) -> Figures:
    return {"name": name, "seed": seed, "value": value, "floor": bound, "passed": bool(passed)}


def verdict(record: Figures) -> list[str]:
    """Sentences: whether the figures count, whether HDR helps, and where the order of rows is not the paper's."""
    rows = {row["name"]: row for row in record["rows"]}
    lines = []
    failed = [f"{f['name']} (seed {f['seed']})" for f in record["floors"] if not f["passed"]]
    if failed:
        lines.append(f"The comparison does not count: below its floor is {'; '.join(failed)}.")
    else:
        lines.append("All modules pass their floors, so the comparison counts.")
    lines += [_help(seed, rows["SHPE only"]) for seed in rows["full"]["seeds"]]
    compared = [row for row in record["rows"] if row["paper_mm"] is not None]
    lines += _against_the_paper(compared)
    return lines


def _help(seed: Figures, alone: Figures) -> str:
    before = next(s["mpjpe_mm"] for s in alone["seeds"] if s["seed"] == seed["seed"])
    low, high = seed["less_interval_mm"]
    what = "helps" if low > 0 else "harms" if high < 0 else "makes no difference that these hands can show"
    return (
        f"Seed {seed['seed']}: HDR {what}: {before:.2f} mm for SHPE alone, {seed['mpjpe_mm']:.2f} mm for HDR + SHPE; "
        f"less by {seed['less_than_shpe_mm']:.2f} mm (95 % interval {low:.2f} to {high:.2f})."
    )


def _against_the_paper(rows: list[Figures]) -> list[str]:
    """Pairs of rows whose order is the other one than in the paper, worst first; one sentence each."""
    found = []
    for i, one in enumerate(rows):
        for other in rows[i + 1 :]:
            ours, theirs = one["mean_mm"] - other["mean_mm"], one["paper_mm"] - other["paper_mm"]
            if ours * theirs < 0:
                better, worse = (one, other) if ours < 0 else (other, one)
                found.append(
                    f"Against the paper: '{better['name']}' ({better['mean_mm']:.2f} mm) is better here than "
                    f"'{worse['name']}' ({worse['mean_mm']:.2f} mm); in the paper it is {better['paper_mm']} against "
                    f"{worse['paper_mm']} mm."
                )
    return found or ["The order of all rows that the paper has, too, is the paper's."]
