"""Files as MANO's are: another shape and order of vertices than the open hand's, none of this package's own keys."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import MIRROR, TIP_VERTICES
from aih_builder.hands.mano_file import FILE_NAMES, write_mano

OWN_KEYS = ("uv", "uv_faces", "tip_vertices", "dof_axes", "dof_limits_rad")

Spoil = Callable[[dict[str, Any]], None]


def foreign_hand() -> HandArrays:
    """A right hand whose vertices and faces come in another order, and whose mean shape is another."""
    hand, rng = open_hand(), np.random.default_rng(1)
    v_template = hand.v_template + hand.shapedirs @ (0.5 * rng.normal(size=10))
    order = np.arange(len(v_template))  # the old vertex of each new one
    free = np.setdiff1d(order, TIP_VERTICES)
    order[free] = rng.permutation(free)
    return replace(
        hand,
        v_template=v_template[order],
        faces=np.argsort(order)[hand.faces][rng.permutation(len(hand.faces))],
        weights=hand.weights[order],
        shapedirs=hand.shapedirs[order],
        posedirs=hand.posedirs[order],
        J_regressor=hand.J_regressor[:, order],
    )


def content_of(hand: HandArrays, path: Path) -> dict[str, Any]:
    """What MANO's pickle of a hand holds. The path is written to."""
    write_mano(hand, path)
    content = pickle.loads(path.read_bytes(), encoding="latin1")
    return {key: value for key, value in content.items() if key not in OWN_KEYS}


def write_pickle(hand: HandArrays, path: Path, spoil: Spoil | None = None) -> Path:
    """MANO's pickle of a hand, of which something may be spoilt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content_of(hand, path)
    if spoil is not None:
        spoil(content)
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def published_left(right: HandArrays) -> HandArrays:
    """The mirror image with MANO's fault: its shape directions have the right hand's x."""
    left = right.mirrored()
    return replace(left, shapedirs=left.shapedirs * MIRROR[:, None])


def write_published(folder: Path, right: HandArrays | None = None) -> Path:
    """A folder with both files as MANO publishes them."""
    right = foreign_hand() if right is None else right
    write_pickle(right, folder / FILE_NAMES["right"])
    write_pickle(published_left(right), folder / FILE_NAMES["left"])
    return folder
