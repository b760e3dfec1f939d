"""A study in small, from its manifest to its page; and what it shares, skips and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from aih_builder.config import load_manifest
from aih_builder.errors import ConfigError
from aih_builder.hdr.checkpoint import LAST
from aih_builder.hdr.study import PAGE, RECORD, run_study
from aih_builder.hdr.study_settings import Study, load_study
from aih_builder.paths import manifests
from tests.hdr.training_runs import write_study

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path, list[str]]:
    folder = tmp_path_factory.mktemp("study")
    study = load_study(write_study(folder))
    said: list[str] = []
    run_study(study, folder / "study.yaml", folder / "out", said.append)
    return study, folder / "out", said


def record_of(out: Path) -> dict[str, Any]:
    return json.loads((out / RECORD).read_text(encoding="utf-8"))


def test_a_study_trains_what_differs_and_nothing_twice(finished: tuple[Study, Path, list[str]]) -> None:
    _, out, said = finished
    runs = {path.name for path in (out / "runs").iterdir()}
    changed = ("hdrm-{}-without-discriminator", "hasm-{}-render-only", "shpe-{}-render-only")
    every = (*(f"{module}-{{}}" for module in ("hasm", "hdrm", "shpe")), *changed)
    assert runs == {name.format(seed) for name in every for seed in (0, 1)}
    assert sum(line.startswith("trained ") for line in said) == len(runs)


def test_the_record_has_every_row_of_every_seed(finished: tuple[Study, Path, list[str]]) -> None:
    study, out, _ = finished
    record = record_of(out)
    rows = {row["name"]: row for row in record["rows"]}
    assert list(rows) == [
        "SHPE only", "without removal", "without de-occlusion", "full", "full, true masks", "true single-hand picture",
        "without discriminator", "render only",
    ]  # fmt: skip
    assert all([seed["seed"] for seed in row["seeds"]] == list(study.seeds) for row in rows.values())
    assert {(floor["seed"], floor["name"].partition(":")[0]) for floor in record["floors"]} == {
        (seed, name) for seed in (0, 1) for name in ("HASM", "SHPE", "HDRM")
    }
    assert "less_than_shpe_mm" not in rows["SHPE only"]["seeds"][0]
    for name in ("full", "without discriminator", "render only"):
        for seed in rows[name]["seeds"]:
            alone = next(s for s in rows["SHPE only"]["seeds"] if s["seed"] == seed["seed"])
            assert seed["less_than_shpe_mm"] == pytest.approx(alone["mpjpe_mm"] - seed["mpjpe_mm"], abs=1e-6)
            low, high = seed["less_interval_mm"]
            assert low <= seed["less_than_shpe_mm"] <= high
    assert rows["full"]["paper_mm"] == 17.98
    assert len(record["evaluations"]) == 6
    assert record["verdict"][0].startswith("The comparison does not count")
    assert "Small" in (out / PAGE).read_text(encoding="utf-8")


def test_run_again_it_trains_nothing_and_finds_the_same(finished: tuple[Study, Path, list[str]]) -> None:
    study, out, _ = finished
    before = {path: path.stat().st_mtime_ns for path in out.glob(f"runs/*/{LAST}")}
    rows, before_minutes = record_of(out)["rows"], record_of(out)["minutes"]
    said: list[str] = []
    run_study(study, out.parent / "study.yaml", out, said.append)
    assert said[0].startswith("data: 0 samples made")
    assert {path: path.stat().st_mtime_ns for path in out.glob(f"runs/*/{LAST}")} == before
    again = record_of(out)
    assert again["rows"] == rows
    assert all(again["minutes"][stage] >= before_minutes[stage] for stage in ("data", "training"))
    assert again["minutes"]["all"] == pytest.approx(sum(v for k, v in again["minutes"].items() if k != "all"))


def test_a_finished_run_of_another_configuration_is_not_taken_for_this_ones(
    finished: tuple[Study, Path, list[str]],
) -> None:
    study, out, _ = finished
    changed = study.hdrm.training | {"optimiser": {"learning_rate": 2e-3}}
    other = study.model_copy(update={"hdrm": study.hdrm.model_copy(update={"training": changed})})
    with pytest.raises(ConfigError, match="its optimiser differed"):
        run_study(other, out.parent / "study.yaml", out, lambda _: None)


def test_a_lost_run_is_trained_again_to_the_same_figures(finished: tuple[Study, Path, list[str]]) -> None:
    study, out, _ = finished
    rows = record_of(out)["rows"]
    (out / "runs" / "shpe-1" / LAST).unlink()
    run_study(study, out.parent / "study.yaml", out, lambda _: None)
    assert record_of(out)["rows"] == rows


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"shpe": {"training": {"stepps": 3}}}, "shpe"),
        ({"variants": [{"name": "odd", "hdrm": {"hdrm": {"sise": 1}}}]}, "odd: hdrm"),
        ({"variants": [{"name": "w/o D"}, {"name": "w-o d"}]}, "names that give one folder"),
        ({"variants": [{"name": "full"}]}, "full is a row that every study has"),
        ({"seeds": []}, "seeds"),
    ],
)
def test_a_wrong_key_is_told_before_anything_is_made(changes: dict[str, Any], what: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=what):
        load_study(write_study(tmp_path, **changes))


def test_a_study_takes_what_it_does_not_say_from_its_base(tmp_path: Path) -> None:
    base = load_study(write_study(tmp_path))
    content = {"base": "study.yaml", "seeds": [7], "variants": [], "hdrm": {"training": {"steps": 5}}}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    study = load_study(tmp_path / "other.yaml")
    assert (study.seeds, study.variants, study.title, study.data) == ((7,), (), base.title, base.data)
    assert study.hdrm.training == base.hdrm.training | {"steps": 5}
    assert study.shpe == base.shpe
    (tmp_path / "lost.yaml").write_text(yaml.safe_dump(content | {"base": "nowhere.yaml"}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_study(tmp_path / "lost.yaml")


@pytest.mark.parametrize("name", ["study_cpu", "study_ablation", "study_gpu"])
def test_the_studies_that_come_with_the_project_can_be_read(name: str) -> None:
    study = load_study(manifests() / "train" / f"{name}.yaml")
    manifest = load_manifest(study.data)
    assert all(count.train and count.test for count in manifest.streams.counts().values())
    assert study.least_occlusion == 0.2


def test_paths_may_be_relative_and_runs_may_differ_in_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One module after another in this process, as with jobs: 1 on a GPU; weights count from the study's folder."""
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    source = write_study(Path("there"), seeds=[0], variants=[])
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    content["shpe"]["training"]["precision"] = "bfloat16"
    source.write_text(yaml.safe_dump(content), encoding="utf-8")
    page = run_study(load_study(source), source, Path("out/study"), lambda _: None)
    assert page.resolve() == tmp_path / "out" / "study" / PAGE
    assert page.is_file()
    content["hdrm"]["training"]["hdrm_losses"] = {"vgg16": "weights/vgg.pth"}
    source.write_text(yaml.safe_dump(content), encoding="utf-8")
    resolved = load_study(source).training("hdrm", 0, None, Path("out/study/data"), source)
    assert resolved.data.path == tmp_path / "out" / "study" / "data"
    assert resolved.hdrm_losses.vgg16 == tmp_path / "there" / "weights" / "vgg.pth"


def test_a_study_of_hands_that_are_not_hidden_enough_ends_before_its_training(tmp_path: Path) -> None:
    source = write_study(tmp_path, least_occlusion=0.99)
    with pytest.raises(ConfigError, match=r"least_occlusion: 0\.99, but no hand of the test samples"):
        run_study(load_study(source), source, tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out" / "runs").exists()
