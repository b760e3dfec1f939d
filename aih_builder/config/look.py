"""The part of a manifest that says how true to life pictures are: shading, forearms, the camera's faults.

A section that is not there is off; AIH-Render without any is plain shading.
"""

from typing import Annotated

from pydantic import Field, model_validator

from aih_builder.config.scenes import Fraction, Model, ordered


class Shading(Model):
    """What hands do to light. shadows is the share of samples in which the key light casts shadows."""

    occlusion: bool = True  # ambient occlusion, by the own hand and by the other
    shadows: Fraction = 0.7
    shadow_edge_m: tuple[Annotated[float, Field(ge=0, le=0.05)], Annotated[float, Field(ge=0, le=0.05)]] = (
        0.002,
        0.012,
    )
    wrinkles: bool = True  # creases that follow flexion

    @model_validator(mode="after")
    def _ordered(self) -> "Shading":
        ordered(self.shadow_edge_m)
        return self


class Look(Model):
    """One key per effect."""

    shading: Shading | None = None
