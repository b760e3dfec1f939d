"""Hand models as MANO's pickle files: a writer whose files every loader reads, and a reader that runs no code."""

import pickle
import pickletools
import stat
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

from aih_builder.errors import AssetError
from aih_builder.files import write_whole
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.conventions import MIRROR, N_JOINTS, PARENTS
from aih_builder.hands.mano_checks import N_POSE, SHAPES, problems, shape_directions_repeat
from aih_builder.hands.mano_pickle import load_dict
from aih_builder.hands.stored_arrays import as_array

FILE_NAMES = {"right": "MANO_RIGHT.pkl", "left": "MANO_LEFT.pkl"}

_ROOT = 2**32 - 1  # the parent of the wrist, as MANO's files spell it

# Modules that have moved or may move, and names for them that old and new libraries know.
_PORTABLE_MODULES = {
    "numpy._core.multiarray": "numpy.core.multiarray",
    "scipy.sparse._csc": "scipy.sparse",
}
_MOST_BYTES = 2**26  # of a file; MANO's have 4 MB
# What a file may hold besides, and which is read where it is there.
_OPTIONAL = ("J", "hands_coeffs", "uv", "uv_faces", "tip_vertices", "dof_axes", "dof_limits_rad")


def write_mano(arrays: HandArrays, path: Path) -> None:
    """Write one hand as a pickle of plain arrays that `smplx.create(model_type="mano")` and manopth load.

    The file appears whole or not at all. It also holds what MANO lacks (uv, uv_faces, tip_vertices, dof_axes,
    dof_limits_rad); loaders ignore these keys. Raises ShardError where the file cannot be written.
    """
    content: dict[str, Any] = {
        "v_template": arrays.v_template,
        "f": arrays.faces.astype(np.uint32),
        "weights": arrays.weights,
        "shapedirs": arrays.shapedirs,
        "posedirs": arrays.posedirs,
        "J_regressor": csc_matrix(arrays.J_regressor),
        "J": np.einsum("jv,vc->jc", arrays.J_regressor, arrays.v_template),
        "kintree_table": np.stack([np.where(PARENTS < 0, _ROOT, PARENTS), np.arange(N_JOINTS)]),
        "hands_mean": arrays.hands_mean,
        "hands_components": arrays.hands_components,
        "hands_coeffs": np.zeros((1, N_POSE)),  # MANO lists its training poses; here the mean alone
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "uv": arrays.uv,
        "uv_faces": arrays.uv_faces,
        "tip_vertices": arrays.tip_vertices,
        "dof_axes": arrays.dof_axes,
        "dof_limits_rad": arrays.dof_limits_rad,
    }
    write_whole(path, _portable(pickle.dumps(content, protocol=2)))


def export_hand(folder: Path, hand: HandArrays) -> list[Path]:
    """Write a hand of either side and its other hand as MANO_RIGHT.pkl and MANO_LEFT.pkl; returns both paths."""
    right = hand if hand.side == "right" else hand.other_hand()
    paths = []
    for arrays in (right, right.other_hand()):
        path = folder / FILE_NAMES[arrays.side]
        write_mano(arrays, path)
        paths.append(path)
    return paths


def read_mano(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a MANO file: the keys of MANO that define the model, floats as float64, the rest as int64.

    J_regressor is dense. Optional arrays (J, hands_coeffs, and what write_mano adds) come along where they are there.
    Raises AssetError where the file is missing, damaged, of another kind, incomplete, or no hand in metres.
    """
    arrays, wrong = inspect_mano(path)
    if wrong:
        raise AssetError(f"{path}: {wrong[0]}.")
    return arrays


def inspect_mano(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a MANO file that can be read, and all that is wrong with it, in words.

    Raises AssetError where the file is missing, damaged or of another kind.
    """
    content = load_dict(_bytes_of(path), path)
    arrays: dict[str, np.ndarray] = {}
    unread: dict[str, str] = {}
    for key in (*SHAPES, *_OPTIONAL):
        if key in content:
            try:
                arrays[key] = _numeric(content[key])
            except ValueError as error:
                unread[key] = f"{key}: {error}"
    return arrays, [*unread.values(), *problems(arrays, unread)]


def fixed_left_shapedirs(left: FloatArray, right: FloatArray) -> tuple[FloatArray, bool]:
    """Shape directions (V, 3, 10) of a left hand with x of the right sign, and whether it had to be turned.

    MANO's published left hand carries the right hand's x. Fits of InterHand2.6M assume the fix; some other data sets
    assume the fault.
    """
    faulty = shape_directions_repeat(left, right)
    return (left * MIRROR[:, None] if faulty else left.copy()), faulty


def _portable(pickled: bytes) -> bytes:
    """The same pickle with module names that older and newer numpy and scipy both know."""
    pieces, end = [], 0
    for opcode, argument, position in pickletools.genops(pickled):
        if opcode.name != "GLOBAL" or position is None:
            continue
        module, name = str(argument).split(" ")
        if module in _PORTABLE_MODULES:
            pieces += [pickled[end:position], f"c{_PORTABLE_MODULES[module]}\n{name}\n".encode()]
            end = position + len(f"c{module}\n{name}\n")
    return b"".join([*pieces, pickled[end:]])


def _bytes_of(path: Path) -> bytes:
    """What a file holds. A pipe or a device would keep a reader waiting, a huge file its memory: both are refused."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise AssetError(f"{path}: is not a file. Expected a pickle such as MANO_RIGHT.pkl.")
        if state.st_size > _MOST_BYTES:
            raise AssetError(
                f"{path}: has {state.st_size / 2**20:.0f} MiB, a hand model 4. It is a file of another kind."
            )
        return path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror}). Put the file there, or name another.") from error


def _numeric(value: object) -> np.ndarray:
    array = as_array(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"it holds {array.dtype}, expected numbers")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"it holds {array.max()}, beyond 64 bits with a sign")
    return np.ascontiguousarray(array, np.float64 if array.dtype.kind == "f" else np.int64)
