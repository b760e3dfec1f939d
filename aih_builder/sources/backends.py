"""The sources that a manifest can name. Heavy imports wait inside the builders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aih_builder.config import Poses
    from aih_builder.hands.model import HandModel
    from aih_builder.sources.pose_library import PoseLibrary
    from aih_builder.sources.poses import PoseSource
    from aih_builder.sources.shapes import ShapePool

    Hands = tuple[HandModel, HandModel]
    PoseSourceBuilder = Callable[[Hands, ShapePool], PoseSource]
    LibraryLoader = Callable[[Poses, Hands], PoseLibrary]


def _anatomical(hands: Hands, shapes: ShapePool) -> PoseSource:
    from aih_builder.sources.poses import AnatomicalPoses

    return AnatomicalPoses(hands, shapes)


# Sources that draw hands as they go.
POSE_SOURCES: dict[str, PoseSourceBuilder] = {"anatomical": _anatomical}


def _library(chosen: Poses, hands: Hands) -> PoseLibrary:
    from aih_builder.sources.pose_library import load_library, shipped_library

    del hands
    return shipped_library() if chosen.path is None else load_library(Path(chosen.path))


def _interhand(chosen: Poses, hands: Hands) -> PoseLibrary:
    from aih_builder.sources.pose_imports import ForeignFits, import_interhand

    fits = ForeignFits(chosen.fits_of, chosen.left_shapedirs, chosen.every)
    return import_interhand(Path(str(chosen.path)), hands, fits)


def _parameters(chosen: Poses, hands: Hands) -> PoseLibrary:
    from aih_builder.sources.pose_imports import ForeignFits, import_parameters

    fits = ForeignFits(chosen.fits_of, chosen.left_shapedirs, chosen.every)
    return import_parameters(Path(str(chosen.path)), hands, fits)


# Sources that planning reads or imports as a pose library, from which LibraryPoses draws.
POSE_LIBRARIES: dict[str, LibraryLoader] = {
    "library": _library,
    "interhand": _interhand,
    "parameters": _parameters,
}
