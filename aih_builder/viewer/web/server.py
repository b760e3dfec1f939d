"""Serving the pages on this machine: loopback alone, no tunnel, nothing told to anybody."""

import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Callable
from contextlib import closing, suppress
from importlib.util import find_spec
from typing import Any

from aih_builder.errors import ConfigError
from aih_builder.viewer.web.desk import Desk

HOST = "127.0.0.1"


def require_gradio() -> None:
    """Raises ConfigError where gradio is not installed."""
    if find_spec("gradio") is None:
        raise ConfigError("aih view needs gradio: pip install 'aih-builder[viewer]'.")


def build_app(desk: Desk) -> Any:
    """The application (a FastAPI): pictures and figures, and gradio's pages."""
    require_gradio()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gradio as gr
    from fastapi import FastAPI

    from aih_builder.viewer.web.pages import CSS, HEAD, THEME, build_pages
    from aih_builder.viewer.web.routes import add_routes

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(app, desk)
    with warnings.catch_warnings():  # it warns that it cannot do what was not asked for
        warnings.filterwarnings("ignore", "SSR mode is not supported", UserWarning)
        return gr.mount_gradio_app(
            app, build_pages(desk), path="", server_name=HOST, ssr_mode=False, pwa=False, mcp_server=False,
            theme=THEME, css=CSS, head=HEAD, footer_links=[], show_error=True, max_file_size=0, enable_monitoring=False,
        )  # fmt: skip


def serve(desk: Desk, port: int | None, on_ready: Callable[[str], None]) -> None:
    """Serve until interrupted, on a port or, where it is None, the first free one from 7860; on_ready gets the address.

    Raises ConfigError where the port cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="aih-view-") as private, closing(_listening(port)) as listening:
        os.environ["GRADIO_TEMP_DIR"] = private
        app = build_app(desk)
        import uvicorn

        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        # Answers that are cut off at the end are no errors.
        logging.getLogger("uvicorn.error").addFilter(lambda _: not server.should_exit)
        on_ready(f"http://{HOST}:{listening.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):  # the way to end it
            server.run(sockets=[listening])


def _listening(port: int | None) -> socket.socket:
    """A socket that listens, so that nobody else gets the port before the pages are built."""
    failed: OSError | None = None
    for tried in [port] if port is not None else range(7860, 7880):
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, tried))
            found.listen(128)
        except (OSError, OverflowError) as error:
            found.close()
            failed = error if isinstance(error, OSError) else OSError(str(error))
            continue
        return found
    where = "7860 to 7879" if port is None else str(port)
    raise ConfigError(f"port {where} of {HOST}: {failed}. Choose another with --port.")
