"""Hands that a user brings: MANO's pickles, or the package's own `.npz`.

MANO has no texture coordinates and no anatomical axes. Axes and limits are lent by the open hand (hands/lending.py);
the coordinates are cut for the right hand's own mesh (hands/unwrapping.py), and the left hand takes them over.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aih_builder.errors import AssetError, ConfigError
from aih_builder.hands.arrays import ARRAYS, HandArrays, load_hand_arrays, open_hand
from aih_builder.hands.checking import AS_PUBLISHED, FIXED, CheckedFile, check_hands
from aih_builder.hands.conventions import MIRROR, N_FACES, N_JOINTS, PARENTS, TIP_VERTICES
from aih_builder.hands.lending import lend
from aih_builder.hands.mano_checks import problems
from aih_builder.hands.unwrapping import unwrapped, with_coordinates_of

log = logging.getLogger(__name__)

MANO_LICENCE = "LicenseRef-MANO"
SUFFIX = ".npz"  # of the package's own layout
HAND_NAME = f"hand{SUFFIX}"  # in a folder that `aih hand prepare` made

_OWN_KEYS = ("uv", "uv_faces", "tip_vertices", "dof_axes", "dof_limits_rad")  # write_mano adds them
_NO_UV = np.zeros((0, 2))
_NEGLIGIBLE = 1e-9  # a left hand that is nearer than this to the mirrored right one is its mirror image


class Brought(NamedTuple):
    """A hand, and what was found and done: for the log and the plan."""

    arrays: HandArrays  # the right hand, with the left one as `other` where that is no mirror image
    told: dict[str, Any]


def bring_hand(path: Path, fix_left: bool | None = None, licence: str | None = None) -> Brought:
    """The hand of a MANO pickle, of a folder with one or both, of a `.npz` of the package's own or a folder with one.

    fix_left: whether x of the left hand's shape directions is to be turned; None finds that out from both files.
    A side that is missing is the mirror image of the other. The licence is MANO's unless another is named; that of a
    `.npz` is what it states. Raises ConfigError for a path or an option that fits nothing, AssetError for bad files.
    """
    if (path / HAND_NAME).is_file():
        path = path / HAND_NAME
    if path.suffix == SUFFIX:
        if fix_left is not None:
            raise ConfigError(f"{path}: fix_left is for MANO's pickles; a {SUFFIX} is as it was made.")
        return _from_own(path, licence)
    checked = check_hands(path)
    if checked.wrong:
        raise AssetError(f"{checked.wrong[0]}. `aih hand check {path}` tells all.")
    files = {_side(file): file for file in checked.files}
    told: dict[str, Any] = {"files": " and ".join(file.path.name for file in checked.files)}
    hands: dict[str, HandArrays] = {}
    for side, file in files.items():
        content = dict(file.arrays)
        if side == "left":
            told["left_shapedirs"] = _wanted(path, fix_left, checked.left_shapedirs)
            if told["left_shapedirs"] == "turned":
                content["shapedirs"] = content["shapedirs"] * MIRROR[:, None]
        hands[side], told[f"{side}_skin"] = _completed(content, side)
    if "left" not in files and fix_left is not None:
        raise ConfigError(f"{path}: fix_left is for a left hand's file, and there is only the right one's.")
    _cover(hands)
    brought = Brought(_licensed(_paired(hands, told), licence, MANO_LICENCE), told)
    log.info("%s: %s", path, ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in told.items()))
    return brought


def _side(file: CheckedFile) -> str:
    side = file.named or file.side
    if side is None:
        raise ConfigError(
            f"{file.path}: neither name nor mean pose tells which hand it is. Put LEFT or RIGHT into the file's name."
        )
    return side


def _wanted(path: Path, fix_left: bool | None, found: str | None) -> str:
    """What is done to the left hand's shape directions: "turned" or "as they are"."""
    if fix_left is None and found is None:
        raise ConfigError(
            f"{path}: whether x of the left hand's shape directions is the right hand's, as MANO published it, cannot "
            "be told from the left file alone. Put MANO_RIGHT.pkl beside it, or set fix_left to true or false."
        )
    if fix_left and found == FIXED:
        raise ConfigError(
            f"{path}: fix_left is true, but x of the left hand's shape directions is not the right hand's: the file "
            "was fixed before. Set fix_left to auto or false."
        )
    return "turned" if fix_left or (fix_left is None and found == AS_PUBLISHED) else "as they are"


def _completed(content: dict[str, np.ndarray], side: str) -> tuple[HandArrays, str]:
    """A hand from MANO's arrays, and where its axes and its skin are from; without texture coordinates but its own."""
    owned = all(key in content for key in _OWN_KEYS)
    hand = HandArrays(
        side=side,
        v_template=content["v_template"],
        faces=content["f"],
        weights=content["weights"],
        shapedirs=content["shapedirs"],
        posedirs=content["posedirs"],
        J_regressor=content["J_regressor"],
        hands_mean=content["hands_mean"],
        hands_components=content["hands_components"],
        tip_vertices=content["tip_vertices"] if owned else TIP_VERTICES.copy(),
        uv=content["uv"] if owned else _NO_UV,
        uv_faces=content["uv_faces"] if owned else np.zeros((N_FACES, 3), np.int64),
        dof_axes=content["dof_axes"] if owned else np.zeros((N_JOINTS, 3, 3)),
        dof_limits_rad=content["dof_limits_rad"] if owned else np.zeros((N_JOINTS, 3, 2)),
    )
    if owned:
        return hand, "its own"
    lent = lend(open_hand(), hand if side == "right" else hand.mirrored())
    found = f"the open hand's, {lent.mean_mm:.1f} mm away on average, {lent.greatest_mm:.1f} at most"
    return lent.arrays if side == "right" else lent.arrays.mirrored(), found


def _cover(hands: dict[str, HandArrays]) -> None:
    """Give the hands that have no texture coordinates the right one's, or those of the only one."""
    if "right" not in hands:
        if not len(hands["left"].uv):
            hands["left"] = unwrapped(hands["left"].mirrored()).mirrored()
        return
    if not len(hands["right"].uv):
        hands["right"] = unwrapped(hands["right"])
    if "left" in hands and not len(hands["left"].uv):
        hands["left"] = with_coordinates_of(hands["left"], hands["right"])


def _paired(hands: dict[str, HandArrays], told: dict[str, Any]) -> HandArrays:
    """The right hand, with the left one where that is no mirror image."""
    if len(hands) == 1:
        (side,) = hands
        missing = "left" if side == "right" else "right"
        told[f"{missing}_hand"] = f"the mirror image of the {side} one: there is no file of its own"
        return hands[side] if side == "right" else hands[side].mirrored()
    right, left = hands["right"], hands["left"]
    image = right.mirrored()
    apart_mm = 1e3 * float(np.linalg.norm(left.v_template - image.v_template, axis=1).max())
    same = all(
        getattr(left, name).shape == getattr(image, name).shape
        and np.abs(getattr(left, name) - getattr(image, name)).max() < _NEGLIGIBLE
        for name in ARRAYS
    )
    told["left_hand"] = "the mirror image of the right one" if same else f"its own, up to {apart_mm:.3g} mm from it"
    return right if same else replace(right, other=left)


def _licensed(right: HandArrays, licence: str | None, default: str) -> HandArrays:
    """The hand with the licence that was named, else its own, else a default; the open hand stays what it is."""
    if licence is None and right.digest() == open_hand().digest():
        return right
    return replace(right, licence=licence or right.licence or default)


def _from_own(path: Path, licence: str | None) -> Brought:
    if not path.is_file():
        raise ConfigError(f"{path}: is not a file. Make one with `aih hand convert`.")
    right = load_hand_arrays(path)
    for hand in (right, right.other) if right.other is not None else (right,):
        _require_hand(path, hand)
    right = _licensed(right, licence, "user")
    left = "the mirror image of the right one" if right.other is None else "its own"
    return Brought(right, {"files": path.name, "left_hand": left})


def _require_hand(path: Path, hand: HandArrays) -> None:
    """A hand file must hold a hand. Raises AssetError."""
    arrays = {name: getattr(hand, name) for name in ARRAYS}
    arrays |= {"f": hand.faces, "kintree_table": np.stack([PARENTS, np.arange(N_JOINTS)])}
    wrong = next(problems(arrays), None)
    n = len(hand.v_template)
    shapes = {
        "tip_vertices": (5,),
        "uv": (len(hand.uv), 2) if hand.uv.ndim else (0, 2),
        "uv_faces": (N_FACES, 3),
        "dof_axes": (N_JOINTS, 3, 3),
        "dof_limits_rad": (N_JOINTS, 3, 2),
    }
    for name, shape in shapes.items():
        if wrong is None and getattr(hand, name).shape != shape:
            wrong = f"{name} has shape {getattr(hand, name).shape}, expected {shape}"
    for name, bound in (("tip_vertices", n), ("uv_faces", len(hand.uv))):
        values = getattr(hand, name)
        if wrong is None and (values.dtype.kind != "i" or values.min() < 0 or values.max() >= bound):
            wrong = f"{name} holds {values.dtype} from {values.min()} to {values.max()}, expected 0 to {bound - 1}"
    if wrong is not None:
        raise AssetError(f"{path}: the {hand.side} hand: {wrong}. Make the file again with `aih hand convert`.")
