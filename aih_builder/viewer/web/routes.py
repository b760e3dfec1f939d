"""Addresses of pictures and figures. A path holds a sample's index and the name of a picture, never a file's name."""

import html
import logging
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel

from aih_builder.errors import AihError, ConfigError
from aih_builder.viewer.filters import Filters
from aih_builder.viewer.web.desk import Desk
from aih_builder.viewer.web.pictures import picture, thumbnail

log = logging.getLogger(__name__)

_FRESH = {"Cache-Control": "no-store"}  # a sample may be made anew while one looks
_BROKEN = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 224 224"><rect width="224" height="224" fill="#8884"/>
<path d="M82 82l60 60m0-60l-60 60" stroke="#c44" stroke-width="10"/><text x="112" y="180" text-anchor="middle"
font-family="sans-serif" font-size="17" fill="#c44">cannot be read</text></svg>"""


_GRADIO_S = {"page", "deep_link"}  # of an address that gradio reads; a page that it does not know ends in a traceback
_GRADIO = "/gradio_api/"
# What its pages ask for. It also takes files, hands out files and fetches other sites' pages: none of that here.
_USED_OF_GRADIO = ("queue/join", "queue/data", "heartbeat/", "cancel", "reset", "startup-events", "theme.css")


class Reason(BaseModel):
    """Why a sample is flagged."""

    reason: str


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Serve a dataset's samples. What cannot be read is told in words, with status 404."""

    @app.get("/data/thumb/{index}/{show}")
    def thumb(index: int, show: str) -> Response:
        try:
            predicted = desk.predicted(index) if show.startswith("predicted") else None
            return Response(thumbnail(desk.sample(index), show, predicted), media_type="image/jpeg", headers=_FRESH)
        except AihError as error:
            log.warning("%s", error)
            return Response(_BROKEN, media_type="image/svg+xml", headers=_FRESH, status_code=404)

    @app.get("/data/picture/{index}/{name}")
    def one_picture(index: int, name: str) -> Response:
        predicted = desk.predicted(index) if name.startswith("predicted") else None
        return Response(picture(desk.sample(index), name, predicted), media_type="image/png", headers=_FRESH)

    @app.get("/data/archive/{index}.npz")
    def archive(index: int) -> Response:
        named = {"Content-Disposition": f'attachment; filename="sample-{index}.npz"'}
        return Response(desk.archive(index), media_type="application/octet-stream", headers=_FRESH | named)

    @app.get("/data/hands/{index}")
    def hands(index: int) -> Response:
        from aih_builder.viewer.web.hands3d import hands_page  # trimesh loads when it is asked for

        try:
            return HTMLResponse(hands_page(desk.sample(index), desk.hands()), headers=_FRESH)
        except AihError as error:
            return HTMLResponse(f"<p>{html.escape(str(error))}</p>", status_code=404, headers=_FRESH)

    @app.get("/data/sample/{index}")
    def sample(index: int, request: Request) -> JSONResponse:
        return JSONResponse(desk.told(index, Filters.from_params(request.query_params)), headers=_FRESH)

    @app.put("/data/flag/{index}")
    def flag(index: int, body: Reason) -> JSONResponse:
        return JSONResponse({"flag": desk.flag(index, body.reason)})

    @app.delete("/data/flag/{index}")
    def unflag(index: int) -> JSONResponse:
        desk.unflag(index)
        return JSONResponse({"flag": None})

    @app.exception_handler(AihError)
    def refused(_: Request, error: AihError) -> JSONResponse:
        if not isinstance(error, ConfigError):
            log.warning("%s", error)
        return JSONResponse({"error": str(error)}, status_code=404, headers=_FRESH)

    @app.middleware("http")
    async def own_pages_only(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        """Another site's page must not reach in: neither by its own name for this machine nor from its own origin."""
        if wrong := _foreign(request.headers):
            return JSONResponse({"error": wrong}, status_code=403)
        of_gradio = request.scope["path"].removeprefix(_GRADIO)
        if of_gradio != request.scope["path"] and not of_gradio.startswith(_USED_OF_GRADIO):
            return JSONResponse({"error": "not a part of this page."}, status_code=404)
        if request.query_params.keys() & _GRADIO_S:
            return JSONResponse(
                {"error": f"address: {', '.join(sorted(_GRADIO_S))} mean nothing here."}, status_code=404
            )
        return await go_on(request)


def _foreign(headers: Mapping[str, str]) -> str:
    """Why a request is not from this page or from someone who opens it; "" where it is."""
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        name = urlsplit(f"//{host}").hostname
        from_here = origin is None or urlsplit(origin).netloc == host
    except ValueError:  # no address at all
        name, from_here = None, False
    if name not in ("127.0.0.1", "localhost", "::1"):
        return f"host {host!r}: this page answers to localhost alone."
    if not from_here:
        return f"origin {origin!r}: not this page."
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-dest") != "document":
        return "another site's page: it may lead here, not show or ask what is here."
    return ""
