"""Small untrained checkpoints of HDR's modules, as `aih train` would have written them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from aih_builder.hdr.checkpoint import LAST, Checkpoint, save
from aih_builder.hdr.networks.hasm import Hasm
from aih_builder.hdr.networks.hdrm import Generator
from aih_builder.hdr.networks.shpe import Shpe
from aih_builder.hdr.settings import ModuleName, Training, parse_training

SIDE_PX = 64
BONE_MM = 91.5
POSE = {"mean_bone_mm": BONE_MM, "mean_location": [[0.0, 0.0, 0.1 * k] for k in range(21)]}


class Biases(NamedTuple):
    """Of HASM's four classifiers: over 0 sees the hand everywhere, below nowhere."""

    right_amodal: float = -50.0
    right_visible: float = 0.0
    left_amodal: float = -50.0
    left_visible: float = 0.0


NO_HAND, RIGHT_HAND, LEFT_HAND = Biases(), Biases(right_amodal=50.0), Biases(left_amodal=50.0)
TWO_HANDS = Biases(right_amodal=50.0, right_visible=50.0, left_amodal=50.0, left_visible=-50.0)


def write_models(folder: Path, biases: Biases | None = NO_HAND, *, side_px: int = SIDE_PX, seed: int = 0) -> Path:
    """Folders hasm, hdrm and shpe. Without biases HASM's masks follow the image, about half of it each."""
    torch.manual_seed(seed)
    hasm, hdrm, shpe = (training(module, side_px) for module in ("hasm", "hdrm", "shpe"))
    network = Hasm(hasm.hasm)
    with torch.no_grad():
        for branch, bias in zip(network.branches, biases or (0.0,) * 4, strict=True):
            classifier = branch[-1]  # pyright: ignore[reportIndexIssue]
            classifier.bias.fill_(bias)
            if biases is None:
                nn.init.normal_(classifier.weight, std=3.0)
    write_checkpoint(folder / "hasm", hasm, {"hasm": network})
    write_checkpoint(folder / "hdrm", hdrm, {"generator": Generator(hdrm.hdrm)})
    write_checkpoint(folder / "shpe", shpe, {"shpe": Shpe(shpe.shpe)}, POSE)
    return folder


def training(module: ModuleName, side_px: int = SIDE_PX) -> Training:
    """The configuration of a small run."""
    content = {
        "schema": 1, "module": module, "data": {"path": "data"}, "input_px": side_px, "steps": 1,
        "hasm": {"encoder": "tiny", "weights": "none", "head_width": 16}, "hdrm": {"size": "tiny"},
        "shpe": {"size": "tiny"}, "optimiser": {"learning_rate": 0.001},
    }  # fmt: skip
    return parse_training(content, where="test", folder=Path("there"))


def write_checkpoint(
    folder: Path, settings: Training, networks: Mapping[str, nn.Module], data: dict[str, Any] | None = None
) -> None:
    """One checkpoint, as last.pt in a folder."""
    states = {name: network.state_dict() for name, network in networks.items()}
    save(Checkpoint(settings, 1, states, {}, [], data or {}), folder / LAST)
