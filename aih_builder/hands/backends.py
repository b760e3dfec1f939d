"""The hand models by name."""

from collections.abc import Callable

from aih_builder.errors import ConfigError
from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.model import HandModel


def _native(arrays: HandArrays) -> HandModel:
    from aih_builder.hands.model import NativeHandModel

    return NativeHandModel(arrays)


def _smplx(arrays: HandArrays) -> HandModel:
    from aih_builder.hands.smplx_model import SmplxHandModel

    return SmplxHandModel(arrays)


def _manopth(arrays: HandArrays) -> HandModel:
    from aih_builder.hands.manopth_model import ManopthHandModel

    return ManopthHandModel(arrays)


HAND_BACKENDS: dict[str, Callable[[HandArrays], HandModel]] = {"native": _native, "smplx": _smplx, "manopth": _manopth}


def hand_pair(arrays: HandArrays, backend: str) -> tuple[HandModel, HandModel]:
    """Models (right, left) of one hand's arrays, of either side, and of its other hand: mostly its mirror image.

    Raises ConfigError for an unknown backend, or one whose libraries are missing.
    """
    if backend not in HAND_BACKENDS:
        raise ConfigError(f"hand backend '{backend}' is unknown. Choose one of {', '.join(sorted(HAND_BACKENDS))}.")
    build = HAND_BACKENDS[backend]
    right = arrays if arrays.side == "right" else arrays.other_hand()
    return build(right), build(right.other_hand())
