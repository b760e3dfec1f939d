"""The sources that a manifest can name. Heavy imports wait inside the builders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aih_builder.hands.model import HandModel
    from aih_builder.sources.poses import PoseSource
    from aih_builder.sources.shapes import ShapePool

    PoseSourceBuilder = Callable[[tuple[HandModel, HandModel], ShapePool], PoseSource]


def _anatomical(hands: tuple[HandModel, HandModel], shapes: ShapePool) -> PoseSource:
    from aih_builder.sources.poses import AnatomicalPoses

    return AnatomicalPoses(hands, shapes)


POSE_SOURCES: dict[str, PoseSourceBuilder] = {"anatomical": _anatomical}
