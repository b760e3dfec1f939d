#!/usr/bin/env python
"""Seconds until `aih view` shows a first and a filtered page and `aih stats` its figures, and memory, by samples.

python tools/bench/viewer.py [--out FILE.json] [--chromium FILE]; playwright (extra `dev`) drives the browser. The
datasets are hard links to four real shards, so the shards are in the page cache; the index beside them is as large as
that of real ones. Each server is a process of its own. Answers of the browser are medians, each question is a new one:
until the count is told and all thumbnails in the window are there.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from aih_builder.errors import ConfigError
from aih_builder.identity import indices_of
from aih_builder.shards.format import COLUMNS_FILE
from aih_builder.shards.reader import open_dataset
from tools.bench.large_dataset import enlarged, real_shards
from tools.bench.timing import ROOT, commit, machine, report

_PATIENCE_S = 1800
_WINDOW = {"width": 1280, "height": 900}
_THERE = """(before) => {
  const grid = document.querySelector('.grid');
  if (!grid || grid.outerHTML === before || !document.querySelector('.told')) return false;
  const seen = [...grid.querySelectorAll('img')].filter((image) => image.getBoundingClientRect().top < innerHeight);
  return seen.length > 0 && seen.every((image) => image.complete && image.naturalWidth > 0);
}"""
_OTHER = """(before) => {
  const images = [...document.querySelectorAll('.frame .base, .overlays img')];
  return images.length > 1 && images[0].src !== before && images.every((image) => image.complete);
}"""
QUERIES = {  # each with a number that differs from round to round, so that no answer is known before
    "query, small fields": "any(occlusion_rate > 0.5{}) and penetration_mm < 1",
    "query, joints' visibility": "sum(joint_visible[right]) > 15.{}",
    "query, a field that stays in the shards": "min(cam_joints_m[right, 0]) < 0.0{} or cam_joints_m[left, 0, 2] > 0.3",
}


class Server(NamedTuple):
    """A running `aih view`."""

    process: subprocess.Popen[str]
    address: str
    told_s: float  # from its start until it told its address
    answered_s: float  # and until it answered

    def memory(self) -> dict[str, int]:
        """MiB: all that is resident, of that what no file backs, and the most that was resident."""
        of = psutil.Process(self.process.pid)
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        kib = dict(re.findall(r"^(RssAnon|VmHWM):\s+(\d+) kB", status, flags=re.MULTILINE))
        return {
            "rss_mib": of.memory_info().rss >> 20,
            "own_mib": int(kib["RssAnon"]) >> 10,
            "peak_mib": int(kib["VmHWM"]) >> 10,
        }


def main() -> None:
    """Make datasets, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port", type=int, default=7951)
    parser.add_argument("--jobs", type=int, default=2, help="processes that make the real shards")
    parser.add_argument("--chromium", type=Path, help="the browser; else playwright's own")
    parser.add_argument("--folder", type=Path, help="where to work; else a temporary folder")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    chosen = parser.parse_args()
    content: dict[str, Any] = {"commit": commit(), "machine": machine(), "size_px": chosen.size, "samples": {}}
    with tempfile.TemporaryDirectory(dir=chosen.folder) as made:
        real = real_shards(Path(made) / "real", chosen.size, chosen.jobs)
        for samples in chosen.samples:
            folder = enlarged(real, Path(made) / str(samples), samples)
            content["samples"][str(samples)] = measured(folder, chosen)
    report(chosen.out, content)
    sys.stdout.write(table(content["samples"]))


def measured(folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """All figures of one dataset, in seconds unless they say otherwise."""
    with served(folder, chosen.port) as server:
        first = {"address": server.told_s, "answer": server.answered_s} | server.memory()
    answer: dict[str, Any] = {"columns made": first, "columns_mib": (folder / COLUMNS_FILE).stat().st_size >> 20}
    with served(folder, chosen.port) as server:
        answer["again"] = {"address": server.told_s, "answer": server.answered_s} | server.memory()
        answer["sample"] = asked(server.address, folder, chosen.rounds)
        with browser(chosen.chromium) as page:
            answer["page"] = looked(page, server.address, chosen.rounds)
        answer["after"] = server.memory()
    answer["statistics"] = {state: counted(folder) for state in ("counted", "kept")}
    return answer


def counted(folder: Path) -> dict[str, float]:
    """Seconds and peak MiB of `aih stats`, columns.h5 being there."""
    command = [sys.executable, "-m", "aih_builder.cli.main", "stats", str(folder), "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ConfigError(f"aih stats {folder}: exit code {process.returncode}")
    return {"s": round(time.perf_counter() - started, 2), "peak_mib": usage.ru_maxrss >> 10}


@contextmanager
def served(folder: Path, port: int) -> Iterator[Server]:
    """A server that answers."""
    command = [sys.executable, "-m", "aih_builder.cli.main", "view", str(folder), "--port", str(port)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    guard = threading.Timer(_PATIENCE_S, process.kill)
    guard.start()
    try:
        line = process.stdout.readline() if process.stdout else ""
        told = time.perf_counter()
        address = line.rpartition(" ")[2].strip()
        if not address.startswith("http"):
            raise ConfigError(f"aih view: {process.communicate()[1][-2000:]}")
        _get(address)
        yield Server(process, address, round(told - started, 2), round(time.perf_counter() - started, 2))
    finally:
        guard.cancel()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@contextmanager
def browser(chromium: Path | None) -> Iterator[Any]:
    """A page of a headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        opened = player.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )  # fmt: skip
        page = opened.new_page(viewport=_WINDOW)  # pyright: ignore[reportArgumentType]
        page.set_default_timeout(1000 * _PATIENCE_S)
        yield page
        opened.close()


def asked(address: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of a sample's figures over HTTP: of samples anywhere, and as one of a new query's answer."""
    dataset, choice = open_dataset(folder), random.Random(1)

    def taken(**params: str) -> float:
        shard = choice.choice(dataset.shards)
        last = shard["first"] + shard["samples"]
        index = choice.choice(indices_of(shard["engine"], shard["split"], shard["first"], last))
        started = time.perf_counter()
        told = json.loads(_get(f"{address}data/sample/{index}?{urlencode(params)}"))
        if "error" in told:
            raise ConfigError(told["error"])
        return 1000 * (time.perf_counter() - started)

    taken()
    plain = sorted(taken() for _ in range(20 * rounds))
    asking = {name: [taken(where=text.format(f"{k}1")) for k in range(rounds)] for name, text in QUERIES.items()}
    return {
        "median_ms": round(median(plain), 1),
        "95_percent_ms": round(plain[int(0.95 * len(plain))], 1),
        "first_and_median_ms": {name: [round(ms[0], 1), round(median(ms), 1)] for name, ms in asking.items()},
    }


def looked(page: Any, address: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of the first time and median, by what is done in the browser."""

    def opened() -> float:
        return _until(page, lambda: page.goto(address), _THERE, None)

    def answered(act: Callable[[], object], label: str = "", text: str = "") -> float:
        opened()
        if label:
            page.get_by_label(label).fill(text)
        return _until(page, act, _THERE, page.evaluate("document.querySelector('.grid').outerHTML"))

    def enter() -> None:
        page.keyboard.press("Enter")

    def draw() -> None:
        page.get_by_role("button", name="Random").click()

    taken: dict[str, list[float]] = {"first page": [opened() for _ in range(rounds + 1)]}
    taken["filter"] = [answered(enter, "Right hidden ≥", f"0.5{k}") for k in range(rounds)]
    for name, text in QUERIES.items():
        taken[name] = [answered(enter, "Query over all fields", text.format(k)) for k in range(rounds)]
    taken["random order"] = [answered(draw) for _ in range(rounds)]
    page.goto(f"{address}?where=occlusion_rate[right]+>+0.5")
    page.wait_for_function(_THERE, arg=None)
    page.locator(".grid a").first.click()
    page.wait_for_function(_OTHER, arg="")
    on: list[float] = []
    for _ in range(rounds):
        before = page.evaluate("document.querySelector('.base').src")
        on.append(_until(page, lambda: page.keyboard.press("ArrowRight"), _OTHER, before))
    taken["next by key"] = on
    return {
        name: [round(seconds[0], 2), round(median(seconds[name == "first page" :]), 2)]
        for name, seconds in taken.items()
    }


def _until(page: Any, act: Callable[[], object], there: str, before: str | None) -> float:
    """Seconds from an act until what it brings is there."""
    started = time.perf_counter()
    act()
    page.wait_for_function(there, arg=before)
    return time.perf_counter() - started


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=_PATIENCE_S) as reply:
        return reply.read()


def table(sizes: dict[str, dict[str, Any]]) -> str:
    """Markdown: a line for each figure, a column for each number of samples."""
    figures = list(sizes.values())
    rows = [["", *(f"{int(samples):,} samples" for samples in sizes)]]
    for state in ("columns made", "again"):
        rows.append([f"{state}: first answer, s", *(f"{of[state]['answer']}" for of in figures)])
    rows.append([f"{COLUMNS_FILE}, MiB", *(f"{of['columns_mib']}" for of in figures)])
    for name in figures[0]["page"]:
        rows.append([f"{name}, s: first, median", *("{}, {}".format(*of["page"][name]) for of in figures)])
    rows.append(
        ["a sample, ms: median, 95 %", *("{median_ms}, {95_percent_ms}".format(**of["sample"]) for of in figures)]
    )
    for name in QUERIES:
        told = (of["sample"]["first_and_median_ms"][name] for of in figures)
        rows.append([f"a sample of a {name}, ms: first, median", *("{}, {}".format(*ms) for ms in told)])
    for state in ("columns made", "again", "after"):
        told = ("{rss_mib}, {own_mib}, {peak_mib}".format(**of[state]) for of in figures)
        rows.append([f"memory, {state}, MiB: resident, own, peak", *told])
    for state in ("counted", "kept"):
        told = ("{s}, {peak_mib}".format(**of["statistics"][state]) for of in figures)
        rows.append([f"`aih stats`, {state}: s, peak MiB", *told])
    rows.insert(1, ["---"] * len(rows[0]))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    main()
