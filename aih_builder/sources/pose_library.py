"""A pose library: poses of one or two hands, solved or measured, in one `.npz` file.

An entry fixes pose, shape and translation of each hand, for one pair of hand models whose digest the library carries:
on another hand the same angles would touch elsewhere.
"""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.errors import AssetError
from aih_builder.files import whole_file
from aih_builder.hands.conventions import LEFT, N_BETAS, N_JOINTS, RIGHT
from aih_builder.hands.model import HandModel
from aih_builder.identity import SPLITS, Split
from aih_builder.paths import render_assets
from aih_builder.sources.pools import split_of

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)  # what read_npz raises

_FORMAT = "aih-poses"
_SCHEMA = 1
_COLUMNS: dict[str, tuple[str, tuple[int, ...]]] = {
    "ids": ("U", ()),
    "family": ("U", ()),
    "split": ("U", ()),
    "cluster": ("U", ()),
    "present": ("bool", (2,)),
    "pose_rad": ("float32", (2, 3 * N_JOINTS)),
    "betas": ("float32", (2, N_BETAS)),
    "trans_m": ("float32", (2, 3)),
    "penetration_mm": ("float32", ()),
    "contact_fraction": ("float32", ()),
    "self_penetration_mm": ("float32", (2,)),
}
_OPTIONAL = {"annotation": ("U", ())}


@dataclass(frozen=True, slots=True, eq=False)
class PoseLibrary:
    """N entries; hand axis 0 right, 1 left. Rows of a hand that is not present are zero.

    Parameters are smplx's MANO (flat_hand_mean False) in a frame that each entry chooses. Penetration, contact and
    self-penetration are measured on the stored float32 parameters (sources/contact.py).
    """

    hand: str  # hands_digest of the pair of models
    licence: str
    provenance: dict[str, Any]  # how it was made: seed, counts, what was refused and why
    ids: np.ndarray  # (N,) text of at most 48 bytes, unique
    family: np.ndarray  # (N,) text of at most 48 bytes
    split: np.ndarray  # (N,) text: the source's own, or "": by a hash of the cluster
    cluster: np.ndarray  # (N,) text: entries that are nearly equal share it
    present: np.ndarray  # (N, 2) bool
    pose_rad: np.ndarray  # (N, 2, 48) float32
    betas: np.ndarray  # (N, 2, 10) float32
    trans_m: np.ndarray  # (N, 2, 3) float32
    penetration_mm: np.ndarray  # (N,) float32
    contact_fraction: np.ndarray  # (N,) float32
    self_penetration_mm: np.ndarray  # (N, 2) float32
    annotation: np.ndarray | None = None  # (N,) text: human, machine or ""; None where no source tells

    def __len__(self) -> int:
        return len(self.ids)

    def splits(self) -> list[Split]:
        """The split of each entry."""
        known: dict[str, Split] = {split: split for split in SPLITS}
        return [
            known[str(own)] if own else split_of(str(cluster))
            for own, cluster in zip(self.split, self.cluster, strict=True)
        ]

    def digest(self) -> str:
        """sha256 over head and columns."""
        sha = hashlib.sha256(json.dumps(self._head(), sort_keys=True).encode())
        for name, column in _columns_of(self).items():
            text = column.dtype.kind == "U"
            data = json.dumps(column.tolist()).encode() if text else np.ascontiguousarray(column).tobytes()
            sha.update(f"{name} {column.shape} {len(data)}".encode())
            sha.update(data)
        return sha.hexdigest()

    def save(self, path: Path) -> None:
        """Write the `.npz`, whole. Raises AssetError where the columns do not fit together, ShardError where it cannot
        be written.
        """
        _check(path, _columns_of(self))
        arrays: dict[str, Any] = {"head": np.array(json.dumps(self._head())), **_columns_of(self)}
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def _head(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "schema": _SCHEMA,
            "hand": self.hand,
            "licence": self.licence,
            "provenance": self.provenance,
        }


def hands_digest(hands: tuple[HandModel, HandModel]) -> str:
    """Names a pair of hand models: sha256 over the arrays of both."""
    both = hands[RIGHT].arrays.digest() + hands[LEFT].arrays.digest()
    return hashlib.sha256(both.encode()).hexdigest()


def load_library(path: Path) -> PoseLibrary:
    """Read a library. Raises AssetError where the file is not one, is damaged, or its columns do not fit together."""
    try:
        arrays = read_npz(path)
        head = json.loads(str(arrays.pop("head")))
    except (*UNREADABLE, KeyError) as error:
        raise AssetError(f"{path}: not a readable pose library ({error}). Build it with `aih poses build`.") from error
    if not isinstance(head, dict) or head.get("format") != _FORMAT or head.get("schema") != _SCHEMA:
        raise AssetError(f"{path}: not a pose library of schema {_SCHEMA}. Build it with `aih poses build`.")
    kinds = {"hand": str, "licence": str, "provenance": dict}
    if odd := [key for key, kind in kinds.items() if not isinstance(head.get(key), kind)]:
        raise AssetError(f"{path}: its head has no {odd[0]}. Build it with `aih poses build`.")
    _check(path, arrays)
    return PoseLibrary(head["hand"], head["licence"], head["provenance"], **arrays)


def shipped_library() -> PoseLibrary:
    """The poses of the open hand that come with the package."""
    return load_library(render_assets() / "poses" / "open_hand.npz")


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a `.npz`, none of them pickled. Raises one of UNREADABLE."""
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        if not archive.namelist():
            raise ValueError("an empty archive")
        file.seek(0)
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def _columns_of(library: PoseLibrary) -> dict[str, np.ndarray]:
    known = _COLUMNS | _OPTIONAL
    columns = {field.name: getattr(library, field.name) for field in fields(library) if field.name in known}
    return {name: column for name, column in columns.items() if column is not None}


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    given = arrays.keys() - _OPTIONAL.keys()
    if given != _COLUMNS.keys():
        odd = ", ".join(sorted(given ^ _COLUMNS.keys()))
        raise AssetError(f"{path}: lacks or has unexpected columns: {odd}. Expected {', '.join(_COLUMNS)}.")
    count = arrays["ids"].shape[0] if arrays["ids"].ndim == 1 else 0
    for name, (kind, shape) in (_COLUMNS | _OPTIONAL).items():
        if name not in arrays:
            continue
        column = arrays[name]
        fits = column.dtype.kind == "U" if kind == "U" else column.dtype == np.dtype(kind)
        if not fits or column.shape != (count, *shape):
            raise AssetError(
                f"{path}: column {name} is {column.dtype} {column.shape}, expected {kind} {(count, *shape)}."
            )
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise AssetError(f"{path}: column {name} holds NaN or infinity.")
    if count == 0:
        raise AssetError(f"{path}: holds no pose.")
    if len(set(arrays["ids"])) != count:
        raise AssetError(f"{path}: two entries have the same id.")
    if not arrays["present"].any(axis=1).all():
        raise AssetError(f"{path}: an entry has no hand.")
    if unknown := set(arrays["split"]) - {"", *SPLITS}:
        raise AssetError(f"{path}: unknown split '{sorted(unknown)[0]}'. Expected train, val, test or none.")
    if unknown := set(arrays.get("annotation", ())) - {"", "human", "machine"}:
        raise AssetError(f"{path}: unknown annotation '{sorted(unknown)[0]}'. Expected human, machine or none.")
