"""The README says what is so."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from aih_builder.cli.app import app
from aih_builder.config import parse_manifest
from tools.record_table import record_table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_record_in_the_readme_is_the_one_declared() -> None:
    assert record_table() in README


def test_the_snippet_that_reads_without_the_package_is_the_tested_one() -> None:
    assert (ROOT / "tools" / "snippets" / "read_without_package.py").read_text(encoding="utf-8").strip() in README


def test_every_command_named_in_the_readme_exists() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {group.name for group in app.registered_groups}
    named = set(re.findall(r"^aih ([a-z]+)", README, flags=re.MULTILINE))
    assert named
    assert named <= known


def test_every_file_named_in_the_readme_exists() -> None:
    named = set(re.findall(r"\]\(((?!http)[^)#]+)\)|<img src=\"([^\"]+)\"", README))
    paths = {path for pair in named for path in pair if path}
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_python_in_the_readme_runs(small_dataset: Path) -> None:
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "open_dataset" in b)
    names: dict[str, Any] = {}
    exec(block.replace("out/demo", str(small_dataset)), names)
    masks = [names[name] for name in ("M_D", "M_R", "M_rv", "M_bv")]
    assert (np.sum(masks, axis=0) == 1).all()


def test_the_torch_in_the_readme_runs(both_dataset: Path) -> None:
    block = next(b for b in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "AihSampler" in b)
    names: dict[str, Any] = {}
    exec(block.replace("out/demo", str(both_dataset)), names)
    assert names["taken"] == len(names["sampler"]) == 1
    assert names["batch"]["image_rgb"].shape == (16, 96, 96, 3)
    assert names["state"]["step"] == 1


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL))
def test_every_manifest_in_the_readme_is_valid(block: str) -> None:
    content = yaml.safe_load(block)
    content["pools"].get("backgrounds", {})["folders"] = []
    assert parse_manifest(content, where="README", folder=ROOT).total() > 0
