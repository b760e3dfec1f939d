"""The three trained networks on a device: arrays in, arrays out. What is between them, pipeline.py does."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aih_builder.errors import ConfigError, TrainingError
from aih_builder.hdr.checkpoint import Checkpoint, load
from aih_builder.hdr.networks.hasm import Hasm
from aih_builder.hdr.networks.hdrm import Generator, HdrmInput, composite
from aih_builder.hdr.networks.shpe import Shpe, read_out
from aih_builder.hdr.networks.tensors import as_input, as_pictures
from aih_builder.hdr.settings import ModuleName
from aih_builder.imaging import ImageU8
from aih_builder.sample import Array, Mask


class Stages:
    """HASM, HDRM and SHPE from their checkpoints, in evaluation mode."""

    def __init__(self, hasm: Path | None, hdrm: Path | None, shpe: Path, device: str) -> None:
        """Raises what HdrPipeline says."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError(f"device {device}: torch finds no CUDA device here. Take cpu or auto.")
        self.device = torch.device(device)
        self.checkpoints: dict[ModuleName, Checkpoint] = {}
        self._hasm = None if hasm is None else self._network(hasm, "hasm")
        self._hdrm = None if hdrm is None else self._network(hdrm, "hdrm")
        self._shpe = self._network(shpe, "shpe")

    def masks(self, crops: ImageU8) -> Array:
        """HASM on crops (B, S, S, 3): shares (B, 2 hands, 2 kinds, S, S) float32 in 0 to 1."""
        if self._hasm is None:
            raise ConfigError("no HASM was given: name its checkpoint, or give masks to `hands`.")
        with torch.inference_mode():
            return torch.sigmoid(self._hasm(as_input(self._tensor(crops)))).float().cpu().numpy()

    def alone(self, crops: ImageU8, masks: Mask, *, deocclusion: bool, removal: bool, grown_px: int) -> Tensor:
        """HDRM's composite on crops (B, S, S, 3) with M_D, M_R, M_rv, M_bv (B, 4, S, S): SHPE's input, normalised.

        Holes that are switched off count as empty; with both off the crops are as they were.
        """
        image = as_input(self._tensor(crops))
        if not (deocclusion or removal):
            return image
        if self._hdrm is None:
            raise ConfigError("no HDRM was given: name its checkpoint, or switch de-occlusion and removal off.")
        M_D, M_R, M_rv, M_bv = self._tensor(masks).float().split(1, dim=1)
        given = HdrmInput(image, M_D * deocclusion, M_R * removal, M_rv, M_bv)
        with torch.inference_mode():
            return composite(given, self._hdrm(given).float(), grown_px)

    def pose(self, picture: Tensor) -> tuple[Array, Array, Array]:
        """SHPE on pictures (B, 3, S, S): joints (B, 21, 2) of the crop, (B, 21, 3) in bone lengths, scores (B, 21)."""
        with torch.inference_mode():
            found = read_out(self._shpe(picture))
        crop_px, location, score = (values.float().cpu().numpy() for values in found)
        return crop_px, location, score

    @staticmethod
    def pictures(picture: Tensor) -> ImageU8:
        """Normalised pictures (B, 3, S, S) as (B, S, S, 3) u8."""
        return as_pictures(picture).cpu().numpy()

    def wait(self) -> None:
        """Until the device has done all it was asked to."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _network(self, path: Path, module: ModuleName) -> nn.Module:
        checkpoint = load(path, module)
        network, name = _built(checkpoint)
        try:
            network.load_state_dict(checkpoint.networks[name])
        except (KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise TrainingError(
                f"{path}: its weights are not those of the {name} that it describes ({reason}). Train again."
            ) from error
        self.checkpoints[module] = checkpoint
        return network.to(self.device).to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def _built(checkpoint: Checkpoint) -> tuple[nn.Module, Any]:
    """A network as the checkpoint describes it, and its name there. HASM's weights come from the checkpoint alone."""
    training = checkpoint.training
    if training.module == "hasm":
        return Hasm(training.hasm.model_copy(update={"weights": "none"})), "hasm"
    if training.module == "hdrm":
        return Generator(training.hdrm), "generator"
    return Shpe(training.shpe), "shpe"
