"""HDR's own reader over our tree. AIH_HDR names a checkout of MengHao666/HDR; AIH_HDR_PYTHON, if need be, a Python that
has what it imports (torch, torchvision, albumentations, Pillow, tqdm, matplotlib).
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.interop.official_reader import OfficialReader

pytestmark = pytest.mark.external
DUMP = Path(__file__).with_name("official_dump.py")
MASKS = (3, 4, 5, 6)  # 1 - M_D, 1 - M_R, M_rv, M_bv


@pytest.fixture(scope="module")
def checkout() -> str:
    found = os.environ.get("AIH_HDR", "")
    if not (Path(found) / "explore_AIH.py").is_file():
        pytest.skip("AIH_HDR names no checkout of HDR")
    return found


def official(checkout: str, tree: Path, phase: str, colour: str, out: Path) -> list[np.ndarray]:
    python = os.environ.get("AIH_HDR_PYTHON", sys.executable)
    command = [python, str(DUMP), checkout, str(tree), phase, colour, str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=checkout)
    assert run.returncode == 0, run.stderr[-3000:]
    with np.load(out) as stored:
        return [stored[f"part{k}"] for k in range(8)]


@pytest.mark.parametrize("phase", ["train", "val", "test"])
def test_the_official_reader_serves_what_the_clean_one_does(
    checkout: str, aih_tree: Path, phase: str, tmp_path: Path
) -> None:
    found = official(checkout, aih_tree, phase, "off", tmp_path / "off.npz")
    ours = OfficialReader(aih_tree, phase)
    assert len(found[0]) == len(ours) > 0
    for k in range(8):
        expected = np.stack([np.asarray(ours[i][k]) for i in range(len(ours))])
        apart = np.abs(found[k].astype(np.float64) - expected).max()
        assert apart == 0 if k in MASKS else apart < 0.1, k  # 5 levels: another JPEG decoder's


@pytest.mark.parametrize("phase", ["train", "val", "test"])
def test_the_official_reader_as_it_is_draws_colours_alone(
    checkout: str, aih_tree: Path, phase: str, tmp_path: Path
) -> None:
    found = official(checkout, aih_tree, phase, "as-is", tmp_path / "as_is.npz")
    ours = OfficialReader(aih_tree, phase)
    for k in MASKS:
        assert (found[k] == np.stack([np.asarray(ours[i][k]) for i in range(len(ours))])).all()
    not_M_D, not_M_R, M_rv, M_bv = (found[k] for k in MASKS)
    assert ((1 - not_M_D) + (1 - not_M_R) + M_rv + M_bv == 1).all()
