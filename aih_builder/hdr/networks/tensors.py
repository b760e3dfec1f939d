"""Pictures as networks take them: bytes to ImageNet-normalised floats, and back."""

import torch
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def as_input(pictures: Tensor) -> Tensor:
    """Pictures (B, H, W, 3) u8 -> (B, 3, H, W) float32, normalised, channels last in memory."""
    scale = pictures.new_tensor([255 * s for s in STD], dtype=torch.float32)
    shift = pictures.new_tensor([255 * m for m in MEAN], dtype=torch.float32)
    return ((pictures.float() - shift) / scale).permute(0, 3, 1, 2)


def as_pictures(inputs: Tensor) -> Tensor:
    """The inverse: (B, 3, H, W) -> (B, H, W, 3) u8, rounded half up, clipped."""
    x = inputs.detach().float().permute(0, 2, 3, 1)
    levels = (x * x.new_tensor(STD) + x.new_tensor(MEAN)) * 255
    return torch.floor(levels + 0.5).clamp(0, 255).to(torch.uint8)
