"""HASM, hand amodal segmentation: a SegFormer encoder and an all-MLP head that ends in four fusion branches.

Source: HDR (ECCV 2022), section 3.2; SegFormer (NeurIPS 2021), section 3. Four branches, one for each hand's amodal and
visible mask, repeat what stock SegFormer has once: fusion convolution, dropout, classifier. The classifiers give one
logit where the released model gives two: cross-entropy of two logits is binary cross-entropy of their difference.
"""

import logging
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerModel

from aih_builder.errors import AssetError
from aih_builder.hdr.settings import HasmNet

log = logging.getLogger(__name__)

_BIAS = -2.0  # logit with which masks begin: a hand covers about a tenth of its crop
HANDS, KINDS = 2, 2  # right, left; amodal, visible

# Dimensions of the four stages, their depths and heads.
_ENCODERS: dict[str, tuple[list[int], list[int], list[int]]] = {
    "tiny": ([16, 32, 96, 160], [1, 1, 3, 2], [1, 1, 3, 5]),
    "b0": ([32, 64, 160, 256], [2, 2, 2, 2], [1, 2, 5, 8]),
    "b1": ([64, 128, 320, 512], [2, 2, 2, 2], [1, 2, 5, 8]),
    "b2": ([64, 128, 320, 512], [3, 4, 6, 3], [1, 2, 5, 8]),
    "b3": ([64, 128, 320, 512], [3, 4, 18, 3], [1, 2, 5, 8]),
    "b4": ([64, 128, 320, 512], [3, 8, 27, 3], [1, 2, 5, 8]),
    "b5": ([64, 128, 320, 512], [3, 6, 40, 3], [1, 2, 5, 8]),
}
_HEADS = ("classifier.", "decode_head.")  # of models that published files hold beside the encoder


class Hasm(nn.Module):
    """Image (B, 3, H, W), ImageNet-normalised -> logits (B, 2 hands, 2 kinds, H, W): right, left; amodal, visible.

    Sides are multiples of 32 px.
    """

    def __init__(self, net: HasmNet) -> None:
        super().__init__()
        dims, depths, heads = _ENCODERS[net.encoder]
        self.encoder = _encoder(net, dims, depths, heads)
        width = net.head_width
        self.project = nn.ModuleList(_conv_bn(dim, width) for dim in dims)
        self.branches = nn.ModuleList(_branch(len(dims) * width, width, net.dropout) for _ in range(HANDS * KINDS))

    def forward(self, image: Tensor) -> Tensor:
        stages = self.encoder(image, output_hidden_states=True).hidden_states  # (B, dim, H / 4 ... H / 32)
        size = stages[0].shape[-2:]
        maps = [
            F.interpolate(project(stage), size=size, mode="bilinear", align_corners=False)
            for project, stage in zip(self.project, stages, strict=True)
        ]
        joined = torch.cat(maps, dim=1)  # (B, 4 width, H / 4, W / 4)
        logits = torch.cat([branch(joined) for branch in self.branches], dim=1)  # (B, 4, H / 4, W / 4)
        logits = F.interpolate(logits, size=image.shape[-2:], mode="bilinear", align_corners=False)
        return logits.unflatten(1, (HANDS, KINDS))


def _encoder(net: HasmNet, dims: list[int], depths: list[int], heads: list[int]) -> SegformerModel:
    config = SegformerConfig(
        hidden_sizes=dims, depths=depths, num_attention_heads=heads, drop_path_rate=net.drop_path
    )  # fmt: skip
    if net.weights == "none":  # asked for, or a checkpoint's are about to be loaded
        return _from_scratch(config)
    if net.weights == "auto" and net.encoder == "tiny":
        log.info("HASM: encoder %s starts from scratch", net.encoder)
        return _from_scratch(config)
    source = str(net.weights) if isinstance(net.weights, Path) else f"nvidia/mit-{net.encoder}"
    try:
        encoder = _loaded(source, config, local=isinstance(net.weights, Path))
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        if net.weights != "auto":
            raise AssetError(
                f"HASM: the encoder's weights {source} could not be loaded ({reason}). Name a folder that "
                "transformers' save_pretrained wrote for this encoder, or set hasm.weights to none."
            ) from error
        log.warning("HASM: no weights %s (%s); encoder %s starts from scratch", source, reason, net.encoder)
        return _from_scratch(config)
    log.info("HASM: encoder %s starts from the weights %s", net.encoder, source)
    return encoder


def _from_scratch(config: SegformerConfig) -> SegformerModel:
    """An encoder whose layers keep the size of what they are given: transformers' weights are of one size, 0.02, which
    suits wide layers that were trained before; narrow ones hardly learn from there.
    """
    encoder = SegformerModel(config)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(
                module.weight, std=(2 * module.groups / module.weight[0, 0].numel() / module.out_channels) ** 0.5
            )
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
    return encoder


def _loaded(source: str, config: SegformerConfig, local: bool) -> SegformerModel:
    """The encoder with all of its weights; transformers itself would draw what a file lacks and pass over the rest."""
    from safetensors import SafetensorError  # comes with transformers

    try:
        encoder, report = SegformerModel.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            source, config=config, local_files_only=local, output_loading_info=True
        )
    except SafetensorError as error:
        raise ValueError(f"damaged: {error}") from error
    surplus = [key for key in report["unexpected_keys"] if not key.startswith(_HEADS)]
    if report["missing_keys"] or surplus:
        raise ValueError(f"{len(report['missing_keys'])} tensors are missing, {len(surplus)} have no place")
    return encoder


def _conv_bn(inward: int, outward: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inward, outward, 1, bias=False), nn.BatchNorm2d(outward), nn.ReLU(inplace=True))


def _branch(inward: int, width: int, dropout: float) -> nn.Sequential:
    classifier = nn.Conv2d(width, 1, 1)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.constant_(classifier.bias, _BIAS)  # pyright: ignore[reportArgumentType]
    return nn.Sequential(*_conv_bn(inward, width), nn.Dropout2d(dropout), classifier)
