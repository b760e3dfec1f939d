"""Functions compiled by numba, strict arithmetic, kept on disk for the next process."""

import hashlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

log = logging.getLogger(__name__)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function on first use. Where no folder takes the result, each process compiles anew, and is told so."""
    # numba looks at the time and size of the function's own file alone. What it calls lies in others, and an upgraded
    # package may keep both: the kept code is named after all of the package's sources.
    function.__qualname__ = f"{function.__qualname__}-{_sources_digest()}"
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # numba says so where neither the function's own folder nor the user's cache takes files
        _warn_once()
        return njit(function)


@cache
def _sources_digest() -> str:
    sha = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]


@cache
def _warn_once() -> None:
    log.warning(
        "compiled code cannot be kept: neither the package's folder nor the user's cache folder takes files. Each "
        "process compiles anew, which takes half a minute. Name a folder for it in NUMBA_CACHE_DIR."
    )
