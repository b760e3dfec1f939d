import json
import math
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from aih_builder import webpage
from aih_builder.errors import ConfigError
from aih_builder.hdr.published import (
    ABLATION_MM,
    CAUTION,
    INTERHAND_ALL,
    INTERHAND_M,
    SAME_METHOD,
    TRAINING_DATA,
    TZIONAS_EPE_PX,
)
from aih_builder.hdr.report import evaluation_page, study_page
from aih_builder.hdr.report_plots import MOST_POINTS, block_means
from tests.hdr_records import dot_png, evaluation, study

pytest.importorskip("matplotlib")

EVALUATION_HEADINGS = [
    "Masks",
    "De-occlusion and removal",
    "Pose",
    "Benchmark: InterHand2.6M",
    "Benchmark: Tzionas",
    "Examples",
    "Time",
    "Training",
    "Data and networks",
    "Made with",
]
STUDY_HEADINGS = [
    "Verdict",
    "Variants",
    "Floors",
    "Seed 0 on the held-out split",
    *EVALUATION_HEADINGS[:-1],
    "Data, networks and time",
    "Made with",
]


class Outline(HTMLParser):
    """Headings, links, texts that describe pictures, and the rows of the tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.svgs = 0
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attrs}
        self.open += [] if tag in ("meta", "img") else [tag]
        self.svgs += tag == "svg"
        self.alts += [named[key] for key in ("alt", "aria-label") if key in named]
        self.links += [v for k, v in named.items() if k in ("src", "href", "xlink:href") and v[:1] != "#"]
        self.rows += [[]] if tag == "tr" else []
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open.pop() != tag:  # paths of SVG need not be closed
            pass

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)
        if self.open[-1:] == ["td"] or self.open[-1:] == ["th"]:
            self.rows[-1][-1] += data
        if not {"script", "style", "svg"} & set(self.open):
            self.text += data + " "

    def row(self, *beginning: str) -> list[str]:
        return next(row for row in self.rows if tuple(row[: len(beginning)]) == beginning)


def without_pictures(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_pictures(part) for key, part in value.items() if key != "png"}
    return [without_pictures(part) for part in value] if isinstance(value, list) else value


def stored(page: str) -> Any:
    return json.loads(page.partition('id="figures">')[2].partition("</script>")[0])


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def forms(value: float) -> set[str]:
    """The ways in which a page may write a number."""
    digits = {f"{value:.{n}f}" for n in (1, 2, 3, 4)} | {f"{100 * value:.1f}", f"{value:g}", f"{100 * value:g}"}
    return digits | {f"{value:,}"} if isinstance(value, int) else digits


def unwritten(record: dict[str, Any], text: str) -> list[float]:
    words = set(text.replace("\n", " ").replace("(", " ").replace(")", " ").replace(".\u0020", " ").split())
    words |= {word.rstrip(".,;:") for word in words}
    return [value for value in numbers(record) if not forms(value) & words]


def test_every_figure_of_an_evaluation_stands_on_its_page() -> None:
    record = evaluation()
    page = evaluation_page(record)
    found = Outline(page)
    assert found.headings == EVALUATION_HEADINGS
    assert stored(page) == without_pictures(record)
    curves = record.pop("training")  # drawn, not printed: hundreds of points
    assert unwritten(record, found.text) == []
    assert unwritten({"planted": [987.654, 1204]}, found.text) == [987.654]
    assert found.svgs == 5
    assert f"Training loss of HASM (masks): from {curves['hasm']['loss'][0]:.4g}" in " ".join(found.alts)
    assert found.row("SHPE alone", "640")[2:] == ["24.36", "23.45 to 25.29", "24.78", "16.99", "0.521", "6.09", "25.78"]
    assert found.row("20 to 40 %", "301") == ["20 to 40 %", "301", "0.852", "0.863", "0.553"]
    assert found.row("0 to 20 %", "500")[-1] == "—"
    for text in (*record["notes"], *record["made_with"].values(), "runs/shpe-0/last.pt", "AIH-Sync 320"):
        assert text in found.text


def test_every_figure_of_a_study_stands_on_its_page() -> None:
    record = study()
    page = study_page(record)
    found = Outline(page)
    assert found.headings == STUDY_HEADINGS
    assert stored(page) == without_pictures(record)
    record.pop("evaluations")
    assert unwritten(record, found.text) == []
    assert found.svgs == 7
    full = found.row("full", "19.35")
    assert full == ["full", "19.35", "1", "17.98", "1", *(f"{19.3 + 0.31 * k:.2f}{full[5 + k][5:]}" for k in range(3))]
    assert full[5] == "19.30\n18.47 to 20.14"
    assert found.row("full, true masks")[2:5] == ["—", "—", "—"]  # no place in an order that the paper does not have
    assert found.row("SHPE under the mean pose")[-1] == "FAIL"
    assert found.row("HASM amodal IoU")[-1] == "pass"
    for text in (*record["verdict"], *record["notes"], record["data"]["subset"]):
        assert text in found.text


@pytest.mark.parametrize("part", [*evaluation(), "masks all", "masks by_mask", "pose rows", "pose pck", "data engines"])
def test_a_missing_part_of_an_evaluation_has_no_section(part: str) -> None:
    record, (part, _, inner) = evaluation(), part.partition(" ")
    if inner:
        del record[part][inner]
    else:
        del record[part]
    gone = {
        "masks": ["Masks"],
        "images": ["De-occlusion and removal"],
        "pose": ["Pose"],
        "benchmarks": ["Benchmark: InterHand2.6M", "Benchmark: Tzionas"],
        "examples": ["Examples"],
        "timing_ms": ["Time"],
        "training": ["Training"],
        "made_with": ["Made with"],
    }.get("" if inner else part, [])
    assert Outline(evaluation_page(record)).headings == [name for name in EVALUATION_HEADINGS if name not in gone]


@pytest.mark.parametrize(
    ("part", "gone"),
    [
        ("verdict", STUDY_HEADINGS[:1]),
        ("rows", STUDY_HEADINGS[1:2]),
        ("floors", STUDY_HEADINGS[2:3]),
        ("evaluations", STUDY_HEADINGS[3:-2]),
        ("minutes", []),
        ("models", []),
        ("data", []),
        ("made_with", []),
        ("mean_pose_mm", []),
    ],
)
def test_a_missing_part_of_a_study_has_no_section(part: str, gone: list[str]) -> None:
    record = study()
    del record[part]
    record["evaluations"] = [evaluation()] if "evaluations" in record else []
    record.pop("made_with", None)
    found = Outline(study_page(record)).headings
    assert found == [name for name in STUDY_HEADINGS[:-1] if name not in gone]


def test_records_of_nothing_are_pages_without_sections() -> None:
    empty = {"masks": {}, "images": {"rows": []}, "pose": {}, "benchmarks": [], "examples": [], "training": {}}
    for record in ({}, {"title": "nothing"}, empty):
        assert Outline(evaluation_page(record)).headings == []
    for record in ({}, {"title": "nothing", "rows": [], "floors": [], "evaluations": [{}]}):
        assert Outline(study_page(record)).headings == []


def test_what_is_no_number_is_null_and_leaves_its_place_empty() -> None:
    record = evaluation()
    record["pose"]["rows"][1]["mpjpe_mm"] = math.nan
    record["pose"]["by_occlusion"]["curves"]["HDR + SHPE"][3] = None
    record["pose"]["pck"]["curves"]["HDR + SHPE"] = [None] * 26
    record["training"]["hasm"]["loss"][7] = math.nan
    record["training"]["hdrm"]["loss"] = [None] * 800
    page = evaluation_page(record)
    assert Outline(page).row("HDR + SHPE", "640")[2] == "—"
    assert Outline(page).row("60 to 100 %", "151")[-1] == "—"
    assert stored(page)["pose"]["rows"][1]["mpjpe_mm"] is None


def test_a_page_asks_the_web_for_nothing_and_describes_its_pictures() -> None:
    for page in (evaluation_page(evaluation()), study_page(study())):
        found = Outline(page)
        assert {link[:15] for link in found.links} == {"data:image/png;", "data:image/jpeg"}
        assert len(found.links) == 3
        assert "url(http" not in page
        assert "@import" not in page
        assert len(found.alts) == found.svgs + 3
        assert all(found.alts)
    assert "Example 0: SHPE alone 31.2 mm, with HDR 17.9 mm: masks found" in found.alts


def test_the_same_record_gives_the_same_page() -> None:
    assert evaluation_page(evaluation()) == evaluation_page(evaluation())


def test_text_of_a_record_is_escaped() -> None:
    evil = '<b onclick="x">&\'$x_$\\frac'
    record = evaluation()
    for place in (record, record["made_with"], record["data"], record["models"]["hasm"]):
        place |= dict.fromkeys([k for k, v in place.items() if isinstance(v, str) and k != "format"], evil)
    record["notes"] = [evil]
    record["masks"]["by_mask"] = {evil: 0.5}
    record["pose"] |= {"subset": evil, "pck": {"thresholds_mm": [0, 9], "curves": {evil: [0, 1]}}}
    record["pose"]["rows"][0]["name"] = record["images"]["rows"][0]["method"] = evil
    record["benchmarks"][0] |= {"name": evil, "split": evil, "unit": evil}
    record["examples"] = [{"caption": evil, "pictures": [{"title": evil, "png": dot_png()}]}]
    record["training"] = {evil: {"step": [0, 1], "loss": [1.0, 0.5]}}
    record["timing_ms"] = {"device": evil, "batch": 1, "image": {evil: 1.0}}
    everything = study() | {"title": evil, "verdict": [evil], "notes": [evil], "evaluations": [record]}
    everything["rows"][0]["name"] = everything["floors"][0]["name"] = everything["floors"][0]["floor"] = evil
    for page in (evaluation_page(record), study_page(everything)):
        assert "<b onclick" not in page
        assert page.count("&lt;b onclick") > 15


def test_the_published_figures_are_those_of_the_paper() -> None:
    assert [row[1:] for row in INTERHAND_ALL] == [
        (None, None, 27.14, 31.46),
        (None, None, 27.10, 32.11),
        (None, None, 25.10, 28.23),
        (None, None, 17.12, 20.66),
        (None, 14.27, None, None),
        (12.16, 16.02, 14.21, 18.04),
        (8.51, 13.12, 10.97, 14.74),
    ]
    assert [row[1:4] for row in INTERHAND_M] == [(12.52, 18.04, 15.28), (8.52, 14.98, 11.74)]
    assert list(ABLATION_MM.values()) == [25.78, 24.16, 19.69, 18.11, 18.85, 18.10, 18.35, 17.98]
    assert list(TZIONAS_EPE_PX.values()) == [12.91, 13.31, 17.61, 12.42, 14.88, 8.70]
    # Two tables of the paper share two figures; the text gives the gain over BiHand.
    assert [row[4] for row in TRAINING_DATA[:2]] == [ABLATION_MM["SHPE only"], ABLATION_MM["full"]]
    assert [sum(row[1:]) for row in TRAINING_DATA] == pytest.approx([132.62, 87.75, 105.09, 83.96])
    assert pytest.approx(0.478, abs=5e-4) == 1 - 14.74 / 28.23
    assert set(SAME_METHOD.values()) <= set(ABLATION_MM)


def test_published_figures_stand_beside_ours_and_are_called_what_they_are() -> None:
    page = evaluation_page(evaluation())
    found = Outline(page)
    assert found.row("HDR", "8.51") == ["HDR", "8.51", "13.12", "10.97", "—", "14.74"]
    assert found.row("HDR", "8.52") == ["HDR", "8.52", "14.98", "11.74", "—", "—"]
    for numbers_of in (ABLATION_MM, TZIONAS_EPE_PX):
        assert all(found.row(name, f"{value:.2f}") for name, value in numbers_of.items())
    assert all(found.row(row[0])[1:] == [f"{value:.2f}" for value in row[1:]] for row in TRAINING_DATA)
    assert found.text.count("cannot be compared with ours") == 3
    assert CAUTION in Outline(study_page(study())).text
    no_paper = study()
    for row in no_paper["rows"]:
        row["paper_mm"] = None
    no_paper["evaluations"] = []
    assert "paper †" not in study_page(no_paper)


def test_another_format_and_another_picture_are_refused() -> None:
    with pytest.raises(ConfigError, match="'aih-study 1', expected 'aih-evaluation 1'"):
        evaluation_page(study())
    with pytest.raises(ConfigError, match="expected 'aih-study 1'"):
        study_page(evaluation())
    record = evaluation([["R0lGODlhAQABAAAAACw=", dot_png(), dot_png()]])
    with pytest.raises(ConfigError, match="image': its data begin with 'R0lGODlhAQAB', expected the base64 text"):
        evaluation_page(record)


def test_without_matplotlib_the_pages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webpage, "find_spec", lambda _: None)
    for page, record in ((evaluation_page, evaluation()), (study_page, study())):
        with pytest.raises(ConfigError, match=r"draws plots, which needs matplotlib: pip install 'aih-builder\[viewer"):
            page(record)


def test_a_long_curve_is_drawn_as_means_of_neighbours() -> None:
    values = np.arange(10_000.0)
    assert len(block_means(values)) == MOST_POINTS
    assert block_means(values[:9_000]).mean() == pytest.approx(values[:9_000].mean())  # blocks of 30
    assert (block_means(values[:MOST_POINTS]) == values[:MOST_POINTS]).all()
