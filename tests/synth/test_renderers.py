"""The contract of every renderer."""

from dataclasses import replace

import numpy as np
import pytest

from aih_builder.errors import ConfigError
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.model import NativeHandModel
from aih_builder.hands.surface import build_surface
from aih_builder.imaging import shrunk
from aih_builder.sources.ambient import hemisphere
from aih_builder.sources.lights import Lights
from aih_builder.sources.textures import TextureSet
from aih_builder.synth.renderers.backends import RENDERERS
from aih_builder.synth.renderers.base import AMODAL_ALPHA, HandDraw, Layer, Renderer, RenderRequest
from aih_builder.synth.renderers.numba_renderer import NumbaRenderer
from aih_builder.synth.renderers.rasterize import silhouette

SIZE = 128
K_PX = np.array([[260.0, 0, 63.5], [0, 260, 63.5], [0, 0, 1]])
DARK = np.zeros((0, 3))


def plain_texture(level: int = 128) -> TextureSet:
    flat = np.full((64, 64, 3), (128, 128, 255), np.uint8)
    albedo = np.full((2, 64, 64, 3), level, np.uint8)
    return TextureSet("plain", 5, "CC0-1.0", albedo, flat, np.full((64, 64), 255, np.uint8))


def ambient(level: float) -> Lights:
    return Lights(DARK, DARK, hemisphere(np.full(3, level), np.full(3, level), np.array([0.0, -1, 0])))


def hand_draw(side: int, shift_m: tuple[float, float, float], texture: TextureSet) -> HandDraw:
    arrays = open_hand() if side == 0 else open_hand().mirrored()
    surface = build_surface(arrays)
    vertices_m = NativeHandModel(arrays).pose(np.zeros(48), np.zeros(10), np.zeros(3)).vertices_m
    # Look along y at the back of the hand.
    seen = (vertices_m - vertices_m.mean(axis=0))[:, [0, 2, 1]] * [1, 1, -1] + shift_m
    pose = surface.pose(seen)
    return HandDraw(
        pose.positions_m, pose.normals, pose.tangents, surface.uv, surface.faces, surface.uv_per_m, texture, side
    )


@pytest.fixture(scope="module")
def request_() -> RenderRequest:
    texture = plain_texture()
    hands = hand_draw(0, (0.02, 0, 0.5), texture), hand_draw(1, (-0.02, 0, 0.6), texture)
    return RenderRequest(SIZE, K_PX, ambient(0.5), hands, with_normals=True)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.gl if name == "pyrender" else ()) for name in RENDERERS])
def renderer(request: pytest.FixtureRequest) -> Renderer:
    return RENDERERS[request.param](0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def layer_of(renderer: Renderer, request: RenderRequest, side: int = 0) -> Layer:
    layer = renderer.render(request)[side]
    assert layer is not None
    return layer


def moved(request: RenderRequest, shift_m: tuple[float, float, float]) -> RenderRequest:
    """The right hand alone, somewhere else."""
    hand = request.hands[0]
    assert hand is not None
    return replace(request, hands=(replace(hand, positions_m=hand.positions_m + np.array(shift_m)), None))


@pytest.mark.parametrize("supersamples", [1, 3])
def test_coverage_is_the_silhouette(renderer: Renderer, request_: RenderRequest, supersamples: int) -> None:
    """Exactly where both are the same rasterizer; a GPU snaps vertices to another grid."""
    request_ = replace(request_, supersamples=supersamples)
    for layer, hand in zip(renderer.render(request_), request_.hands, strict=True):
        assert layer is not None
        assert hand is not None
        found, mask = (
            layer.rgba[..., 3] >= AMODAL_ALPHA,
            silhouette(hand.positions_m, hand.faces, K_PX, SIZE, supersamples),
        )
        assert mask.sum() > 1000
        assert iou(found, mask) >= (1.0 if isinstance(renderer, NumbaRenderer) else 0.999)


def test_without_antialiasing_a_pixel_is_covered_or_not(renderer: Renderer, request_: RenderRequest) -> None:
    layer = layer_of(renderer, replace(request_, supersamples=1))
    assert set(np.unique(layer.rgba[..., 3])) == {0, 255}
    assert set(np.unique(layer_of(renderer, request_).rgba[..., 3])) == {round(255 * n / 9) for n in range(10)}


def test_antialiasing_changes_edges_and_creases_alone(renderer: Renderer, request_: RenderRequest) -> None:
    """Elsewhere a pixel takes the colour, depth and normal at its centre either way, up to a vertex's snapping."""
    plain, smooth = layer_of(renderer, replace(request_, supersamples=1)), layer_of(renderer, request_)
    inside = shrunk(smooth.rgba[..., 3] == 255, 1)
    assert inside.sum() > 1000
    assert (np.abs(plain.rgba.astype(int) - smooth.rgba)[inside].max(axis=1) <= 1).mean() > 0.9
    assert np.median(np.abs(plain.depth_m - smooth.depth_m)[inside]) < 1e-5


@pytest.mark.parametrize("supersamples", [0, 2, 5])
def test_other_numbers_of_samples_are_refused(request_: RenderRequest, supersamples: int) -> None:
    with pytest.raises(ConfigError, match=f"supersamples is {supersamples}, expected 1 or 3"):
        replace(request_, supersamples=supersamples)


@pytest.mark.parametrize("shift_m", [(2.0, 0, 0), (0, -2.0, 0), (0, 0, -5.0)])
def test_a_hand_outside_the_picture_has_an_empty_layer(renderer: Renderer, request_: RenderRequest, shift_m) -> None:
    layer = layer_of(renderer, moved(request_, shift_m))
    assert not layer.rgba.any()
    assert not layer.depth_m.any()
    assert layer.normal is not None
    assert not layer.normal.any()


def test_a_hand_partly_outside_is_a_cut_of_the_whole(renderer: Renderer, request_: RenderRequest) -> None:
    """The window's place, in whole pixels, changes nothing but float rounding."""
    whole = layer_of(renderer, request_)
    shifted = K_PX + np.array([[0, 0, 40], [0, 0, -30], [0, 0, 0]])
    cut = layer_of(renderer, replace(request_, K_px=shifted))
    a, b = whole.rgba[30:, :-40].astype(int), cut.rgba[:-30, 40:].astype(int)
    assert (a[..., 3] > 0).sum() > 500
    assert (np.abs(a - b).max(axis=2) > 1).mean() < 0.001
    assert np.allclose(whole.depth_m[30:, :-40], cut.depth_m[:-30, 40:], atol=1e-4)


def test_a_hand_near_the_camera_is_drawn_sharp(renderer: Renderer, request_: RenderRequest) -> None:
    """Its nearest point is 8 cm away, and it fills the frame."""
    hand = request_.hands[0]
    assert hand is not None
    near = moved(request_, (-0.02, 0, 0.08 - float(hand.positions_m[:, 2].min())))
    layer, drawn = layer_of(renderer, near), near.hands[0]
    assert drawn is not None
    mask = silhouette(drawn.positions_m, drawn.faces, K_PX, SIZE)
    assert mask.mean() > 0.5
    assert iou(layer.rgba[..., 3] >= AMODAL_ALPHA, mask) >= 0.999
    assert 0.08 - 1e-5 <= layer.depth_m[layer.depth_m > 0].min() < 0.09


def test_one_renderer_draws_pictures_of_any_size(renderer: Renderer, request_: RenderRequest) -> None:
    """Twice the pixels hold the same hand, and a later small picture is what an earlier one was."""
    before = layer_of(renderer, request_)
    double = replace(request_, size_px=2 * SIZE, K_px=K_PX * [[2], [2], [1]] + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    large = layer_of(renderer, double)
    tiny = layer_of(renderer, replace(request_, size_px=32, K_px=K_PX / [[4], [4], [1]]))
    share = [float((layer.rgba[..., 3] / 255).mean()) for layer in (before, large, tiny)]
    assert share == pytest.approx([share[0]] * 3, rel=0.03)
    after = layer_of(renderer, request_)
    assert np.array_equal(before.rgba, after.rgba)
    assert np.array_equal(before.depth_m, after.depth_m)


def test_a_renderer_says_what_it_is(renderer: Renderer) -> None:
    name = next(name for name in RENDERERS if type(renderer) is type(RENDERERS[name](0)))
    assert renderer.description().startswith(f"{name} ")


def test_depth_is_that_of_the_surface_and_nothing_elsewhere(renderer: Renderer, request_: RenderRequest) -> None:
    layer, hand = renderer.render(request_)[0], request_.hands[0]
    assert layer is not None
    assert hand is not None
    assert np.array_equal(layer.depth_m > 0, layer.rgba[..., 3] > 0)
    inside = layer.depth_m[layer.depth_m > 0]
    assert inside.min() >= hand.positions_m[:, 2].min() - 1e-5  # a depth buffer resolves 1e-7 of the hand's extent
    assert inside.max() <= hand.positions_m[:, 2].max() + 1e-5


def test_a_hand_that_is_not_there_has_no_layer(renderer: Renderer, request_: RenderRequest) -> None:
    both = renderer.render(request_)
    alone = renderer.render(replace(request_, hands=(None, request_.hands[1])))
    assert alone[0] is None
    assert alone[1] is not None
    assert both[1] is not None
    assert np.array_equal(alone[1].rgba, both[1].rgba)


def test_each_hand_is_drawn_as_if_alone_and_twice_alike(renderer: Renderer, request_: RenderRequest) -> None:
    first, second = renderer.render(request_), renderer.render(request_)
    for a, b in zip(first, second, strict=True):
        assert a is not None
        assert b is not None
        assert np.array_equal(a.rgba, b.rgba)
        assert np.array_equal(a.depth_m, b.depth_m)


def test_ambient_one_shows_the_albedo_as_it_is(renderer: Renderer, request_: RenderRequest) -> None:
    layer = renderer.render(replace(request_, lights=ambient(1.0)))[0]
    assert layer is not None
    full = layer.rgba[layer.rgba[..., 3] == 255]
    assert np.abs(full[:, :3].astype(int) - 128).max() <= 1


def test_half_the_light_is_half_the_linear_colour(renderer: Renderer, request_: RenderRequest) -> None:
    layer = renderer.render(replace(request_, lights=ambient(0.5)))[0]
    assert layer is not None
    full = layer.rgba[layer.rgba[..., 3] == 255]
    expected = 255 * (0.5 * (128 / 255) ** 2.2) ** (1 / 2.2)
    assert np.abs(full[:, :3].astype(int) - expected).max() <= 1.5


def test_strong_light_bends_towards_white_and_keeps_its_order(renderer: Renderer, request_: RenderRequest) -> None:
    """Linear colour 0.44, 0.88 and 1.76: the first is shown as it is, the others stay apart below 255."""
    levels = []
    for strength in (2.0, 4.0, 8.0):
        layer = renderer.render(replace(request_, lights=ambient(strength)))[0]
        assert layer is not None
        levels.append(float(np.median(layer.rgba[layer.rgba[..., 3] == 255][:, 1])))
    linear = (128 / 255) ** 2.2 * np.array([2.0, 4.0, 8.0])
    bent = 0.6 + 0.4 * (1 - np.exp(-(linear - 0.6) / 0.4))
    assert levels == pytest.approx(255 * np.where(linear <= 0.6, linear, bent) ** (1 / 2.2), abs=1)
    assert levels[0] < levels[1] < levels[2] < 255


def test_light_comes_from_where_its_direction_says(renderer: Renderer, request_: RenderRequest) -> None:
    """The camera frame's y points down: a light from above brightens what faces up."""
    above = Lights(
        np.array([[0.0, -1.0, 0.0]]), np.ones((1, 3)), hemisphere(np.zeros(3), np.zeros(3), np.array([0.0, -1, 0]))
    )
    layer = renderer.render(replace(request_, lights=above))[0]
    assert layer is not None
    assert layer.normal is not None
    full = layer.rgba[..., 3] == 255
    level, up = layer.rgba[full][:, 1].astype(float), -layer.normal[full][:, 1].astype(float)
    assert level[up > 60].mean() > 100
    assert level[up < -60].mean() < 5


def test_normals_face_the_camera(renderer: Renderer, request_: RenderRequest) -> None:
    layer = renderer.render(request_)[0]
    assert layer is not None
    assert layer.normal is not None
    covered = layer.rgba[..., 3] > 0
    assert np.allclose(np.linalg.norm(layer.normal[covered].astype(float), axis=1), 127, atol=1.5)
    assert (layer.normal[covered][:, 2] < 20).mean() > 0.97
    assert not layer.normal[~covered].any()


def test_colour_is_premultiplied_by_coverage(renderer: Renderer, request_: RenderRequest) -> None:
    layer = renderer.render(replace(request_, lights=ambient(1.0)))[0]
    assert layer is not None
    alpha = layer.rgba[..., 3].astype(float)
    assert np.abs(layer.rgba[..., 0] - 128 * alpha / 255).max() <= 1.5
