"""manopth's own layer against ours. AIH_MANOPTH names a checkout of https://github.com/hassony2/manopth."""

import builtins
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aih_builder.errors import ConfigError
from aih_builder.geometry import random_rotation, rotation_vector
from aih_builder.hands.arrays import open_hand
from aih_builder.hands.backends import hand_pair
from aih_builder.hands.model import HandModel

ARRAYS = open_hand()
ENVIRONMENT = "AIH_MANOPTH"
TOLERANCE_MM = 1e-3

Pair = tuple[HandModel, HandModel]


@pytest.fixture(scope="module")
def manopth() -> Iterator[Pair]:
    """Its models on the open hand. The checkout is importable while they are made, and no longer."""
    place = os.environ.get(ENVIRONMENT, "")
    if not (Path(place) / "manopth" / "manolayer.py").is_file():
        pytest.fail(f"{ENVIRONMENT} is {place!r}, expected a checkout of manopth", pytrace=False)
    before = set(sys.modules)
    sys.path.insert(0, place)
    try:
        yield hand_pair(ARRAYS, "manopth")
    finally:
        sys.path.remove(place)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("manopth", "mano"):
                del sys.modules[name]


def random_inputs(count: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Any root, exaggerated fingers, betas, and a translation that is 0 in every fourth."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        pose_rad = np.concatenate([rotation_vector(random_rotation(rng)), 0.5 * rng.normal(size=45)])
        yield pose_rad, rng.normal(size=10), rng.normal(size=3) if k % 4 else np.zeros(3)


@pytest.mark.external
def test_native_smplx_and_manopth_agree_on_a_thousand_hands_of_each_side(
    manopth: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = {name: hand_pair(ARRAYS, name) for name in ("native", "smplx")} | {"manopth": manopth}
    worst_mm = {f"{a} - {b}": 0.0 for a, b in (("native", "smplx"), ("native", "manopth"), ("smplx", "manopth"))}
    for side in range(2):
        for given in random_inputs(1000, seed=side):
            posed = {name: pair[side].pose(*given) for name, pair in pairs.items()}
            for names in worst_mm:
                a, b = (posed[name] for name in names.split(" - "))
                apart = max(np.abs(a.vertices_m - b.vertices_m).max(), np.abs(a.joints_m - b.joints_m).max())
                worst_mm[names] = max(worst_mm[names], 1e3 * float(apart))
    with capsys.disabled():
        sys.stdout.write(f"\nlargest difference, mm: {worst_mm}\n")
    assert max(worst_mm.values()) < TOLERANCE_MM


@pytest.mark.external
def test_manopth_leaves_no_stand_in_behind(manopth: Pair) -> None:
    assert manopth[0].side == "right"
    assert not [name for name in sys.modules if name.partition(".")[0] == "chumpy"]


def test_without_manopth_one_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = importlib.import_module

    def no_manopth(name: str, package: str | None = None) -> Any:
        if name.startswith("manopth"):
            raise ModuleNotFoundError("No module named 'manopth'", name="manopth")
        return real_import(name, package)

    monkeypatch.setattr(importlib, "import_module", no_manopth)
    with pytest.raises(ConfigError, match=r"needs manopth.*pip install git\+https://github.com/hassony2/manopth"):
        hand_pair(ARRAYS, "manopth")
    assert "chumpy" not in sys.modules


def test_without_torch_one_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def no_torch(name: str, *args: object, **kwargs: object) -> object:
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return real_import(name, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(ConfigError, match=r"needs torch.*pip install aih-builder\[hands\]"):
        hand_pair(ARRAYS, "manopth")
