"""Files as MANO's are: another shape and order of vertices than the open hand's, none of this package's own keys."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import MIRROR, TIP_VERTICES
from aih_builder.hands.lending import nearest
from aih_builder.hands.mano_file import FILE_NAMES, write_mano
from aih_builder.hands.surface import boundary_loop

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


def remeshed_hand(seed: int = 4, flips: int = 500) -> HandArrays:
    """A right hand of the foreign hand's shape with other faces: edges turned, vertices slid along the skin.

    The joints and tips stay where they were. It plays MANO, whose mesh is not the open hand's.
    """
    hand, rng = foreign_hand(), np.random.default_rng(seed)
    faces = _turned(hand.v_template, hand.faces, flips, rng)
    slid = _slid(hand, rng)
    found = nearest(slid, hand.v_template[hand.faces])
    values = {
        name: found.blend(getattr(hand, name).reshape(len(slid), -1), hand.faces).reshape(getattr(hand, name).shape)
        for name in ("v_template", "weights", "shapedirs", "posedirs")
    }
    # The regressor must give the old joints of the new vertices: the smallest change that does so, sums kept.
    plane = np.concatenate([values["v_template"], np.ones((len(slid), 1))], axis=1)
    old = np.concatenate([hand.v_template, np.ones((len(slid), 1))], axis=1)
    wanted = hand.J_regressor @ old - hand.J_regressor @ plane
    regressor = hand.J_regressor + wanted @ np.linalg.pinv(plane)
    return replace(hand, faces=faces, J_regressor=regressor, **values)


def _turned(points: np.ndarray, faces: np.ndarray, flips: int, rng: np.random.Generator) -> np.ndarray:
    """Faces after up to so many turned edges, where the surface hardly changes."""
    turned = [tuple(face) for face in faces.tolist()]
    for _ in range(20 * flips):
        f = int(rng.integers(len(turned)))
        k = int(rng.integers(3))
        a, b, c = (turned[f][(k + i) % 3] for i in range(3))
        g = next((n for n, face in enumerate(turned) if n != f and a in face and b in face), None)
        if g is None:
            continue
        d = next(v for v in turned[g] if v not in (a, b))
        if any(c in face and d in face for face in turned):
            continue
        new = ((c, a, d), (d, b, c))
        before = [_normal(points[list(turned[n])]) for n in (f, g)]
        after = [_normal(points[list(face)]) for face in new]
        if min((n / np.linalg.norm(n)) @ (m / np.linalg.norm(m)) for n in before for m in after) < 0.93:
            continue
        turned[f], turned[g] = new
        flips -= 1
        if not flips:
            break
    return np.array(turned, np.int64)


def _normal(corners: np.ndarray) -> np.ndarray:
    return np.cross(corners[1] - corners[0], corners[2] - corners[0])


def _slid(hand: HandArrays, rng: np.random.Generator) -> np.ndarray:
    """Vertices moved a fifth of the way to a point among their neighbours, but for tips and the wrist's rim."""
    moved = hand.v_template.copy()
    fixed = {*TIP_VERTICES.tolist(), *boundary_loop(hand.faces).tolist()}
    for vertex in range(len(moved)):
        if vertex not in fixed:
            around = np.setdiff1d(hand.faces[(hand.faces == vertex).any(axis=1)], vertex)
            goal = rng.dirichlet(np.ones(len(around))) @ hand.v_template[around]
            moved[vertex] += 0.2 * (goal - moved[vertex])
    return moved
