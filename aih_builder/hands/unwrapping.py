"""Texture coordinates for hands that come without: charts cut and packed by xatlas, shared by both sides."""

from dataclasses import replace

import numpy as np
import xatlas

from aih_builder.errors import AssetError
from aih_builder.hands.arrays import HandArrays

_RESOLUTION_PX = 1024  # that charts are packed for
_GUTTER_PX = 10  # between them, so that small maps, and their coarser levels, keep charts apart
_SHORTEST_BORDER = 4.0  # weight of a chart's roundness: the default's four-fold, for few charts


def unwrapped(hand: HandArrays) -> HandArrays:
    """The hand with texture coordinates of its own. Raises AssetError where its faces do not come back as they are."""
    atlas, charts, packing = xatlas.Atlas(), xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_cost = _SHORTEST_BORDER
    packing.resolution, packing.padding, packing.create_image = _RESOLUTION_PX, _GUTTER_PX, False
    atlas.add_mesh(hand.v_template.astype(np.float32), hand.faces.astype(np.uint32))
    atlas.generate(charts, packing)
    vertices, corners, uv = atlas[0]
    if not np.array_equal(vertices[corners], hand.faces):
        raise AssetError(
            f"the {hand.side} hand: xatlas changed the number, the order or the corners of its {len(hand.faces)} faces "
            "when it cut texture coordinates. Remove faces without area or that join the same vertices."
        )
    return replace(hand, uv=np.clip(uv.astype(np.float64), 0.0, 1.0), uv_faces=corners.astype(np.int64))


def with_coordinates_of(hand: HandArrays, pattern: HandArrays) -> HandArrays:
    """A hand with the texture coordinates of another one, whose faces join the same vertices.

    The order of faces, of a face's corners and their sense may differ. Raises AssetError where the faces do.
    """
    of_vertices = {tuple(sorted(face)): n for n, face in enumerate(pattern.faces.tolist())}
    rows = [of_vertices.get(tuple(sorted(face)), -1) for face in hand.faces.tolist()]
    if -1 in rows or len(set(rows)) != len(pattern.faces):
        raise AssetError(
            f"the {hand.side} hand: face {rows.index(-1) if -1 in rows else 0} joins other vertices than any face of "
            f"the {pattern.side} hand, so that one texture cannot fit both. Take both files from one release."
        )
    theirs, uv_faces = pattern.faces[rows], pattern.uv_faces[rows]
    place = (hand.faces[:, :, None] == theirs[:, None, :]).argmax(axis=2)  # of each corner in the other's face
    return replace(hand, uv=pattern.uv, uv_faces=np.take_along_axis(uv_faces, place, axis=1))
