"""The part of a manifest that says how true to life pictures are: shading, forearms, the camera's faults.

A section that is not there is off; AIH-Render without any is plain shading.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from aih_builder.config.scenes import Fraction, Model, ordered

Range = tuple[float, float] | None  # lowest and highest; None is off


def _within(lowest: float, highest: float) -> AfterValidator:
    """Holds a range to bounds."""

    def checked(pair: Range) -> Range:
        if pair is not None and not lowest <= pair[0] <= pair[1] <= highest:
            raise ValueError(f"expected lowest and highest within {lowest:g} and {highest:g}, or null")
        return pair

    return AfterValidator(checked)


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


_PRESETS: dict[str, dict[str, Any]] = {
    # InterHand2.6M: a dark dome with even light, fixed cameras, short exposures, small pictures.
    "interhand": {
        "exposure_ev": (-0.8, 0.0), "white_balance_mired": (-8.0, 12.0), "vignette": None, "defocus_px": (0.0, 0.8),
        "motion_px": None, "iso": (200.0, 800.0), "contrast": (0.0, 0.3),
    },
}  # fmt: skip


class CameraEffects(Model):
    """What a camera does to a picture; each range is a switch, null is off. A preset fills in what is not given.

    Lengths are pixels of a picture of 256 px, and grow with its size. Depth, normals and masks stay sharp.
    """

    preset: Literal["interhand"] | None = None
    exposure_ev: Annotated[Range, _within(-3, 3)] = (-0.7, 0.5)  # stops
    white_balance_mired: Annotated[Range, _within(-100, 100)] = (-18.0, 18.0)  # above 0: warmer
    vignette: Annotated[Range, _within(0, 0.9)] = (0.0, 0.25)  # share of the light that the farthest corner lacks
    defocus_px: Annotated[Range, _within(0, 4)] = (0.0, 1.5)  # radius of the disc that a point becomes
    motion_px: Annotated[Range, _within(0, 16)] = (
        0.0,
        4.0,
    )  # length of the line that a point becomes
    motion_share: Fraction = 0.3  # of the samples
    iso: Annotated[Range, _within(50, 25600)] = (100.0, 3200.0)  # noise of the sensor
    contrast: Annotated[Range, _within(-0.5, 1)] = (-0.2, 0.4)  # of the tone curve; 0 is none

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, content: Any) -> Any:
        preset = content.get("preset") if isinstance(content, dict) else None
        return _PRESETS[preset] | content if isinstance(preset, str) and preset in _PRESETS else content


class Look(Model):
    """One key per effect."""

    shading: Shading | None = None
    forearms: Forearms | None = None
    camera: CameraEffects | None = None  # of AIH-Render; photographs have met a camera already
