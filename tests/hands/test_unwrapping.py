"""Texture coordinates that are cut for a mesh of its own."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import xatlas
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from aih_builder.errors import AssetError
from aih_builder.hands.arrays import HandArrays, open_hand
from aih_builder.hands.surface import build_surface
from aih_builder.hands.unwrapping import unwrapped, with_coordinates_of
from aih_builder.sources.skin_atlas import make_atlas
from tests.hands.mano_pickles import foreign_hand, remeshed_hand


@cache
def bare() -> HandArrays:
    return remeshed_hand()


@cache
def covered() -> HandArrays:
    return unwrapped(bare())


def jacobians() -> np.ndarray:
    """Metres per unit of texture (F, 2): largest and smallest over directions."""
    hand = covered()
    corners, uv = hand.v_template[hand.faces], hand.uv[hand.uv_faces]
    edges, flat = corners[:, 1:] - corners[:, :1], uv[:, 1:] - uv[:, :1]
    return np.linalg.svd(np.linalg.solve(flat, edges), compute_uv=False)


def test_the_mesh_that_plays_an_unknown_one_is_another() -> None:
    ours, theirs = ({tuple(sorted(face)) for face in hand.faces.tolist()} for hand in (open_hand(), bare()))
    assert len(ours & theirs) < 0.05 * len(ours)
    old, new = ({tuple(sorted(face)) for face in hand.faces.tolist()} for hand in (foreign_hand(), bare()))
    assert len(old & new) < 0.65 * len(old)
    build_surface(covered())


def test_charts_lie_apart_in_the_unit_square_and_stretch_little() -> None:
    hand = covered()
    assert hand.uv.min() >= 0
    assert hand.uv.max() <= 1
    widest, narrowest = jacobians().T
    assert np.percentile(widest / narrowest, 95) < 1.6
    sizes = np.sqrt(widest * narrowest)
    assert np.percentile(sizes, 95) < 1.5 * np.percentile(sizes, 5)
    # No two charts share a texel, nor do their margins at 512 px.
    ends = np.concatenate([hand.uv_faces[:, [0, 1]], hand.uv_faces[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(ends)), ends.T), (len(hand.uv), len(hand.uv)))
    count, chart_of = connected_components(graph, directed=False)
    assert count < 60
    atlas = make_atlas(hand, 512)
    chart = np.full(512 * 512, -1)
    chart[atlas.index] = chart_of[hand.uv_faces[atlas.face, 0]]
    inside = np.zeros(512 * 512, bool)
    inside[atlas.index] = atlas.inside
    chart, inside = chart.reshape(512, 512), inside.reshape(512, 512)
    for shift in ((0, 1), (1, 0), (1, 1)):
        beside = np.roll(chart, shift, (0, 1))
        both = inside & np.roll(inside, shift, (0, 1))
        assert (chart[both] == beside[both]).all()


def test_cutting_twice_gives_the_same_coordinates() -> None:
    assert unwrapped(bare()).digest() == covered().digest()


@pytest.mark.parametrize("change", ["drop", "reorder"])
def test_faces_that_come_back_otherwise_are_refused(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    class Other(xatlas.Atlas):
        def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            vertices, corners, uv = super().__getitem__(number)
            return vertices, corners[1:] if change == "drop" else corners[::-1], uv

    monkeypatch.setattr(xatlas, "Atlas", Other)
    with pytest.raises(AssetError, match=r"the right hand: xatlas changed .* its 1538 faces"):
        unwrapped(bare())


def test_the_other_side_takes_the_coordinates_over_however_its_faces_are_listed() -> None:
    left, rng = covered().mirrored(), np.random.default_rng(0)
    order = rng.permutation(len(left.faces))
    rolled = np.stack([np.roll(face, rng.integers(3)) for face in left.faces[order]])
    other = replace(left, faces=rolled, uv=np.zeros((0, 2)), uv_faces=np.zeros_like(rolled))
    got = with_coordinates_of(other, covered())
    assert got.uv is covered().uv
    there = dict(zip(left.faces.ravel().tolist(), left.uv_faces.ravel().tolist(), strict=True))
    assert set(map(tuple, np.sort(got.uv_faces).tolist())) == set(map(tuple, np.sort(left.uv_faces).tolist()))
    inner = [v for v in there if len(set(left.uv_faces[left.faces == v])) == 1]
    assert all(set(got.uv_faces[got.faces == v]) == {there[v]} for v in inner)


def test_a_hand_of_other_faces_is_refused() -> None:
    faces = covered().faces.copy()
    faces[7, 0] = (faces[7, 0] + 5) % 778
    with pytest.raises(AssetError, match="face 7 joins other vertices than any face of the right hand"):
        with_coordinates_of(replace(covered().mirrored(), faces=faces[:, ::-1]), covered())
