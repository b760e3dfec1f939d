"""The page of the format is what the code declares."""

import subprocess
import sys

import pytest

from aih_builder.sample import MASK_BITS, SPECS
from tools.format_page import PAGE, UNITS, page, unit_of


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python tools/format_page.py"


def test_every_field_and_every_mask_has_its_row() -> None:
    for name, spec in SPECS.items():
        (row,) = [line for line in page().splitlines() if line.startswith(f"| `{name}` |") and spec.about in line]
        assert f"| {spec.dims or 'scalar'} | {unit_of(name)} |" in row
    for name, (right, left) in MASK_BITS.items():
        assert f"| `{name}` | {right} | {left} |" in page()


def test_every_number_that_measures_has_a_unit() -> None:
    assert [name for name, spec in SPECS.items() if spec.dtype.startswith("float") and not unit_of(name)] == []
    assert unit_of("joints_px") == "px"
    assert unit_of("penetration_mm") == "mm"
    assert unit_of("index") == ""
    assert all(unit in page() for unit in UNITS.values())


@pytest.mark.parametrize("current", [True, False])
def test_the_check_says_whether_the_page_is_current(current: bool, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    if current:
        run = subprocess.run(
            [sys.executable, "tools/format_page.py", "--check"], cwd=PAGE.parents[2], check=False, capture_output=True
        )
        assert run.returncode == 0
        return
    from tools import format_page

    old = tmp_path / "FORMAT.md"
    old.write_text("old")
    monkeypatch.setattr(format_page, "PAGE", old)
    monkeypatch.setattr(sys, "argv", ["format_page.py", "--check"])
    assert format_page.main() == 1
    assert old.read_text() == "old"
    monkeypatch.setattr(sys, "argv", ["format_page.py"])
    assert format_page.main() == 0
    assert old.read_text() == page()
