"""VGG16's first ten layers, whose features the perceptual and the style term compare."""

from pathlib import Path

from torch import Tensor, nn

from aih_builder.errors import AssetError
from aih_builder.hdr.weight_files import UNREADABLE, read_weights

_SLICES = (5, 10, 17)  # ends of torchvision's layers up to the first, second and third pooling
_WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0)  # 0: pooling


class VggFeatures(nn.Module):
    """Picture (B, 3, H, W), ImageNet-normalised -> features after the first three poolings. Frozen."""

    def __init__(self, weights: Path) -> None:
        """`weights` is torchvision's vgg16 file, or any with its keys (features.0.weight ...). Raises AssetError."""
        super().__init__()
        layers: list[nn.Module] = []
        inward = 3
        for width in _WIDTHS:
            layers += [nn.MaxPool2d(2)] if not width else [nn.Conv2d(inward, width, 3, padding=1), nn.ReLU()]
            inward = width or inward
        self.layers = nn.Sequential(*layers)
        self.layers.load_state_dict(_read(weights, self.layers.state_dict()))
        self.requires_grad_(False)
        self.eval()

    def forward(self, picture: Tensor) -> list[Tensor]:
        found = []
        for number, layer in enumerate(self.layers, 1):
            picture = layer(picture)
            if number in _SLICES:
                found.append(picture)
        return found

    def train(self, mode: bool = True) -> "VggFeatures":
        """Stays as it is: frozen."""
        del mode
        return super().train(False)


def _read(path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    try:
        content = read_weights(path)
    except FileNotFoundError as error:
        raise AssetError(
            f"{path}: is not there. Name torchvision's vgg16 weight file in hdrm_losses.vgg16, or leave the key out: "
            "the perceptual and the style term are off then."
        ) from error
    except UNREADABLE as error:
        raise AssetError(f"{path}: not a weight file that torch can load ({error}). Fetch it again.") from error
    content = content if isinstance(content, dict) else {}
    found: dict[str, Tensor] = {}
    for key, value in wanted.items():
        tensor = content.get(f"features.{key}")
        if not isinstance(tensor, Tensor) or tensor.shape != value.shape:
            raise AssetError(
                f"{path}: holds no features.{key} of shape {tuple(value.shape)}. Expected a file with the keys of "
                "torchvision's vgg16."
            )
        found[key] = tensor
    return found
