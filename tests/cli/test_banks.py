"""The commands over banks, and those over datasets where there are two engines, run in this process."""

import json
import shutil
from pathlib import Path

import numpy as np
import yaml
from typer.testing import CliRunner, Result

from aih_builder import open_dataset
from aih_builder.cli.app import app
from aih_builder.imaging import read_image
from aih_builder.sources.bank import Bank
from aih_builder.viewer.sheet import contact_sheet
from tests.builders import small_both_content
from tests.sources.test_photos import add


def aih(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def manifest(folder: Path, **changes: object) -> Path:
    path = folder / "it.yaml"
    path.write_text(yaml.safe_dump(small_both_content(**changes)))
    return path


def test_a_bank_rendered_by_command_is_the_one_that_planning_renders(both_dataset: Path, tmp_path: Path) -> None:
    made = aih("bank", "build", manifest(tmp_path), "--out", tmp_path / "b.h5", "--json")
    assert made.exit_code == 0, made.stderr
    answer = json.loads(made.stdout)
    assert answer["pictures"] == 16
    assert answer["counts"]["val_left"] == 2
    assert (tmp_path / "b.h5").read_bytes() == (both_dataset / "cache/bank.h5").read_bytes()
    told = aih("bank", "info", tmp_path / "b.h5", "--json")
    assert json.loads(told.stdout) == {key: value for key, value in answer.items() if key != "left_out"}


def test_photographs_become_a_bank_and_a_dataset(tmp_path: Path) -> None:
    for number in range(8):
        add(tmp_path / "photos", f"train/{('right', 'left')[number % 2]}/{number}", seed=number)
    made = aih("bank", "build", "--images", tmp_path / "photos", "--out", tmp_path / "b.h5", "--size", "64")
    assert made.exit_code == 0, made.stderr
    bank = Bank(tmp_path / "b.h5")
    assert (len(bank), bank.head.licence, bank.head.size_px) == (8, "user", 96)
    content = small_both_content(image_size_px=64, pools={"bank": {"path": "b.h5"}})
    streams = {"sync": content["streams"]["sync"] | {"count": {"train": 4}}}
    out = tmp_path / "out"
    made = aih("generate", manifest(tmp_path, image_size_px=64, pools=content["pools"], streams=streams), "--out", out)
    assert made.exit_code == 0, made.stderr
    assert aih("validate", out).exit_code == 0


def test_bad_input_is_one_message_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    out = tmp_path / "b.h5"
    for arguments, message in (
        ((), "give a MANIFEST or --images DIR, one of them"),
        ((manifest(tmp_path), "--images", tmp_path), "give a MANIFEST or --images DIR, one of them"),
        (("--images", tmp_path, "--side", "both"), "--side both: expected right or left"),
        (("--images", tmp_path / "photos"), "holds no image"),
        ((tmp_path / "none.yaml",), "cannot be read"),
        (("--images", tmp_path, "--size", "8"), "greater than or equal to 32"),
        ((manifest(tmp_path), "--size", "128"), "--size is for --images"),
    ):
        result = aih("bank", "build", *arguments, "--out", out)
        assert result.exit_code == 2, arguments
        assert message in result.stderr.replace("\n", " ")
        assert "Traceback" not in result.output
    assert not out.exists()
    (tmp_path / "damaged.h5").write_bytes(b"x")
    assert aih("bank", "info", tmp_path / "damaged.h5").exit_code == 1
    assert aih("bank", "info", tmp_path / "missing.h5").exit_code == 2
    result = aih("bank", "build", manifest(tmp_path), "--out", tmp_path / "damaged.h5")
    assert (result.exit_code, (tmp_path / "damaged.h5").read_bytes()) == (2, b"x")
    assert "is there and is no bank" in result.stderr


def test_info_tells_of_each_engine(both_dataset: Path) -> None:
    answer = json.loads(aih("info", both_dataset, "--json").stdout)
    assert answer["samples"] == 18
    for engine in ("render", "sync"):
        assert {"check", "encode", "write"} <= answer[f"{engine}_ms_per_sample"].keys()
        occlusion = answer[f"{engine}_occlusion"]
        assert sum(occlusion["target_0_0.05_0.2_0.4_0.8_1"]) > 0.99
        assert len(occlusion["left_0_0.05_0.2_0.4_0.8_1"]) == 5
    assert answer["sync_occlusion"]["two_hand_samples"] == 9
    assert "penetration_mm_median_95_max" not in answer["sync_occlusion"]
    assert "kib per sample" in aih("info", both_dataset).stdout


def test_a_sheet_shows_what_is_asked_for_in_the_order_asked_for_and_nothing_flagged(
    both_dataset: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(both_dataset, tmp_path / "dataset")
    samples = [sample for sample in open_dataset(folder) if sample.engine == "sync" and sample.mean_luma > 60]
    out = tmp_path / "it.png"

    def shown(*options: str) -> str:
        result = aih(
            "sheet", folder, "--out", out, "--count", "3", "--where", 'engine == "sync" and mean_luma > 60', *options
        )
        assert result.exit_code == 0, result.stderr
        return result.stdout

    assert shown("--sort=-mean_luma") == f"{out}: {min(3, len(samples))} of {len(samples)} samples\n"
    brightest = sorted(samples, key=lambda sample: -sample.mean_luma)[:3]
    assert np.array_equal(read_image(out), contact_sheet(brightest))
    assert aih("flag", folder, "--index", brightest[0].index, "--reason", "a bad mask").exit_code == 0
    assert shown().endswith(f" of {len(samples) - 1} samples\n")
    result = aih("sheet", folder, "--out", out, "--where", "flagged")  # unless it is them that are asked for
    assert result.stdout == f"{out}: 1 of 1 samples\n"
    result = aih("sheet", folder, "--out", out, "--where", "mean_lumen > 3")
    assert (result.exit_code, "did you mean mean_luma" in result.stderr) == (2, True)


def test_a_sheet_shows_one_engine_or_both(both_dataset: Path, tmp_path: Path) -> None:
    for options, shown in (((), 18), (("--engine", "sync"), 9)):
        result = aih("sheet", both_dataset, "--out", tmp_path / "it.png", "--count", "40", *options)
        assert result.exit_code == 0, result.stderr
        assert f"{shown} of {shown} samples" in result.stdout
        assert read_image(tmp_path / "it.png").shape[0] > 0
    assert aih("sheet", both_dataset, "--out", tmp_path / "it.png", "--engine", "snyc").exit_code == 2
