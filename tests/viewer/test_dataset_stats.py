import json
import logging
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from aih_builder import open_dataset
from aih_builder.shards.format import STATS_FILE
from aih_builder.shards.marking import flag_samples
from aih_builder.shards.validate import validate
from aih_builder.viewer import dataset_stats
from aih_builder.viewer.columns import open_columns
from aih_builder.viewer.dataset_stats import dataset_statistics
from aih_builder.viewer.filters import Filters, View
from aih_builder.viewer.stats_page import statistics_body, stats_page
from tests.builders import copied


@pytest.fixture
def folder(both_dataset: Path, tmp_path: Path) -> Path:
    return copied(both_dataset, tmp_path / "dataset")


def test_figures_are_kept_beside_the_index_and_the_folder_stays_valid(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = dataset_statistics(folder)
    assert (figures["name"], figures["kind"], figures["samples"], figures["unreadable"]) == ("small", "dataset", 18, 0)
    assert json.loads((folder / STATS_FILE).read_text())["figures"] == figures
    assert validate(folder).problems == []
    monkeypatch.setattr(dataset_stats, "dataset_figures", None)  # would fail, were it called
    assert dataset_statistics(folder) == figures


@pytest.mark.parametrize("change", ["a flag", "dataset.json", "cut", "a list", "version"])
def test_figures_of_another_state_are_made_again(folder: Path, change: str) -> None:
    figures = dataset_statistics(folder)
    path = folder / STATS_FILE
    text = path.read_text()
    path.write_text(text.replace('"small"', '"stale"'))
    assert dataset_statistics(folder)["name"] == "stale"
    if change == "a flag":
        flag_samples(folder, {open_dataset(folder)[0].index: "blurred"})
        assert dataset_statistics(folder)["samples"] == 17
        return
    if change == "dataset.json":
        (folder / change).write_text((folder / change).read_text() + "\n")
    else:
        damaged = {"cut": text[:1000], "a list": "[]", "version": text.replace('"version": 1', '"version": 0')}
        path.write_text(damaged[change])
    assert dataset_statistics(folder) == figures
    assert json.loads(path.read_text())["figures"] == figures


def test_a_folder_that_takes_no_file_has_figures_all_the_same(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / STATS_FILE).mkdir()
    with caplog.at_level(logging.WARNING):
        assert dataset_statistics(folder)["samples"] == 18
    assert "the figures are not kept" in caplog.text


def test_figures_without_a_shard_are_not_kept_and_tell_of_it(folder: Path) -> None:
    away = open_dataset(folder).shards[0]
    (folder / away["file"]).unlink()
    figures = dataset_statistics(folder)
    assert figures["unreadable"] == away["samples"]
    assert figures["read"] == 18 - away["samples"]
    assert not (folder / STATS_FILE).exists()
    pytest.importorskip("matplotlib")
    assert f"{away['samples']} cannot be read" in stats_page("small", figures)
    for shard in open_dataset(folder).shards:
        (folder / shard["file"]).unlink(missing_ok=True)
    assert "18 cannot be read" in stats_page("small", dataset_statistics(folder))


def test_bars_lead_to_their_samples_where_a_page_has_an_address(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    figures, view = dataset_statistics(folder), View(open_columns(folder))
    body = statistics_body("small", figures, lambda where: f"/?where={quote(where)}")
    parts = body.split('<a xlink:href="')[1:]
    titles = body.split("<title>")[1:]
    drawn = sum(
        sum(counts[k] for counts in part["counts"].values()) > 0
        for histogram in figures["histograms"]
        for part in histogram["parts"].values()
        for k in range(len(part["where"]))
    )
    assert len(parts) == len(titles) == drawn
    for part, title in list(zip(parts, titles, strict=True))[::7]:
        address, told = part.partition('"')[0], title.partition("</title>")[0]
        (where,) = parse_qs(urlsplit(address).query)["where"]
        count = len(view.rows(Filters(where=where)))
        assert f": {count} sample" in told
    assert "<title>right, 0 to 0.05: " in body


def test_a_report_has_the_same_plots_and_leads_nowhere(folder: Path) -> None:
    pytest.importorskip("matplotlib")
    figures = dataset_statistics(folder)
    page = stats_page("small", figures)
    assert page.count("<svg") == statistics_body("small", figures, quote).count("<svg")
    assert "<a " not in page
    stored = page.partition('id="figures">')[2].partition("</script>")[0]
    assert json.loads(stored) == figures


def test_progress_is_told_by_shards(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    dataset_statistics(folder, lambda done, total: told.append((done, total)))
    assert told == [(k, 10) for k in range(1, 11)]
