"""The viewer's pages, in gradio: the gallery at /, a sample at /sample, the check, statistics and predictions."""

import html
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.components import Navbar
from gradio.themes import Base

from aih_builder.errors import AihError
from aih_builder.hdr.scored_predictions import MEASURES
from aih_builder.sample import SIDES
from aih_builder.shards.validate import Problem
from aih_builder.viewer.web.desk import Desk
from aih_builder.viewer.web.gallery import PER_PAGE, QUIET, Tile, gallery, grid
from aih_builder.viewer.web.pictures import PREDICTED_KINDS
from aih_builder.viewer.web.predicted import Predictions
from aih_builder.viewer.web.state import State

_STATIC = Path(__file__).parent / "static"
_SHOWN_PROBLEMS = 500
_FONTS: dict[str, Any] = {
    "font": ["system-ui", "sans-serif"],
    "font_mono": ["ui-monospace", "monospace"],
}  # none fetched

THEME = Base(**_FONTS, primary_hue="blue", neutral_hue="slate")
CSS = (_STATIC / "pages.css").read_text()
HEAD = '<meta name="referrer" content="same-origin">'


def build_pages(desk: Desk) -> gr.Blocks:
    """All pages of a dataset."""
    with gr.Blocks(title=f"{desk.folder.resolve().name}: AIH", analytics_enabled=False, fill_width=True) as pages:
        _navigation()
        gallery(desk, pages)
    with pages.route("Statistics", "/statistics"):
        _navigation()
        _statistics(desk, pages)
    if desk.predictions is not None:
        with pages.route("Predictions", "/predictions"):
            _navigation()
            _predictions(desk.predictions, pages)
    with pages.route("Check", "/check"):
        _navigation()
        _check(desk, pages)
    with pages.route("Sample", "/sample", show_in_navbar=False):
        _navigation()
        gr.HTML(
            "",
            apply_default_css=False,
            html_template=(_STATIC / "sample.html").read_text(),
            css_template=(_STATIC / "sample.css").read_text(),
            js_on_load=(_STATIC / "sample.js").read_text(),
        )
    return pages


def _navigation() -> None:
    Navbar(main_page_name="Gallery")  # each page has its own


def _statistics(desk: Desk, pages: gr.Blocks) -> None:
    """Figures over all samples; each bar leads to its samples in the gallery."""
    shown = gr.HTML("<p>Counting all samples ...</p>", padding=False, elem_classes="statistics")

    def told() -> str:
        try:
            return desk.statistics(lambda query: "/?" + urlencode({"where": query}))
        except AihError as error:
            return f'<p class="told bad" role="alert">{html.escape(str(error))}</p>'

    pages.load(told, None, shown, **QUIET)


def _predictions(predictions: Predictions, pages: gr.Blocks) -> None:
    """The worst first, by a measure that one chooses."""
    with gr.Row():
        by = gr.Dropdown([(m.about, name) for name, m in MEASURES.items()], value="amodal_iou", label="Worst first by")
        side = gr.Dropdown(["worse", *SIDES], value="worse", label="Hand")
        show = gr.Dropdown(list(PREDICTED_KINDS), value="amodal", label="Show")
        page = gr.Number(1, label="Page", precision=0, minimum=1)
    shown = gr.HTML(padding=False)

    def answer(by_now: str, side_now: str, show_now: str, page_now: float | None) -> str:
        try:
            rows = predictions.worst(*predictions.require(by_now, side_now))
        except AihError as error:
            return f'<p class="told bad">{html.escape(str(error))}</p>'
        pages_in_all = -(-len(rows) // PER_PAGE)
        number = min(max(int(page_now or 1), 1), pages_in_all)
        tiles = []
        for row in rows[(number - 1) * PER_PAGE : number * PER_PAGE].tolist():
            index = int(predictions.table.index[row])
            mark = "stale" if predictions.table.stale[row] else ""
            picture = f"predicted {predictions.hand(row, by_now, side_now)} {show_now}"
            tiles.append(Tile(index, [f"#{index}", predictions.said(row, by_now)], picture, mark))
        told = (
            f"<p>{len(rows):,} predictions of {html.escape(str(predictions.folder))}, page {number} of {pages_in_all}; "
            f"mean {predictions.mean(by_now)}. Masks: green in both, red missed, blue invented, white outline the "
            "truth. Joints: the truth is green.</p>"
        )
        return told + grid(tiles, {})

    form = [by, side, show, page]
    gr.on([by.input, side.input, show.input, page.submit, page.blur], answer, form, shown, **QUIET)
    pages.load(answer, form, shown, **QUIET)


def _check(desk: Desk, pages: gr.Blocks) -> None:
    """Start a check of every sample, see how far it is, and what it found."""
    gr.HTML(
        "<p>Reads every sample back: checksums, the rules that masks, targets, joints and cameras obey, and the amodal "
        "masks against the hands' meshes, as <code>aih validate</code> does. What it finds is listed here and can be "
        "asked for in the gallery.</p>",
        padding=False,
    )
    begin = gr.Button("Check every sample", variant="primary", scale=0, min_width=200)
    shown = gr.HTML(padding=False)
    clock = gr.Timer(1.0)  # always: switched on by the button it could be switched off by an answer that comes late

    def told() -> tuple[str, Any]:
        return _checked(desk), gr.Button(interactive=not desk.check.progress.running)

    def started() -> tuple[str, Any]:
        desk.check.start()
        return told()

    begin.click(started, None, [shown, begin], **QUIET)
    clock.tick(told, None, [shown, begin], **QUIET)
    pages.load(told, None, [shown, begin], **QUIET)


def _checked(desk: Desk) -> str:
    progress, state = desk.check.progress, desk.state
    problems = state.problems
    if progress.running:
        of = f"{progress.done:,} of {progress.of:,} shards" if progress.of else "beginning"
        return f'<p>Checking: {of}</p><progress value="{progress.done}" max="{max(progress.of, 1)}"></progress>'
    parts = []
    if progress.error:
        parts.append(f'<p class="bad">{html.escape(progress.error)}</p>')
    if progress.checked is not None:
        parts.append(f"<p>{progress.checked:,} samples of {progress.of:,} shards read.</p>")
        if not problems:
            parts.append("<p><b>All good.</b></p>")
    if problems:
        samples = len(state.view.problems)
        ask = (
            f' <a href="/?validity=problems+found">Show the {samples:,} samples in the gallery</a>.' if samples else ""
        )
        parts.append(f'<p><span class="bad">{len(problems):,} problems.</span>{ask} <code>aih repair</code> makes bad '
                     "shards again.</p>")  # fmt: skip
        parts.append(f'<table class="found">{"".join(_row(state, p) for p in problems[:_SHOWN_PROBLEMS])}</table>')
    return "".join(parts)


def _row(state: State, problem: Problem) -> str:
    index = state.index_of(problem)
    place = html.escape(problem.file)
    if index is not None:
        place = f'<a href="/sample?index={index}&amp;validity=problems+found">#{index}</a>'
    return f"<tr><td>{place}</td><td>{html.escape(problem.message)}</td></tr>"
