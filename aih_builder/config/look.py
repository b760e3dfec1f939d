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


class Forearms(Model):
    """Arms that go on behind the wrist. share is that of the samples in which hands have them, sleeve the share of
    these in which they are clothed; bend_deg is how far a wrist bends each way, up and down and sideways.
    """

    share: Fraction = 0.6
    sleeve: Fraction = 0.5
    length_m: tuple[Annotated[float, Field(ge=0.1, le=0.3)], Annotated[float, Field(ge=0.1, le=0.3)]] = (0.25, 0.3)
    bend_deg: tuple[Annotated[float, Field(ge=0, le=30)], Annotated[float, Field(ge=0, le=20)]] = (15.0, 8.0)

    @model_validator(mode="after")
    def _ordered(self) -> "Forearms":
        ordered(self.length_m)
        return self


class Look(Model):
    """One key per effect."""

    shading: Shading | None = None
    forearms: Forearms | None = None
