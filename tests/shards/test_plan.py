"""What can be wrong with a plan's sources is found before anything is written."""

import shutil
from pathlib import Path

import pytest

from aih_builder import generate
from aih_builder.errors import AssetError, ConfigError
from aih_builder.paths import render_assets
from tests.builders import small_content, small_manifest, with_counts


def with_textures(folder: Path) -> dict:
    content = small_content()
    content["pools"]["textures"] = {"source": "folder", "path": str(folder)}
    return content


def test_sources_that_are_wrong_leave_no_half_made_folder(tmp_path: Path) -> None:
    """Else the corrected manifest would be refused: the folder would not be empty."""
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"no-such-folder holds no textures\.json"):
        generate(small_manifest(**with_textures(tmp_path / "no-such-folder")), out)
    skin = Path(shutil.copytree(render_assets() / "textures", tmp_path / "skin"))
    last = max(skin.glob("*.jpg"))
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(AssetError, match=rf"{last.name}: sha256 is"):
        generate(small_manifest(**with_textures(skin)), out)
    content = small_content()
    content["pools"] = {"backgrounds": {"procedural": [], "folders": [str(tmp_path / "nor-this")]}}
    with pytest.raises(ConfigError, match="nor-this does not exist"):
        generate(small_manifest(**content), out)
    with pytest.raises(ConfigError, match="every count is 0"):
        generate(small_manifest(**with_counts(train=0, val=0, test=0)), out)
    assert not out.exists()
