"""Statistics of poses: of a library, or of a dataset's samples. Read from small arrays; no image is decoded.

All figures are plain numbers in one mapping, which the command prints, writes as JSON and plots.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from aih_builder.config import Manifest
from aih_builder.errors import ShardError
from aih_builder.geometry import FloatArray, rotation_matrix
from aih_builder.hands.anatomy import angles_from_pose, angles_of_poses
from aih_builder.hands.conventions import FINGERS
from aih_builder.hands.model import HandModel
from aih_builder.sample import SIDES
from aih_builder.shards.reader import Dataset
from aih_builder.sources.pose_clusters import distances_mm
from aih_builder.sources.pose_distance import pair_joints_mm
from aih_builder.sources.pose_library import PoseLibrary
from aih_builder.viewer.derived import AXES

log = logging.getLogger(__name__)

MOST_ROWS = 100_000  # samples that are read: of a larger dataset, evenly spaced ones
MOST_PAIRS = 10_000  # of which distances are measured: beyond, evenly spaced ones
_CHUNK = 256

Hands = tuple[HandModel, HandModel]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """N poses; hand axis 0 right, 1 left. Of a hand whose known is False nothing is read."""

    known: np.ndarray  # (N, 2) bool
    pose_rad: FloatArray  # (N, 2, 48)
    betas: FloatArray  # (N, 2, 10)
    trans_m: FloatArray  # (N, 2, 3)
    family: np.ndarray  # (N,) text
    split: np.ndarray  # (N,) text
    pair: np.ndarray  # (N,) bool: both hands, measured against one another
    pose_id: np.ndarray  # (N,) text: poses of one id are alike
    penetration_mm: FloatArray  # (N,)
    contact_fraction: FloatArray  # (N,)


def library_figures(library: PoseLibrary, hands: Hands) -> Figures:
    """Figures of a pose library on the hands that it belongs to."""
    poses = Poses(
        library.present, library.pose_rad, library.betas, library.trans_m, library.family,
        np.array(library.splits()), np.asarray(library.present.all(axis=1)), library.ids,
        library.penetration_mm, library.contact_fraction,
    )  # fmt: skip
    counts = Counter(library.cluster.tolist())
    figures: Figures = {"kind": "pose library", "poses": len(library), "pairs": int(poses.pair.sum())}
    figures["splits"] = dict(Counter(poses.split.tolist()))
    figures["clusters"] = {"count": len(counts), "largest": max(counts.values())}
    figures |= _of_poses(poses, hands)
    figures["self_penetration_mm"] = _spread(library.self_penetration_mm[library.present])
    if (radius := library.provenance.get("cluster_radius_mm")) is not None:
        figures["nearest_mm"]["cluster_radius"] = radius
    figures["acceptance"] = {
        name: {"tried": made["tried"], "accepted": made["accepted"], "share": made["accepted"] / max(made["tried"], 1)}
        for name, made in library.provenance.get("families", {}).items()
    }
    return figures


def dataset_figures(dataset: Dataset, manifest: Manifest | None, hands: Hands) -> Figures:
    """Figures of a dataset's poses, by one pass over the small arrays of those of its shards that can be read. An
    imported one has no manifest.
    """
    counts: Counter[str] = Counter()
    for shard in dataset.shards:
        counts[f"{shard['engine']} {shard['split']}"] += shard["samples"]
    columns = _columns(dataset, max(1, -(-len(dataset) // MOST_ROWS)))
    count = len(columns["index"])
    if not count:
        return {"kind": "dataset", "samples": len(dataset), "read": 0, "splits": dict(counts)}
    both = np.asarray(columns["hand_present"].all(axis=1))
    poses = Poses(
        columns["pose_valid"] & columns["hand_present"], columns["mano_pose_rad"], columns["mano_betas"],
        columns["mano_trans_m"], columns["pose_family"], columns["split"], columns["interaction_valid"],
        columns["pose_id"], columns["penetration_mm"], columns["contact_fraction"],
    )  # fmt: skip
    figures: Figures = {"kind": "dataset", "samples": len(dataset), "read": count, "two_hand_samples": int(both.sum())}
    figures["splits"] = dict(counts)
    figures["poses_unknown"] = int((columns["hand_present"] & ~columns["pose_valid"]).sum())
    figures |= _of_poses(poses, hands)
    figures["occlusion"] = {
        engine: _occlusion(columns, both & (columns["engine"] == engine), manifest, engine)
        for engine in dict.fromkeys(columns["engine"].tolist())
    }
    return figures


def _columns(dataset: Dataset, step: int) -> dict[str, np.ndarray]:
    """The small arrays of every step-th sample of each shard."""
    names = (
        "index", "engine", "split", "hand_present", "pose_valid", "mano_pose_rad", "mano_betas", "mano_trans_m",
        "pose_family", "pose_id", "interaction_valid", "penetration_mm", "contact_fraction", "occlusion_rate",
        "target_hand",
    )  # fmt: skip
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for k in range(len(dataset.shards)):
        try:
            plain = dataset.small_arrays_of(k)
        except ShardError as error:
            log.warning("%s", error)
            continue
        for name in names:
            values = plain[name][::step]
            parts[name].append(values.astype("U") if values.dtype.kind in "SO" else np.array(values))
    return {name: np.concatenate(rows) if rows else np.zeros(0) for name, rows in parts.items()}


def _of_poses(poses: Poses, hands: Hands) -> Figures:
    kind = np.array([str(name).partition("/")[0] for name in poses.family], "U")
    figures: Figures = {"families": {}}
    rows = _evenly(np.flatnonzero(poses.pair), MOST_PAIRS)
    joints_mm = pair_joints_mm(hands, poses.pose_rad[rows], poses.betas[rows], poses.trans_m[rows])
    parameters = pair_parameters(hands, poses.pose_rad[rows], poses.betas[rows], poses.trans_m[rows])
    for family, count in sorted(Counter(kind.tolist()).items(), key=lambda item: -item[1]):
        paired = poses.pair & (kind == family)
        entry: Figures = {"count": count, "share": count / len(kind)}
        if paired.any():
            entry["penetration_mm"] = _spread(poses.penetration_mm[paired])
            entry["contact_share"] = float((poses.contact_fraction[paired] > 0).mean())
            entry["contact_fraction"] = _spread(poses.contact_fraction[paired])
            entry["effective_rank"] = effective_rank(parameters[kind[rows] == family])
        figures["families"][family] = entry
    figures["penetration_mm"] = _spread(poses.penetration_mm[poses.pair])
    figures["contact_fraction"] = _spread(poses.contact_fraction[poses.pair])
    figures["contact_share"] = float((poses.contact_fraction[poses.pair] > 0).mean()) if poses.pair.any() else 0.0
    figures["nearest_mm"] = {"pairs": len(rows), "of_pairs": int(poses.pair.sum())}
    figures["nearest_mm"] |= _nearest(joints_mm, poses.pose_id[rows], poses.split[rows])
    figures["joints"] = _joint_ranges(poses, hands)
    return figures


def effective_rank(descriptor: FloatArray) -> float:
    """How many directions descriptors (N, D) spread over: exp of the entropy of their covariance's eigenvalues, as
    shares of their sum (Roy and Vetterli, 2007). 1 for what varies along a line, 0 where nothing varies.
    """
    if len(descriptor) < 2:
        return 0.0
    values = np.linalg.eigvalsh(np.cov(descriptor, rowvar=False))
    values = np.clip(values, 0.0, None)
    if values.sum() <= 1e-9:
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def pair_parameters(hands: Hands, pose_rad: FloatArray, betas: FloatArray, trans_m: FloatArray) -> FloatArray:
    """What a pair does, as numbers (N, P): the free finger angles of the right and of the left hand, degrees, then the
    left hand's turn (two columns of its rotation, x 180 / pi) and its wrist's place, mm, both as seen from the right
    wrist. A degree and a millimetre weigh alike.
    """
    limits = hands[0].arrays.dof_limits_rad
    free = limits[..., 1] > limits[..., 0]
    rows = []
    for k in range(len(pose_rad)):
        angles = [angles_from_pose(hand.arrays, pose_rad[k, i, 3:])[free] for i, hand in enumerate(hands)]
        turns = [rotation_matrix(np.ascontiguousarray(pose_rad[k, i, :3], np.float64)) for i in (0, 1)]
        wrists_m = [hand.rest_wrist_m(betas[k, i]) + trans_m[k, i] for i, hand in enumerate(hands)]
        turn = np.rad2deg((turns[0].T @ turns[1])[:, :2].ravel())
        place_mm = 1000.0 * turns[0].T @ (wrists_m[1] - wrists_m[0])
        rows.append(np.concatenate([*map(np.rad2deg, angles), turn, place_mm]))
    return np.array(rows).reshape(len(rows), 2 * int(free.sum()) + 9)


def _nearest(joints_mm: FloatArray, pose_id: np.ndarray, split: np.ndarray) -> Figures:
    """Distances from pairs to the nearest other one, over pairs of different ids, and from test to train."""
    _, first = np.unique(pose_id, return_index=True)
    first.sort()
    joints_mm, split = joints_mm[first], split[first]
    figures: Figures = {"distinct_poses": len(first)}
    if len(first) < 2:
        return figures
    least, to_train = np.empty(len(first)), np.full(len(first), np.inf)
    train = np.flatnonzero(split == "train")
    for begin in range(0, len(first), _CHUNK):
        rows = np.arange(begin, min(begin + _CHUNK, len(first)))
        table = distances_mm(joints_mm[rows], joints_mm)
        if len(train):
            to_train[rows] = table[:, train].min(axis=1)
        table[np.arange(len(rows)), rows] = np.inf
        least[rows] = table.min(axis=1)
    figures["to_nearest"] = _spread(least)
    if len(train) and (split == "test").any():
        figures["test_to_train"] = _spread(to_train[split == "test"])
    return figures


def _joint_ranges(poses: Poses, hands: Hands) -> list[Figures]:
    """What is used of each degree of freedom, degrees, over both hands: a left hand moves alike at the same angles."""
    degrees = []
    for side, hand in enumerate(hands):
        rows = _evenly(np.flatnonzero(poses.known[:, side]), MOST_ROWS)
        degrees.append(np.rad2deg(angles_of_poses(hand.arrays, poses.pose_rad[rows, side, 3:])))
    limits, angles = np.rad2deg(hands[0].arrays.dof_limits_rad), np.concatenate(degrees)
    ranges = []
    for finger, base in FINGERS.items():
        for k in range(3):
            for axis, name in enumerate(AXES):
                low, high = limits[base + k, axis]
                if high <= low or not len(angles):
                    continue
                used = angles[:, base + k, axis]
                least, q01, median, q99, most = (float(q) for q in np.quantile(used, (0, 0.01, 0.5, 0.99, 1)))
                ranges.append(
                    {
                        "joint": f"{finger}{k + 1}", "axis": name, "low": float(low), "high": float(high),
                        "least": least, "q01": q01, "median": median, "q99": q99, "most": most,
                        "used": (q99 - q01) / float(high - low),
                        "outside": int(((used < low - 0.01) | (used > high + 0.01)).sum()),
                    }
                )  # fmt: skip
    return ranges


def _occlusion(columns: dict[str, np.ndarray], rows: np.ndarray, manifest: Manifest | None, engine: str) -> Figures:
    """Rates of two-hand samples: of the target, of the right and of the left hand, in the bins that were asked for."""
    stream = manifest.streams.render if manifest is not None and engine == "render" else None
    bins = [0.0, 0.05, 0.2, 0.4, 0.8, 1.0] if stream is None else list(stream.occlusion.bins)
    rates, target = columns["occlusion_rate"][rows], columns["target_hand"][rows]
    found: Figures = {"bins": bins, "count": int(rows.sum())}
    if stream is not None:
        found["asked"] = list(stream.occlusion.share)
    if rows.any():
        of_target = rates[np.arange(len(rates)), np.clip(target, 0, 1)]
        for name, values in (("target", of_target), ("right", rates[:, 0]), ("left", rates[:, 1])):
            counts, _ = np.histogram(values, [*bins[:-1], np.nextafter(np.float32(bins[-1]), np.float32(2))])
            found[name] = (counts / len(rates)).tolist()
        found["target_side"] = {side: float((target == k).mean()) for k, side in enumerate(SIDES)}
    return found


def _spread(values: np.ndarray) -> Figures:
    """Quantiles, and a histogram of 30 bins for plots."""
    if not len(values):
        return {"count": 0}
    quantiles = np.quantile(values, (0, 0.05, 0.5, 0.95, 0.99, 1)).tolist()
    counts, edges = np.histogram(values, 30)
    names = ("least", "q05", "median", "q95", "q99", "greatest")
    return (
        {"count": len(values)}
        | dict(zip(names, quantiles, strict=True))
        | {"histogram": {"counts": counts.tolist(), "edges": edges.tolist()}}
    )


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """The rows, or as many evenly spaced ones as are wanted at most."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]
