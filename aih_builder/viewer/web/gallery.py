"""The gallery: thumbnails by page, filters, a query, an order. Its address holds all of that."""

import html
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import gradio as gr

from aih_builder.errors import AihError
from aih_builder.identity import ENGINE_NAMES, SPLITS
from aih_builder.viewer.filters import SORTS, VALIDITY, Filters, Range
from aih_builder.viewer.query import EXAMPLE
from aih_builder.viewer.web.desk import Desk
from aih_builder.viewer.web.pictures import THUMBS
from aih_builder.viewer.web.state import State

PER_PAGE = 48
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_SPANS = {  # a field of Filters, and what its two numbers are called
    "occlusion_right": ("Right hidden", 1.0), "occlusion_left": ("Left hidden", 1.0),
    "penetration": ("Penetration, mm", None), "contact": ("Contact", 1.0),
}  # fmt: skip
_ADDRESS = "(address) => { if (address) history.replaceState(null, '', location.pathname + '?' + address); }"

_NARROW = "() => { if (innerWidth < 700) document.querySelector('.sidebar.open .toggle-button')?.click(); }"


class Tile(NamedTuple):
    """A sample in a grid of thumbnails."""

    sample: int  # its index
    lines: list[str]
    show: str  # which picture
    mark: str = ""  # over the picture


def grid(tiles: Iterable[Tile], params: dict[str, str]) -> str:
    """HTML; each thumbnail leads to its sample's page, which gets the params too."""
    parts = []
    for tile in tiles:
        first, *rest = (html.escape(line) for line in tile.lines)
        link = html.escape(f"/sample?{urlencode(params | {'index': str(tile.sample)})}")
        mark = f'<span class="mark">{html.escape(tile.mark)}</span>' if tile.mark else ""
        alt = html.escape(f"sample {tile.sample}: {', '.join(tile.lines[1:])}")
        picture = f'<img loading="lazy" src="/data/thumb/{tile.sample}/{quote(tile.show)}" alt="{alt}">'
        parts.append(f'<a href="{link}">{picture}{mark}<b>{first}</b><br>{"<br>".join(rest)}</a>')
    return f'<div class="grid">{"".join(parts)}</div>'


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What one fills in. `fields` are by the names of Filters, ranges as name.low and name.high."""

    fields: dict[str, Any]
    show: gr.Dropdown
    page: gr.Number

    def filters(self, values: dict[Any, Any]) -> Filters:
        """Of the components' values."""
        got = {name: values[box] for name, box in self.fields.items()}
        spans = {name: Range(got.pop(f"{name}.low"), got.pop(f"{name}.high")) for name in _SPANS}
        chosen = {name: tuple(got.pop(name) or ()) for name in ("engine", "split", "family")}
        tone, seed = tuple(map(int, got.pop("tone") or ())), int(got.pop("seed") or 0)
        given: dict[str, Any] = chosen | spans | {name: text or "" for name, text in got.items()}
        return Filters(**given, tone=tone, seed=seed)

    def values(self, filters: Filters) -> dict[Any, Any]:
        """The components' values for filters."""
        told = {name: getattr(filters, name.partition(".")[0]) for name in self.fields}
        told = {name: getattr(v, name.partition(".")[2]) if isinstance(v, Range) else v for name, v in told.items()}
        told |= {name: list(map(str, value)) for name, value in told.items() if isinstance(value, tuple)}
        return {self.fields[name]: value for name, value in told.items()}


def gallery(desk: Desk, pages: gr.Blocks) -> None:
    """Add the gallery to the pages' first one."""
    fields = _filter_fields(desk)
    gr.HTML(f"<h1>{html.escape(desk.folder.resolve().name)}</h1>", padding=False, elem_classes="name")
    with gr.Row(equal_height=True):
        fields["where"] = gr.Textbox(label="Query over all fields", placeholder=EXAMPLE, scale=4, min_width=260)
        fields["sort"] = gr.Dropdown(
            list(SORTS.items()), value="", label="Order", allow_custom_value=True, min_width=170, filterable=True
        )
        show = gr.Dropdown(list(THUMBS), value="image", label="Show", min_width=120)
    with gr.Row():
        back, on, draw = (gr.Button(name, size="sm", min_width=70, scale=0) for name in ("Back", "Next", "Random"))
    count, shown = gr.HTML(padding=False), gr.HTML(padding=False)
    with gr.Row():
        lower_back, lower_on = (gr.Button(name, size="sm", min_width=70, scale=0) for name in ("Back", "Next"))
    fields["seed"] = gr.Number(0, visible=False)
    page, address = gr.Number(1, visible=False), gr.Textbox(visible=False)
    form = Form(fields, show, page)
    inputs, answers = {*fields.values(), show, page}, [count, shown, address, page]

    def answer(filters: Filters, show_now: str, number: int) -> dict[Any, Any]:
        try:
            told = _page(desk.now(), filters, show_now, number)
        except AihError as error:
            told = [_complaint(error), "", "", 1]
        return dict(zip(answers, told, strict=True))

    def turned(step: int | None) -> Any:
        def turn(values: dict[Any, Any]) -> dict[Any, Any]:
            number = 1 if step is None else int(values[page] or 1) + step
            return answer(form.filters(values), values[show], number)

        return turn

    def drawn(values: dict[Any, Any]) -> dict[Any, Any]:
        filters = replace(form.filters(values), sort="random", seed=int(values[fields["seed"]] or 0) + 1)
        return {fields["sort"]: "random", fields["seed"]: filters.seed} | answer(filters, values[show], 1)

    def opened(request: gr.Request) -> dict[Any, Any]:
        params = dict(request.query_params)
        number, show_now = params.get("at", "1"), params.get("show", "image")
        show_now = show_now if show_now in THUMBS else "image"
        try:
            filters = Filters.from_params(params)
            given = form.values(filters)
            told = answer(filters, show_now, int(number) if number.isdecimal() and len(number) < 10 else 1)
        except AihError as error:
            given, told = {}, {count: _complaint(error), shown: ""}
        return given | {show: show_now} | told

    told_address: dict[str, Any] = {"fn": None, "inputs": address, "outputs": None, "js": _ADDRESS}
    gr.on(_changes(form), turned(None), inputs, answers, **QUIET).then(**told_address)
    for button, step in ((back, -1), (on, 1), (lower_back, -1), (lower_on, 1)):
        button.click(turned(step), inputs, answers, **QUIET).then(**told_address)
    draw.click(drawn, inputs, [fields["sort"], fields["seed"], *answers], **QUIET).then(**told_address)
    pages.load(opened, None, [*fields.values(), show, *answers], **QUIET)
    pages.load(None, None, None, js=_NARROW)


def _filter_fields(desk: Desk) -> dict[str, Any]:
    """The sidebar's fields."""
    fields: dict[str, Any] = {}
    with gr.Sidebar(label="Filters", width=330):
        gr.HTML('<a href="/">Clear all</a>', padding=False)
        fields["engine"] = gr.CheckboxGroup(list(ENGINE_NAMES), label="Engine")
        fields["split"] = gr.CheckboxGroup(list(SPLITS), label="Split")
        for name, (label, most) in _SPANS.items():
            limits: dict[str, Any] = {"minimum": 0, "maximum": most, "step": 0.05 if most else 0.5, "min_width": 80}
            with gr.Row():
                for end, sign in (("low", "≥"), ("high", "≤")):
                    fields[f"{name}.{end}"] = gr.Number(None, label=f"{label} {sign}", **limits)
        fields["family"] = gr.Dropdown(desk.state.words("pose_family"), multiselect=True, label="Pose family")
        fields["tone"] = gr.Dropdown(
            [str(tone) for tone in range(1, 11)], multiselect=True, label="Skin tone (Monk), either hand"
        )
        fields["source"] = gr.Textbox(label="Source", info="a part of the name of a shape, pose, texture or background")
        fields["validity"] = gr.Dropdown([("any", ""), *((v, v) for v in VALIDITY)], value="", label="Validity")
    return fields


def _changes(form: Form) -> list[Any]:
    """When to look again: at a choice at once, at texts and numbers when they are done."""
    events: list[Any] = []
    for box in (*form.fields.values(), form.show):
        if isinstance(box, gr.Textbox | gr.Number):
            events += [box.submit, box.blur] if box.visible else []
        else:
            events.append(box.input)
    return events


def _complaint(error: AihError) -> str:
    return f'<p class="told bad" role="alert">{html.escape(str(error))}</p>'


def _page(state: State, filters: Filters, show: str, page: int) -> list[Any]:
    """How many there are, the thumbnails, the page's address and its number."""
    rows, in_all = state.rows(filters), len(state.columns)
    pages = max(1, -(-len(rows) // PER_PAGE))
    page = min(max(page, 1), pages)
    params = filters.to_params()
    tiles = []
    for row in rows[(page - 1) * PER_PAGE : page * PER_PAGE].tolist():
        index = state.index(row)
        mark = "flagged" if index in state.flags else "problem" if index in state.view.problems else ""
        tiles.append(Tile(index, state.caption(row), show, mark))
    asked = filters.expression()
    text = f"<b>{len(rows):,}</b> of {in_all:,} samples, page {page:,} of {pages:,}"
    text += f" &nbsp; <code>{html.escape(asked)}</code>" if asked else ""
    none = "No sample is like this." if in_all else "This dataset is empty."
    shown = grid(tiles, params) if tiles else f"<p>{none}</p>"
    return [f'<p class="told">{text}</p>', shown, urlencode(params | {"show": show, "at": str(page)}), page]
