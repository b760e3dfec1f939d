"""Where the files that travel with the package lie: in a checkout, or inside the wheel."""

from pathlib import Path

from aih_builder.errors import AssetError

_PACKAGE = Path(__file__).resolve().parent


def _data(folder: str) -> Path:
    inside_wheel = _PACKAGE / "_data" / folder
    path = inside_wheel if inside_wheel.is_dir() else _PACKAGE.parent / folder
    if not path.is_dir():
        raise AssetError(
            f"{folder}/ is neither in {inside_wheel.parent} nor in {_PACKAGE.parent}. "
            "Install the package again, or work in a full checkout."
        )
    return path


def render_assets() -> Path:
    """The folder of the open hand, the shipped textures and their licences."""
    return _data("render_assets")


def manifests() -> Path:
    """The folder of the manifests that come with the package."""
    return _data("manifests")
