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
    run_study(study, "study", folder / "out", said.append)
    return study, folder / "out", said


def record_of(out: Path) -> dict[str, Any]:
    return json.loads((out / RECORD).read_text(encoding="utf-8"))


def test_a_study_trains_what_differs_and_nothing_twice(finished: tuple[Study, Path, list[str]]) -> None:
    _, out, said = finished
    runs = {path.name for path in (out / "runs").iterdir()}
    changed = ("hdrm-{}-without-discriminator", "hasm-{}-render-only")
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
    rows = record_of(out)["rows"]
    said: list[str] = []
    run_study(study, "study", out, said.append)
    assert said[0].startswith("data: 0 samples made")
    assert {path: path.stat().st_mtime_ns for path in out.glob(f"runs/*/{LAST}")} == before
    assert record_of(out)["rows"] == rows


def test_a_lost_run_is_trained_again_to_the_same_figures(finished: tuple[Study, Path, list[str]]) -> None:
    study, out, _ = finished
    rows = record_of(out)["rows"]
    (out / "runs" / "shpe-1" / LAST).unlink()
    run_study(study, "study", out, lambda _: None)
    assert record_of(out)["rows"] == rows


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"shpe": {"training": {"stepps": 3}}}, "shpe"),
        ({"variants": [{"name": "odd", "hdrm": {"hdrm": {"sise": 1}}}]}, "odd: hdrm"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "two have one name"),
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
