"""The parts of a manifest that say what each engine makes, and how much."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aih_builder.config.scenes import Counts, Fraction, Model, ordered
from aih_builder.identity import EngineName


class OcclusionBins(Model):
    """Histogram wanted of the target hand's occlusion rate: n + 1 edges, n shares."""

    bins: tuple[Fraction, ...] = (0.0, 0.05, 0.2, 0.4, 0.8)
    share: tuple[Fraction, ...] = (0.2, 0.3, 0.3, 0.2)

    @model_validator(mode="after")
    def _consistent(self) -> "OcclusionBins":
        if len(self.bins) != len(self.share) + 1 or len(self.share) < 1:
            raise ValueError(f"{len(self.bins)} bins need {len(self.bins) - 1} shares, got {len(self.share)}")
        if any(a >= b for a, b in zip(self.bins, self.bins[1:], strict=False)):
            raise ValueError("bins must rise")
        if abs(sum(self.share) - 1) > 1e-6:
            raise ValueError(f"shares sum to {sum(self.share)}, expected 1")
        return self


class RenderStream(Model):
    """What AIH-Render makes."""

    count: Counts
    single_hand_fraction: Fraction = 0.1
    occlusion: OcclusionBins = OcclusionBins()


Gain = Annotated[float, Field(gt=0, le=3)]  # beyond, pictures turn white


class Modes(Model):
    """Share of AIH-Sync samples by mode.

    photo: the target's photograph is the canvas, the other hand is pasted on it. canvas: both hands are pasted on a
    third background.
    """

    photo: Fraction = 0.6
    canvas: Fraction = 0.4

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Modes":
        if abs(self.photo + self.canvas - 1) > 1e-6:
            raise ValueError(f"photo + canvas is {self.photo + self.canvas}, expected 1")
        return self


class OcclusionRange(Model):
    """Lowest and highest occlusion rate of the target hand."""

    range: tuple[Fraction, Fraction] = (0.05, 0.8)

    @model_validator(mode="after")
    def _rises(self) -> "OcclusionRange":
        ordered(self.range)
        return self


class Affine(Model):
    """How each cut-out is moved: shift in sides of its picture's core, scale 1 +- `scale`, in-plane rotation.

    The rotation's angle is normal with this spread, cut at twice of it, in 60 % of the draws, else 0.
    """

    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.15
    scale: Annotated[float, Field(ge=0, le=0.6)] = 0.25
    rotation_deg: Annotated[float, Field(ge=0, le=90)] = 45.0
    occluder_shift_gain: Fraction = 0.2


class SyncStream(Model):
    """What AIH-Sync makes."""

    count: Counts
    modes: Modes = Modes()
    occlusion: OcclusionRange = OcclusionRange()
    affine: Affine = Affine()
    colour_gain: tuple[Gain, Gain] = (0.8, 1.2)
    same_tone: Fraction = 0.5
    same_annotation: bool = False  # both hands annotated by people, or both by machine, as AIH's subsets H and M
    border: Literal["reflect", "black"] = "reflect"

    @model_validator(mode="after")
    def _ordered_gain(self) -> "SyncStream":
        ordered(self.colour_gain)
        return self


class Streams(Model):
    """One entry per engine, at least one."""

    render: RenderStream | None = None
    sync: SyncStream | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> "Streams":
        if not self.counts():
            raise ValueError("name at least one of render, sync")
        return self

    def counts(self) -> dict[EngineName, Counts]:
        """Samples of each engine that the manifest names."""
        streams: dict[EngineName, RenderStream | SyncStream | None] = {"render": self.render, "sync": self.sync}
        return {engine: stream.count for engine, stream in streams.items() if stream is not None}
