import math
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aih_builder.hdr.optimisers import adam, clip, rate_at, set_rate
from aih_builder.hdr.settings import Data, Optimiser, Training


def training(steps: int = 100, **optimiser: Any) -> Training:
    rates = Optimiser.model_validate({"learning_rate": 0.5} | optimiser)
    data = Data.model_validate({"path": "d"})
    return Training.model_validate({"schema": 1, "module": "shpe", "data": data, "steps": steps, "optimiser": rates})


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_a_constant_rate_is_constant_after_a_warm_up_from_a_share() -> None:
    rates = [rate_at(step, training(warmup_steps=4)) for step in range(8)]
    assert rates == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5, 0.5])


def test_poly_falls_in_a_line_to_nothing_just_after_the_end() -> None:
    rates = [rate_at(step, training(10, schedule="poly")) for step in range(10)]
    assert rates == pytest.approx([0.5 * (10 - step) / 10 for step in range(10)])


def test_cosine_halves_in_the_middle_and_ends_near_nothing() -> None:
    rates = [rate_at(step, training(schedule="cosine", warmup_steps=20)) for step in (20, 40, 60, 99)]
    assert rates == pytest.approx([0.5, 0.25 * (1 + math.cos(math.pi / 4)), 0.25, 0.25 * (1 - math.cos(math.pi / 80))])


def test_steps_fall_to_a_tenth_at_each_drop() -> None:
    settings = training(schedule="steps", drops=(0.5, 0.9))
    assert [rate_at(step, settings) for step in (0, 49, 50, 89, 90, 99)] == pytest.approx(
        [0.5, 0.5, 0.05, 0.05, 0.005, 0.005]
    )


@given(
    schedule=st.sampled_from(["constant", "poly", "cosine", "steps"]),
    steps=st.integers(1, 50),
    warmup=st.integers(0, 60),
)
def test_rates_are_positive_rise_in_the_warm_up_and_never_after(schedule: str, steps: int, warmup: int) -> None:
    settings = training(steps, schedule=schedule, warmup_steps=warmup, drops=(0.3, 0.6))
    rates = [rate_at(step, settings) for step in range(steps)]
    assert all(0 < rate <= 0.5 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_weights_decay_but_norms_and_biases_do_not() -> None:
    net = network()
    optimiser = adam({"": [net]}, Optimiser(learning_rate=0.1, weight_decay=0.01))
    assert type(optimiser) is torch.optim.AdamW
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert {name: decays[id(p)] for name, p in net.named_parameters()} == {
        "0.weight": 0.01, "0.bias": 0, "1.weight": 0, "1.bias": 0, "2.weight": 0.01, "2.bias": 0,
    }  # fmt: skip
    assert type(adam({"": [net]}, Optimiser(learning_rate=0.1))) is torch.optim.Adam


def test_parts_have_their_gains_and_frozen_weights_are_left_out() -> None:
    net = network()
    net[0].requires_grad_(False)
    optimiser = adam(
        {"encoder": [net[0], net[1]], "head": [net[2]]}, Optimiser(learning_rate=0.1), betas=(0.0, 0.9),
        gains={"head": 10.0},
    )  # fmt: skip
    set_rate(optimiser, 0.2)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert {name: rates.get(id(p)) for name, p in net.named_parameters()} == {
        "0.weight": None, "0.bias": None, "1.weight": 0.2, "1.bias": 0.2, "2.weight": 2.0, "2.bias": 2.0,
    }  # fmt: skip
    assert {group["betas"] for group in optimiser.param_groups} == {(0.0, 0.9)}


@pytest.mark.parametrize(("norm", "kept"), [(0.0, 5.0), (1.0, 1.0), (9.0, 5.0)])
def test_gradients_are_scaled_down_to_a_norm(norm: float, kept: float) -> None:
    net = nn.Linear(2, 1, bias=False)
    net.weight.grad = torch.tensor([[3.0, -4.0]])
    clip(Accelerator(cpu=True), net, norm)
    assert net.weight.grad.norm() == pytest.approx(kept, rel=1e-4)
    assert net.weight.grad[0, 0] / net.weight.grad[0, 1] == pytest.approx(-0.75)
