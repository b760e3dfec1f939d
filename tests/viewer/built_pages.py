"""The viewer's pages, built within a test."""

import gc
import warnings
from typing import Any

from aih_builder.viewer.web.desk import Desk
from aih_builder.viewer.web.server import build_app

HERE = "http://127.0.0.1:7860"
SECRET = "b7c1e6d0-not-for-the-page"


def built(desk: Desk) -> Any:
    """build_app(desk). What gradio leaves open while it builds, event loops, is thrown away here, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        app = build_app(desk)
        gc.collect()
    return app
