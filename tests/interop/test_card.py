"""The card of a dataset: mlcroissant reads it, and it says what dataset.json says."""

import hashlib
import json
import logging
import socket
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

from aih_builder.errors import ConfigError, ShardError
from aih_builder.interop.card import write_card, write_card_if_whole
from aih_builder.interop.licence_terms import all_licences, terms_of
from aih_builder.sample import SPECS

# mlcroissant uses names that rdflib has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")


@pytest.fixture
def carded(copy: Path) -> Path:
    write_card(copy)
    return copy


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "croissant.json").read_text())


def sheet(folder: Path) -> str:
    return (folder / "DATASHEET.md").read_text()


def with_listing(folder: Path, **changes: Any) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.usefixtures("offline")
def test_mlcroissant_reads_it_offline_and_misses_nothing_but_a_date(
    carded: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        dataset = mlcroissant.Dataset(carded / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    (only,) = issues.warnings
    assert "datePublished" in str(only)
    assert "not standard" not in caplog.text
    assert {record_set.id for record_set in dataset.metadata.record_sets} == {"splits", "samples"}
    assert [record["splits/name"] for record in dataset.records("splits")] == ["train", "val", "test"]


@pytest.mark.usefixtures("offline")
def test_with_what_a_person_adds_nothing_is_missing_and_it_is_kept(carded: Path) -> None:
    write_card(carded, url="https://example.org/hands", creator="Somebody", date_published="2026-01-31")
    assert not mlcroissant.Dataset(carded / "croissant.json").metadata.ctx.issues.warnings
    before = told(carded)
    write_card(carded)
    assert told(carded) == before
    assert (before["url"], before["creator"]["name"]) == ("https://example.org/hands", "Somebody")
    write_card(carded, url="https://example.org/elsewhere")
    assert told(carded)["datePublished"] == "2026-01-31"


def test_every_file_is_listed_with_its_size_and_sum(carded: Path) -> None:
    files = {f["contentUrl"]: f for f in told(carded)["distribution"] if f["@type"] == "cr:FileObject"}
    shards = {path.relative_to(carded).as_posix() for path in carded.rglob("*.h5") if path.parent.name != "cache"}
    assert set(files) == shards | {"dataset.json", "manifest.yaml", "plan.json"}
    for name, entry in files.items():
        data = (carded / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["contentSize"] == f"{len(data)} B"


def test_every_field_of_the_record_is_told(carded: Path) -> None:
    (samples,) = [r for r in told(carded)["recordSet"] if r["@id"] == "samples"]
    fields = {field["name"]: field for field in samples["field"]}
    assert list(fields) == [name for name, spec in SPECS.items() if not spec.optional]
    assert fields["cam_joints_m"]["arrayShape"] == "2,21,3"
    assert fields["amodal_mask"]["arrayShape"] == "2,96,96"
    for name, field in fields.items():
        assert field["description"] == SPECS[name].about
        assert f"| `{name}` |" in sheet(carded)


def test_the_same_dataset_has_the_same_card_and_it_is_left_alone(carded: Path) -> None:
    before = {name: (carded / name).stat().st_mtime_ns for name in ("croissant.json", "DATASHEET.md")}
    write_card(carded)
    assert {name: (carded / name).stat().st_mtime_ns for name in before} == before


def test_counts_versions_plan_and_refusals_are_those_of_the_index(carded: Path) -> None:
    listed = json.loads((carded / "dataset.json").read_text())
    text = sheet(carded)
    assert "| render | 5 | 2 | 2 |" in text
    for word in (listed["plan_hash"], str(listed["seed"]), "numpy " + listed["versions"][0]["numpy"], "numba"):
        assert word in text
    for reason, count in listed["rejections"].items():
        assert f"{reason}: {count}" in text
    assert told(carded)["version"] == f"{listed['versions'][0]['aih-builder']}+{listed['plan_hash'][:12]}"


def test_an_open_dataset_is_not_called_non_commercial(carded: Path) -> None:
    assert told(carded)["license"] == ["https://creativecommons.org/publicdomain/zero/1.0/"]
    assert "ommercial" not in sheet(carded)


INTERHAND = {"poses": {"source": "interhand", "licences": ["CC-BY-NC-4.0", "LicenseRef-MANO"]}}
MANO_HAND = {"hand": {"model": "render_assets/licensed/mano", "licences": []}}


@pytest.mark.parametrize("sources", [INTERHAND, MANO_HAND], ids=["fits of MANO", "MANO's hand"])
def test_manos_terms_are_carried_along(copy: Path, sources: dict[str, Any]) -> None:
    listed = json.loads((copy / "dataset.json").read_text())
    with_listing(copy, sources=listed["sources"] | sources)
    write_card(copy)
    assert "https://mano.is.tue.mpg.de/license.html" in told(copy)["license"]
    assert "Non-commercial use alone" in told(copy)["description"]
    assert "**LicenseRef-MANO**: MANO's terms: non-commercial" in sheet(copy)
    mlcroissant.Dataset(copy / "croissant.json")


def test_the_terms_of_each_licence_are_told() -> None:
    assert all_licences(["A AND B"], {"poses": {"licences": ["CC0-1.0"]}}) == ["A", "B", "CC0-1.0"]
    assert terms_of("MIT").url == "https://spdx.org/licenses/MIT.html"
    assert terms_of("LicenseRef-Mine").url == terms_of("user").url == ""
    assert terms_of("CC-BY-NC-SA-3.0").non_commercial
    assert not terms_of("CC-BY-4.0").non_commercial


def test_where_things_lay_on_the_machine_is_not_told(copy: Path) -> None:
    folders = [{"path": "private/rooms", "images": 12, "licence": "user"}]
    listed = json.loads((copy / "dataset.json").read_text())
    sources = listed["sources"] | {
        "backgrounds": {"procedural": [], "folders": folders, "licences": ["user"]},
        "bank": {"source": "file", "path": "private/bank.h5", "pictures": 3, "licences": ["user"]},
    }
    with_listing(copy, sources=sources)
    write_card(copy)
    assert "private" not in sheet(copy) + (copy / "croissant.json").read_text()
    assert "they may show real people" in sheet(copy)


def test_a_dataset_of_several_installations_and_overrides_says_so(copy: Path) -> None:
    listed = json.loads((copy / "dataset.json").read_text())
    with_listing(copy, versions=[*listed["versions"], {"aih-builder": "9.9.9"}], overrides={"16": 2})
    write_card(copy)
    assert "and 1 other installations" in sheet(copy)
    assert "overrides.json copied into NEW" in sheet(copy)


# What has no card.


def test_a_folder_that_is_no_finished_dataset_has_none(copy: Path) -> None:
    (copy / "dataset.json").unlink()
    with pytest.raises(ConfigError, match="is not finished"):
        write_card(copy)
    assert not write_card_if_whole(copy)
    assert not (copy / "croissant.json").exists()


@pytest.mark.parametrize(
    "change", [{"name": 3}, {"bytes": None}, {"image_size_px": "x"}, {"sources": [1]}, {"sources": {"hand": 3}}]
)
def test_a_damaged_index_is_refused(copy: Path, change: dict[str, Any]) -> None:
    with_listing(copy, **change)
    with pytest.raises(ShardError, match=rf"dataset\.json: damaged, its {next(iter(change))} cannot be read"):
        write_card(copy)
    assert not (copy / "croissant.json").exists()


def test_an_index_without_sums_is_refused(copy: Path) -> None:
    listed = json.loads((copy / "dataset.json").read_text())
    del listed["shards"][0]["sha256"]
    with_listing(copy, shards=listed["shards"])
    with pytest.raises(ShardError, match="its shards cannot be read"):
        write_card(copy)


def test_a_date_that_is_none_is_refused(copy: Path) -> None:
    with pytest.raises(ConfigError, match="published 'soon': expected a date such as 2026-01-31"):
        write_card(copy, date_published="soon")
