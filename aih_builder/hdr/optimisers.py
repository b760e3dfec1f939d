"""Optimisers and learning rates. A rate is a function of the step alone, so that a run that goes on has no state."""

import math
from collections.abc import Iterable, Mapping

from accelerate import Accelerator
from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from aih_builder.hdr.settings import Optimiser, Training


def adam(
    parts: Mapping[str, Iterable[nn.Module]],
    settings: Optimiser,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    gains: Mapping[str, float] | None = None,
) -> Optimizer:
    """Adam over modules by part; gains multiply a part's learning rate. AdamW where weights decay.

    Norms, biases and whatever has one dimension do not decay.
    """
    groups = []
    for name, modules in parts.items():
        weights = [p for module in modules for p in module.parameters() if p.requires_grad]
        for decays in (True, False):
            chosen = [p for p in weights if (p.ndim > 1) is decays]
            if chosen:
                decay = settings.weight_decay if decays else 0.0
                groups.append({"params": chosen, "weight_decay": decay, "gain": (gains or {}).get(name, 1.0)})
    kind = AdamW if settings.weight_decay else Adam
    return kind(groups, lr=settings.learning_rate, betas=betas)


def rate_at(step: int, training: Training) -> float:
    """The learning rate of step `step`, counted from 0, before the gains of the parts."""
    settings = training.optimiser
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    share = (step - settings.warmup_steps) / max(training.steps - settings.warmup_steps, 1)
    fall = 1.0
    if settings.schedule == "poly":
        fall = 1.0 - share
    elif settings.schedule == "cosine":
        fall = 0.5 * (1.0 + math.cos(math.pi * share))
    elif settings.schedule == "steps":
        fall = 0.1 ** sum(step >= drop * training.steps for drop in settings.drops)
    return settings.learning_rate * fall


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Give each group its learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["gain"]


def clip(accelerator: Accelerator, network: nn.Module, norm: float) -> None:
    """Scale the gradient down to a norm; 0 leaves it."""
    if norm:
        accelerator.clip_grad_norm_(network.parameters(), norm)
