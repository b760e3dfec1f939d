"""What can be wrong with the arrays of a hand, in words; and which hand they are of, by their geometry."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from aih_builder.geometry import FloatArray, rotation_matrix
from aih_builder.hands.conventions import (
    FINGERS,
    N_BETAS,
    N_FACES,
    N_JOINTS,
    N_VERTICES,
    PARENTS,
    TIP_VERTICES,
)

N_POSE = 3 * (N_JOINTS - 1)
SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (N_VERTICES, 3),
    "f": (N_FACES, 3),
    "weights": (N_VERTICES, N_JOINTS),
    "shapedirs": (N_VERTICES, 3, N_BETAS),
    "posedirs": (N_VERTICES, 3, 9 * (N_JOINTS - 1)),
    "J_regressor": (N_JOINTS, N_VERTICES),
    "kintree_table": (2, N_JOINTS),
    "hands_mean": (N_POSE,),
    "hands_components": (N_POSE, N_POSE),
}
_WHOLE_NUMBERS = ("f", "kintree_table")
_LENGTH_RANGE_M = (0.08, 0.50)  # longest side of a hand with some forearm
_LEAST_CURL = 0.03  # of the hand's length: by how much the mean pose must move the fingertips to tell the palm
# The published left-hand file repeats the right hand's x in its shape directions; a true pair differs by far more.
_SAME_SHAPEDIRS = 1.0


def problems(arrays: Mapping[str, np.ndarray], unread: Collection[str] = ()) -> Iterator[str]:
    """Everything that keeps MANO's arrays, by MANO's keys, from being a hand.

    Arrays that are missing are told, but for those `unread`, which are known to be bad.
    """
    if missing := [key for key in SHAPES if key not in arrays and key not in unread]:
        yield f"lacks {', '.join(missing)}. Expected a MANO hand model as MANO_RIGHT.pkl holds it"
    sound = set()
    for key, shape in SHAPES.items():
        if key in arrays:
            wrong = _wrong_array(key, arrays[key], shape)
            if wrong is None:
                sound.add(key)
            else:
                yield wrong
    if "v_template" in sound:
        yield from _wrong_length(arrays["v_template"])
    if "f" in sound and not 0 <= (worst := _worst(arrays["f"])) < N_VERTICES:
        yield f"f names vertex {worst}, the hand has {N_VERTICES}"
    if "kintree_table" in sound and not np.array_equal(arrays["kintree_table"][0, 1:], PARENTS[1:]):
        yield "kintree_table is not MANO's (index, middle, little, ring, thumb)"
    for key in ("weights", "J_regressor"):
        if key in sound and (off := float(np.abs(arrays[key].sum(axis=1) - 1).max())) > 1e-2:
            yield f"rows of {key} miss the sum 1 by {off:.2g}"


def _wrong_array(key: str, array: np.ndarray, shape: tuple[int, ...]) -> str | None:
    if array.shape != shape:
        return (
            f"{key} has shape {array.shape}, expected {shape}. Only hands with MANO's {N_VERTICES} vertices and "
            f"{N_BETAS} shape directions can be used"
        )
    if not np.isfinite(array).all():
        return f"{key} holds NaN or infinity. The file is damaged; get it again"
    if key in _WHOLE_NUMBERS and array.dtype.kind != "i":
        return f"{key} holds fractions, expected whole numbers"
    return None


def _wrong_length(v_template: FloatArray) -> Iterator[str]:
    low, high = _LENGTH_RANGE_M
    length = float(np.ptp(v_template, axis=0).max())
    if low <= length <= high:
        return
    thousandth = low <= length / 1000 <= high
    unit = "These look like millimetres: divide v_template, shapedirs and posedirs by 1000" if thousandth else ""
    yield f"the hand is {length:.4g} long, expected {low} to {high} m. {unit or 'MANO files are in metres'}"


def _worst(faces: np.ndarray) -> int:
    return int(faces.min()) if faces.min() < 0 else int(faces.max())


def shape_directions_repeat(left: FloatArray, right: FloatArray) -> bool:
    """Whether a left hand's shape directions (V, 3, 10) have the right hand's x, as MANO's published left file has.

    The test is that of the InterHand2.6M tools: the sum of |left x - right x| is below 1.
    """
    return float(np.abs(left[:, 0] - right[:, 0]).sum()) < _SAME_SHAPEDIRS


def volume_m3(v_template: FloatArray, faces: np.ndarray, rim: np.ndarray) -> float:
    """What the mesh encloses, closed at its rim (indices of vertices); negative where its faces look inward."""
    corners = v_template[faces] - v_template[rim].mean(axis=0)
    return float(np.linalg.det(corners).sum() / 6)


def side_of(arrays: Mapping[str, np.ndarray]) -> str | None:
    """`right` or `left`, from v_template, J_regressor and hands_mean; None where the mean pose does not tell the palm.

    Fingers, thumb side and palm are a right-handed frame on a right hand. Fingers curl to the palm: in the mean pose
    the fingertips lie on its side. Where the hand is, how it is turned, and its unit do not matter.
    """
    vertices = arrays["v_template"]
    joints = arrays["J_regressor"] @ vertices
    knuckles = joints[[FINGERS[finger] for finger in ("index", "middle", "ring", "little")]]
    along = knuckles.mean(axis=0) - joints[0]
    length = np.linalg.norm(along)
    along /= length
    thumbward = knuckles[0] - knuckles[3]
    curl = _curl(vertices, joints, arrays["hands_mean"].reshape(-1, 3))
    curl -= along * (along @ curl)
    if np.linalg.norm(curl) < _LEAST_CURL * length:
        return None
    return "right" if np.cross(thumbward, along) @ curl > 0 else "left"


def _curl(vertices: FloatArray, joints: FloatArray, turns: FloatArray) -> FloatArray:
    """How the mean pose moves the four fingers' tips, on average."""
    moved = np.zeros(3)
    for tip, (finger, base) in zip(TIP_VERTICES, FINGERS.items(), strict=True):
        if finger == "thumb":
            continue
        ends = [*joints[base : base + 3], vertices[tip]]
        rotation, place = np.eye(3), ends[0]
        for k in range(3):
            rotation = rotation @ rotation_matrix(np.ascontiguousarray(turns[base + k - 1], np.float64))
            place = place + rotation @ (ends[k + 1] - ends[k])
        moved += (place - ends[3]) / 4
    return moved
