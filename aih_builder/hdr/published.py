"""The figures of HDR's paper, as its poster prints them. They come from other data, networks and scale than ours."""

from __future__ import annotations

from typing import Any, Final

SOURCE: Final = "Meng et al., 3D Interacting Hand Pose Estimation by Hand De-occlusion and Removal, ECCV 2022"

_LIMITS = "they cannot be compared with ours in absolute value; only the order of the rows can."

CAUTION: Final = (
    f"Published figures, of another data set (InterHand2.6M), other networks and another scale of training: {_LIMITS}"
)

CAUTION_BENCHMARK: Final = (
    f"Published figures, of other networks, other training data and another scale of training: {_LIMITS}"
)

InterHandRow = tuple[str, float | None, float | None, float | None, float | None]

# InterHand2.6M test, MPJPE mm: method, SH, IH, ALL, the subset Inter. Branch ALL has human and machine annotations.
# A star: the paper took the figure from another work.
INTERHAND_ALL: Final[tuple[InterHandRow, ...]] = (
    ("Boukhayma et al. *", None, None, 27.14, 31.46),
    ("Pose2Mesh *", None, None, 27.10, 32.11),
    ("BiHand *", None, None, 25.10, 28.23),
    ("Rong et al. *", None, None, 17.12, 20.66),
    ("DIGIT", None, 14.27, None, None),
    ("InterNet", 12.16, 16.02, 14.21, 18.04),
    ("HDR", 8.51, 13.12, 10.97, 14.74),
)

# The same for branch M, machine annotations alone.
INTERHAND_M: Final[tuple[InterHandRow, ...]] = (
    ("InterNet", 12.52, 18.04, 15.28, None),
    ("HDR", 8.52, 14.98, 11.74, None),
)

# What SHPE was trained on, MPJPE mm: name, branch ALL: IH, ALL; branch M: IH, ALL.
TRAINING_DATA: Final[tuple[tuple[str, float, float, float, float], ...]] = (
    ("trained on SH, SHPE", 39.96, 25.90, 40.98, 25.78),
    ("trained on SH, HDR + SHPE", 25.93, 18.39, 25.45, 17.98),
    ("trained on SH and AIH, SHPE", 30.23, 20.93, 32.27, 21.66),
    ("trained on SH and AIH, HDR + SHPE", 23.99, 17.58, 24.59, 17.80),
)

# The ablation: SHPE trained on single hands, branch M, all of the test set, MPJPE mm.
ABLATION_MM: Final[dict[str, float]] = {
    "SHPE only": 25.78,
    "without removal": 24.16,
    "without de-occlusion": 19.69,
    "without discriminator": 18.11,
    "without transformer": 18.85,
    "render only": 18.10,
    "sync only": 18.35,
    "full": 17.98,
}

# Tzionas et al.'s sequences, unseen in training: end-point error in pixels.
TZIONAS_EPE_PX: Final[dict[str, float]] = {
    "Boukhayma et al.": 12.91,
    "Wang et al.": 13.31,
    "InterNet": 17.61,
    "Kim et al.": 12.42,
    "SHPE": 14.88,
    "HDR + SHPE": 8.70,
}

# The row of the ablation that a method of an evaluation stands beside.
SAME_METHOD: Final[dict[str, str]] = {"SHPE alone": "SHPE only", "HDR + SHPE": "full"}


def benchmark_rows(name: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """The published rows of a benchmark in groups, each a heading and rows like those of an evaluation."""
    if name == "InterHand2.6M":
        keys = ("name", "SH", "IH", "ALL", "Inter")
        branches = (
            ("Published, human and machine annotations (branch ALL)", INTERHAND_ALL),
            ("Published, machine annotations (branch M)", INTERHAND_M),
        )
        return [(head, [dict(zip(keys, row, strict=True)) for row in rows]) for head, rows in branches]
    if name == "Tzionas":
        return [("Published", [{"name": method, "EPE": value} for method, value in TZIONAS_EPE_PX.items()])]
    return []
