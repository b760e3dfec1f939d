"""What git holds: the agreed top level, no machine's paths, no stray big files."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MIB = 2**20

# An absolute path into the folders of somebody's machine.
MACHINE_PATH = re.compile(r"(?<![\w.$}*~/-])/(?:home|root|work|tmp|Users)/\w")


TOP_LEVEL = {
    ".ci",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "aih_builder",
    "manifests",
    "pyproject.toml",
    "render_assets",
    "tests",
    "tools",
}


def tracked_files() -> list[Path]:
    """Every path in git's index."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listing.split("\0")[:-1]]


def text_of(path: Path) -> str:
    """The file's text; '' for a binary file."""
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode("utf-8")


def test_the_top_level_holds_what_was_agreed_and_nothing_else() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked_files()} == TOP_LEVEL


def test_no_tracked_file_names_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked_files()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["home", "root", "work", "tmp"])
def test_a_planted_machine_path_is_found(folder: str) -> None:
    assert MACHINE_PATH.search(f'open("/{folder}/someone/file.txt")')
    assert not MACHINE_PATH.search(f"docs/{folder}/someone and $HOME/{folder}/x")


def test_no_big_file_lies_outside_the_assets() -> None:
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked_files()}
    outside = {name: size for name, size in sizes.items() if not name.startswith("render_assets/")}
    assert {name: size for name, size in outside.items() if size > MIB} == {}


def test_the_assets_take_at_most_12_mib() -> None:
    assets = [path for path in tracked_files() if path.is_relative_to(ROOT / "render_assets")]
    assert sum(path.stat().st_size for path in assets) <= 12 * MIB
