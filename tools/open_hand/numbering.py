"""Renumbers vertices so that the ids that MANO's loaders hold in their code name fingertips and palm."""

import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.hands.conventions import FINGERS

# Ids of manopth, smplx and InterHand2.6M's regressor; the first of each finger is the main one.
_TIP_IDS = {
    "index": (317, 320),
    "middle": (444, 445, 443),
    "little": (673, 671),
    "ring": (556, 554),
    "thumb": (745, 744),
}
_PALM_ID, _BACK_ID = 95, 22  # manopth's root_palm averages these two


def loader_order(vertices_m: FloatArray, weights: FloatArray, joints_m: FloatArray, tips_m: FloatArray) -> np.ndarray:
    """(V,): old vertex id at each new place. tips_m (5, 3): index, middle, little, ring, thumb."""
    wanted: dict[int, int] = {}
    for finger, (name, ids) in enumerate(_TIP_IDS.items()):
        last = FINGERS[name] + 2
        nearest = _tip_candidates(vertices_m, weights[:, last], joints_m[last], tips_m[finger])
        wanted |= {new: int(old) for new, old in zip(ids, nearest, strict=False)}
    middle_of_palm = (joints_m[0] + joints_m[FINGERS["middle"]]) / 2
    sideways = np.linalg.norm((vertices_m - middle_of_palm)[:, [0, 2]], axis=1)
    below_and_above = np.argsort(sideways, kind="stable")[:10]
    heights = vertices_m[below_and_above, 1]
    wanted[_PALM_ID] = int(below_and_above[heights.argmin()])
    wanted[_BACK_ID] = int(below_and_above[heights.argmax()])
    order = np.arange(len(vertices_m))
    place = order.copy()  # where each old vertex lies now
    for new, old in wanted.items():
        other, free = order[new], place[old]
        order[new], order[free] = old, other
        place[old], place[other] = new, free
    return order


def _tip_candidates(vertices_m: FloatArray, weight: FloatArray, joint_m: FloatArray, tip_m: FloatArray) -> np.ndarray:
    """Vertices of the last bone, the outermost and most central first."""
    bone = (tip_m - joint_m) / np.linalg.norm(tip_m - joint_m)
    own = np.flatnonzero(weight > 0.6)
    offsets = vertices_m[own] - joint_m
    along = offsets @ bone
    aside = np.linalg.norm(offsets - np.outer(along, bone), axis=1)
    return own[np.argsort(0.6 * aside - along, kind="stable")]
