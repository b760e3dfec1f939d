"""`aih view` as a process, and its page in a browser that has no screen."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from playwright import sync_api

from aih_builder import open_dataset
from aih_builder.sample import Sample
from tests.shards.planting import rewrite

pytestmark = pytest.mark.browser


class Viewer(NamedTuple):
    """A page that is served, and the browser's window onto it."""

    folder: Path
    address: str
    page: Any

    def open(self, where: str) -> Any:
        """Go to a page, and wait for its first content."""
        self.page.goto(self.address + where)
        return self.page


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """A window of a laptop's size. No request may leave this machine, and no script may fail."""
    strangers: list[str] = []
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(30_000)
        page.on("request", lambda request: strangers.append(request.url))
        page.on("pageerror", lambda error: strangers.append(f"script: {error}"))
        yield page
        browser.close()
    assert [url for url in strangers if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def viewer(both_dataset: Path, tmp_path_factory: pytest.TempPathFactory, window: Any) -> Iterator[Viewer]:
    """A copy of both_dataset, one of whose amodal masks has a hole that is in its occlusion rate as well."""
    folder = Path(shutil.copytree(both_dataset, tmp_path_factory.mktemp("page") / "dataset"))
    rewrite(folder, lambda samples: [holed(samples[0]), *samples[1:]])
    with served(folder) as address:
        yield Viewer(folder, address, window)


class served:
    """`aih view` on a folder; gives its address."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-m", "aih_builder.cli.main", "view", str(folder), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})

    def __enter__(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        return found[0]

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(30) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


def holed(sample: Sample) -> Sample:
    """With a hole in the middle of a hidden or visible part of the first hand that is there."""
    hand = int(np.flatnonzero(sample.hand_present)[0])
    rows, columns = np.nonzero(sample.amodal_mask[hand])
    y, x = int(np.median(rows)), int(np.median(columns))
    amodal, visible = sample.amodal_mask.copy(), sample.visible_mask.copy()
    for mask in (amodal, visible):
        mask[hand, y - 4 : y + 5, x - 4 : x + 5] = False
    return replace(sample, amodal_mask=amodal, visible_mask=visible)


def shown_indices(page: Any) -> list[int]:
    """The samples in the gallery."""
    links = page.locator(".grid a").evaluate_all("links => links.map(link => link.search)")
    return [int(re.search(r"index=(\d+)", link)[1]) for link in links]  # pyright: ignore[reportOptionalSubscript]


def loaded(page: Any) -> None:
    """Wait until the pictures that are in sight are there."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.grid img, .frame img:not([hidden])')]"
        ".filter(i => i.getBoundingClientRect().top < innerHeight).every(i => i.complete && i.naturalWidth)"
    )


def test_the_gallery_filters_by_occlusion_and_its_address_says_so(viewer: Viewer) -> None:
    page = viewer.open("/")
    page.wait_for_selector(".grid img")
    loaded(page)
    dataset = open_dataset(viewer.folder)
    assert shown_indices(page) == [sample.index for sample in dataset]
    page.get_by_label("Right hidden ≥").fill("0.2")
    page.get_by_label("Right hidden ≥").press("Enter")
    page.wait_for_function("location.search.includes('occlusion_right=0.2')")
    expected = [sample.index for sample in dataset if sample.occlusion_rate[0] >= 0.2]
    assert expected
    assert len(expected) < len(dataset)
    assert shown_indices(page) == expected
    page.reload()  # the address holds all that was asked for
    page.wait_for_selector(".grid img")
    assert shown_indices(page) == expected
    assert page.get_by_label("Right hidden ≥").input_value() == "0.2"


def test_a_query_that_cannot_be_read_is_answered_in_words(viewer: Viewer) -> None:
    page = viewer.open("/")
    page.wait_for_selector(".grid img")
    page.get_by_label("Query over all fields").fill("oclusion_rate > 1")
    page.get_by_label("Query over all fields").press("Enter")
    page.wait_for_selector(".bad")
    assert "occlusion_rate" in page.locator(".bad").inner_text()
    page.get_by_label("Query over all fields").fill('engine == "sync"')
    page.get_by_label("Query over all fields").press("Enter")
    page.wait_for_selector(".grid img")
    engines = {sample.index: sample.engine for sample in open_dataset(viewer.folder)}
    assert {engines[index] for index in shown_indices(page)} == {"sync"}


def test_a_random_page_is_the_same_again_by_its_address(viewer: Viewer) -> None:
    page = viewer.open("/")
    page.wait_for_selector(".grid img")
    before = shown_indices(page)
    page.get_by_role("button", name="Random").click()
    page.wait_for_function("location.search.includes('seed=1')")
    drawn = shown_indices(page)
    assert sorted(drawn) == sorted(before)
    assert drawn != before
    page.reload()
    page.wait_for_selector(".grid img")
    assert shown_indices(page) == drawn


def test_masks_a_slider_and_the_arrow_keys_on_a_sample_s_page(viewer: Viewer) -> None:
    page = viewer.open("/?engine=render")
    page.wait_for_selector(".grid img")
    first, second = shown_indices(page)[:2]
    page.locator(".grid a").first.click()
    page.wait_for_selector(".overlays img")
    assert f"index={first}" in page.url
    names = "imgs => imgs.map(img => img.alt)"
    assert set(page.locator(".overlays img").evaluate_all(names)) <= {"right amodal", "left amodal"}
    tick = page.locator(".masks label", has_text="visible").first.locator("input")
    tick.check()
    assert any("visible" in name for name in page.locator(".overlays img").evaluate_all(names))
    tick.uncheck()
    page.locator(".which").select_option(index=1)
    box = page.locator(".slider").bounding_box()
    page.locator(".slider").click(position={"x": box["width"] / 4, "y": box["height"] / 2})
    shown = page.locator(".beside").evaluate("img => parseFloat(img.style.clipPath.split(' ')[3])")
    assert 20 < shown < 30
    assert page.locator(".beside").is_visible()
    assert page.locator(".drawn circle").count() in (21, 42)
    page.locator("body").press("ArrowRight")
    page.wait_for_function(f"location.search.includes('index={second}')")
    page.wait_for_function(f"document.querySelector('.place').textContent.startsWith('#{second}')")
    page.locator("body").press("ArrowLeft")
    page.wait_for_function(f"document.querySelector('.place').textContent.startsWith('#{first}')")
    page.go_back()
    page.wait_for_function(f"document.querySelector('.place').textContent.startsWith('#{second}')")
    assert f"--index {second}" in page.locator(".command").inner_text()
    rows = page.locator(".fields tr").count()
    assert rows == len(Sample.__dataclass_fields__)
    page.locator(".gallery").click()
    page.wait_for_selector(".grid img")
    assert "engine=render" in page.url


def test_the_hands_are_shown_in_space(viewer: Viewer) -> None:
    posed = next(s.index for s in open_dataset(viewer.folder) if (s.pose_valid & s.hand_present).all())
    page = viewer.open(f"/sample?index={posed}")
    page.locator(".hands summary").click()
    canvas = page.frame_locator(".hands iframe").locator("canvas")
    canvas.wait_for()
    assert canvas.evaluate("canvas => canvas.width") > 100


def test_a_flag_is_set_and_taken_away(viewer: Viewer) -> None:
    index = open_dataset(viewer.folder)[2].index
    page = viewer.open(f"/sample?index={index}")
    page.locator(".reason").fill("a thumb is missing")
    page.locator(".flag").click()
    page.wait_for_selector(".flagged:not([hidden])")
    assert "a thumb is missing" in page.locator(".flagged").inner_text()
    assert json.loads((viewer.folder / "flags.json").read_text())["flags"][str(index)]["reason"] == "a thumb is missing"
    assert index not in [sample.index for sample in open_dataset(viewer.folder)]
    viewer.open("/?validity=flagged").wait_for_selector(".grid img")
    assert shown_indices(page) == [index]
    assert page.locator(".grid .mark").inner_text() == "flagged"
    page.locator(".grid a").click()
    page.locator(".unflag").click()
    page.wait_for_selector(".flagged", state="hidden")
    assert index in [sample.index for sample in open_dataset(viewer.folder)]


def test_an_empty_reason_is_refused_in_words(viewer: Viewer) -> None:
    page = viewer.open(f"/sample?index={open_dataset(viewer.folder)[2].index}")
    page.locator(".reason").fill("  ")
    page.locator(".flag").click()
    page.wait_for_selector(".error:not([hidden])")
    assert "reason" in page.locator(".error").inner_text()


def test_a_bad_mask_is_found_by_the_check_in_three_clicks(viewer: Viewer) -> None:
    planted = open_dataset(viewer.folder)[0].index
    page = viewer.open("/")
    page.get_by_role("link", name="Check").or_(page.get_by_role("button", name="Check", exact=True)).first.click()
    page.get_by_role("button", name="Check every sample").click()
    page.wait_for_selector(".found a", timeout=120_000)
    assert {link.inner_text() for link in page.locator(".found a").all()} == {f"#{planted}"}
    page.locator(".found a").first.click()
    page.wait_for_selector(".problems:not([hidden])")
    assert page.locator(".problems li").count() >= 1
    viewer.open("/?validity=problems+found").wait_for_selector(".grid img")
    assert shown_indices(page) == [planted]


def test_a_bar_of_the_statistics_leads_to_its_samples(viewer: Viewer) -> None:
    page = viewer.open("/statistics")
    page.wait_for_selector(".statistics svg a")
    bar = page.locator(".statistics svg a").first
    assert "where=" in (bar.get_attribute("xlink:href") or bar.get_attribute("href"))
    bar.locator("path").first.click()
    page.wait_for_selector(".grid img")
    assert "where=" in page.url
    assert 0 < len(shown_indices(page)) <= len(open_dataset(viewer.folder))


def test_a_shard_that_goes_away_becomes_an_error_card(viewer: Viewer, tmp_path: Path) -> None:
    sample = open_dataset(viewer.folder)[-1]
    page = viewer.open(f"/sample?index={sample.index}")
    page.wait_for_selector(".overlays img")
    (shard,) = [viewer.folder / entry["file"] for entry in open_dataset(viewer.folder).shards[-1:]]
    shard.rename(tmp_path / "away.h5")
    page.reload()
    page.wait_for_selector(".error:not([hidden])")
    assert shard.name in page.locator(".error").inner_text()
    assert "Traceback" not in page.content()
    (tmp_path / "away.h5").rename(shard)
    page.reload()
    page.wait_for_selector(".overlays img")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_window(viewer: Viewer, width: int, scheme: str) -> None:
    page = viewer.page
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    first = open_dataset(viewer.folder)[0].index
    for where, content in (("/", ".grid img"), (f"/sample?index={first}", ".overlays img"), ("/check", "button")):
        viewer.open(where).wait_for_selector(content)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, where
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 860})
