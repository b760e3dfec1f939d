"""Entry point of the `aih` command. Light, so that Ctrl-C is met with one message also while the libraries load."""

import signal
import sys
from types import FrameType
from typing import Any

from aih_builder.cli import INTERRUPTED

_RETRY_S = 0.02
# Compiled code calls back into these and makes another error of an exception there.
_DEAF = ("/llvmlite/", "/numba/core/serialize.py")


def run() -> None:
    """Run the command line."""
    # SIGTERM is how a scheduler stops a job: clean up as on Ctrl-C. SIGALRM is our own reminder.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _interrupt)
    sys.unraisablehook = _not_lost
    try:
        from aih_builder.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        # Where an interrupt has passed through exec(), as libraries use it, Python would end by SIGINT whatever the
        # exit code. The next exec() makes it forget.
        exec("")


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, now or as soon as that is safe."""
    while frame is not None:
        if any(part in frame.f_code.co_filename for part in _DEAF):
            _try_again()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _not_lost(ignored: Any) -> None:
    """What Python prints and ignores, as in a finalizer; but an interrupt is to be heard."""
    if isinstance(ignored.exc_value, KeyboardInterrupt):
        _try_again()
    else:
        sys.__unraisablehook__(ignored)


def _try_again() -> None:
    signal.setitimer(signal.ITIMER_REAL, _RETRY_S)


if __name__ == "__main__":
    run()
