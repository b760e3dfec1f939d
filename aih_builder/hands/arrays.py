"""The arrays of one hand in MANO's layout, and the mirror that makes the other hand of it."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.errors import AssetError
from aih_builder.files import whole_file
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import MIRROR, MIRROR_AXIS_ANGLE, N_JOINTS
from aih_builder.paths import render_assets

_REMEDY = "Make it again with `aih hand convert`; the open hand comes with the package."
_MIRROR_3X3 = np.outer(MIRROR, MIRROR).ravel()


@dataclass(frozen=True, slots=True, eq=False)
class HandArrays:
    """One hand model. V vertices, F faces, U texture vertices; metres, radians.

    The first block is MANO's own content. The second is what MANO's files lack: texture coordinates and anatomy.

    A joint turns by R(flexion) R(abduction) R(twist) about its rows of dof_axes, the twist acting first. On the right
    hand a positive angle turns by the right-hand rule; the left hand, mirrored, moves alike at the same angles.
    Positive flexion curls towards the palm. Positive abduction tilts a bone to its own radial side: a finger towards
    the thumb, the thumb out of the palm's plane (palmar abduction). Positive twist turns about the direction from base
    to tip; the thumb's pronation, its pad towards the fingers, is negative.
    """

    side: str  # "right" or "left"
    v_template: FloatArray  # (V, 3)
    faces: np.ndarray  # (F, 3) int64, outward by the right-hand rule
    weights: FloatArray  # (V, 16)
    shapedirs: FloatArray  # (V, 3, 10)
    posedirs: FloatArray  # (V, 3, 135)
    J_regressor: FloatArray  # (16, V)
    hands_mean: FloatArray  # (45,)
    hands_components: FloatArray  # (45, 45)

    tip_vertices: np.ndarray  # (5,) int64, thumb to little
    uv: FloatArray  # (U, 2), v up, in [0, 1]
    uv_faces: np.ndarray  # (F, 3) int64, into uv
    dof_axes: FloatArray  # (16, 3, 3): unit rows flexion, abduction, twist at rest; row 0 (wrist) is zero
    dof_limits_rad: FloatArray  # (16, 3, 2): lowest and highest angle about each axis

    # Of hands that come from elsewhere.
    licence: str = ""  # an SPDX id; empty: the open hand's
    other: "HandArrays | None" = None  # the hand of the other side, where it is not the mirror image

    def other_hand(self) -> "HandArrays":
        """The hand of the other side: its own arrays where there are any, else the mirror image."""
        return self.mirrored() if self.other is None else replace(self.other, other=replace(self, other=None))

    def mirrored(self) -> "HandArrays":
        """The other hand: reflected in x. Angles about dof_axes, and betas, keep their meaning."""
        return replace(
            self,
            side="left" if self.side == "right" else "right",
            v_template=self.v_template * MIRROR,
            faces=np.ascontiguousarray(self.faces[:, ::-1]),
            shapedirs=self.shapedirs * MIRROR[None, :, None],
            posedirs=self.posedirs * MIRROR[None, :, None] * np.tile(_MIRROR_3X3, N_JOINTS - 1),
            hands_mean=self.hands_mean * np.tile(MIRROR_AXIS_ANGLE, N_JOINTS - 1),
            hands_components=self.hands_components * np.tile(MIRROR_AXIS_ANGLE, N_JOINTS - 1),
            uv_faces=np.ascontiguousarray(self.uv_faces[:, ::-1]),
            dof_axes=self.dof_axes * MIRROR_AXIS_ANGLE,
            other=None if self.other is None else self.other.mirrored(),
        )

    def digest(self) -> str:
        """sha256 over all arrays: names the model in plans and pose libraries."""
        sha = hashlib.sha256(self.side.encode())
        for name in ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
            sha.update(array.tobytes())
        if self.other is not None:
            sha.update(self.other.digest().encode())
        return sha.hexdigest()

    def uv_digest(self) -> str:
        """sha256 of a right hand's texture coordinates: textures that were drawn for them fit."""
        sha = hashlib.sha256()
        for array, dtype in ((self.uv, "<f8"), (self.uv_faces, "<i8")):
            sha.update(np.ascontiguousarray(array, dtype).tobytes())
        return sha.hexdigest()


# The names of the arrays, in their order.
ARRAYS = tuple(field.name for field in fields(HandArrays) if field.name not in ("side", "licence", "other"))
_OF_OTHER = "left_"  # before the names of the left hand's arrays, in a file that has its own
_TEXTS = ("licence",)
_UNREADABLE = (OSError, ValueError, EOFError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def save_hand_arrays(arrays: HandArrays, path: Path) -> None:
    """Write a right hand, and the left one where that has arrays of its own, as the package's own `.npz`, whole.

    Raises ShardError where it cannot be written.
    """
    content: dict[str, Any] = {name: getattr(arrays, name) for name in ARRAYS}
    if arrays.other is not None:
        content |= {f"{_OF_OTHER}{name}": getattr(arrays.other, name) for name in ARRAYS}
    content |= {name: np.array(getattr(arrays, name)) for name in _TEXTS if getattr(arrays, name)}
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **content)


def load_hand_arrays(path: Path) -> HandArrays:
    """Read a right hand from the package's own `.npz`; floats become float64, integers int64.

    Raises AssetError where the file is damaged or holds no such hand.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except _UNREADABLE as error:
        raise AssetError(f"{path}: not a readable hand file ({error}). {_REMEDY}") from error
    texts = {name: str(arrays.pop(name)) for name in _TEXTS if name in arrays}
    own = {name: array for name, array in arrays.items() if name.startswith(_OF_OTHER)}
    right = _converted(path, "right", arrays)
    if not own:
        return replace(right, **texts)
    left = _converted(path, "left", {name.removeprefix(_OF_OTHER): array for name, array in own.items()})
    return replace(right, other=replace(left, **texts), **texts)


def _converted(path: Path, side: str, arrays: dict[str, np.ndarray]) -> HandArrays:
    if missing := set(ARRAYS) - arrays.keys():
        raise AssetError(f"{path}: lacks {', '.join(sorted(missing))} of the {side} hand. {_REMEDY}")
    for name in ARRAYS:
        array = arrays[name]
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise AssetError(f"{path}: {name} of the {side} hand is {array.dtype}, expected finite numbers. {_REMEDY}")
    converted: dict[str, Any] = {
        name: np.ascontiguousarray(arrays[name], np.float64 if arrays[name].dtype.kind == "f" else np.int64)
        for name in ARRAYS
    }
    return HandArrays(side=side, **converted)


def open_hand() -> HandArrays:
    """The right hand of the embedded CC0 model (render_assets/open_hand/hand.npz)."""
    return load_hand_arrays(render_assets() / "open_hand" / "hand.npz")
