import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aih_builder.hdr.networks.partial_conv import PartialConv


def by_hand(
    x: np.ndarray, valid: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: int, gain: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Output (N, outward, H', W') and validity (N, 1, H', W') of inputs (N, C, H, W), pixel by pixel."""
    outward, inward, kernel, _ = weight.shape
    count, _, height, width = x.shape
    reach = kernel // 2
    rows, columns = -(-height // stride), -(-width // stride)
    y, seen = np.zeros((count, outward, rows, columns)), np.zeros((count, 1, rows, columns))
    for n, row, column in itertools.product(range(count), range(rows), range(columns)):
        total, number = np.zeros(outward), 0.0
        for a, b, c in itertools.product(range(inward), range(kernel), range(kernel)):
            i, j = row * stride + b - reach, column * stride + c - reach
            if 0 <= i < height and 0 <= j < width and valid[n, a, i, j]:
                total += weight[:, a, b, c] * x[n, a, i, j]
                number += 1
        if number:
            full = inward * kernel * kernel if gain else 1
            y[n, :, row, column] = total / number * full + (0 if bias is None else bias)
            seen[n, 0, row, column] = 1
    return y, seen


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (7, 2)])
def test_a_partial_convolution_is_the_sum_over_valid_inputs_divided_by_their_number(
    kernel: int, stride: int, bias: bool, gain: bool
) -> None:
    torch.manual_seed(kernel)
    conv = PartialConv(4, 3, kernel, stride, bias=bias, window_gain=gain).double()
    if conv.bias is not None:
        torch.nn.init.normal_(conv.bias)
    x = torch.randn(2, 4, 12, 10, dtype=torch.double)
    valid = (torch.rand(2, 4, 12, 10) < 0.3).double()
    valid[0, :, :9] = 0  # windows in which nothing is valid
    y, seen = conv((x, valid))
    offset = None if conv.bias is None else conv.bias.detach().numpy()
    wanted, wanted_seen = by_hand(x.numpy(), valid.numpy(), conv.conv.weight.detach().numpy(), offset, stride, gain)
    assert np.allclose(y.detach().numpy(), wanted)
    assert np.array_equal(seen.numpy(), wanted_seen)
    assert 0 < wanted_seen.mean() < 1


def test_where_nothing_is_valid_the_output_is_zero_whatever_lies_there() -> None:
    conv = PartialConv(2, 3, 3, 1, bias=True)
    torch.nn.init.constant_(conv.bias, 7.0)  # pyright: ignore[reportArgumentType]
    y, seen = conv((torch.randn(1, 2, 6, 6), torch.zeros(1, 2, 6, 6)))
    assert not y.any()
    assert not seen.any()


@pytest.mark.parametrize("gain", [False, True])
def test_where_all_is_valid_it_is_an_ordinary_convolution_up_to_scale(gain: bool) -> None:
    torch.manual_seed(0)
    conv = PartialConv(5, 4, 3, 1, window_gain=gain).double()
    x = torch.randn(2, 5, 9, 9, dtype=torch.double)
    y, seen = conv((x, torch.ones_like(x)))
    ordinary = F.conv2d(x, conv.conv.weight, padding=1)
    assert torch.allclose(y[..., 1:-1, 1:-1], ordinary[..., 1:-1, 1:-1] / (1 if gain else 45))
    corner = ordinary[..., 0, 0] / 20 * (45 if gain else 1)  # of 9 x 5 inputs 4 x 5 lie in the image
    assert torch.allclose(y[..., 0, 0], corner)
    assert (seen == 1).all()


def test_a_validity_of_one_channel_stands_for_all_channels_of_its_part() -> None:
    torch.manual_seed(1)
    conv = PartialConv(7, 2, 3, 1).double()
    one, two = torch.randn(1, 4, 8, 8, dtype=torch.double), torch.randn(1, 3, 8, 8, dtype=torch.double)
    of_one, of_two = (torch.rand(2, 1, 1, 8, 8) < 0.4).double()
    y, seen = conv((one, of_one), (two, of_two.expand(1, 3, 8, 8)))
    all_valid = torch.cat([of_one.expand(1, 4, 8, 8), of_two.expand(1, 3, 8, 8)], dim=1)
    wanted, wanted_seen = conv((torch.cat([one, two], dim=1), all_valid))
    assert torch.allclose(y, wanted)
    assert torch.equal(seen, wanted_seen)


def test_no_gradient_comes_from_inputs_that_are_not_valid() -> None:
    conv = PartialConv(2, 2, 3, 1)
    x = torch.randn(1, 2, 6, 6, requires_grad=True)
    valid = (torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    conv((x, valid))[0].square().sum().backward()
    assert x.grad is not None
    assert not x.grad[valid == 0].any()
    assert x.grad[valid == 1].all()
