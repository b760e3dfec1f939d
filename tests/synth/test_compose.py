import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.imaging import grown
from aih_builder.synth.compose import compose, front_surface, right_in_front_by_depth
from aih_builder.synth.renderers.base import AMODAL_ALPHA, Layer

SIZE = 12


def random_layer(rng: np.random.Generator) -> Layer:
    """Blobs of coverage with colour within it, as a renderer gives them."""
    alpha = np.where(rng.random((SIZE, SIZE)) < 0.6, rng.integers(0, 256, (SIZE, SIZE)), 0)
    colour = (rng.random((SIZE, SIZE, 3)) * alpha[..., None]).astype(np.uint8)
    depth_m = np.where(alpha > 0, rng.uniform(0.3, 0.9, alpha.shape), 0).astype(np.float32)
    return Layer(np.concatenate([colour, alpha[..., None]], axis=2).astype(np.uint8), depth_m)


def slow_composite(layers: tuple[Layer, Layer], right_first: np.ndarray, background: np.ndarray) -> tuple:
    """The definition, one pixel and one hand at a time."""
    alphas = []
    for layer in layers:
        alpha = layer.rgba[..., 3].astype(int)
        amodal = alpha >= AMODAL_ALPHA
        alphas.append(np.where(grown(amodal, 1), alpha, 0))

    def over(hand: int, below: np.ndarray) -> np.ndarray:
        alpha = alphas[hand][..., None]
        blended = layers[hand].rgba[..., :3] + (below.astype(int) * (255 - alpha) + 127) // 255
        return np.where(alpha > 0, np.minimum(blended, 255), below).astype(np.uint8)

    targets = np.stack([over(0, background), over(1, background)])
    image = np.where(right_first[..., None], over(0, targets[1]), over(1, targets[0]))
    amodal = np.stack(alphas) >= AMODAL_ALPHA
    visible = amodal & ~(amodal[::-1] & np.stack([~right_first, right_first]))
    return image, targets, amodal, visible


@given(st.integers(0, 2**32 - 1))
def test_the_compositor_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = random_layer(rng), random_layer(rng)
    background = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    right_first = right_in_front_by_depth(layers)
    found = compose(layers, right_first, background)
    image, targets, amodal, visible = slow_composite(layers, right_first, background)
    assert np.array_equal(found.image_rgb, image)
    assert np.array_equal(found.target_rgb, targets)
    assert np.array_equal(found.amodal_mask, amodal)
    assert np.array_equal(found.visible_mask, visible)


@given(st.integers(0, 2**32 - 1))
def test_what_must_hold_of_masks_holds_for_any_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = random_layer(rng), random_layer(rng)
    background = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    c = compose(layers, right_in_front_by_depth(layers), background)
    assert not (c.visible_mask & ~c.amodal_mask).any()
    assert not (c.visible_mask[0] & c.visible_mask[1]).any()
    assert np.array_equal(c.visible_mask.any(axis=0), c.amodal_mask.any(axis=0))
    for target in (0, 1):
        differs = (c.image_rgb != c.target_rgb[target]).any(axis=2)
        assert not (differs & ~c.changed_mask[target]).any()
        assert not (c.visible_mask[1 - target] & ~c.changed_mask[target]).any()
        assert not (c.changed_mask[target] & ~grown(c.amodal_mask[1 - target], 1)).any()


def test_mirroring_the_scene_swaps_the_hands() -> None:
    rng = np.random.default_rng(3)
    right, left = random_layer(rng), random_layer(rng)
    background = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    there = compose((right, left), np.ones((SIZE, SIZE), bool), background)
    back = compose((left, right), np.zeros((SIZE, SIZE), bool), background)
    assert np.array_equal(there.image_rgb, back.image_rgb)
    assert np.array_equal(there.visible_mask, back.visible_mask[::-1])
    assert np.array_equal(there.target_rgb, back.target_rgb[::-1])


def test_one_hand_alone_is_its_own_target() -> None:
    rng = np.random.default_rng(4)
    layer, background = random_layer(rng), rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    c = compose((None, layer), right_in_front_by_depth((None, layer)), background)
    assert np.array_equal(c.image_rgb, c.target_rgb[1])
    assert np.array_equal(c.target_rgb[0], background)
    assert not c.changed_mask[1].any()
    assert not c.amodal_mask[0].any()


def test_an_edge_pixel_of_the_front_hand_hides_nothing() -> None:
    """Coverage under one half blends, yet what is behind stays visible: the front hand's amodal mask is not set."""
    front, back = np.zeros((3, 3, 4), np.uint8), np.full((3, 3, 4), 255, np.uint8)
    front[1, 0], front[1, 1] = (200, 0, 0, 255), (60, 0, 0, 80)
    near, far = np.where(front[..., 3] > 0, 0.3, 0).astype(np.float32), np.full((3, 3), 0.5, np.float32)
    c = compose((Layer(front, near), Layer(back, far)), near > 0, np.zeros((3, 3, 3), np.uint8))
    assert not c.visible_mask[1, 1, 0]
    assert c.visible_mask[1, 1, 1]
    assert c.image_rgb[1, 1].tolist() == [60 + (255 * 175 + 127) // 255, 175, 175]
    assert c.changed_mask[1, 1].tolist() == [True, True, False]


def test_front_surface_takes_the_hand_that_is_seen() -> None:
    full = np.full((2, 2, 4), 255, np.uint8)
    layers = Layer(full, np.full((2, 2), 0.4, np.float32)), Layer(full, np.full((2, 2), 0.6, np.float32))
    c = compose(layers, right_in_front_by_depth(layers), np.zeros((2, 2, 3), np.uint8))
    assert (front_surface(layers, c) == np.float32(0.4)).all()
