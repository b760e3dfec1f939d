import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from aih_builder.errors import AssetError
from aih_builder.hdr.networks.hasm import Hasm
from aih_builder.hdr.networks.vgg import VggFeatures
from aih_builder.hdr.settings import HasmNet

VGG16 = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
LATER = {17: (256, 512), 19: (512, 512)}  # layers of torchvision's file that are not read


def vgg_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under the keys of torchvision's vgg16, classifier included."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for layer, (inward, outward) in (VGG16 | LATER).items():
        std = (2 / (9 * inward)) ** 0.5
        state[f"features.{layer}.weight"] = std * torch.randn(outward, inward, 3, 3, generator=generator)
        state[f"features.{layer}.bias"] = 0.1 * torch.randn(outward, generator=generator)
    return state | {"classifier.6.weight": torch.zeros(10, 16), "classifier.6.bias": torch.zeros(10)}


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(vgg_state(), path)
    return path


def test_vggs_features_are_those_after_the_first_three_poolings(vgg_file: Path) -> None:
    state, x = vgg_state(), torch.randn(2, 3, 32, 32)
    wanted, flow = [], x
    for layers in ((0, 2), (5, 7), (10, 12, 14)):
        for k in layers:
            flow = F.relu(F.conv2d(flow, state[f"features.{k}.weight"], state[f"features.{k}.bias"], padding=1))
        flow = F.max_pool2d(flow, 2)
        wanted.append(flow)
    found = VggFeatures(vgg_file)(x)
    assert [tuple(f.shape) for f in found] == [(2, 64, 16, 16), (2, 128, 8, 8), (2, 256, 4, 4)]
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_vgg_is_frozen_and_stays_in_evaluation_mode_but_lets_gradients_through(vgg_file: Path) -> None:
    vgg = VggFeatures(vgg_file)
    assert vgg.train() is vgg
    assert not any(module.training for module in vgg.modules())
    assert not any(p.requires_grad for p in vgg.parameters())
    x = torch.randn(1, 3, 16, 16, requires_grad=True)
    vgg(x)[2].sum().backward()
    assert x.grad is not None
    assert x.grad.any()


def without(key: str) -> dict[str, torch.Tensor]:
    return {k: v for k, v in vgg_state().items() if k != key}


NO_VGG: dict[str, Any] = {
    "a key is missing": lambda: without("features.14.bias"),
    "another shape": lambda: vgg_state() | {"features.5.weight": torch.zeros(64, 64, 3, 3)},
    "no tensor": lambda: vgg_state() | {"features.0.weight": 3},
    "keys without their prefix": lambda: {k.removeprefix("features."): v for k, v in vgg_state().items()},
    "numbers for keys": lambda: {0: torch.zeros(3)},
    "a tensor": lambda: torch.zeros(3),
    "a list": lambda: [1, 2],
}


@pytest.mark.parametrize("what", NO_VGG)
def test_a_file_that_holds_no_vgg16_is_refused_by_name(tmp_path: Path, what: str) -> None:
    torch.save(NO_VGG[what](), tmp_path / "it.pth")
    with pytest.raises(AssetError, match=r"it\.pth: holds no features\.\d+\.(weight|bias) of shape .*torchvision"):
        VggFeatures(tmp_path / "it.pth")


@pytest.mark.parametrize("data", [b"", b"no weights at all", b"PK\x03\x04 a broken zip"])
def test_a_file_that_torch_cannot_load_is_refused_by_name(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "it.pth").write_bytes(data)
    with pytest.raises(AssetError, match=r"it\.pth: not a weight file"):
        VggFeatures(tmp_path / "it.pth")
    with pytest.raises(AssetError, match=r"none\.pth: is not there.*hdrm_losses\.vgg16"):
        VggFeatures(tmp_path / "none.pth")
    with pytest.raises(AssetError, match="not a weight file"):
        VggFeatures(tmp_path)


def hasm(encoder: str, weights: str | Path) -> Hasm:
    return Hasm(HasmNet.model_validate({"encoder": encoder, "weights": weights, "head_width": 16}))


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder as save_pretrained writes it."""
    folder = tmp_path_factory.mktemp("hasm") / "tiny"
    torch.manual_seed(11)
    hasm("tiny", "none").encoder.save_pretrained(folder)
    return folder


def edited(folder: Path, to: Path, change: dict[str, torch.Tensor], drop: str = "") -> Path:
    """A copy of a folder of weights with tensors added and those dropped whose names hold a word."""
    from safetensors.torch import load_file, save_file

    to.mkdir()
    (to / "config.json").write_bytes((folder / "config.json").read_bytes())
    state = load_file(folder / "model.safetensors") | change
    kept = {key: value for key, value in state.items() if not drop or drop not in key}
    save_file(kept, to / "model.safetensors", metadata={"format": "pt"})
    return to


def test_an_encoder_starts_from_a_folder_of_weights(tiny_folder: Path, tmp_path: Path) -> None:
    wanted = hasm("tiny", tiny_folder).encoder.state_dict()
    torch.manual_seed(11)
    first = hasm("tiny", "none").encoder.state_dict()
    assert wanted.keys() == first.keys()
    assert all(torch.equal(wanted[key], first[key]) for key in first)
    # Those of nvidia/mit-bN hold a classifier beside the encoder.
    more = edited(tiny_folder, tmp_path / "more", {"classifier.weight": torch.zeros(3, 128)})
    found = hasm("tiny", more).encoder.state_dict()
    assert all(torch.equal(found[key], first[key]) for key in first)


def test_weights_of_another_encoder_or_of_a_part_are_refused(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    damaged = edited(tiny_folder, tmp_path / "damaged", {})
    (damaged / "model.safetensors").write_bytes(b"nonsense" * 20)
    folders = {
        "another width": ("b0", tiny_folder, ""),
        "a part": ("tiny", edited(tiny_folder, tmp_path / "part", {}, drop="bias"), "tensors are missing"),
        "more": ("tiny", edited(tiny_folder, tmp_path / "m", {"stages.9.weight": torch.zeros(1)}), "1 have no place"),
        "damaged": ("tiny", damaged, "damaged: "),
        "empty": ("tiny", tmp_path / "empty", ""),
        "none": ("tiny", tmp_path / "none", ""),
    }
    for encoder, folder, reason in folders.values():
        with pytest.raises(AssetError, match=f"weights {folder} could not be loaded.*{reason}.*save_pretrained"):
            hasm(encoder, folder)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub cannot be reached, and nothing of it was ever fetched."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("no_hub")
def test_auto_starts_from_scratch_and_says_so_where_the_hub_is_out_of_reach(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="aih_builder"), warnings.catch_warnings():
        warnings.simplefilter("error")
        network = hasm("b0", "auto")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "no weights nvidia/mit-b0" in record.getMessage()
    assert "starts from scratch" in record.getMessage()
    assert network.encoder.config.hidden_sizes == [32, 64, 160, 256]


@pytest.mark.usefixtures("no_hub")
def test_hub_refuses_to_start_without_the_hubs_weights() -> None:
    with pytest.raises(AssetError, match=r"nvidia/mit-b0 could not be loaded"):
        hasm("b0", "hub")


def test_the_tiny_encoder_never_asks_the_hub(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from aih_builder.hdr.networks import hasm as module

    monkeypatch.setattr(module, "_loaded", lambda *_, **__: pytest.fail("asked"))
    with caplog.at_level(logging.INFO, logger="aih_builder"):
        hasm("tiny", "auto")
    assert [record.levelno for record in caplog.records] == [logging.INFO]
