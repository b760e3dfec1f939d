"""How most copy-paste augmentations composite: floats, a warp for each of colour and mask, colour jitter in HSV."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from aih_builder.geometry import FloatArray
from aih_builder.imaging import ImageU8


def naive(
    pairs: list[tuple[ImageU8, ImageU8]],
    affines: list[tuple[FloatArray, FloatArray]],
    backgrounds: list[ImageU8],
    size_px: int,
) -> Callable[[int], dict[str, Any]]:
    """A function that composites pair i of pictures (S, S, 4), right over left, on background i."""

    def draw(i: int) -> dict[str, Any]:
        background = backgrounds[i].astype(np.float32)
        cut = []
        for rgba, affine in zip(pairs[i], affines[i], strict=True):
            hsv = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2HSV).astype(np.float32)
            hsv[..., 0] = (hsv[..., 0] + 3) % 180
            hsv[..., 1] = np.clip(hsv[..., 1] * 1.05, 0, 255)
            rgb = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
            rgb = np.clip(rgb * 1.1, 0, 255)
            mask = (rgba[..., 3] >= 128).astype(np.uint8) * 255
            moved = cv2.warpAffine(rgb, affine, (size_px, size_px), flags=cv2.INTER_LINEAR)
            moved_mask = cv2.warpAffine(mask, affine, (size_px, size_px), flags=cv2.INTER_NEAREST)
            alpha = cv2.GaussianBlur(moved_mask.astype(np.float32) / 255, (5, 5), 0)[..., None]
            cut.append((moved, moved_mask > 127, alpha))
        (right, mask_r, alpha_r), (left, mask_l, alpha_l) = cut
        only_r = alpha_r * right + (1 - alpha_r) * background
        only_l = alpha_l * left + (1 - alpha_l) * background
        both = alpha_r * right + (1 - alpha_r) * only_l
        return {
            "image": both.astype(np.uint8), "right": only_r.astype(np.uint8), "left": only_l.astype(np.uint8),
            "amodal": (mask_r, mask_l), "visible": (mask_r, mask_l & ~mask_r),
        }  # fmt: skip

    return draw
