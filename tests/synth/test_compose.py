from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.imaging import grown
from aih_builder.sample import hdr_masks_of
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


def with_arm(layer: Layer, rng: np.random.Generator) -> Layer:
    """The same layer, some of whose covered pixels are the forearm's."""
    return replace(layer, forearm=(layer.rgba[..., 3] >= AMODAL_ALPHA) & (rng.random((SIZE, SIZE)) < 0.5))


def slow_masks(layers: tuple[Layer, Layer], right_first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Amodal, visible and visible forearm (2, H, W), one pixel at a time, from the contract's words."""
    amodal, visible, forearm = (np.zeros((2, SIZE, SIZE), bool) for _ in range(3))
    for y in range(SIZE):
        for x in range(SIZE):
            covered = [layer.rgba[y, x, 3] >= AMODAL_ALPHA for layer in layers]
            for hand, layer in enumerate(layers):
                is_arm = layer.forearm is not None and layer.forearm[y, x]
                in_front = bool(right_first[y, x]) == (hand == 0)
                seen = covered[hand] and (in_front or not covered[1 - hand])
                amodal[hand, y, x] = covered[hand] and not is_arm
                visible[hand, y, x] = seen and not is_arm
                forearm[hand, y, x] = seen and is_arm
    return amodal, visible, forearm


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_forearms_are_masked_by_their_definition_and_change_nothing_where_they_are_hidden(
    seed: int, both_have: bool
) -> None:
    rng = np.random.default_rng(seed)
    right, left = with_arm(random_layer(rng), rng), random_layer(rng)
    layers = right, with_arm(left, rng) if both_have else left
    background = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    right_first = right_in_front_by_depth(layers)
    c = compose(layers, right_first, background)
    amodal, visible, forearm = slow_masks(layers, right_first)
    assert np.array_equal(c.amodal_mask, amodal)
    assert np.array_equal(c.visible_mask, visible)
    assert np.array_equal(c.forearm_mask, forearm)
    for target in (0, 1):
        other = 1 - target
        differs = (c.image_rgb != c.target_rgb[target]).any(axis=2)
        assert not (differs & ~c.changed_mask[target]).any()
        assert not (c.changed_mask[target] & ~grown(amodal[other] | forearm[other], 1)).any()
        masks = hdr_masks_of(amodal[target], visible[target], visible[other] | forearm[other])
        assert (np.sum(masks, axis=0) == 1).all()  # M_D, M_R, M_rv and M_bv partition the picture
        assert not ((masks.M_D | masks.M_R) & ~c.changed_mask[target]).any()
        assert np.array_equal(masks.M_D | masks.M_R, visible[other] | forearm[other])


@given(st.integers(0, 2**32 - 1))
def test_a_forearm_of_no_pixels_is_none(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = random_layer(rng), random_layer(rng)
    background = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    empty = np.zeros((SIZE, SIZE), bool)
    plain = compose(layers, right_in_front_by_depth(layers), background)
    armed = (replace(layers[0], forearm=empty), layers[1])
    found = compose(armed, right_in_front_by_depth(layers), background)
    for name in ("image_rgb", "target_rgb", "changed_mask", "amodal_mask", "visible_mask", "forearm_mask"):
        assert np.array_equal(getattr(found, name), getattr(plain, name)), name


def test_a_hidden_forearm_does_not_shine_through_a_soft_edge_far_from_where_it_is_seen() -> None:
    """A finger of coverage 200 before a forearm that it hides: the pixel is the finger's, in image and target alike."""
    finger, arm = np.full((7, 7, 4), 255, np.uint8), np.full((7, 7, 4), 90, np.uint8)
    finger[..., :3], finger[3, 3] = 40, (100, 100, 100, 200)
    arm[..., 3] = 255
    layers = (
        Layer(finger, np.full((7, 7), 0.3, np.float32)),
        Layer(arm, np.full((7, 7), 0.5, np.float32), forearm=np.ones((7, 7), bool)),
    )
    c = compose(layers, np.ones((7, 7), bool), np.zeros((7, 7, 3), np.uint8))
    assert c.image_rgb[3, 3].tolist() == c.target_rgb[0, 3, 3].tolist() == [127, 127, 127]
    assert not c.changed_mask[0].any()
    assert not c.forearm_mask.any()


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
