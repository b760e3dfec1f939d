"""Partial convolution: only valid inputs count, and validity grows with depth.

Source: Liu et al., Image Inpainting for Irregular Holes Using Partial Convolutions (ECCV 2018), in the form that HDR
uses: the sum over valid inputs is divided by their number, over all channels and the window.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Part = tuple[Tensor, Tensor]  # features (B, C, H, W) and their validity in {0, 1}, (B, C or 1, H, W)


class PartialConv(nn.Module):
    """y = W * (x m) / (1 * m) + b, and 0 where no input is valid; new validity: whether any input was.

    window_gain multiplies by the number of inputs of a full window, so that y has the size of an ordinary convolution's
    output. HDR's released generator goes without; networks trained from scratch need it, since Adam's steps are of one
    size whatever that of the weights.
    """

    def __init__(
        self, inward: int, outward: int, kernel: int, stride: int, *, bias: bool = False, window_gain: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inward, outward, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, a=0, mode="fan_in")
        self.bias = nn.Parameter(torch.zeros(outward)) if bias else None
        self.register_buffer("window", torch.ones(1, 1, kernel, kernel), persistent=False)
        self._gain = float(inward * kernel * kernel) if window_gain else 1.0

    def forward(self, *parts: Part) -> Part:
        """Parts are concatenated along the channels. Returns features (B, outward, H', W') and their validity."""
        x = torch.cat([features * valid for features, valid in parts], dim=1)
        # Channels that are valid at each pixel; a validity of one channel stands for all of its part.
        seen = sum(valid.sum(1, keepdim=True) * (f.shape[1] / valid.shape[1]) for f, valid in parts)
        with torch.no_grad():
            count = F.conv2d(seen, self.window, stride=self.conv.stride, padding=self.conv.padding)  # pyright: ignore
            valid = (count > 0.5).to(x.dtype)
            share = self._gain * valid / count.clamp(min=1.0)
        y = self.conv(x) * share
        if self.bias is not None:
            y = y + self.bias.view(1, -1, 1, 1) * valid
        return y, valid
