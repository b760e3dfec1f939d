"""The open hand's skin on a hand of another mesh: nails, creases and colours lie where they do on the open hand."""

from functools import cache

import numpy as np
import pytest

from aih_builder.geometry import FloatArray
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.conventions import FINGERS
from aih_builder.hands.landmarks import anatomy
from aih_builder.hands.lending import bent_onto
from aih_builder.hands.unwrapping import unwrapped
from aih_builder.sources.skin import Bakery, open_hand_nails
from aih_builder.sources.skin_atlas import make_atlas
from aih_builder.sources.skin_people import SHIPPED
from aih_builder.sources.textures import shipped_textures
from tests.hands.mano_pickles import foreign_hand, remeshed_hand

SIZE_PX = 256


@cache
def foreign() -> HandArrays:
    return unwrapped(remeshed_hand())


@cache
def bakery(of: str) -> Bakery:
    return Bakery(foreign() if of == "foreign" else open_hand(), open_hand_nails(), SIZE_PX)


def place_m(hand: HandArrays) -> FloatArray:
    """Where the texels of a hand's atlas lie on that hand itself, (N, 3)."""
    return make_atlas(hand, SIZE_PX).points_m


def nail_centres_mm(of: str, points_m: FloatArray) -> FloatArray:
    """Middle of each nail (5, 3), weighed by texels' areas."""
    skin = bakery(of).skin
    centres = []
    for first in FINGERS.values():
        area = skin.atlas.texel_m.prod(axis=1) * skin.atlas.inside * (skin.nail > 0.5) * (skin.fingers[first] > 0.5)
        centres.append(1e3 * (area[:, None] * points_m).sum(axis=0) / area.sum())
    return np.array(centres)


def test_nails_lie_where_the_same_shape_of_the_open_hand_has_them() -> None:
    """The re-meshed hand is a shape of the open hand, so the truth is known: its own vertices, in another order."""
    hand, truth = open_hand(), np.empty_like(open_hand().v_template)
    # The foreign hand's vertices are the open hand's, permuted: undone by their posedirs, which moved along.
    other = foreign_hand()
    key = {row.tobytes(): n for n, row in enumerate(hand.posedirs.reshape(len(truth), -1))}
    truth[[key[row.tobytes()] for row in other.posedirs.reshape(len(truth), -1)]] = other.v_template
    atlas = make_atlas(hand, SIZE_PX)
    corners = truth[hand.faces[atlas.face]]
    flat = hand.uv[hand.uv_faces[atlas.face]]
    edges = np.linalg.solve(flat[:, 1:] - flat[:, :1], corners[:, 1:] - corners[:, :1])
    true_m = corners[:, 0] + np.einsum("nk,nkc->nc", atlas.uv - flat[:, 0], edges)
    off_mm = np.linalg.norm(nail_centres_mm("open", true_m) - nail_centres_mm("foreign", place_m(foreign())), axis=1)
    assert off_mm.max() < 0.8


def test_every_texel_of_the_other_hand_shows_a_place_nearby_once_the_open_hand_is_bent() -> None:
    skin, inside = bakery("foreign").skin, bakery("foreign").skin.atlas.inside
    shift_mm = 1e3 * np.linalg.norm(bent_onto(open_hand(), foreign()) - open_hand().v_template, axis=1).max()
    marks = anatomy(foreign())
    theirs = np.einsum("ij,nj->ni", marks.to_palm, place_m(foreign()) - marks.wrist_m)
    assert shift_mm > 3  # there is something to undo
    assert np.percentile(np.linalg.norm(theirs - skin.points, axis=1)[inside], 99) < 9
    assert skin.nail_along.max() <= 1


@pytest.mark.parametrize("name", ["monk03-l", "monk09-c"])
def test_the_same_person_has_the_same_colours_on_both_hands(name: str) -> None:
    means = []
    for of in ("open", "foreign"):
        skin, albedo = bakery(of).skin, bakery(of).bake_person(SHIPPED[name], 0).albedo_rgb
        colours = albedo[0].reshape(-1, 3)[skin.atlas.index].astype(float)
        areas = skin.atlas.texel_m.prod(axis=1) * skin.atlas.inside
        parts = (skin.nail > 0.9, skin.dorsal > 0.6, skin.dorsal < -0.6)
        means.append([np.average(colours[part], axis=0, weights=areas[part]) for part in parts])
    assert np.abs(np.array(means[0]) - means[1]).max() < 4


def test_the_shipped_persons_are_baked_for_a_hand_of_other_coordinates() -> None:
    source = shipped_textures(foreign())
    assert source.entries == shipped_textures(open_hand()).entries
