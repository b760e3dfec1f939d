import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aih_builder.hands.conventions import KEYPOINT_PARENTS
from aih_builder.hdr.losses import HdrmLoss, ShpeTargets, gram, hasm_loss, patch_loss, shpe_loss, shpe_targets
from aih_builder.hdr.networks.hdrm import HdrmInput, composite
from aih_builder.hdr.networks.shpe import ShpeMaps
from aih_builder.hdr.networks.vgg import VggFeatures
from aih_builder.hdr.settings import HdrmLosses, ShpeLosses


def halves() -> tuple[HdrmInput, Tensor, Tensor]:
    """A crop of 4 x 4: M_D the first row, M_R the second, M_rv the third, M_bv the fourth; errors 1, 2, 4, 8 by row."""
    rows = torch.arange(4.0)[None, None, :, None].expand(1, 1, 4, 4)
    masks = [(rows == k).float() for k in range(4)]
    image = torch.arange(48.0).reshape(1, 3, 4, 4) / 48
    target = torch.full((1, 3, 4, 4), 0.25)
    return HdrmInput(image, *masks), target + 2**rows, target


class Halving(nn.Module):
    """Stands for VGG: the picture, and the picture at half the size."""

    def forward(self, picture: Tensor) -> list[Tensor]:
        return [picture, nn.functional.avg_pool2d(picture, 2)]


def hdrm_loss(vgg: nn.Module | None = None, **weights: object) -> HdrmLoss:
    return HdrmLoss(HdrmLosses.model_validate(weights), vgg)  # pyright: ignore[reportArgumentType]


def test_valid_and_hole_are_means_over_all_pixels_with_zeros_elsewhere() -> None:
    terms = hdrm_loss()(*halves())
    assert set(terms) == {"valid", "hole", "tv"}
    assert float(terms["valid"]) == pytest.approx(1 * (4 + 8) / 4)
    assert float(terms["hole"]) == pytest.approx(6 * (1 / 4 + 2 / 4))


def test_tv_is_of_the_composite_across_and_down() -> None:
    given_, output, target = halves()
    made = composite(given_, output)[0].numpy()
    wanted = np.abs(np.diff(made, axis=2)).mean() + np.abs(np.diff(made, axis=1)).mean()
    terms = hdrm_loss(tv=0.5)(given_, output, target)
    assert float(terms["tv"]) == pytest.approx(0.5 * wanted)
    assert "tv" not in hdrm_loss(tv=0)(given_, output, target)


def test_weights_multiply_their_terms() -> None:
    one = hdrm_loss(Halving(), valid=1, hole=1, tv=1, perceptual=1, style=1)(*halves())
    other = hdrm_loss(Halving(), valid=2, hole=3, tv=5, perceptual=7, style=11)(*halves())
    gains = {"valid": 2, "hole": 3, "tv": 5, "perceptual": 7, "style": 11}
    assert set(one) == set(other) == set(gains)
    for name, gain in gains.items():
        assert float(other[name]) == pytest.approx(gain * float(one[name]))


def test_the_papers_form_is_l1_over_the_whole_image() -> None:
    terms = hdrm_loss(form="paper", hole=6)(*halves())
    assert set(terms) == {"l1"}
    assert float(terms["l1"]) == pytest.approx(6 * (1 + 2 + 4 + 8) / 4)


@pytest.mark.parametrize("where", ["masked", "whole"])
def test_features_are_compared_in_each_hole_or_on_the_whole_and_the_composite(where: str) -> None:
    given_, output, target = halves()
    if where == "masked":
        pairs = [(given_.M_D * output, given_.M_D * target), (given_.M_R * output, given_.M_R * target)]
    else:
        pairs = [(output, target), (composite(given_, output), target)]
    perceptual = style = 0.0
    for found, wanted in pairs:
        for a, b in zip(Halving()(found), Halving()(wanted), strict=True):
            perceptual += float((a - b).abs().mean())
            x, y = a[0].flatten(1).double().numpy(), b[0].flatten(1).double().numpy()
            style += float(np.abs(x @ x.T - y @ y.T).mean() / x.size)
    terms = hdrm_loss(Halving(), perceptual=0.1, style=250, features_on=where)(given_, output, target)
    assert float(terms["perceptual"]) == pytest.approx(0.1 * perceptual, rel=1e-5)
    assert float(terms["style"]) == pytest.approx(250 * style, rel=1e-5)


def test_masked_features_do_not_see_what_lies_outside_the_holes() -> None:
    given_, output, target = halves()
    outside = 1 - given_.M_D - given_.M_R
    loss = hdrm_loss(Halving())
    terms, moved = loss(given_, output, target), loss(given_, output + 9 * outside, target)
    for name in ("perceptual", "style", "hole"):
        assert torch.equal(terms[name], moved[name])
    assert moved["valid"] > terms["valid"]


def test_without_a_vgg_or_without_weights_there_are_no_feature_terms() -> None:
    class Never(VggFeatures):
        def __init__(self) -> None:
            nn.Module.__init__(self)

        def forward(self, picture: Tensor) -> list[Tensor]:
            raise AssertionError(picture)

    assert "perceptual" not in hdrm_loss()(*halves())
    assert "style" not in hdrm_loss(Never(), perceptual=0, style=0)(*halves())


def test_a_perfect_output_costs_nothing_but_the_roughness_of_the_picture() -> None:
    given_, _, target = halves()
    terms = hdrm_loss(Halving())(given_, target, target)
    assert {name for name, value in terms.items() if value} == {"tv"}


def test_a_gram_matrix_is_divided_by_channels_and_pixels() -> None:
    features = torch.randn(2, 3, 4, 5)
    found = gram(features)
    for b in range(2):
        for i in range(3):
            for j in range(3):
                assert found[b, i, j] == pytest.approx(float((features[b, i] * features[b, j]).sum()) / 60, abs=1e-6)


@pytest.mark.parametrize(("logit", "real", "wanted"), [(0.0, True, math.log(2)), (0.0, False, math.log(2))])
def test_patches_are_judged_by_their_mean_cross_entropy(logit: float, real: bool, wanted: float) -> None:
    assert float(patch_loss(torch.full((2, 1, 3, 3), logit), real)) == pytest.approx(wanted)
    mixed = torch.tensor([[-2.0, 3.0]])
    side = 1 if real else -1
    mean = sum(math.log(1 + math.exp(-side * x)) for x in (-2.0, 3.0)) / 2
    assert float(patch_loss(mixed, real)) == pytest.approx(mean, rel=1e-5)
    assert float(patch_loss(mixed.bfloat16(), real)) == pytest.approx(mean, rel=1e-5)


def test_hasms_loss_is_the_cross_entropy_of_each_mask_over_the_pixels_inside() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 2, 4, 5, generator=generator)
    masks = (torch.rand(logits.shape, generator=generator) < 0.5).float()
    inside = torch.ones(2, 4, 5)
    inside[0, :2], inside[1, :, 3:] = 0, 0
    terms = hasm_loss(logits, masks, inside)
    assert list(terms) == ["right amodal", "right visible", "left amodal", "left visible"]
    for (hand, kind), name in zip([(0, 0), (0, 1), (1, 0), (1, 1)], terms, strict=True):
        costs = [
            math.log(1 + math.exp(float((1 - 2 * masks[b, hand, kind, i, j]) * logits[b, hand, kind, i, j])))
            for b in range(2)
            for i in range(4)
            for j in range(5)
            if inside[b, i, j]
        ]
        assert float(terms[name]) == pytest.approx(sum(costs) / len(costs), rel=1e-5)
    outside = (1 - inside)[:, None, None]
    moved = hasm_loss(logits + 50 * outside, torch.where(outside > 0, 1 - masks, masks), inside)
    assert all(torch.equal(moved[name], terms[name]) for name in terms)
    assert not any(hasm_loss(logits, masks, 0 * inside).values())


def batch_at(x: float, y: float, joints: int = 21) -> dict[str, Tensor]:
    """One item whose first joints lie at (x, y) px, the others far away."""
    joints_px = torch.full((1, 21, 2), -500.0, dtype=torch.double)
    joints_px[:, :joints] = torch.tensor([x, y], dtype=torch.double)
    labels = torch.randn(2, 1, 21, 3, dtype=torch.double)
    return {"joints_px": joints_px, "location": labels[0], "delta": labels[1], "valid": torch.ones(1, 21).bool()}


@given(x=st.floats(0, 127), y=st.floats(0, 127))
def test_a_heat_target_is_a_gaussian_about_the_joints_exact_place_cut_at_three_sigma(x: float, y: float) -> None:
    """Of 2.5 cells on a grid of 64, so 1.25 on one of 32; cell (0, 0) is centred at pixel (1.5, 1.5)."""
    heat = shpe_targets(batch_at(x, y), 128).heat[0, 4].numpy()
    assert heat.shape == (32, 32)
    rows, columns = np.mgrid[:32, :32]
    away = np.hypot(4 * columns + 1.5 - x, 4 * rows + 1.5 - y) / 4 / 1.25
    rim = np.abs(away - 3) < 1e-6
    assert np.allclose(heat[~rim], np.where(away <= 3, np.exp(-(away**2) / 2), 0)[~rim])


@pytest.mark.parametrize("cell", range(12))
def test_near_the_frames_edge_the_peak_lies_where_the_joint_does(cell: int) -> None:
    """The released code is off by one there, for cells up to 7."""
    place = 4 * cell + 1.5
    heat = shpe_targets(batch_at(place, 4 * 20 + 1.5), 256).heat[0, 0]
    assert heat.max() == 1
    assert divmod(int(heat.argmax()), 64) == (20, cell)


def test_a_sub_pixel_shift_moves_the_centre_of_mass_by_as_much() -> None:
    heat = shpe_targets(batch_at(101.0, 77.3), 256).heat[0, 0]
    cells = torch.arange(64.0, dtype=torch.double)
    x, y = (heat.sum(dim=k) @ cells / heat.sum() for k in (0, 1))
    assert (float(x) + 0.5) * 4 - 0.5 == pytest.approx(101.0, abs=0.1)
    assert (float(y) + 0.5) * 4 - 0.5 == pytest.approx(77.3, abs=0.1)


def test_a_joint_is_invalid_once_no_cell_lies_within_three_sigma() -> None:
    """Cells of 4 px, the last centred at 253.5, sigma 2.5 cells: 30 px further."""
    for x, valid in ((253.5 + 29.9, 1), (253.5 + 30.1, 0), (1.5 - 29.9, 1), (1.5 - 30.1, 0)):
        targets = shpe_targets(batch_at(x, 101.5), 256)
        assert targets.valid.unique().tolist() == [valid]
        assert bool(targets.heat.any()) == bool(valid)


def test_delta_counts_where_joint_and_parent_do_and_never_for_the_wrist() -> None:
    batch = batch_at(50, 60)
    batch["valid"][0, [6, 13]] = False
    batch["joints_px"][0, 18] = -500  # invalid by its heat
    targets = shpe_targets(batch, 128)
    gone = {6, 13, 18}
    assert targets.valid[0].tolist() == [float(k not in gone) for k in range(21)]
    for k, parent in enumerate(KEYPOINT_PARENTS):
        assert float(targets.delta_valid[0, k]) == float(k > 0 and k not in gone and parent not in gone)
    assert targets.location is batch["location"]
    assert targets.delta is batch["delta"]


def shpe_case() -> tuple[ShpeMaps, ShpeTargets]:
    torch.manual_seed(5)
    batch = {name: torch.cat([value, value.clone()]).float() for name, value in batch_at(30, 20).items()}
    batch["joints_px"] += 10 * torch.randn(2, 21, 2)
    batch["valid"][0, 5], batch["valid"][1, :7] = 0, 0
    maps = ShpeMaps(torch.randn(2, 21, 16, 16), torch.randn(2, 21, 3, 16, 16), torch.randn(2, 21, 3, 16, 16))
    return maps, shpe_targets(batch, 64)


@pytest.mark.parametrize("kind", ["norm", "sum"])
def test_shpes_terms_equal_their_loops(kind: str) -> None:
    maps, targets = shpe_case()
    totals, counts = {"heat": 0.0, "delta": 0.0, "location": 0.0}, {"heat": 0, "delta": 0, "location": 0}
    for b in range(2):
        for j in range(21):
            heat = targets.heat[b, j].double().numpy()
            if targets.valid[b, j]:
                found = 1 / (1 + np.exp(-maps.heat[b, j].double().numpy()))
                entropy = -(heat * np.log(found) + (1 - heat) * np.log(1 - found))
                totals["heat"] += ((found - heat) ** 2).sum() if kind == "norm" else entropy.sum()
                counts["heat"] += 1
            for name, valid in (("delta", targets.delta_valid), ("location", targets.valid)):
                if valid[b, j]:
                    for k in range(3):
                        found = getattr(maps, name)[b, j, k].double().numpy()
                        totals[name] += (((found - float(getattr(targets, name)[b, j, k])) * heat) ** 2).sum()
                    counts[name] += 1
    assert counts["delta"] < counts["heat"] == 42 - 8
    terms = shpe_loss(maps, targets, ShpeLosses.model_validate({"heat": 1, "delta": 2, "location": 5, "kind": kind}))
    for name, weight in (("heat", 1), ("delta", 2), ("location", 5)):
        wanted = math.sqrt(totals[name]) if kind == "norm" else totals[name]
        assert float(terms[name]) == pytest.approx(weight * wanted / counts[name], rel=1e-4)


@pytest.mark.parametrize("kind", ["norm", "sum"])
def test_a_batch_without_valid_joints_costs_nothing_and_gives_finite_gradients(kind: str) -> None:
    maps, targets = shpe_case()
    for x in maps:
        x.requires_grad_()
    none = targets._replace(valid=0 * targets.valid, delta_valid=0 * targets.delta_valid)
    terms = shpe_loss(maps, none, ShpeLosses.model_validate({"kind": kind}))
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert float(total.detach()) < 1e-4
    for x in maps:
        assert x.grad is not None
        assert not x.grad.any()
