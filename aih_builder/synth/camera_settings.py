"""How a camera was set when it took a picture: exposure, white balance, vignette, blur, noise, tone."""

from typing import NamedTuple

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.config.look import CameraEffects
from aih_builder.geometry import FloatArray

SIZE_PX = 256  # of the picture that a manifest's lengths are of
_MID_GREY = 128.0 / 255.0

# Change of ln(R, G, B) per mired of a black body's light near 6000 K, as sources/lights.py lists them.
_WARMER = np.array([0.0032, -0.0005, -0.0066])
_LUMA = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB
# Electrons that fill a pixel at ISO 100, and the standard deviation of reading it out, electrons. A pixel of the
# picture has gathered the light of several of the sensor's.
_FULL_WELL, _READ_OUT = 20_000.0, 1.5


class CameraSettings(NamedTuple):
    """One draw. What is off is neutral: gains 1, losses, lengths, noise and contrast 0."""

    gain_rgb: FloatArray  # float32 (3,) of linear light
    vignette: float  # share of the light that the farthest corner lacks
    centre: tuple[float, float]  # where the vignette's centre is, x and y as shares of the frame
    defocus_px: float  # radius, of this picture's pixels; with the motion 0 where they leave it as it is
    motion_px: float  # length, likewise
    turn_rad: float  # direction of the motion
    shot: float  # variance of the noise is shot * x + read of linear light x
    read: float
    contrast: float

    @property
    def noise_level(self) -> float:
        """Standard deviation of the noise on mid grey (level 128), in levels, before the tone curve."""
        light = float(linear_of(np.array(_MID_GREY)))
        slope = (_MID_GREY + 0.055) / (2.4 * light)  # of the level over the light: d/dx of 1.055 x^(1/2.4) - 0.055
        return float(np.float32(255.0 * slope * np.sqrt(self.shot * light + self.read)))


NEUTRAL = CameraSettings(np.ones(3, np.float32), 0.0, (0.5, 0.5), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # changes nothing


def draw_settings(rng: np.random.Generator, effects: CameraEffects, size_px: int) -> CameraSettings:
    """Settings for a picture of size_px. Each is drawn whether it is on or off, so that a switch moves no other."""
    u, larger = rng.random(11), size_px / SIZE_PX

    def within(pair: tuple[float, float] | None, share: float) -> float:
        return 0.0 if pair is None else pair[0] + share * (pair[1] - pair[0])

    gain = np.exp(_WARMER * within(effects.white_balance_mired, u[1]))
    gain *= 2.0 ** within(effects.exposure_ev, u[0]) / (_LUMA @ gain)
    moves = effects.motion_px is not None and u[6] < effects.motion_share
    shot = read = 0.0
    if effects.iso is not None:
        low, high = effects.iso
        full = _FULL_WELL * 100.0 / (low * (high / low) ** u[9])
        shot, read = 1.0 / full, (_READ_OUT / full) ** 2
    # As the record stores them. What moves no light to another pixel is no blur: the record says 0.
    defocus_px = float(np.float32(larger * within(effects.defocus_px, u[5])))
    motion_px = float(np.float32(larger * within(effects.motion_px, u[7]))) if moves else 0.0
    turn_rad = np.pi * float(u[8])
    if np.count_nonzero(blur_kernel(defocus_px, motion_px, turn_rad)) == 1:
        defocus_px = motion_px = 0.0
    return CameraSettings(
        gain_rgb=gain.astype(np.float32),
        vignette=within(effects.vignette, u[2]),
        centre=(0.3 + 0.4 * float(u[3]), 0.3 + 0.4 * float(u[4])),
        defocus_px=defocus_px,
        motion_px=motion_px,
        turn_rad=turn_rad,
        shot=shot,
        read=read,
        contrast=within(effects.contrast, u[10]),
    )


def linear_of(srgb: FloatArray) -> FloatArray:
    """Linear light of sRGB values in [0, 1], by sRGB's own curve: its slope at black is finite, as that of noise is."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def srgb_of(linear: FloatArray) -> FloatArray:
    """sRGB values of linear light in [0, 1]."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)


def blur_kernel(defocus_px: float, motion_px: float, turn_rad: float) -> FloatArray:
    """What a point becomes, float32 (2 R + 1, 2 R + 1) of sum 1: a disc of radius defocus_px, drawn along a line of
    length motion_px, as shares of its area in each pixel.

    R is at most ceil(defocus_px + motion_px / 2): a pixel within R of a change is changed, none beyond.
    """
    return _blur_kernel(defocus_px, motion_px, turn_rad)


@compiled
def _blur_kernel(radius, length, turn):
    # Samples across the disc, and along the line: eight a pixel at least.
    grid, steps = max(32, int(np.ceil(16.0 * radius))), 1 + int(np.ceil(8.0 * length))
    reach = int(np.floor(radius + length / 2 + 0.5))
    counts = np.zeros((2 * reach + 1, 2 * reach + 1), np.int64)
    for row in range(grid):
        for column in range(grid):
            x, y = (2 * column + 1) / grid - 1.0, (2 * row + 1) / grid - 1.0
            if x * x + y * y > 1.0:
                continue
            for step in range(steps):
                along = length * ((step + 0.5) / steps - 0.5)
                u = int(np.floor(radius * x + along * np.cos(turn) + 0.5))
                v = int(np.floor(radius * y + along * np.sin(turn) + 0.5))
                counts[v + reach, u + reach] += 1
    return (counts / counts.sum()).astype(np.float32)
