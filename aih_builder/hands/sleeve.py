"""A sleeve around a forearm: a cuff whose edge stands off the skin, and cloth that hangs in folds.

Seen along the arm: from deep inside the cuff out to its edge, over the edge, along the cuff, then along the sleeve.
Texture coordinates follow SLEEVE_MAP: the cloth's tile is mirrored back and forth around the arm and along it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from aih_builder.compiled import compiled
from aih_builder.geometry import FloatArray, smooth01
from aih_builder.hands.forearm import LONGEST_M, ArmFrame, Limb, RingMesh, Section, grid_faces, ring_mesh, ring_points
from aih_builder.hands.surface import SurfacePose

TILE_M = 0.05  # side of a texture in space


class SleeveMap(NamedTuple):
    """Which v of a cloth's texture show what; each spans all u."""

    body: tuple[float, float] = (0.01, 0.66)  # mirrored along the sleeve
    cuff: tuple[float, float] = (0.71, 0.87)  # once along the cuff, from its edge
    inside: tuple[float, float] = (0.93, 0.99)  # what is seen inside the cuff, in its own shade


SLEEVE_MAP = SleeveMap()

_TILES_AROUND = 4
_INSIDE_RINGS, _CUFF_RINGS = 2, 4
_DEEP_M, _HEM_M = 0.03, 0.004  # how far the inside is drawn, and where it has its full width
_DEEP_UNDER_M = 0.003  # there it ends under the skin
_STEPS_PER_TILE = 3
_RISE_M = 0.03  # beyond the cuff, over which folds grow to their height


class Cut(NamedTuple):
    """How a sleeve is cut and lies."""

    start_m: float  # of the cuff's edge, from the rim; negative: over the wrist
    cuff_m: float  # length of the cuff
    stand_m: float  # of the cuff, off the skin
    loose_m: float  # of the cloth beyond, off the skin
    thick_m: float
    folds: FloatArray  # (N, 4) height in metres, waves around, waves per metre, phase


@dataclass(frozen=True, slots=True, eq=False)
class Sleeve:
    """What the sleeves of one hand share: C columns, as those of its rim."""

    mesh: RingMesh
    columns: int

    def pose(self, frame: ArmFrame, section: Section, limb: Limb, cut: Cut) -> SurfacePose:
        """A sleeve on the forearm of a posed hand."""
        stations_m = stations_of(cut)
        off_m = _offsets(
            stations_m, self.columns, cut.start_m, cut.cuff_m, cut.stand_m, cut.loose_m, cut.thick_m, cut.folds
        )
        return self.mesh.pose(ring_points(stations_m, off_m, frame, section, limb))


def build_sleeve(columns: int) -> Sleeve:
    """Prepare sleeves with a number of columns."""
    v, first = _v_of_rings()
    rings = len(first)
    faces = grid_faces(rings, columns)
    ring, column = faces[:, None] // columns, faces % columns
    strip = ring.min(axis=(1, 2))  # the faces of a strip take their v from the two rings' ends that face each other
    tile = columns // _TILES_AROUND
    # The last column's faces reach column 0 again: it counts as `columns` there.
    wrapped = np.where((column == 0) & (column.max(axis=1, keepdims=True) == columns - 1), columns, column)
    u = np.abs((wrapped / tile + 1) % 2 - 1)
    far = faces // columns > strip[:, None]
    uv = np.stack([u, np.where(far, v[strip, 1][:, None], v[strip, 0][:, None])], axis=2)
    return Sleeve(ring_mesh(uv, rings, columns, 1 / TILE_M), columns)


def stations_of(cut: Cut) -> FloatArray:
    """Where a sleeve's rings lie along the arm (K,)."""
    deep = np.array([_DEEP_M, _HEM_M]) + cut.start_m
    edge = np.array([0.0, 0.2 * cut.thick_m]) + cut.start_m
    cuff = cut.start_m + cut.cuff_m * np.arange(1, _CUFF_RINGS + 1) / _CUFF_RINGS
    body = cut.start_m + cut.cuff_m + _body_steps_m()
    return np.concatenate([deep, edge, cuff, body])


def _body_steps_m() -> FloatArray:
    low, high = SLEEVE_MAP.body
    step_m = (high - low) * TILE_M / _STEPS_PER_TILE
    return step_m * np.arange(1, int(LONGEST_M / step_m) + 5)


def _v_of_rings() -> tuple[FloatArray, FloatArray]:
    """v (K - 1, 2) at the two ends of each strip between rings, and the rings (K,)."""
    inside, cuff, body = SLEEVE_MAP.inside, SLEEVE_MAP.cuff, SLEEVE_MAP.body
    hem = np.linspace(inside[1], inside[0], _INSIDE_RINGS + 1)
    along_cuff = np.linspace(cuff[0], cuff[1], _CUFF_RINGS + 1)
    steps = np.arange(len(_body_steps_m()) + 1)
    along = body[0] + (body[1] - body[0]) * np.abs((steps / _STEPS_PER_TILE + 1) % 2 - 1)
    edge = np.array([cuff[0] - 0.01, cuff[0]])
    strips = [np.stack([ends[:-1], ends[1:]], axis=1) for ends in (hem, edge, along_cuff, along)]
    return (v := np.concatenate(strips)), np.zeros(len(v) + 1)


@compiled
def _offsets(stations, columns, start, cuff, stand, loose, thick, folds):
    """How far each point lies off the skin (K, C)."""
    off = np.empty((stations.shape[0], columns))
    for k in range(stations.shape[0]):
        beyond = smooth01((stations[k] - start - cuff) / _RISE_M)
        for i in range(columns):
            height = 0.0
            for f in range(folds.shape[0]):
                wave = folds[f, 1] * i / columns + folds[f, 2] * (stations[k] - start)
                height += folds[f, 0] * np.sin(2.0 * np.pi * wave + folds[f, 3])
            outer = stand + beyond * (loose - stand) + (0.25 + 0.75 * beyond) * height
            outer = max(outer, thick + 0.001)
            if k == 0:
                off[k, i] = -_DEEP_UNDER_M
            elif k == 1:
                off[k, i] = outer - thick
            elif k == 2:
                off[k, i] = outer - 0.5 * thick
            else:
                off[k, i] = outer
    return off
