"""The `aih` command; the only place that prints."""

import signal
import sys
from typing import NoReturn

INTERRUPTED = "aih: interrupted. What is finished is kept; run the same command to go on."
# SIGTERM is how a scheduler stops a job: clean up as on Ctrl-C. SIGALRM is our own reminder of either.
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


def end_interrupted() -> NoReturn:
    """End with the one message and exit code 1."""
    hear_no_more()
    sys.exit(INTERRUPTED)


def hear_no_more() -> None:
    """Ignore another Ctrl-C: all is said, and while Python winds up it would end the process by the signal."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in HEARD:
        signal.signal(number, signal.SIG_IGN)
