import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aih_builder.hdr.networks.attention import TransformerBlock
from aih_builder.hdr.networks.hasm import Hasm
from aih_builder.hdr.networks.hdrm import Discriminator, Generator, HdrmInput, composite
from aih_builder.hdr.networks.shpe import Shpe
from aih_builder.hdr.networks.tensors import as_input, as_pictures
from aih_builder.hdr.settings import HasmNet, HdrmNet, ShpeNet

PARTS = ("encoders", "decoders")
TINY_HASM = HasmNet(encoder="tiny", weights="none", head_width=32, drop_path=0, dropout=0)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def crop_input(size_px: int, batch: int = 2, seed: int = 0) -> HdrmInput:
    """Four masks that partition the crop, in blocks, and noise for an image."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (batch, 1, 8, 8), generator=generator)
    masks = F.one_hot(labels[:, 0], 4).permute(0, 3, 1, 2).float()
    masks = F.interpolate(masks, scale_factor=size_px / 8)
    image = torch.randn(batch, 3, size_px, size_px, generator=generator)
    return HdrmInput(image, *(masks[:, k : k + 1] for k in range(4)))


def silent(network: nn.Module) -> list[str]:
    """Parameters that no gradient reaches."""
    return [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


def weighted(*outputs: Tensor) -> Tensor:
    """A number in which each output has a weight of its own."""
    generator = torch.Generator().manual_seed(1)
    return torch.stack([(x * torch.randn(x.shape, generator=generator)).sum() for x in outputs]).sum()


def test_the_released_sizes_have_the_published_numbers_of_parameters() -> None:
    generator = Generator(HdrmNet())
    assert round(parameters(generator) / 1e6, 2) == 42.21
    blocks = {place: round(parameters(block) / 1e6, 2) for place, block in generator.blocks.items()}
    assert blocks == {"encoder 3": 2.39, "encoder 5": 3.17, "decoder 5": 3.17, "decoder 3": 0.60}
    assert not Generator(HdrmNet(transformer=False)).blocks
    assert round(parameters(Discriminator(HdrmNet())) / 1e6, 2) == 2.77
    assert round(parameters(Shpe(ShpeNet())) / 1e6, 2) == 12.97
    assert round(parameters(Hasm(HasmNet(encoder="b0", weights="none")).encoder) / 1e6, 2) == 3.32


def test_the_released_generators_levels_have_the_published_widths_and_kernels() -> None:
    weights = Generator(HdrmNet()).state_dict()
    encoders, decoders = ([weights[f"{part}.{k}.conv.weight"].shape[:3] for k in range(8)] for part in PARTS)
    assert encoders == [(64, 8, 7), (128, 64, 5), (256, 128, 5), (512, 256, 3), *[(512, 512, 3)] * 4]
    assert decoders == [(3, 72, 3), (64, 192, 3), (128, 384, 3), (256, 768, 3), *[(512, 1024, 3)] * 4]
    assert [key for key in weights if key.endswith("coders.0.bias")] == ["decoders.0.bias"]


@pytest.mark.parametrize(("size", "px"), [("tiny", 64), pytest.param("paper", 256, marks=pytest.mark.slow)])
def test_a_gradient_reaches_every_parameter_of_hdrm(size: str, px: int) -> None:
    torch.manual_seed(0)
    net = HdrmNet.model_validate({"size": size})
    generator, discriminator = Generator(net), Discriminator(net)
    given = crop_input(px, batch=2 if size == "paper" else 4)
    output = generator(given)
    assert output.shape == given.image.shape
    patches = discriminator(output, given.M_rv, given.M_bv)
    assert patches.shape == (len(output), 1, px // 8 - 2, px // 8 - 2)
    weighted(output, patches).backward()
    assert silent(generator) == silent(discriminator) == []


def test_patches_of_256_px_are_30_by_30() -> None:
    given = crop_input(256, batch=1)
    assert Discriminator(HdrmNet(size="tiny"))(given.image, given.M_rv, given.M_bv).shape == (1, 1, 30, 30)


@pytest.mark.parametrize(("size", "px"), [("tiny", 64), pytest.param("paper", 256, marks=pytest.mark.slow)])
def test_a_gradient_reaches_every_parameter_of_shpe(size: str, px: int) -> None:
    torch.manual_seed(0)
    network = Shpe(ShpeNet.model_validate({"size": size}))
    maps = network(torch.randn(2, 3, px, px))
    assert [tuple(x.shape) for x in maps] == [(2, 21, px // 4, px // 4)] + [(2, 21, 3, px // 4, px // 4)] * 2
    weighted(*maps).backward()
    assert silent(network) == []


@pytest.mark.parametrize(
    ("net", "px"),
    [
        (TINY_HASM, 64),
        pytest.param(HasmNet(encoder="b0", weights="none", drop_path=0, dropout=0), 256, marks=pytest.mark.slow),
    ],
)
def test_a_gradient_reaches_every_parameter_of_hasm(net: HasmNet, px: int) -> None:
    """But for the biases of keys: softmax does not see what all keys have in common."""
    torch.manual_seed(0)
    network = Hasm(net)
    logits = network(torch.randn(2, 3, px, px))
    assert logits.shape == (2, 2, 2, px, px)
    weighted(logits).backward()
    # Keys are named key or k_proj, by the version of transformers.
    assert [name for name in silent(network) if not name.endswith(("key.bias", "k_proj.bias"))] == []
    assert all(p.grad is not None for p in network.parameters())


def test_hasms_branches_are_right_amodal_right_visible_left_amodal_left_visible() -> None:
    network = Hasm(TINY_HASM).eval()
    for k, branch in enumerate(network.branches):
        last = branch[-1]  # pyright: ignore[reportIndexIssue]
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, float(k))
    found = network(torch.randn(1, 3, 64, 64))[0]
    assert torch.allclose(found, torch.tensor([[0.0, 1.0], [2.0, 3.0]])[..., None, None].expand(2, 2, 64, 64))


def test_shpes_heads_see_features_and_coordinates_x_before_y_and_what_earlier_heads_found() -> None:
    torch.manual_seed(0)
    network = Shpe(ShpeNet(size="tiny")).eval()
    seen: list[Tensor] = []
    for head in (network.heat, network.delta, network.location):
        head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    maps = network(torch.randn(1, 3, 64, 64))
    features = [x.shape[1] for x in seen]
    assert [n - features[0] for n in features] == [0, 21, 21 + 63]
    ramp = torch.linspace(-1, 1, 16).expand(16, 16)
    assert torch.equal(seen[0][0, -2], ramp)
    assert torch.equal(seen[0][0, -1], ramp.T)
    assert torch.equal(seen[1], torch.cat([seen[0], torch.sigmoid(maps.heat)], dim=1))
    assert torch.equal(seen[2], torch.cat([seen[1], maps.delta.flatten(1, 2)], dim=1))


def test_a_transformer_block_is_plain_attention_and_a_plain_mlp() -> None:
    torch.manual_seed(3)
    dim, heads, side, reduction = 12, 3, 8, 2
    block = TransformerBlock(dim, heads, 2, reduction).double()
    for p in block.parameters():
        nn.init.normal_(p, std=0.3)
    x = torch.randn(2, dim, side, side, dtype=torch.double)
    attention, mlp = block.attention, block.mlp
    assert attention.reduce is not None
    assert attention.norm is not None

    def per_pixel(layer: nn.Module, maps: Tensor) -> Tensor:
        return layer(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    rest = per_pixel(block.norm1, x)
    shrunk = per_pixel(attention.norm, attention.reduce(rest))
    mixed = torch.zeros_like(x)
    q, kv = per_pixel(attention.query, rest), per_pixel(attention.key_value, shrunk)
    wide = dim // heads
    for b in range(2):
        for h in range(heads):
            part = slice(h * wide, (h + 1) * wide)
            keys, values = kv[b, :dim][part].flatten(1), kv[b, dim:][part].flatten(1)
            for i in range(side):
                for j in range(side):
                    shares = torch.softmax(q[b, part, i, j] @ keys / wide**0.5, dim=0)
                    mixed[b, part, i, j] = values @ shares
    wanted = x + per_pixel(attention.project, mixed)
    hidden = mlp.local(per_pixel(mlp.widen, per_pixel(block.norm2, wanted)))
    wanted = wanted + per_pixel(mlp.narrow, F.gelu(hidden))
    assert torch.allclose(block(x), per_pixel(block.norm3, wanted))


def first_weights(generator: Generator) -> list[Tensor]:
    """The weights that read the eight inputs, each (outward, 8, k, k): the first level's, and the last one's skip."""
    first, last = generator.encoders[0].conv.weight, generator.decoders[0].conv.weight  # pyright: ignore
    return [first, last[:, -8:]]  # pyright: ignore


def test_an_image_pixel_in_both_holes_is_never_seen() -> None:
    torch.manual_seed(0)
    generator = Generator(HdrmNet(size="tiny")).eval()
    given = crop_input(64)
    both = given._replace(M_R=given.M_D)
    other = both._replace(image=torch.where(given.M_D > 0, 1e3 * torch.randn_like(given.image), given.image))
    assert torch.equal(generator(both), generator(other))


@pytest.mark.parametrize(("hole", "stream"), [("M_D", slice(0, 3)), ("M_R", slice(4, 7))])
def test_each_stream_is_blind_in_its_own_hole_and_nowhere_else(hole: str, stream: slice) -> None:
    """I_D lacks M_D and I_R lacks M_R: with one stream alone, what lies in its hole does not matter.

    Holes are disjoint, so with both streams every pixel is seen by one.
    """
    torch.manual_seed(0)
    generator = Generator(HdrmNet(size="tiny")).eval()
    given = crop_input(64)

    def moved(mask: Tensor) -> HdrmInput:
        return given._replace(image=given.image + mask * torch.randn_like(given.image))

    mask = getattr(given, hole)
    assert not torch.equal(generator(given), generator(moved(mask)))
    other = slice(4, 7) if stream.start == 0 else slice(0, 3)
    with torch.no_grad():
        for weight in first_weights(generator):
            weight[:, other] = 0
    assert torch.equal(generator(given), generator(moved(mask)))
    assert not torch.equal(generator(given), generator(moved(1 - mask)))


def test_the_composite_is_the_image_outside_the_holes_and_the_output_inside() -> None:
    given = crop_input(64)
    output = torch.randn_like(given.image)
    hole = ((given.M_D + given.M_R) > 0).expand(-1, 3, -1, -1)
    made = composite(given, output)
    assert torch.equal(made[~hole], given.image[~hole])
    assert torch.equal(made[hole], output[hole])


@pytest.mark.parametrize("pixels", [1, 2, 4, 7])
def test_holes_grow_by_a_disc(pixels: int) -> None:
    """Every pixel within the radius, none half a pixel beyond, and so many along each axis."""
    size = 4 * pixels + 1
    spot = torch.zeros(1, 1, size, size)
    spot[0, 0, 2 * pixels, 2 * pixels] = 1
    nothing, image = torch.zeros_like(spot), torch.zeros(1, 3, size, size)
    for M_D, M_R in ((spot, nothing), (nothing, spot)):
        grown = composite(HdrmInput(image, M_D, M_R, nothing, nothing), torch.ones_like(image), pixels)[0, 0].numpy()
        y, x = np.mgrid[:size, :size] - 2 * pixels
        assert set(np.unique(grown)) == {0.0, 1.0}
        assert (grown[np.hypot(x, y) <= pixels] == 1).all()
        assert (grown[np.hypot(x, y) >= pixels + 0.5] == 0).all()
        assert grown.any(axis=0).sum() == grown.any(axis=1).sum() == 2 * pixels + 1


def test_holes_at_the_frames_edge_grow_within_it() -> None:
    given = crop_input(64, batch=1)
    corner = torch.zeros(1, 1, 64, 64)
    corner[..., 0, 0] = 1
    made = composite(given._replace(M_D=corner, M_R=0 * corner), torch.full_like(given.image, 9.0), 2)
    assert (made == 9)[0, 0].nonzero().tolist() == [[y, x] for y in range(3) for x in range(3) if (y, x) != (2, 2)]


def test_pictures_come_back_from_inputs() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(2, 1, 1, 3)
    levels[..., 1] = levels[..., 1].flip(1)
    inputs = as_input(levels)
    assert inputs.shape == (2, 3, 16, 16)
    assert torch.allclose(
        inputs[0, :, 0, 0], torch.tensor([-0.485 / 0.229, (240 / 255 - 0.456) / 0.224, -0.406 / 0.225])
    )
    assert torch.equal(as_pictures(inputs), levels)
    assert as_pictures(torch.full((1, 3, 1, 1), 99.0)).unique().tolist() == [255]
