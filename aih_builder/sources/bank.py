"""The bank: pictures of single hands from which AIH-Sync cuts out and composes.

An HDF5 file. Root attributes: those of BankHead, format, version, storage, digest. One contiguous dataset per field of
BankEntry, named as there; its pictures are stored

* raw: `rgba` (N, S, S, 4) u8, memory-mapped, while all of them take at most RAW_LIMIT_BYTES;
* jpeg: `blob` u8 and `offsets` (N, 3) i64, above: per entry the colour as JPEG 95 4:4:4, then zlib over alpha (S, S).

The digest is the sha256 of all of that but itself, so a bank is the same wherever it lies.
"""

import hashlib
import json
import logging
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import h5py
import numpy as np

from aih_builder.errors import AihError, AssetError, ConfigError, SampleError
from aih_builder.files import whole_file
from aih_builder.identity import SPLITS, Split
from aih_builder.imaging import decode_jpeg_rgba, encode_jpeg
from aih_builder.sample import SIDES, Array, Spec, check_arrays, specs_of
from aih_builder.tables import (
    DAMAGE,
    LIBVER,
    column_table,
    field_value,
    map_file,
    read_attributes,
    table,
    write_attributes,
    write_column,
)

log = logging.getLogger(__name__)

RAW_LIMIT_BYTES = 256 * 2**20
# Side of a picture / side of its core. Turned, shrunk and shifted as far as a manifest's defaults go, an image then
# ends before the mirror image of the hand beyond the picture's border.
MARGIN = 1.5
ID_BYTES = 23  # two ids and a sign between them fit the 48 bytes of a sample's sources

_FORMAT, _VERSION = "aih-bank", 2
_LOG_EVERY_S = 10.0
_CHUNK_BYTES = 16 * 2**20
_REMEDY = "Put the old file back, or build it again with `aih bank build`."

Storage = Literal["raw", "jpeg"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BankEntry:
    """One picture of one hand. What is not known is 0 and flagged, as in the sample record."""

    rgba: Annotated[Array, Spec("uint8", "S S 4", "the picture, sRGB, straight; alpha is the hand's, feathered")]
    entry_id: Annotated[str, Spec(f"str{ID_BYTES}", "", "unique in the bank")]
    side: Annotated[int, Spec("int8", "", "0 right, 1 left")]
    split: Annotated[str, Spec("str8", "", "train, val or test")]
    source: Annotated[str, Spec("str200", "", "where it comes from: a file, a folder, a renderer")]
    annotation: Annotated[str, Spec("str8", "", "human, machine or empty")]
    joints_px: Annotated[Array, Spec("float32", "21 2", "keypoints in pixels of rgba, x then y")]
    joint2d_valid: Annotated[Array, Spec("bool", "21", "whether joints_px is known")]
    cam_joints_m: Annotated[Array, Spec("float32", "21 3", "keypoints, camera frame, metres")]
    joint3d_valid: Annotated[Array, Spec("bool", "21", "whether cam_joints_m is known")]
    joint_visible: Annotated[Array, Spec("bool", "21", "not hidden by the hand itself")]
    joint_visible_valid: Annotated[bool, Spec("bool", "", "whether joint_visible is known")]
    K_px: Annotated[Array, Spec("float32", "3 3", "pinhole intrinsics of rgba, or 0")]
    mano_pose_rad: Annotated[Array, Spec("float32", "48", "axis-angle, camera frame, flat_hand_mean=False")]
    mano_betas: Annotated[Array, Spec("float32", "10", "shape coefficients")]
    mano_trans_m: Annotated[Array, Spec("float32", "3", "translation, added last, metres")]
    pose_valid: Annotated[bool, Spec("bool", "", "whether pose, betas and translation are known")]
    skin_tone: Annotated[int, Spec("int8", "", "Monk tone 1-10, 0 unknown")]
    pose_family: Annotated[str, Spec("str20", "", "what the hand does")]
    shape_id: Annotated[str, Spec("str48", "", "source of the betas")]
    texture_id: Annotated[str, Spec("str48", "", "source of the skin")]
    background_id: Annotated[str, Spec("str48", "", "source of the background")]
    skin_age: Annotated[float, Spec("float32", "", "years that the skin shows, 0 unknown")] = 0.0

    def __post_init__(self) -> None:
        check_arrays(self)
        if self.side not in (0, 1) or self.split not in SPLITS:
            raise SampleError(f"entry {self.entry_id}: side {self.side}, split '{self.split}': no such hand or split.")
        if (self.cam_joints_m[self.joint3d_valid][:, 2] <= 0).any():
            raise SampleError(f"entry {self.entry_id}: a joint lies behind the camera.")
        if (self.joint_visible & ~self.joint2d_valid).any():
            raise SampleError(f"entry {self.entry_id}: a joint is visible, yet unknown.")


@dataclass(frozen=True, slots=True)
class BankHead:
    """What a bank says of itself."""

    size_px: int  # side of the pictures
    core_px: int  # side of their middle part, which fills an image at scale 1
    licence: str  # the strictest of its sources
    hand: str  # digest of the hand model whose poses it holds, or empty
    provenance: str  # how it was made, JSON


_COLUMNS = {name: spec for name, spec in specs_of(BankEntry).items() if name != "rgba"}


def picture_side_px(core_px: int) -> int:
    """Side of pictures with a core of this side."""
    return 2 * round(core_px * MARGIN / 2)


def storage_for(count: int, size_px: int) -> Storage:
    """How that many pictures are stored."""
    return "raw" if count * size_px * size_px * 4 <= RAW_LIMIT_BYTES else "jpeg"


def write_bank(path: Path, head: BankHead, entries: Iterable[BankEntry], storage: Storage) -> int:
    """Write a bank; returns the number of entries. Pictures pass through a file beside it, not through memory.

    Raises AssetError for no entry, one of another size, an id that stands twice, ShardError where writing fails.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    offsets: list[list[int]] = []
    with whole_file(path) as temporary, tempfile.TemporaryFile(dir=path.parent) as spool:
        logged = time.monotonic()
        for entry in entries:
            if time.monotonic() - logged > _LOG_EVERY_S:
                logged = time.monotonic()
                log.info("%s: %d pictures", path, len(offsets))
            if entry.rgba.shape[0] != head.size_px:
                raise AssetError(f"{path}: entry {entry.entry_id} is {entry.rgba.shape[0]} px, not {head.size_px}.")
            parts = [entry.rgba.tobytes()] if storage == "raw" else _encoded(entry.rgba)
            begin = spool.tell()
            offsets.append([begin + sum(map(len, parts[:n])) for n in range(len(parts) + 1)])
            spool.write(b"".join(parts))
            for name, values in columns.items():
                values.append(getattr(entry, name))
        if not offsets:
            raise AssetError(f"{path}: no entry to write. A bank needs at least one hand.")
        ids = columns["entry_id"]
        if len(set(ids)) < len(ids):
            twice = Counter(ids).most_common(1)[0][0]
            raise AssetError(f"{path}: entry id '{twice}' stands twice. Rename one.")
        with h5py.File(temporary, "w", libver=LIBVER) as file:
            if storage == "raw":
                shape = (len(offsets), head.size_px, head.size_px, 4)
                _copy(spool, file.create_dataset("rgba", shape, np.uint8), int(np.prod(shape[1:])))
            else:
                file.create_dataset("offsets", data=np.array(offsets, "<i8"))
                _copy(spool, file.create_dataset("blob", (spool.tell(),), np.uint8), 1)
            for name, spec in _COLUMNS.items():
                write_column(file, name, spec, columns[name])
            attributes = asdict(head) | {"format": _FORMAT, "version": _VERSION, "storage": storage}
            write_attributes(file, attributes | {"digest": _digest(file, attributes)})
    return len(offsets)


def _encoded(rgba: Array) -> list[bytes]:
    return [encode_jpeg(rgba[..., :3]), zlib.compress(np.ascontiguousarray(rgba[..., 3]).tobytes(), 6)]


def _copy(spool: BinaryIO, dataset: h5py.Dataset, row_bytes: int) -> None:
    """Fill a contiguous dataset from the spool, some rows at a time."""
    spool.seek(0)
    rows = max(1, _CHUNK_BYTES // row_bytes)
    for first in range(0, dataset.shape[0], rows):
        last = min(first + rows, dataset.shape[0])
        data = np.frombuffer(spool.read((last - first) * row_bytes), np.uint8)
        dataset[first:last] = data.reshape(last - first, *dataset.shape[1:])


def _digest(file: h5py.File, attributes: dict[str, Any]) -> str:
    sha = hashlib.sha256(json.dumps(attributes, sort_keys=True).encode())
    for name in sorted(file):
        dataset: Any = file[name]
        sha.update(f"{name} {dataset.dtype.str} {dataset.shape}".encode())
        rows = max(1, _CHUNK_BYTES // max(dataset.dtype.itemsize * int(np.prod(dataset.shape[1:])), 1))
        for first in range(0, dataset.shape[0], rows):
            sha.update(np.ascontiguousarray(dataset[first : first + rows]).tobytes())
    return sha.hexdigest()


class Bank:
    """A bank file to read; pictures are read when asked for. Raises AssetError where it is damaged or foreign."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise AssetError(f"{path}: is not a file. {_REMEDY}")
        try:
            with h5py.File(path, "r") as file:
                attributes = read_attributes(file)
                if attributes.get("format") != _FORMAT or attributes.get("version") != _VERSION:
                    raise AssetError(f"{path}: not a bank of version {_VERSION}. {_REMEDY}")
                self.head = BankHead(**{name: attributes[name] for name in BankHead.__dataclass_fields__})
                self.digest, self.storage = str(attributes["digest"]), attributes["storage"]
                size = self.head.size_px
                tables = {name: column_table(file, name, spec) for name, spec in _COLUMNS.items()}
                if self.storage == "raw":
                    tables["rgba"] = table(file, "rgba", np.dtype(np.uint8), (size, size, 4))
                else:
                    tables["offsets"] = table(file, "offsets", np.dtype("<i8"), (3,))
                    tables["blob"] = table(file, "blob", np.dtype(np.uint8), ())
            self._arrays = map_file(path, tables)
            counts = {len(array) for name, array in self._arrays.items() if name != "blob"}
            if len(counts) != 1 or 0 in counts:
                raise ValueError(f"its columns have {sorted(counts)} rows")
            self.sides = self._arrays["side"].tolist()
            self.splits = [value.decode() for value in self._arrays["split"]]
            self.tones = self._arrays["skin_tone"].tolist()
            self.annotations = [value.decode() for value in self._arrays["annotation"]]
        except DAMAGE as error:
            raise AssetError(f"{path}: not a readable bank ({error}). {_REMEDY}") from error
        self._kept: dict[int, BankEntry] = {}
        self._pools: dict[tuple[str, int, int, str | None], list[int]] = {}
        rows = zip(self.splits, self.sides, self.tones, self.annotations, strict=True)
        for i, (split, side, tone, annotation) in enumerate(rows):
            for of_tone, by in product({0, tone}, (None, annotation)):
                self._pools.setdefault((split, side, of_tone, by), []).append(i)

    def __len__(self) -> int:
        return len(self.sides)

    def pool(self, split: Split, side: int, tone: int = 0, annotation: str | None = None) -> list[int]:
        """Entries of a split and side; tone 1-10 keeps those of one skin tone, annotation those annotated so."""
        return self._pools.get((split, side, tone, annotation), [])

    def require(self, splits: Iterable[Split], *, same_annotation: bool = False) -> None:
        """Check that each of these splits has both hands, with same_annotation annotated alike. Raises ConfigError."""
        for split in splits:
            for side, name in enumerate(SIDES):
                if not self.pool(split, side):
                    held = ", ".join(f"{s} {sum(x == s for x in self.splits)}" for s in SPLITS)
                    raise ConfigError(
                        f"pools.bank: no {name} hand in split '{split}' (entries: {held}). "
                        "Build a larger bank, or set that split's count to 0."
                    )
            kinds = sorted({*self.annotations})
            if same_annotation and not any(
                self.pool(split, 0, 0, kind) and self.pool(split, 1, 0, kind) for kind in kinds
            ):
                raise ConfigError(
                    f"pools.bank: split '{split}' has no right and left hand that are annotated alike, as "
                    "streams.sync.same_annotation asks. Build a larger bank, or set it to false."
                )

    def entry(self, i: int) -> BankEntry:
        """Entry i, not to be written to. Raises AssetError where it is damaged.

        One whose picture is mapped is kept: it takes few KiB, and reading and checking it again would take most of the
        time.
        """
        if i in self._kept:
            return self._kept[i]
        entry = self._read(i)
        if self.storage == "raw":  # 256 MiB of pictures at most, see storage_for: some hundred or thousand entries
            self._kept[i] = entry
        return entry

    def _read(self, i: int) -> BankEntry:
        try:
            values = {name: field_value(spec, self._arrays[name][i]) for name, spec in _COLUMNS.items()}
            return BankEntry(rgba=self._picture(i), **values)
        except (AihError, zlib.error, *DAMAGE) as error:
            raise AssetError(f"{self.path}: entry {i}: {error} {_REMEDY}") from error

    def _picture(self, i: int) -> Array:
        if self.storage == "raw":
            return self._arrays["rgba"][i]
        a, b, c = self._arrays["offsets"][i].tolist()
        blob, size = self._arrays["blob"], self.head.size_px
        rgba = decode_jpeg_rgba(blob[a:b].tobytes())
        rgba[..., 3] = np.frombuffer(zlib.decompress(blob[b:c].tobytes()), np.uint8).reshape(size, size)
        return rgba

    def check(self) -> None:
        """Read everything: the digest must be that of the content, each entry whole. Raises AssetError."""
        try:
            with h5py.File(self.path, "r") as file:
                attributes = read_attributes(file)
                del attributes["digest"]
                found = _digest(file, attributes)
        except DAMAGE as error:
            raise AssetError(f"{self.path}: not a readable bank ({error}). {_REMEDY}") from error
        if found != self.digest:
            raise AssetError(
                f"{self.path}: its content has digest {found[:12]}, it says {self.digest[:12]}: it was changed or "
                f"damaged. {_REMEDY}"
            )
        for i in range(len(self)):
            self._read(i)
