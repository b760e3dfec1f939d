"""Functions compiled by numba, strict arithmetic, kept on disk for the next process."""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from numba import njit

log = logging.getLogger(__name__)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on first use. Where no folder takes the result, each process compiles anew, and is told so."""
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # numba says so where neither the function's own folder nor the user's cache takes files
        _warn_once()
        return njit(function)


@cache
def _warn_once() -> None:
    log.warning(
        "compiled code cannot be kept: neither the package's folder nor the user's cache folder takes files. Each "
        "process compiles anew, which takes half a minute. Name a folder for it in NUMBA_CACHE_DIR."
    )
