"""`aih train`, `aih eval` and `aih study`, run in this process on small data."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("matplotlib")

from aih_builder.cli.app import app
from aih_builder.hdr.checkpoint import load
from tests.hdr.training_runs import small_training, write_study
from tests.hdr_models import write_models


def aih(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refusal(result: Result) -> str:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (1, 2)  # 1: what is wrong lies in the files that are read
    assert "Traceback" not in result.output
    return result.stderr


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_train_writes_a_checkpoint_and_goes_on_from_it(both_dataset: Path, tmp_path: Path) -> None:
    content = small_training("shpe", both_dataset, steps=2).to_json()
    config, out = write(tmp_path / "shpe.yaml", content), tmp_path / "out"
    first = aih("train", "shpe", config, "--out", out, "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["step"] == 2
    write(config, content | {"steps": 3})
    second = aih("train", "shpe", config, "--out", out, "--json")
    assert json.loads(second.stdout)["step"] == 3
    assert load(out).history["step"] == [1, 2, 3]


def test_train_refuses_another_modules_configuration(both_dataset: Path, tmp_path: Path) -> None:
    config = write(tmp_path / "shpe.yaml", small_training("shpe", both_dataset).to_json())
    assert "configures shpe, asked for was hasm" in refusal(aih("train", "hasm", config, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_train_names_file_and_key_of_a_wrong_configuration(both_dataset: Path, tmp_path: Path) -> None:
    content = small_training("shpe", both_dataset).to_json()
    config = write(tmp_path / "shpe.yaml", content | {"batch": 1})
    told = refusal(aih("train", "shpe", config, "--out", tmp_path / "out"))
    assert "shpe.yaml" in told
    assert "batch" in told


def test_train_tells_of_a_dataset_that_is_not_there(tmp_path: Path) -> None:
    config = write(tmp_path / "shpe.yaml", small_training("shpe", tmp_path / "nowhere").to_json())
    assert "nowhere" in refusal(aih("train", "shpe", config, "--out", tmp_path / "out"))


def evaluation(folder: Path, dataset: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "schema": 1, "models": str(write_models(folder / "models", None)), "device": "cpu", "examples": 1,
        "samples": {"path": str(dataset), "split": "test"},
    }  # fmt: skip
    return write(folder / "eval.yaml", content | changes)


def test_eval_prints_its_figures_and_writes_the_page(both_dataset: Path, tmp_path: Path) -> None:
    config = evaluation(tmp_path, both_dataset)
    told = aih("eval", config, "--out", tmp_path / "out")
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0].startswith("IoU: amodal 0.")
    assert any(line.startswith("HDR + SHPE ") and " mm (" in line for line in lines)
    assert Path(lines[-1]) == tmp_path / "out" / "report.html"
    assert Path(lines[-1]).stat().st_size > 10_000
    record = json.loads(aih("eval", config, "--out", tmp_path / "again", "--json").stdout)
    assert record["data"]["split"] == "test"
    assert "examples" not in record


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"samples": None}, "nothing to evaluate on"),
        ({"models": "nowhere"}, "nowhere"),
        ({"samples": {"path": "nowhere"}}, "nowhere"),
        ({"interhand": {"root": "no_interhand"}}, "no_interhand"),
        ({"tzionas": {"root": "no_tzionas"}}, "no_tzionas"),
    ],
)
def test_eval_refuses_and_writes_nothing(
    changes: dict[str, Any], what: str, both_dataset: Path, tmp_path: Path
) -> None:
    config = evaluation(tmp_path, both_dataset, **changes)
    assert what in refusal(aih("eval", config, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_study_prints_its_rows_its_floors_and_its_verdict(tmp_path: Path) -> None:
    config = write_study(tmp_path, seeds=[0], variants=[])
    told = aih("study", config, "--out", tmp_path / "out")
    assert told.exit_code == 0, told.output
    lines = told.stdout.splitlines()
    assert lines[0].split() == ["MPJPE,", "mm", "paper", "mean", "by", "seed,", "with", "intervals"]
    assert any(line.startswith("full ") and "17.98" in line for line in lines)
    assert any(line.startswith("HASM: amodal IoU, seed 0: 0.") for line in lines)
    assert any("does not count" in line for line in lines)
    assert Path(lines[-1]) == tmp_path / "out" / "report.html"
