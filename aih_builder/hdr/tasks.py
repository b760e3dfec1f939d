"""What one training step is for each module: forward, losses, backward, optimisers; how it is measured and shown."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from aih_builder.drawing import draw_masks, draw_skeleton
from aih_builder.hdr.losses import HdrmLoss, Terms, hasm_loss, patch_loss, shpe_loss, shpe_targets
from aih_builder.hdr.networks.hasm import Hasm
from aih_builder.hdr.networks.hdrm import Discriminator, Generator, HdrmInput, composite
from aih_builder.hdr.networks.shpe import Shpe, read_out
from aih_builder.hdr.networks.tensors import as_input, as_pictures
from aih_builder.hdr.networks.vgg import VggFeatures
from aih_builder.hdr.optimisers import adam, clip
from aih_builder.hdr.settings import Training

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]
_SHOWN = 4  # items of a batch that a picture shows


class Task(ABC):
    """The networks and optimisers of one module, and its training step."""

    def __init__(self, training: Training, accelerator: Accelerator) -> None:
        self.training, self.accelerator = training, accelerator
        self.networks: dict[str, nn.Module] = {}
        self.optimisers: dict[str, Optimizer] = {}
        self.notes: list[str] = []  # what a report should say about the run

    @abstractmethod
    def step(self, batch: Batch) -> Terms:
        """Train on one batch; returns the loss's terms. Learning rates are set by the caller."""

    @abstractmethod
    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Figures over validation batches, networks in evaluation mode."""

    @abstractmethod
    def picture(self, batch: Batch) -> np.ndarray:
        """A picture (H, W, 3) u8 of what the module makes of a batch's first items, a row each."""

    def prepare(self) -> None:
        """Hand networks and optimisers to accelerate: devices, processes, mixed precision."""
        for name in self.networks:
            network = self.networks[name].to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            self.networks[name], self.optimisers[name] = self.accelerator.prepare(network, self.optimisers[name])

    def bare(self, name: str) -> Any:
        """A network without what accelerate wraps around it."""
        return self.accelerator.unwrap_model(self.networks[name], keep_torch_compile=False)

    def train_mode(self, training: bool) -> None:
        """Switch all networks."""
        for network in self.networks.values():
            network.train(training)

    def _descend(self, name: str, loss: Tensor) -> None:
        optimiser = self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        clip(self.accelerator, self.networks[name], self.training.optimiser.clip_norm)
        optimiser.step()


class HasmTask(Task):
    """Amodal segmentation."""

    def __init__(self, training: Training, accelerator: Accelerator) -> None:
        super().__init__(training, accelerator)
        network = Hasm(training.hasm)
        self.networks["hasm"] = network
        head = [network.project, network.branches]
        self.optimisers["hasm"] = adam(
            {"encoder": [network.encoder], "head": head}, training.optimiser,
            gains={"head": training.optimiser.head_gain},
        )  # fmt: skip

    def step(self, batch: Batch) -> Terms:
        with self.accelerator.autocast():
            logits = self.networks["hasm"](as_input(batch["image"]))
        terms = hasm_loss(logits, batch["masks"].float(), batch["inside"].float())
        self._descend("hasm", _sum(terms))
        return terms

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        common, joined = torch.zeros(2, 2), torch.zeros(2, 2)
        for batch in batches:
            found, true = self.networks["hasm"](as_input(batch["image"])) > 0, batch["masks"]
            common += (found & true).sum(dim=(0, 3, 4)).cpu()
            joined += (found | true).sum(dim=(0, 3, 4)).cpu()
        iou = (common / joined.clamp(min=1)).mean(dim=0)
        return {"amodal IoU, pooled": float(iou[0]), "visible IoU, pooled": float(iou[1])}

    @torch.no_grad()
    def picture(self, batch: Batch) -> np.ndarray:
        image = batch["image"][:_SHOWN]
        found = (self.networks["hasm"](as_input(image)) > 0).cpu().numpy()
        true = batch["masks"][:_SHOWN].cpu().numpy()
        pictures = image.cpu().numpy()
        return _grid(
            [
                [pictures[i], *(draw_masks(pictures[i], m[i, :, 0], m[i, :, 1]) for m in (true, found))]
                for i in range(len(pictures))
            ]
        )


class HdrmTask(Task):
    """De-occlusion and removal, against a discriminator."""

    def __init__(self, training: Training, accelerator: Accelerator) -> None:
        super().__init__(training, accelerator)
        self.weights = training.hdrm_losses
        generator = Generator(training.hdrm)
        self.networks["generator"] = generator
        self.optimisers["generator"] = adam({"": [generator]}, training.optimiser)
        if self.weights.adversarial:
            discriminator = Discriminator(training.hdrm)
            self.networks["discriminator"] = discriminator
            self.optimisers["discriminator"] = adam(
                {"": [discriminator]}, training.optimiser, betas=(0.0, 0.9),
                gains={"": training.optimiser.discriminator_gain},
            )  # fmt: skip
        self.loss = HdrmLoss(self.weights, self._vgg())

    def _vgg(self) -> VggFeatures | None:
        if not (self.weights.perceptual or self.weights.style):
            return None
        if self.weights.vgg16 is None:
            self.notes.append("HDRM: the perceptual and the style term are off, since hdrm_losses.vgg16 names no file.")
            log.warning(self.notes[-1])
            return None
        log.info("HDRM: features of the perceptual and the style term come from %s", self.weights.vgg16)
        return VggFeatures(self.weights.vgg16).to(self.accelerator.device)

    def step(self, batch: Batch) -> Terms:
        given, target = hdrm_input(batch), as_input(batch["target"])
        with self.accelerator.autocast():
            output = self.networks["generator"](given)
        output = output.float()
        terms = self.loss(given, output, target)
        judge = self.networks.get("discriminator")
        if judge is None:
            self._descend("generator", _sum(terms))
            return terms
        # Both losses are of the networks as they are before either moves.
        frozen = self.bare("discriminator").requires_grad_(False)
        with self.accelerator.autocast():
            seen = frozen(output, given.M_rv, given.M_bv)
        frozen.requires_grad_(True)
        terms["adversarial"] = self.weights.adversarial * patch_loss(seen, real=True)
        both = [torch.cat(pair) for pair in ((target, output.detach()), [given.M_rv] * 2, [given.M_bv] * 2)]
        with self.accelerator.autocast():
            real, false = judge(*both).chunk(2)
        against = 0.5 * (patch_loss(real, real=True) + patch_loss(false, real=False))
        self._descend("generator", _sum(terms))
        self._descend("discriminator", against)
        return terms | {"discriminator": against}

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        sums = torch.zeros(3, 2)  # of absolute errors: HDRM's, the input's; pixels. For M_D and M_R
        for batch in batches:
            given, target = hdrm_input(batch), as_input(batch["target"])
            output = self.networks["generator"](given).float()
            for k, mask in enumerate((given.M_D, given.M_R)):
                for row, picture in enumerate((output, given.image)):
                    sums[row, k] += ((picture - target).abs() * mask).sum().cpu() / 3
                sums[2, k] += mask.sum().cpu()
        l1 = sums[:2] / sums[2].clamp(min=1)
        names = [[f"L1 in {place}{what}" for place in ("M_D", "M_R")] for what in ("", ", input copied")]
        return {names[row][k]: float(l1[row, k]) for row in (0, 1) for k in (0, 1)}

    @torch.no_grad()
    def picture(self, batch: Batch) -> np.ndarray:
        first = {name: values[:_SHOWN] for name, values in batch.items()}
        given = hdrm_input(first)
        output = self.networks["generator"](given).float()
        made = [as_pictures(x).cpu().numpy() for x in (output, composite(given, output))]
        columns = [first["image"].cpu().numpy(), *made, first["target"].cpu().numpy()]
        return _grid([list(row) for row in zip(*columns, strict=True)])


class ShpeTask(Task):
    """Single-hand pose."""

    def __init__(self, training: Training, accelerator: Accelerator) -> None:
        super().__init__(training, accelerator)
        self.networks["shpe"] = network = Shpe(training.shpe)
        self.optimisers["shpe"] = adam({"": [network]}, training.optimiser)

    def step(self, batch: Batch) -> Terms:
        targets = shpe_targets(batch, self.training.input_px)
        with self.accelerator.autocast():
            maps = self.networks["shpe"](as_input(batch["picture"]))
        terms = shpe_loss(maps, targets, self.training.shpe_losses)
        self._descend("shpe", _sum(terms))
        return terms

    @torch.no_grad()
    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        errors_mm, errors_px = [], []
        for batch in batches:
            found = read_out(self.networks["shpe"](as_input(batch["picture"])))
            bone = found.location[:, 9].norm(dim=-1).clamp(min=1e-6)
            scaled = found.location / bone[:, None, None]
            away = (scaled - batch["location"]).norm(dim=-1) * batch["bone_mm"][:, None]
            errors_mm.append(away.mean(dim=1).cpu())
            errors_px.append((found.crop_px - batch["joints_px"]).norm(dim=-1).mean(dim=1).cpu())
        return {"MPJPE mm, GT scale": float(torch.cat(errors_mm).mean()), "EPE px": float(torch.cat(errors_px).mean())}

    @torch.no_grad()
    def picture(self, batch: Batch) -> np.ndarray:
        pictures = batch["picture"][:_SHOWN]
        found = read_out(self.networks["shpe"](as_input(pictures))).crop_px.cpu().numpy()
        true, valid = batch["joints_px"].cpu().numpy(), batch["valid"].cpu().numpy()
        rows = []
        for i, picture in enumerate(pictures.cpu().numpy()):
            tiles = [picture, picture.copy(), picture.copy()]
            for tile, joints in zip(tiles[1:], (true[i], found[i]), strict=True):
                draw_skeleton(tile, joints, valid[i], None, 0)
            rows.append(tiles)
        return _grid(rows)


TASKS: dict[str, type[Task]] = {"hasm": HasmTask, "hdrm": HdrmTask, "shpe": ShpeTask}


def hdrm_input(batch: Batch) -> HdrmInput:
    """HDRM's input from a batch of AihDataset's hdrm items."""
    masks = batch["masks"].float()
    return HdrmInput(as_input(batch["image"]), *(masks[:, k : k + 1] for k in range(4)))


def _sum(terms: Terms) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def _grid(rows: list[list[np.ndarray]]) -> np.ndarray:
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])
