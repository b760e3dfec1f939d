"""The open hand's skin on another hand: which place of the open hand each texel of the other hand's atlas shows.

The open hand is bent onto the other's bones (hands/lending.py). A texel's point takes over the nearest point of that
skin: where it lies on the open hand at rest, with what normal, weights and place on the nail map. The skin is then
baked from these, as the open hand's own is; each texel is looked up in space, so charts may lie as they like.
"""

from dataclasses import replace

from aih_builder.hands.arrays import HandArrays
from aih_builder.hands.lending import bent_onto, nearest
from aih_builder.sources.skin_atlas import Atlas, unit_rows, vertex_normals


def transferred(atlas: Atlas, hand: HandArrays, lender: HandArrays) -> Atlas:
    """The atlas of a hand, whose texels show the lender's skin. Both are right hands."""
    found = nearest(atlas.points_m, bent_onto(lender, hand)[lender.faces])
    return replace(
        atlas,
        points_m=found.blend(lender.v_template, lender.faces),
        normals=unit_rows(found.blend(vertex_normals(lender), lender.faces)),
        weights=found.blend(lender.weights, lender.faces),
        uv=found.blend(lender.uv, lender.uv_faces),
    )
