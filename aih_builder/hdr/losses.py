"""Losses of the three modules. Source: HDR (ECCV 2022), section 3; where they differ, the released classes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from aih_builder.hands.conventions import KEYPOINT_PARENTS
from aih_builder.hdr.networks.hdrm import HdrmInput, composite
from aih_builder.hdr.networks.shpe import STRIDE, ShpeMaps
from aih_builder.hdr.networks.vgg import VggFeatures
from aih_builder.hdr.settings import HdrmLosses, ShpeLosses

Terms = dict[str, Tensor]  # a term by name, its weight applied

_HEAT_SIGMA = 2.5 / 64  # of the heat map's side
_CUT = 3.0  # sigmas at which a heat target ends


def hasm_loss(logits: Tensor, masks: Tensor, inside: Tensor) -> Terms:
    """Binary cross-entropy of each of the four masks, (B, 2, 2, H, W), over what lies inside the image (B, H, W)."""
    each = F.binary_cross_entropy_with_logits(logits.float(), masks, reduction="none")
    share = inside[:, None, None]
    means = (each * share).sum(dim=(0, 3, 4)) / share.sum().clamp(min=1)  # (hand, kind)
    names = [[f"{hand} {kind}" for kind in ("amodal", "visible")] for hand in ("right", "left")]
    return {names[h][k]: means[h, k] for h in (0, 1) for k in (0, 1)}


class HdrmLoss:
    """The generator's reconstruction terms; the adversarial one needs the discriminator and is added by training."""

    def __init__(self, weights: HdrmLosses, vgg: VggFeatures | None) -> None:
        self.weights, self.vgg = weights, vgg

    def __call__(self, given: HdrmInput, output: Tensor, target: Tensor) -> Terms:
        """output and target (B, 3, H, W), normalised. L1 means over all pixels, those outside a mask as zeros."""
        w, hole = self.weights, torch.maximum(given.M_D, given.M_R)
        away = (output - target).abs()
        terms: Terms = {}
        if w.form == "paper":
            terms["l1"] = w.hole * away.mean()
        else:
            terms["valid"] = w.valid * ((1 - hole) * away).mean()
            terms["hole"] = w.hole * ((given.M_D * away).mean() + (given.M_R * away).mean())
            if w.tv:
                whole = composite(given, output)
                across, down = whole.diff(dim=3).abs().mean(), whole.diff(dim=2).abs().mean()
                terms["tv"] = w.tv * (across + down)
        if self.vgg is not None and (w.perceptual or w.style):
            terms |= self._features(self.vgg, given, output, target)
        return terms

    def _features(self, vgg: VggFeatures, given: HdrmInput, output: Tensor, target: Tensor) -> Terms:
        if self.weights.features_on == "masked":
            pairs = [(mask * output, mask * target) for mask in (given.M_D, given.M_R)]
        else:
            pairs = [(output, target), (composite(given, output), target)]
        perceptual, style = output.new_zeros(()), output.new_zeros(())
        for found, wanted in pairs:
            for a, b in zip(vgg(found), vgg(wanted), strict=True):
                perceptual = perceptual + (a - b).abs().mean()
                style = style + (gram(a) - gram(b)).abs().mean()
        return {"perceptual": self.weights.perceptual * perceptual, "style": self.weights.style * style}


def gram(features: Tensor) -> Tensor:
    """Gram matrices (B, C, C) of features (B, C, H, W), divided by C H W."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat[0].numel()


def patch_loss(logits: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of a discriminator's patches against all real or all false."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, float(real), dtype=torch.float32))


class ShpeTargets(NamedTuple):
    """What DetNet's maps should be; joints whose heat lies outside the map are invalid."""

    heat: Tensor  # (B, 21, h, w)
    delta: Tensor  # (B, 21, 3)
    location: Tensor  # (B, 21, 3)
    valid: Tensor  # (B, 21) in {0, 1}
    delta_valid: Tensor  # the same of joint and parent; 0 for the wrist


def shpe_targets(batch: dict[str, Tensor], size_px: int) -> ShpeTargets:
    """Targets for a batch of AihDataset's shpe items, with maps of size_px / 4.

    A heat target is a Gaussian about the joint's exact place, with peak 1, cut at 3 sigma; sigma is 2.5 cells of 64.
    """
    cells = size_px // STRIDE
    place = (batch["joints_px"] + 0.5) / STRIDE - 0.5  # cells; the centre of cell (0, 0) lies at (0, 0)
    sigma = _HEAT_SIGMA * cells
    grid = torch.arange(cells, device=place.device, dtype=place.dtype)
    x, y = ((grid - place[..., k, None]) / sigma for k in (0, 1))  # (B, 21, cells)
    square = x[:, :, None, :] ** 2 + y[:, :, :, None] ** 2
    heat = torch.exp(-0.5 * square) * (square <= _CUT**2)
    valid = batch["valid"].to(place.dtype) * (heat.amax(dim=(2, 3)) > 0)
    delta_valid = valid * valid[:, KEYPOINT_PARENTS.clip(0)]
    delta_valid[:, 0] = 0
    return ShpeTargets(heat, batch["delta"], batch["location"], valid, delta_valid)


def shpe_loss(maps: ShpeMaps, targets: ShpeTargets, weights: ShpeLosses) -> Terms:
    """Heat, delta and location terms; the latter two count where the heat target is. All are per valid joint.

    norm: Frobenius norms over the batch, as released. sum: binary cross-entropy of the heat's logits, whose gradient
    does not vanish where the sigmoid is flat, and squared errors; summed over cells.
    """
    heat, valid = maps.heat.float(), targets.valid[..., None, None]
    where = targets.heat[:, :, None]
    delta = (maps.delta.float() - targets.delta[..., None, None]) * where * targets.delta_valid[..., None, None, None]
    location = (maps.location.float() - targets.location[..., None, None]) * where * valid[..., None]
    if weights.kind == "norm":
        sums = [
            torch.sqrt(e.square().sum() + 1e-12)
            for e in ((torch.sigmoid(heat) - targets.heat) * valid, delta, location)
        ]
    else:
        entropy = F.binary_cross_entropy_with_logits(heat, targets.heat, reduction="none")
        sums = [(entropy * valid).sum(), delta.square().sum(), location.square().sum()]
    counts = [targets.valid, targets.delta_valid, targets.valid]
    names = {"heat": weights.heat, "delta": weights.delta, "location": weights.location}
    return {
        name: weight * total / count.sum().clamp(min=1)
        for (name, weight), total, count in zip(names.items(), sums, counts, strict=True)
    }
