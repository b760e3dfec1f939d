"""Hand models as MANO's pickle files: a writer whose files every loader reads, and a reader that runs no code."""

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

from aih_builder.errors import AssetError
from aih_builder.files import write_whole
from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import N_BETAS, N_FACES, N_JOINTS, N_VERTICES, PARENTS
from aih_builder.hands.mano_pickle import as_array, load_dict

FILE_NAMES = {"right": "MANO_RIGHT.pkl", "left": "MANO_LEFT.pkl"}

_N_POSE = 3 * (N_JOINTS - 1)
_SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (N_VERTICES, 3),
    "f": (N_FACES, 3),
    "weights": (N_VERTICES, N_JOINTS),
    "shapedirs": (N_VERTICES, 3, N_BETAS),
    "posedirs": (N_VERTICES, 3, 9 * (N_JOINTS - 1)),
    "J_regressor": (N_JOINTS, N_VERTICES),
    "kintree_table": (2, N_JOINTS),
    "hands_mean": (_N_POSE,),
    "hands_components": (_N_POSE, _N_POSE),
}
_WHOLE_NUMBERS = ("f", "kintree_table")
_ROOT = 2**32 - 1  # the parent of the wrist, as MANO's files spell it
_LENGTH_RANGE_M = (0.08, 0.50)  # longest side of a hand with some forearm

# Modules that have moved or may move, and names for them that old and new libraries know.
_PORTABLE_MODULES = {
    "numpy._core.multiarray": "numpy.core.multiarray",
    "scipy.sparse._csc": "scipy.sparse",
}
# The published left-hand file repeats the right hand's x in its shape directions; a true pair differs by far more.
_SAME_SHAPEDIRS = 1.0


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
        "hands_coeffs": np.zeros((1, _N_POSE)),  # MANO lists its training poses; here the mean alone
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "uv": arrays.uv,
        "uv_faces": arrays.uv_faces,
        "tip_vertices": arrays.tip_vertices,
        "dof_axes": arrays.dof_axes,
        "dof_limits_rad": arrays.dof_limits_rad,
    }
    write_whole(path, _portable(pickle.dumps(content, protocol=2)))


def export_hand(folder: Path) -> list[Path]:
    """Write the open hand as MANO_RIGHT.pkl and MANO_LEFT.pkl into a folder; returns both paths."""
    right = open_hand()
    paths = []
    for arrays in (right, right.mirrored()):
        path = folder / FILE_NAMES[arrays.side]
        write_mano(arrays, path)
        paths.append(path)
    return paths


def read_mano(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a MANO file: the keys of MANO that define the model, floats as float64, the rest as int64.

    J_regressor is dense. Optional arrays (J, hands_coeffs, and what write_mano adds) come along where they are there.
    Raises AssetError where the file is missing, damaged, of another kind, incomplete, or no hand in metres.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AssetError(f"{path}: cannot be read ({error.strerror}). Put the file there, or name another.") from error
    content = load_dict(data, path)
    if missing := [key for key in _SHAPES if key not in content]:
        raise AssetError(f"{path}: lacks {', '.join(missing)}. Expected a MANO hand model as MANO_RIGHT.pkl holds it.")
    arrays = {str(key): _numeric(path, str(key), value) for key, value in content.items() if not isinstance(value, str)}
    for key, shape in _SHAPES.items():
        _check(path, key, arrays[key], shape)
    _check_hand(path, arrays)
    return arrays


def fixed_left_shapedirs(left: FloatArray, right: FloatArray) -> tuple[FloatArray, bool]:
    """Shape directions (V, 3, 10) of a left hand with x of the right sign, and whether it had to be turned.

    MANO's published left hand carries the right hand's x. The test is that of the InterHand2.6M tools: the sum of
    |left x - right x| is below 1. Fits of InterHand2.6M assume the fix; some other data sets assume the fault.
    """
    faulty = float(np.abs(left[:, 0] - right[:, 0]).sum()) < _SAME_SHAPEDIRS
    return (left * np.array([-1.0, 1.0, 1.0])[:, None] if faulty else left.copy()), faulty


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


def _numeric(path: Path, key: str, value: object) -> np.ndarray:
    try:
        array = as_array(value)
    except ValueError as error:
        raise AssetError(f"{path}: {key} cannot be read ({error}).") from error
    if array.dtype.kind not in "fiub":
        raise AssetError(f"{path}: {key} holds {array.dtype}, expected numbers.")
    return np.ascontiguousarray(array, np.float64 if array.dtype.kind == "f" else np.int64)


def _check(path: Path, key: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise AssetError(
            f"{path}: {key} has shape {array.shape}, expected {shape}. Only hands with MANO's "
            f"{N_VERTICES} vertices and {N_BETAS} shape directions can be used."
        )
    if not np.isfinite(array).all():
        raise AssetError(f"{path}: {key} holds NaN or infinity. The file is damaged; get it again.")
    if key in _WHOLE_NUMBERS and array.dtype.kind != "i":
        raise AssetError(f"{path}: {key} holds fractions, expected whole numbers.")


def _check_hand(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """The numbers describe a hand: right size, faces of its own vertices, MANO's joints, weights that add up."""
    low, high = _LENGTH_RANGE_M
    length = float(np.ptp(arrays["v_template"], axis=0).max())
    if not low <= length <= high:
        raise AssetError(
            f"{path}: the hand is {length:.4g} long, expected {low} to {high} m. MANO's files are in metres."
        )
    faces = arrays["f"]
    if faces.min() < 0 or faces.max() >= N_VERTICES:
        raise AssetError(f"{path}: f names vertex {faces.max()}, the hand has {N_VERTICES}.")
    if not np.array_equal(arrays["kintree_table"][0, 1:], PARENTS[1:]):
        raise AssetError(f"{path}: kintree_table is not MANO's (index, middle, little, ring, thumb).")
    for key in ("weights", "J_regressor"):
        worst = float(np.abs(arrays[key].sum(axis=1) - 1).max())
        if worst > 1e-2:
            raise AssetError(f"{path}: rows of {key} miss the sum 1 by {worst:.2g}.")
