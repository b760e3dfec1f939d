"""HDRM, hand de-occlusion and removal: a partial-convolution U-Net with transformer blocks, and a PatchGAN.

Source: HDR (ECCV 2022), section 3.3; sizes and inputs as in the released network classes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from aih_builder.hdr.networks.attention import TransformerBlock
from aih_builder.hdr.networks.partial_conv import Part, PartialConv
from aih_builder.hdr.settings import HdrmNet


class HdrmInput(NamedTuple):
    """What HDRM is given of a crop whose target is a right hand."""

    image: Tensor  # (B, 3, H, W), ImageNet-normalised
    M_D: Tensor  # (B, 1, H, W) in {0, 1}: the target, hidden
    M_R: Tensor  # the other hand outside the target
    M_rv: Tensor  # the target, visible
    M_bv: Tensor  # background


class _Block(NamedTuple):
    heads: int
    mlp_ratio: int
    reduction: int


class _Plan(NamedTuple):
    widths: tuple[int, ...]  # of the encoder's levels
    discriminator: tuple[int, ...]
    window_gain: bool
    blocks: dict[str, _Block]  # where a transformer block stands


_WIDE, _DEEP = _Block(2, 8, 4), _Block(8, 4, 1)
_PLANS = {
    "paper": _Plan(
        (64, 128, 256, 512, 512, 512, 512, 512), (64, 128, 256, 512), False,
        {"encoder 3": _WIDE, "encoder 5": _DEEP, "decoder 5": _DEEP, "decoder 3": _WIDE},
    ),
    "tiny": _Plan(
        (12, 24, 48, 96, 96, 96), (12, 24, 48, 64), True,
        {"encoder 3": _Block(2, 2, 2), "encoder 5": _Block(4, 2, 1),
         "decoder 5": _Block(4, 2, 1), "decoder 3": _Block(2, 2, 4)},
    ),
}  # fmt: skip
_KERNELS = (7, 5, 5)  # of the first levels; 3 from there on
_INPUTS = 8  # I_D, M_rv, I_R, M_bv
_OUTPUTS = 3


class Generator(nn.Module):
    """HdrmInput -> the target hand alone, (B, 3, H, W), ImageNet-normalised, not clamped.

    Sides are multiples of 2^levels (256 for `paper`, 64 for `tiny`).
    """

    def __init__(self, net: HdrmNet) -> None:
        super().__init__()
        plan = _PLANS[net.size]
        widths, gain = plan.widths, plan.window_gain
        inward = (_INPUTS, *widths[:-1])
        kernels = _KERNELS + (3,) * (len(widths) - len(_KERNELS))
        self.encoders = nn.ModuleList(
            PartialConv(inward[k], widths[k], kernels[k], 2, window_gain=gain) for k in range(len(widths))
        )
        self.encoder_norms = nn.ModuleList(
            nn.BatchNorm2d(width) if k else nn.Identity() for k, width in enumerate(widths)
        )
        # Decoder k takes level k + 1's map, enlarged, and the encoder's input at level k.
        outward = (_OUTPUTS, *inward[1:])
        self.decoders = nn.ModuleList(
            PartialConv(widths[k] + inward[k], outward[k], 3, 1, bias=k == 0, window_gain=gain)
            for k in range(len(widths))
        )
        self.decoder_norms = nn.ModuleList(
            nn.BatchNorm2d(width) if k else nn.Identity() for k, width in enumerate(outward)
        )
        self.blocks = nn.ModuleDict()
        if net.transformer:
            for place, block in plan.blocks.items():
                stage, level = place.split()
                dim = widths[int(level) - 1] if stage == "encoder" else outward[int(level) - 1]
                self.blocks[place] = TransformerBlock(dim, *block)

    def forward(self, given: HdrmInput) -> Tensor:
        keep_d, keep_r = 1 - given.M_D, 1 - given.M_R
        x = torch.cat([given.image * keep_d, given.M_rv, given.image * keep_r, given.M_bv], dim=1)
        x = x.contiguous(memory_format=torch.channels_last)
        valid = torch.cat([keep_d.expand(-1, 4, -1, -1), keep_r.expand(-1, 4, -1, -1)], dim=1)
        skips: list[Part] = [(x, valid)]
        for level, (conv, norm) in enumerate(zip(self.encoders, self.encoder_norms, strict=True), 1):
            x, valid = conv(skips[-1])
            x = self._attend(f"encoder {level}", F.relu(norm(x)))
            skips.append((x, valid))
        x, valid = skips.pop()
        for k in reversed(range(len(self.decoders))):
            larger = (F.interpolate(x, scale_factor=2.0), F.interpolate(valid, scale_factor=2.0))
            x, valid = self.decoders[k](larger, skips.pop())
            if k:
                x = self._attend(f"decoder {k + 1}", F.leaky_relu(self.decoder_norms[k](x), 0.2))
        return x

    def _attend(self, place: str, x: Tensor) -> Tensor:
        return self.blocks[place](x) if place in self.blocks else x


class Discriminator(nn.Module):
    """Picture (B, 3, H, W), M_rv and M_bv (B, 1, H, W) -> logits of patches (B, 1, H / 8 - 2, W / 8 - 2)."""

    def __init__(self, net: HdrmNet) -> None:
        super().__init__()
        widths = (_OUTPUTS + 2, *_PLANS[net.size].discriminator, 1)
        strides = (2, 2, 2, 1, 1)
        layers: list[nn.Module] = []
        for k, stride in enumerate(strides):
            conv = nn.Conv2d(widths[k], widths[k + 1], 4, stride, 1, bias=False)
            nn.init.normal_(conv.weight, std=0.02)
            layers += [spectral_norm(conv), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, picture: Tensor, M_rv: Tensor, M_bv: Tensor) -> Tensor:
        return self.layers(torch.cat([picture, M_rv, M_bv], dim=1))


def composite(given: HdrmInput, output: Tensor, grown_px: int = 0) -> Tensor:
    """The image outside the holes M_D and M_R, the generator's output inside: (B, 3, H, W).

    grown_px: the holes are dilated by so many pixels first, with an elliptical window of side 2 grown_px + 1.
    """
    hole = torch.maximum(given.M_D, given.M_R)
    if grown_px:
        hole = _dilated(hole, grown_px)
    return (1 - hole) * given.image + hole * output


def _dilated(mask: Tensor, pixels: int) -> Tensor:
    y, x = torch.meshgrid(*[torch.arange(-pixels, pixels + 1, device=mask.device)] * 2, indexing="ij")
    disc = (x * x + y * y <= (pixels + 0.25) ** 2).to(mask.dtype)[None, None]
    return (F.conv2d(mask, disc, padding=pixels) > 0.5).to(mask.dtype)
