"""`aih flag` and what other commands say of flagged samples."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from aih_builder import open_dataset
from aih_builder.cli.app import app
from aih_builder.shards.flags import Flag, read_flags
from tests.shards.planting import contents, digests

TRAIN_1 = "render/train/render-train-00001.h5"  # holds samples 32 and 48


def aih(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(*arguments: str | Path) -> dict:
    result = aih(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_flag_list_and_take_away(copy: Path) -> None:
    assert aih("flag", copy).stdout == f"{copy}: 0 of 9 samples are flagged\n"
    assert aih("flag", copy, "--index", "48", "-i", "1", "--reason", "too dark").exit_code == 0
    attempts = {sample.index: sample.attempt for sample in open_dataset(copy, flagged=True)}
    assert told("flag", copy) == {
        "folder": str(copy),
        "flagged": {str(index): {"reason": "too dark", "attempt": attempts[index]} for index in (1, 48)},
    }
    first, second, last = aih("flag", copy, "--index", "1", "--reason", "cut by the frame").stdout.splitlines()
    assert first.split(maxsplit=4) == ["1", "render/val", "attempt", str(attempts[1]), "cut by the frame"]
    assert second.split()[:2] == ["48", "render/train"]
    assert last == f"{copy}: 2 of 9 samples are flagged"
    assert list(told("flag", copy, "--remove", "--index", "1")["flagged"]) == ["48"]
    assert told("flag", copy, "--remove", "-i", "48")["flagged"] == {}
    assert not (copy / "flags.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--index", "48"), "--index needs --reason TEXT, or --remove"),
        (("--reason", "dark"), "--reason needs --index I"),
        (("--remove",), "--remove needs --index I"),
        (("--remove", "--index", "48", "--reason", "dark"), "exclude one another"),
        (("--remove", "--index", "48"), "48 are not flagged"),
        (("--index", "48", "--reason", " "), "its reason has 0 characters"),
        (("--index", "48", "--index", "80", "--reason", "dark"), "holds no sample with index 80"),
        (("--index", "15", "--reason", "dark"), "index 15 belongs to no engine"),
    ],
)
def test_what_cannot_be_flagged_is_refused(copy: Path, arguments: tuple[str, ...], message: str) -> None:
    before = contents(copy)
    result = aih("flag", copy, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert contents(copy) == before


def test_a_folder_that_holds_no_dataset_is_refused(tmp_path: Path) -> None:
    result = aih("flag", tmp_path)
    assert result.exit_code == 2
    assert "holds no plan.json" in result.stderr


def test_flagged_samples_are_counted_left_out_and_mended(copy: Path, tmp_path: Path) -> None:
    before = digests(copy)
    assert (told("info", copy)["flagged"], told("status", copy)["flagged"]) == (0, 0)
    attempt = told("flag", copy, "-i", "48", "--reason", "dark")["flagged"]["48"]["attempt"]
    assert told("status", copy)["flagged"] == 1
    info = told("info", copy)
    assert (info["samples"], info["flagged"], info["made_anew"]) == (9, 1, 0)
    assert aih("sheet", copy, "--out", tmp_path / "sheet.png").stdout.endswith("8 of 8 samples\n")
    assert told("stats", copy)["samples"] == 8
    done = told("repair", copy, "--flagged")
    assert done["shards_remade"] == {TRAIN_1: f"{TRAIN_1}: flagged: sample 48, dark"}
    made = done["samples_made_anew"]["48"]
    assert (made["reason"], made["before"]) == ("dark", attempt)
    assert made["now"] > attempt
    assert read_flags(copy) == {}
    info = told("info", copy)
    assert (info["samples"], info["flagged"], info["made_anew"]) == (9, 0, 1)
    assert {name for name, digest in digests(copy).items() if digest != before[name]} == {TRAIN_1}
    for index in (32, 48):
        assert "byte for byte" in aih("regenerate", copy, "--index", str(index)).stdout
    assert aih("validate", copy).exit_code == 0
    assert "samples_made_anew" not in told("repair", copy)


def test_what_a_repair_of_flagged_samples_did_is_said_in_lines(copy: Path) -> None:
    aih("flag", copy, "-i", "48", "--reason", "dark")
    lines = aih("repair", copy, "--flagged").stdout.splitlines()
    attempt = next(sample.attempt for sample in open_dataset(copy) if sample.index == 48)
    place = lines.index("samples made anew")
    assert lines[place + 1].split() == [
        "48",
        "reason",
        "dark,",
        "before",
        lines[place + 1].split()[4],
        "now",
        str(attempt),
    ]


def test_damaged_flags_are_told_by_every_command_that_reads_them(copy: Path) -> None:
    (copy / "flags.json").write_text("{")
    for command in (("flag",), ("status",), ("info",), ("repair", "--flagged")):
        result = aih(command[0], copy, *command[1:])
        assert result.exit_code == 1
        assert "Mend it by hand, or delete it" in result.stderr
    assert aih("validate", copy).exit_code == 0


def test_a_sheet_of_a_dataset_without_unflagged_samples_says_so(copy: Path, tmp_path: Path) -> None:
    for sample in open_dataset(copy):
        aih("flag", copy, "-i", str(sample.index), "--reason", "dark")
    assert set(read_flags(copy).values()) <= {Flag("dark", attempt) for attempt in range(1, 1000)}
    result = aih("sheet", copy, "--out", tmp_path / "sheet.png")
    assert result.exit_code == 2
    assert "no sample to show" in result.stderr
    assert told("stats", copy)["samples"] == 0
