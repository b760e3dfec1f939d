"""The arrays of one hand in MANO's layout, and the mirror that makes the other hand of it."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.errors import AssetError
from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import MIRROR, MIRROR_AXIS_ANGLE, N_JOINTS
from aih_builder.paths import render_assets

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
        )

    def digest(self) -> str:
        """sha256 over all arrays: names the model in plans and pose libraries."""
        sha = hashlib.sha256(self.side.encode())
        for field in fields(self)[1:]:
            array = np.ascontiguousarray(getattr(self, field.name))
            sha.update(f"{field.name} {array.dtype.str} {array.shape}".encode())
            sha.update(array.tobytes())
        return sha.hexdigest()


def load_hand_arrays(path: Path) -> HandArrays:
    """Read a right hand from the package's own `.npz`; floats become float64, integers int64."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise AssetError(f"{path}: not a readable hand file ({error}). Install the package again.") from error
    wanted = {field.name for field in fields(HandArrays)} - {"side"}
    if missing := wanted - arrays.keys():
        raise AssetError(f"{path}: lacks {', '.join(sorted(missing))}. Build it again with tools/build_open_hand.py.")
    converted: dict[str, Any] = {
        name: np.ascontiguousarray(arrays[name], np.float64 if arrays[name].dtype.kind == "f" else np.int64)
        for name in wanted
    }
    return HandArrays(side="right", **converted)


def open_hand() -> HandArrays:
    """The right hand of the embedded CC0 model (render_assets/open_hand/hand.npz)."""
    return load_hand_arrays(render_assets() / "open_hand" / "hand.npz")
