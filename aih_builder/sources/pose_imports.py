"""Poses of other sources as pose libraries: InterHand2.6M's fits, and any `.npz` of MANO parameters.

What is imported is measured: penetration, contact and self-penetration on the hands in use, some 10 ms a pair.
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.bringing import MANO_LICENCE
from aih_builder.hands.conventions import LEFT, N_BETAS, N_JOINTS
from aih_builder.hands.model import HandModel
from aih_builder.identity import SPLITS, Split, shortened
from aih_builder.sample import SPECS
from aih_builder.sources.interhand import FARTHEST_M, fit_error_mm, read_capture
from aih_builder.sources.licences import strictest
from aih_builder.sources.pair_measure import PairMeasure
from aih_builder.sources.pose_clusters import CLUSTER_RADIUS_MM, clusters_of
from aih_builder.sources.pose_distance import hand_joints_mm, pair_joints_mm
from aih_builder.sources.pose_library import UNREADABLE, PoseLibrary, hands_digest, read_npz

log = logging.getLogger(__name__)

INTERHAND_LICENCE = "CC-BY-NC-4.0"
MOST_FIT_ERROR_MM = 10.0
OF_MANO = "mano"  # stands for the digest of a licensed model that is not at hand

_SHAPES = {"pose": (3 * N_JOINTS,), "betas": (N_BETAS,), "trans": (3,)}
_ID_BYTES = SPECS["pose_id"].max_bytes
_MOST = 1e30  # of a number that float32 can hold
_OPTIONAL = ("present", "family", "split", "ids")


@dataclass(frozen=True, slots=True)
class ForeignFits:
    """What is known of parameters that were fitted elsewhere."""

    fits_of: str = OF_MANO  # "mano", "open", or "hand" (the hands in use): whose model they belong to
    left_shapedirs: str = "fixed"  # "as-published": fitted on a left hand with the right one's x in its shapedirs
    every: int = 1  # take each n-th frame

    def digest(self, hands: tuple[HandModel, HandModel]) -> str:
        """What a library of these fits states as its hand, where `hands` are in use.

        Raises ConfigError where fits of the open hand would be measured on another.
        """
        if self.fits_of == OF_MANO:
            return OF_MANO
        if self.fits_of == "open" and hands_digest(hands) != hands_digest(hand_pair(open_hand(), "native")):
            raise ConfigError("fits of the open hand are measured on the open hand: leave the other hand out.")
        return hands_digest(hands)


class _Rows:
    """Entries as they come, measured."""

    def __init__(self, hands: tuple[HandModel, HandModel], fits: ForeignFits) -> None:
        self._hands = hands
        self._measure = PairMeasure(hands)
        self._as_published = fits.left_shapedirs == "as-published"
        self.refit_error_mm = 0.0
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        name: str,
        family: str,
        split: str,
        cluster: str,
        present: np.ndarray,
        pose_rad: FloatArray,
        betas: FloatArray,
        trans_m: FloatArray,
        annotation: str = "",
    ) -> None:
        """One entry: present (2,), pose (2, 48), betas (2, 10), trans (2, 3); a missing hand's rows are ignored."""
        if self._as_published and present[LEFT]:
            refit, moved_m, error_mm = refitted(self._hands[LEFT].arrays, betas[LEFT])
            betas, trans_m = betas.copy(), trans_m.copy()
            betas[LEFT], trans_m[LEFT] = refit, trans_m[LEFT] + moved_m
            self.refit_error_mm = max(self.refit_error_mm, error_mm)
        stored = [
            np.where(np.reshape(present, (2, 1)), values, 0).astype(np.float32) for values in (pose_rad, betas, trans_m)
        ]
        figures = self._measure.measure(present, *stored)
        row = {"ids": shortened(name, _ID_BYTES), "family": shortened(family, _ID_BYTES), "split": split}
        row |= {"cluster": cluster, "present": present, "annotation": annotation, **figures._asdict()}
        self.rows.append(row | dict(zip(("pose_rad", "betas", "trans_m"), stored, strict=True)))

    def library(self, where: Path, hand: str, licence: str, provenance: dict[str, Any]) -> PoseLibrary:
        """All rows as one library. Raises AssetError where there is none."""
        if not self.rows:
            dropped = ", ".join(f"{why} {n}" for why, n in provenance.get("dropped", {}).items()) or "nothing"
            raise AssetError(f"{where}: no pose is left. Dropped: {dropped}.")
        names = Counter(row["ids"] for row in self.rows)
        if twice := [name for name, count in names.items() if count > 1]:
            raise AssetError(f"{where}: two entries have the id '{twice[0]}'. Ids must differ.")
        columns = {name: [row[name] for row in self.rows] for name in self.rows[0]}
        if not any(columns["annotation"]):
            del columns["annotation"]
        texts = ("ids", "family", "split", "cluster", "annotation")
        arrays = {
            name: np.array(column, "U" if name in texts else (bool if name == "present" else np.float32))
            for name, column in columns.items()
        }
        if not all(row["cluster"] for row in self.rows):
            arrays["cluster"] = self._clusters(arrays)
            provenance = provenance | {"cluster_radius_mm": CLUSTER_RADIUS_MM}
        if self._as_published:
            provenance = provenance | {"left_refit_error_mm": round(self.refit_error_mm, 4)}
        return PoseLibrary(hand=hand, licence=licence, provenance=provenance, **arrays)

    def _clusters(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Ids of the first entries of clusters of near-equal pairs, and of near-equal single hands."""
        cluster = arrays["ids"].copy()
        for kind in ([True, True], [True, False], [False, True]):
            rows = np.flatnonzero((arrays["present"] == kind).all(axis=1))
            if len(rows):
                shown = arrays["pose_rad"][rows], arrays["betas"][rows], arrays["trans_m"][rows]
                if all(kind):
                    joints_mm = pair_joints_mm(self._hands, *shown)
                else:
                    side = int(kind[LEFT])
                    joints_mm = hand_joints_mm(self._hands[side], shown[0][:, side], shown[1][:, side])
                cluster[rows] = arrays["ids"][rows[clusters_of(joints_mm, CLUSTER_RADIUS_MM)]]
        return cluster


def import_interhand(root: Path, hands: tuple[HandModel, HandModel], fits: ForeignFits) -> PoseLibrary:
    """The fits of all splits that are there, an entry for each time step, in its world frame.

    A hand whose fit lies more than 10 mm from the annotated joints is left out; that is asked only where the fits
    belong to the hands in use. Raises AssetError; `dropped` of the provenance counts what was left out, by reason.
    """
    there: list[Split] = [split for split in SPLITS if (root / "annotations" / split).is_dir()]
    if not there:
        raise ConfigError(f"{root}: holds no annotations/train, val or test. Name the root of InterHand2.6M.")
    judged = fits.digest(hands) == hands_digest(hands) and fits.left_shapedirs == "fixed"
    if not judged:
        log.warning(
            "%s: fits of another hand than the one in use; they are not held against the annotated joints", root
        )
    dropped: Counter[str] = Counter()
    rows = _Rows(hands, fits)
    for split in there:
        capture = read_capture(root, split)
        dropped += capture.dropped
        for frame in list(capture.frames.values())[:: fits.every]:
            present = np.array([fit is not None for fit in frame.fits])
            for side in np.flatnonzero(present).tolist():
                error_mm = fit_error_mm(hands[side], frame, side) if judged else None
                if error_mm is not None and error_mm > MOST_FIT_ERROR_MM:
                    dropped["fit: more than 10 mm from the joints"] += 1
                    present[side] = False
            if not present.any():
                dropped["frame: no good fit of either hand"] += 1
                continue
            pose_rad, betas, trans_m = (
                np.stack([np.zeros(size) if fit is None else fit[k] for fit in frame.fits])
                for k, size in enumerate((3 * N_JOINTS, N_BETAS, 3))
            )
            rows.add(
                f"{split}-{frame.capture}-{frame.frame}", frame.sequence or "interhand", split,
                f"{split}-{frame.capture}-{frame.sequence}", present, pose_rad, betas, trans_m,
                frame.annotation,
            )  # fmt: skip
    if dropped:
        log.info("%s: left out %s", root, ", ".join(f"{why} {n}" for why, n in sorted(dropped.items())))
    licence = strictest(INTERHAND_LICENCE, *([] if fits.fits_of == "open" else [MANO_LICENCE]))
    provenance = {
        "source": "InterHand2.6M", "splits": there, "every": fits.every, "fit_error_checked": judged,
        "fits_of": fits.fits_of, "left_shapedirs": fits.left_shapedirs, "dropped": dict(sorted(dropped.items())),
    }  # fmt: skip
    return rows.library(root, fits.digest(hands), licence, provenance)


def import_parameters(path: Path, hands: tuple[HandModel, HandModel], fits: ForeignFits) -> PoseLibrary:
    """Any `.npz` of MANO parameters (smplx's, flat_hand_mean False; metres; both hands in one frame).

    Keys: right_pose (N, 48), right_betas (N, 10), right_trans (N, 3), the same with left_, or one side alone. Optional:
    present (N, 2) bool, family, split ("" or train, val, test) and ids, (N,) text. Near-equal poses share a cluster,
    and so a split where the file names none. Raises AssetError.
    """
    try:
        arrays = read_npz(path)
    except UNREADABLE as error:
        raise AssetError(f"{path}: not a readable .npz without pickled objects ({error}).") from error
    sides = [side for side in ("right", "left") if f"{side}_pose" in arrays]
    wanted = {f"{side}_{name}" for side in sides for name in _SHAPES}
    if not sides or not wanted <= arrays.keys() <= wanted | {*_OPTIONAL}:
        found = ", ".join(sorted(arrays))
        raise AssetError(
            f"{path}: holds {found}. Expected right_pose, right_betas and right_trans, the same with left_, or both, "
            f"and at most {', '.join(_OPTIONAL)}."
        )
    count = arrays[f"{sides[0]}_pose"].shape[0] if arrays[f"{sides[0]}_pose"].ndim else 0
    columns = {name: np.zeros((count, 2, *shape)) for name, shape in _SHAPES.items()}
    for side in sides:
        for name, shape in _SHAPES.items():
            columns[name][:, ("right", "left").index(side)] = _numbers(
                path, f"{side}_{name}", arrays[f"{side}_{name}"], (count, *shape)
            )
    if np.abs(columns["trans"]).max(initial=0.0) > FARTHEST_M:
        raise AssetError(
            f"{path}: a translation is beyond {FARTHEST_M:.0f} m. They are metres; divide millimetres by 1000."
        )
    present = np.array([side in sides for side in ("right", "left")])[None].repeat(count, axis=0)
    if "present" in arrays:
        present = present & (_numbers(path, "present", arrays["present"], (count, 2)) > 0)
    texts = {name: _texts(path, name, arrays.get(name), count) for name in ("family", "split", "ids")}
    if unknown := {*texts["split"].tolist()} - {"", *SPLITS}:
        raise AssetError(f"{path}: split holds '{sorted(unknown)[0]}', expected '', train, val or test.")
    rows = _Rows(hands, fits)
    for k in range(0, count, fits.every):
        if present[k].any():
            name = str(texts["ids"][k]) or f"{shortened(path.stem, 36)}-{k:06d}"
            family = str(texts["family"][k]) or "parameters"
            rows.add(
                name, family, str(texts["split"][k]), "", present[k],
                columns["pose"][k], columns["betas"][k], columns["trans"][k],
            )  # fmt: skip
    licence = strictest("user", *([MANO_LICENCE] if fits.fits_of == OF_MANO else []))
    provenance = {"source": "parameters", "fits_of": fits.fits_of, "left_shapedirs": fits.left_shapedirs}
    return rows.library(path, fits.digest(hands), licence, provenance)


def refitted(left: HandArrays, betas: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Betas (10,) of a left hand fitted on the published model, for the fixed one `left`: nearest in the least squares
    of all vertices. Also the translation (3,) to add, so that the wrist stays, and the worst vertex's error, mm.

    The published left hand has the right one's x in its shapedirs: fixing negates that, which no betas can undo.
    """
    fixed = left.shapedirs.reshape(-1, N_BETAS)
    published = (left.shapedirs * np.array([-1.0, 1.0, 1.0])[None, :, None]).reshape(-1, N_BETAS)
    wanted = published @ betas
    found, *_ = np.linalg.lstsq(fixed, wanted, rcond=None)
    away_m = (wanted - fixed @ found).reshape(-1, 3)
    wrist_m = left.J_regressor[0] @ away_m
    return found, wrist_m, 1000.0 * float(np.sqrt(((away_m - wrist_m) ** 2).sum(axis=1)).max())


def _numbers(path: Path, name: str, array: np.ndarray, shape: tuple[int, ...]) -> FloatArray:
    if array.dtype.kind not in "fiub" or array.shape != shape or not (np.abs(array) < _MOST).all():
        raise AssetError(f"{path}: {name} is {array.dtype} {array.shape}, expected {shape} finite numbers.")
    return array.astype(np.float64)


def _texts(path: Path, name: str, array: np.ndarray | None, count: int) -> np.ndarray:
    if array is None:
        return np.full(count, "", "U1")
    if array.dtype.kind != "U" or array.shape != (count,):
        raise AssetError(f"{path}: {name} is {array.dtype} {array.shape}, expected text ({count},).")
    return array
