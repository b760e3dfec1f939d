"""A wheel, built and installed outside the checkout, brings all it needs."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

import aih_builder

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("aih_builder", "render_assets", "manifests")
FILES = ("pyproject.toml", "README.md", "LICENSE", ".gitignore")


def pip(*arguments: str | Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        *map(str, arguments),
        "--no-deps",
        "--no-index",
        "--quiet",
    ]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a copy of this checkout in which a user keeps a licensed hand model."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, copy / file)
    licensed = copy / "render_assets/licensed"
    licensed.mkdir(exist_ok=True)
    (licensed / "MANO_RIGHT.pkl").write_text("not for others")
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", out, copy)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip("install", "--target", target, wheel)
    return target


def run(installed: Path, *arguments: str | Path) -> str:
    """stdout of this interpreter, far from the checkout, the installed wheel before all else."""
    command = [sys.executable, *map(str, arguments)]
    env = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=installed.parent, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_holds_the_data_and_nothing_licensed(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    data = {name for name in names if name.startswith("aih_builder/_data/")}
    assert "aih_builder/_data/render_assets/open_hand/hand.npz" in data
    assert "aih_builder/_data/manifests/demo.yaml" in data
    assert "aih_builder/py.typed" in names
    shaders = {name for name in names if "/shaders/" in name}
    assert {Path(name).name for name in shaders} == {"mesh.vert", "mesh.frag", "depth.frag"}
    assert not any("licensed/" in name for name in names)
    assert {name.split("/")[0] for name in names} == {
        "aih_builder",
        f"aih_builder-{aih_builder.__version__}.dist-info",
    }


def test_the_installed_package_reads_its_own_data(installed: Path) -> None:
    code = (
        "from aih_builder import paths, __version__\n"
        "from aih_builder.config import load_manifest\n"
        "load_manifest(paths.manifests() / 'demo.yaml')\n"
        "print(paths.render_assets(), __version__)"
    )
    expected = installed / "aih_builder/_data/render_assets"
    assert run(installed, "-c", code) == f"{expected} {aih_builder.__version__}"


def test_the_installed_package_generates_and_validates_the_demo(installed: Path, tmp_path: Path) -> None:
    manifest = yaml.safe_load((installed / "aih_builder/_data/manifests/demo.yaml").read_text())
    for stream in manifest["streams"].values():
        stream["count"] = {"train": 2, "val": 1, "test": 1}
    small, out = tmp_path / "small.yaml", tmp_path / "out"
    small.write_text(yaml.safe_dump(manifest))
    main = ("-m", "aih_builder.cli.main")
    run(installed, *main, "generate", small, "--out", out, "--jobs", "1")
    run(installed, *main, "validate", out)
    code = "import sys, aih_builder\nprint(len(aih_builder.open_dataset(sys.argv[1])), aih_builder.__file__)"
    module = installed / "aih_builder/__init__.py"
    assert run(installed, "-c", code, out) == f"{4 * len(manifest['streams'])} {module}"
