"""SHPE, single-hand pose: DetNet, which gives heat, delta and location maps of 21 joints.

Source: Zhou et al., Monocular Real-time Hand Shape and Motion Capture (CVPR 2020), section 3.1, in HDR's released form.
Joints are in keypoint order, of a right hand; location: (joint - wrist) / length of the bone from wrist to middle MCP;
delta: unit vector from the parent.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aih_builder.hdr.settings import ShpeNet

JOINTS = 21
STRIDE = 4  # crop pixels per cell of a map


class ShpeMaps(NamedTuple):
    """What DetNet gives, at a quarter of the crop's resolution."""

    heat: Tensor  # logits (B, 21, h, w)
    delta: Tensor  # (B, 21, 3, h, w)
    location: Tensor  # (B, 21, 3, h, w)


class _Plan(NamedTuple):
    stem: int
    widths: tuple[int, int, int]  # of the three stages
    depths: tuple[int, int, int]
    features: int  # channels of the map that the heads read
    hidden: int  # channels inside a head
    init_std: float  # of convolutions; 0: Kaiming's
    heat_bias: float  # logit with which heat maps begin


_PLANS = {
    "paper": _Plan(64, (256, 512, 1024), (2, 4, 6), 256, 256, 0.001, 0.0),
    # Most cells of a heat map are empty: few steps should not go into learning that.
    "tiny": _Plan(12, (32, 48, 64), (1, 2, 3), 32, 24, 0.0, -5.0),
}


class Shpe(nn.Module):
    """Picture of one right hand (B, 3, H, W), ImageNet-normalised -> ShpeMaps."""

    def __init__(self, net: ShpeNet) -> None:
        super().__init__()
        plan = _PLANS[net.size]
        one, two, three = plan.widths
        self.stem = nn.Sequential(nn.Conv2d(3, plan.stem, 7, 2, 3, bias=False), *_norm_relu(plan.stem))
        self.stage1 = _stage(plan.stem, one, plan.depths[0], dilation=1)
        self.halve = _Bottleneck(one, one, stride=2)
        self.stage2 = _stage(one, two, plan.depths[1], dilation=2)
        self.stage3 = _stage(two, three, plan.depths[2], dilation=4)
        self.squeeze = nn.Sequential(
            nn.Conv2d(three, plan.features, 3, padding=1, bias=False), *_norm_relu(plan.features)
        )
        inward = plan.features + 2
        self.heat = _head(inward, plan.hidden, JOINTS)
        self.delta = _head(inward + JOINTS, plan.hidden, 3 * JOINTS)
        self.location = _head(inward + 4 * JOINTS, plan.hidden, 3 * JOINTS)
        nn.init.constant_(self.heat[-1].bias, plan.heat_bias)  # pyright: ignore[reportArgumentType]
        if plan.init_std:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, std=plan.init_std)

    def forward(self, picture: Tensor) -> ShpeMaps:
        x = self.halve(self.stage1(self.stem(picture)))
        x = self.squeeze(self.stage3(self.stage2(x)))  # (B, features, H / 4, W / 4)
        x = torch.cat([x, _coordinates(x)], dim=1)
        heat = self.heat(x)
        x = torch.cat([x, torch.sigmoid(heat)], dim=1)
        delta = self.delta(x)
        location = self.location(torch.cat([x, delta], dim=1))
        return ShpeMaps(heat, delta.unflatten(1, (JOINTS, 3)), location.unflatten(1, (JOINTS, 3)))


class ShpeJoints(NamedTuple):
    """What is read off the maps."""

    crop_px: Tensor  # (B, 21, 2), x then y, pixels of the crop
    location: Tensor  # (B, 21, 3), of the reference bone's length, relative to the wrist
    score: Tensor  # (B, 21): the heat map's value at its peak, 0 to 1


def read_out(maps: ShpeMaps, refine: bool = False) -> ShpeJoints:
    """Joints at the peaks of the heat maps.

    A peak's pixel is the centre of its cell; refine moves it, by half a cell at most each way, to the top of the
    Gaussian through that cell and its neighbours: exact for a heat target. The location is gathered at the peak's cell.
    """
    columns = maps.heat.shape[-1]
    peak, cell = maps.heat.float().flatten(2).max(dim=2)  # (B, 21)
    index = cell[:, :, None, None].expand(-1, -1, 3, 1)
    location = maps.location.flatten(3).gather(3, index)[..., 0]
    place = torch.stack([cell % columns, torch.div(cell, columns, rounding_mode="floor")], dim=-1).float()
    if refine:
        place = place + _offset(F.logsigmoid(maps.heat.float()), cell)
    location = location - location[:, :1]
    return ShpeJoints((place + 0.5) * STRIDE - 0.5, location, torch.sigmoid(peak))


def _offset(log_heat: Tensor, cell: Tensor) -> Tensor:
    """Offset (B, 21, 2), in cells, from a peak to the top of the parabolas through its neighbours; 0 along a border."""
    rows, columns = log_heat.shape[-2:]
    flat = log_heat.flatten(2)
    x, y = cell % columns, torch.div(cell, columns, rounding_mode="floor")
    offsets = []
    for step, inner in ((1, (x > 0) & (x < columns - 1)), (columns, (y > 0) & (y < rows - 1))):
        around = torch.stack([cell - step, cell, cell + step], dim=-1).clamp(0, rows * columns - 1)
        before, top, after = flat.gather(2, around).unbind(dim=-1)
        offsets.append(inner * 0.5 * (after - before) / (2 * top - before - after).clamp(min=1e-6))
    return torch.stack(offsets, dim=-1)


class _Bottleneck(nn.Module):
    """ResNet's; with stride 2 the shortcut is a 2 x 2 maximum."""

    def __init__(self, inward: int, outward: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        middle = outward // 4
        self.layers = nn.Sequential(
            nn.Conv2d(inward, middle, 1, bias=False), *_norm_relu(middle),
            nn.Conv2d(middle, middle, 3, stride, dilation, dilation, bias=False), *_norm_relu(middle),
            nn.Conv2d(middle, outward, 1, bias=False), nn.BatchNorm2d(outward),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = nn.MaxPool2d(2)
        elif inward != outward:
            self.shortcut = nn.Sequential(nn.Conv2d(inward, outward, 1, bias=False), nn.BatchNorm2d(outward))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layers(x) + self.shortcut(x))


def _stage(inward: int, outward: int, depth: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        *(_Bottleneck(inward if k == 0 else outward, outward, dilation=dilation) for k in range(depth))
    )


def _norm_relu(width: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def _head(inward: int, hidden: int, outward: int) -> nn.Sequential:
    last = nn.Conv2d(hidden, outward, 1)
    return nn.Sequential(nn.Conv2d(inward, hidden, 3, padding=1, bias=False), *_norm_relu(hidden), last)


def _coordinates(x: Tensor) -> Tensor:
    """Two channels (B, 2, h, w): x then y, from -1 to 1."""
    batch, _, rows, columns = x.shape
    across = torch.linspace(-1, 1, columns, device=x.device, dtype=x.dtype).expand(batch, 1, rows, columns)
    down = torch.linspace(-1, 1, rows, device=x.device, dtype=x.dtype)[:, None].expand(batch, 1, rows, columns)
    return torch.cat([across, down], dim=1)
