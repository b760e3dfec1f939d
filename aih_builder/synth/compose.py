"""The one compositor: two layers, an order per pixel and a background give the image, the targets and all masks.

The image shows hands as they look beside each other, the targets as they look alone.

Blending is premultiplied, in sRGB, in integers. A layer's faint pixels (coverage < 0.5) that lie farther than `reach`
from its amodal mask and forearm are dropped, so what a hand changes stays that near to it. And where nothing within
`reach` is amodal or a forearm that is seen, a forearm behind the other hand does not shine through its edge: that pixel
counts as full.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aih_builder.compiled import compiled
from aih_builder.imaging import ImageU8
from aih_builder.invariants import RENDER_REACH_PX
from aih_builder.pixels import put_where
from aih_builder.sample import Mask
from aih_builder.synth.renderers.base import AMODAL_ALPHA, Layer


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """What the compositor makes. Hand axis: 0 right, 1 left."""

    image_rgb: ImageU8  # (H, W, 3)
    target_rgb: ImageU8  # (2, H, W, 3) each hand alone over the background
    changed_mask: Mask  # (2, H, W) where the target differs from the image, or M_D or M_R is set
    amodal_mask: Mask  # (2, H, W)
    visible_mask: Mask  # (2, H, W)
    forearm_mask: Mask  # (2, H, W) visible forearm

    @property
    def seen_mask(self) -> Mask:
        """What is seen of each hand and its forearm, bool (2, H, W)."""
        return self.visible_mask | self.forearm_mask


def right_in_front_by_depth(layers: tuple[Layer | None, Layer | None]) -> Mask:
    """Where the right hand's front surface is nearer than, or as near as, the left's: bool (H, W)."""
    right, left = layers
    if right is None or left is None:
        present = right or left
        if present is None:
            raise ValueError("no layer is given")
        return np.full(present.depth_m.shape, right is not None)
    return right.depth_m <= left.depth_m


def compose(
    layers: tuple[Layer | None, Layer | None],
    right_in_front: Mask,
    background_rgb: ImageU8,
    reach_px: int = RENDER_REACH_PX,
) -> Composite:
    """Blend the layers over background_rgb (H, W, 3); right_in_front (H, W) orders them where both are.

    A faint pixel counts within reach_px of the layer's amodal mask.
    """
    height, width = background_rgb.shape[:2]
    empty = np.zeros((height, width, 4), np.uint8)
    right, left = (empty if layer is None else layer.rgba for layer in layers)
    beside_r, beside_l = (
        alone if layer is None or layer.beside_rgba is None else layer.beside_rgba
        for layer, alone in zip(layers, (right, left), strict=True)
    )
    # Where no hand is, all pictures are the background: copied at once, so that the kernel visits the hands alone.
    image = background_rgb.copy()
    targets = np.empty((2, height, width, 3), np.uint8)
    targets[:] = background_rgb
    masks = np.zeros((4, 2, height, width), np.bool_)
    arms = [None if layer is None else layer.forearm for layer in layers]
    with_arms = any(arm is not None for arm in arms)
    size = (height, width) if with_arms else (0, 0)
    arm_right, arm_left = (np.zeros(size, np.bool_) if arm is None else arm for arm in arms)
    _compose(
        right, left, beside_r, beside_l, arm_right, arm_left, right_in_front, background_rgb, reach_px,
        image, targets, masks[0], masks[1], masks[2], masks[3],
        any(layer is not None and layer.beside_rgba is not None for layer in layers),
    )  # fmt: skip
    return Composite(image, targets, masks[0], masks[1], masks[2], masks[3])


def front_surface(layers: tuple[Layer | None, Layer | None], composite: Composite) -> NDArray[np.float32]:
    """Depth (H, W) in metres of the hand or forearm that is seen at each pixel; 0 where none is."""
    depth_m = np.zeros(composite.image_rgb.shape[:2], np.float32)
    for layer, seen in zip(layers, composite.seen_mask, strict=True):
        if layer is not None:
            put_where(seen, layer.depth_m, depth_m)
    return depth_m


@compiled
def _alpha(rgba, y, x, reach):
    """Coverage of a pixel, or 0 where it is faint and none within reach is amodal."""
    alpha = np.int32(rgba[y, x, 3])
    if alpha == 0 or alpha >= AMODAL_ALPHA:
        return alpha
    for v in range(max(y - reach, 0), min(y + reach + 1, rgba.shape[0])):
        for u in range(max(x - reach, 0), min(x + reach + 1, rgba.shape[1])):
            if rgba[v, u, 3] >= AMODAL_ALPHA:
                return alpha
    return np.int32(0)


@compiled
def _over(colour, alpha, below):
    if alpha == 0:
        return np.int32(below)
    return min(np.int32(colour) + (np.int32(below) * (255 - alpha) + 127) // 255, 255)


@compiled
def _known_near(own, other, own_arm, own_first, flip, y, x, reach):
    """Whether a pixel within reach is amodal of a hand, or shows its forearm. flip: own_first tells of the other."""
    for v in range(max(y - reach, 0), min(y + reach + 1, own.shape[0])):
        for u in range(max(x - reach, 0), min(x + reach + 1, own.shape[1])):
            if own[v, u, 3] < AMODAL_ALPHA:
                continue
            first = own_first[v, u] != flip
            if not own_arm[v, u] or first or other[v, u, 3] < AMODAL_ALPHA:
                return True
    return False


@compiled
def _alone(rgba, alpha, y, x, c, background):
    """A pixel of one hand; as if it covered it all, where it covers half."""
    if alpha >= AMODAL_ALPHA:
        return min(np.int32(rgba[y, x, c]) * 255 // alpha, 255)
    return _over(rgba[y, x, c], alpha, background[y, x, c])


@compiled
def _compose(
    right, left, beside_r, beside_l, arm_right, arm_left, right_in_front, background, reach,
    image, targets, changed, amodal, visible, forearm, shaded,
):  # fmt: skip
    height, width = background.shape[:2]
    with_arms = arm_right.shape[0] > 0
    for y in range(height):
        for x in range(width):
            if right[y, x, 3] == 0 and left[y, x, 3] == 0:
                continue
            ar, al = _alpha(right, y, x, reach), _alpha(left, y, x, reach)
            whole_r, whole_l = ar >= AMODAL_ALPHA, al >= AMODAL_ALPHA
            right_first = right_in_front[y, x]
            seen_r = whole_r and (right_first or not whole_l)
            seen_l = whole_l and (not right_first or not whole_r)
            is_arm_r, is_arm_l = with_arms and arm_right[y, x], with_arms and arm_left[y, x]
            amodal[0, y, x], amodal[1, y, x] = whole_r and not is_arm_r, whole_l and not is_arm_l
            visible[0, y, x], visible[1, y, x] = seen_r and not is_arm_r, seen_l and not is_arm_l
            forearm[0, y, x], forearm[1, y, x] = seen_r and is_arm_r, seen_l and is_arm_l
            # What is seen of the other hand is what a target must change: M_D or M_R.
            differs_r, differs_l = seen_l, seen_r
            right_shows, left_shows = False, False  # whether a hand, unshaded, changes what the other's target shows
            for c in range(3):
                b = background[y, x, c]
                only_r, only_l = _over(right[y, x, c], ar, b), _over(left[y, x, c], al, b)
                plain = _over(right[y, x, c], ar, only_l) if right_first else _over(left[y, x, c], al, only_r)
                both = plain
                if shaded and right_first:
                    both = _over(beside_r[y, x, c], ar, _over(beside_l[y, x, c], al, b))
                elif shaded:
                    both = _over(beside_l[y, x, c], al, _over(beside_r[y, x, c], ar, b))
                right_shows, left_shows = right_shows or plain != only_l, left_shows or plain != only_r
                differs_r, differs_l = differs_r or both != only_r, differs_l or both != only_l
                targets[0, y, x, c], targets[1, y, x, c], image[y, x, c] = only_r, only_l, both
            if with_arms:
                # A forearm that is hidden leaves no mask: here its hand must change nothing.
                side = -1
                if right_shows and not _known_near(right, left, arm_right, right_in_front, False, y, x, reach):
                    side = 1
                elif left_shows and not _known_near(left, right, arm_left, right_in_front, True, y, x, reach):
                    side = 0
                if side >= 0:
                    layer, beside, alpha = (left, beside_l, al) if side == 1 else (right, beside_r, ar)
                    differs_r, differs_l = seen_l, seen_r
                    for c in range(3):
                        targets[side, y, x, c] = _alone(layer, alpha, y, x, c, background)
                        image[y, x, c] = _alone(beside, alpha, y, x, c, background)
                        differs_r = differs_r or image[y, x, c] != targets[0, y, x, c]
                        differs_l = differs_l or image[y, x, c] != targets[1, y, x, c]
            changed[0, y, x], changed[1, y, x] = differs_r, differs_l
