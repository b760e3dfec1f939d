"""Entry point of the `aih` command. Light, so that Ctrl-C is met with one message also while the libraries load."""

import signal
import sys
from types import FrameType
from typing import Any

from aih_builder.cli import HEARD, end_interrupted, hear_no_more

_RETRY_S = 0.02
_PATIENCE_S = 5.0
# Where an exception would be lost or become another: what compiled code calls back into, and modules being loaded.
_DEAF = ("/llvmlite/", "/numba/core/serialize.py", "importlib._bootstrap>")
_on_its_way = False  # whether KeyboardInterrupt was raised


def run() -> None:
    """Run the command line."""
    listen()
    try:
        from aih_builder.cli.app import app

        app()
    except KeyboardInterrupt:
        end_interrupted()
    finally:
        hear_no_more()
        # Where an interrupt has passed through exec(), as libraries use it, Python would end by SIGINT whatever the
        # exit code. The next exec() makes it forget.
        exec("")


def listen() -> None:
    """Raise KeyboardInterrupt for each way in which a run is asked to stop."""
    for number in HEARD:
        signal.signal(number, _interrupt)
    sys.unraisablehook = _not_lost


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, now or as soon as that is safe.

    Once it is on its way, another Ctrl-C waits: raised amid the cleaning up, it would break locks that are being
    released. It counts should the first have been lost.
    """
    global _on_its_way
    if _on_its_way and number != signal.SIGALRM:
        _try_again(_PATIENCE_S)
        return
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in _DEAF):
            _try_again()
            return
        frame = frame.f_back
    _on_its_way = True
    raise KeyboardInterrupt


def _not_lost(ignored: Any) -> None:
    """What Python prints and ignores, as in a finalizer; but an interrupt is to be heard."""
    if isinstance(ignored.exc_value, KeyboardInterrupt):
        _try_again()
    else:
        sys.__unraisablehook__(ignored)


def _try_again(after_s: float = _RETRY_S) -> None:
    signal.setitimer(signal.ITIMER_REAL, after_s)


if __name__ == "__main__":
    run()
