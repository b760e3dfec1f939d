import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aih_builder.hdr.losses import shpe_targets
from aih_builder.hdr.networks.shpe import ShpeMaps, read_out

CELLS = 16


def maps_with_peaks(cells: list[tuple[int, int]]) -> ShpeMaps:
    """Maps of one item whose joint k peaks at column, row cells[k]; each cell of location says where it is."""
    heat = torch.full((1, 21, CELLS, CELLS + 4), -4.0)
    for k, (x, y) in enumerate(cells):
        heat[0, k, y, x] = 2.0
    location = torch.zeros(1, 21, 3, CELLS, CELLS + 4)
    location[:, :, 0] = torch.arange(CELLS + 4.0)
    location[:, :, 1] = torch.arange(float(CELLS))[:, None]
    location[:, :, 2] = torch.arange(21.0)[None, :, None, None]
    return ShpeMaps(heat, torch.zeros_like(location), location)


def targets_at(joints_px: torch.Tensor, size_px: int) -> ShpeMaps:
    """The maps of a network that makes no mistake."""
    joints_px = joints_px.expand(1, 21, 2).float()
    nothing = torch.zeros(1, 21, 3)
    batch = {"joints_px": joints_px, "valid": torch.ones(1, 21), "delta": nothing, "location": nothing}
    heat = shpe_targets(batch, size_px).heat.clamp(1e-7, 1 - 1e-7)
    flat = torch.zeros(1, 21, 3, *heat.shape[2:])
    return ShpeMaps(torch.logit(heat.double()), flat, flat)


@pytest.mark.parametrize("refine", [False, True])
def test_joints_are_x_before_y_at_the_centre_of_the_peaks_cell(refine: bool) -> None:
    cells = [(k % (CELLS + 4), (3 * k + 1) % CELLS) for k in range(21)]
    found = read_out(maps_with_peaks(cells), refine)
    # A cell covers 4 x 4 pixels, the first from -0.5 to 3.5: its centre is 1.5.
    assert found.crop_px[0].tolist() == [[4 * x + 1.5, 4 * y + 1.5] for x, y in cells]
    wrist_x, wrist_y = cells[0]
    assert found.location[0].tolist() == [[x - wrist_x, y - wrist_y, k] for k, (x, y) in enumerate(cells)]
    assert torch.allclose(found.score, torch.sigmoid(torch.tensor(2.0)))


@given(x=st.floats(-1.9, 257.9), y=st.floats(-1.9, 257.9))
def test_the_peak_of_a_heat_target_is_at_most_half_a_cell_away(x: float, y: float) -> None:
    found = read_out(targets_at(torch.tensor([x, y]), 256)).crop_px
    inside = torch.tensor([x, y]).clamp(-0.5, 255.5)
    assert (found - inside).abs().max() <= 2 + 1e-3


@given(x=st.floats(8, 247), y=st.floats(8, 247), size_px=st.sampled_from([128, 256]))
def test_refining_finds_the_exact_place_of_a_heat_targets_peak(x: float, y: float, size_px: int) -> None:
    place = torch.tensor([x, y]) * (size_px / 256)
    maps = targets_at(place, size_px)
    assert (read_out(maps, refine=True).crop_px - place).abs().max() < 0.02


@given(seed=st.integers(0, 2**16), spread=st.sampled_from([0.1, 1.0, 30.0, 200.0]))
def test_refining_moves_by_at_most_half_a_cell_and_changes_nothing_else(seed: int, spread: float) -> None:
    """Whatever the map, flat and saturated ones included."""
    generator = torch.Generator().manual_seed(seed)
    heat = spread * torch.randn(2, 21, 5, 6, generator=generator)
    heat[0, 0] = 3.0
    location = torch.randn(2, 21, 3, 5, 6, generator=generator)
    plain, fine = (read_out(ShpeMaps(heat, location, location), refine) for refine in (False, True))
    assert (plain.crop_px - fine.crop_px).abs().max() <= 2 + 1e-4
    assert torch.equal(plain.location, fine.location)
    assert torch.equal(plain.score, fine.score)
    assert torch.equal(plain.crop_px[0, 0], torch.tensor([1.5, 1.5]))


def test_places_are_exact_in_half_precision() -> None:
    cells = [((7 * k) % 64, (5 * k + 50) % 64) for k in range(21)]
    heat = torch.zeros(1, 21, 64, 64, dtype=torch.bfloat16)
    for k, (x, y) in enumerate(cells):
        heat[0, k, y, x] = 1.0
    flat = torch.zeros(1, 21, 3, 64, 64, dtype=torch.bfloat16)
    found = read_out(ShpeMaps(heat, flat, flat))
    assert found.crop_px[0].tolist() == [[4 * x + 1.5, 4 * y + 1.5] for x, y in cells]
