"""Holding back what asks a run to stop while processes are started."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ASKS_TO_STOP = {signal.SIGINT, signal.SIGTERM, signal.SIGALRM}  # the last is the command's own reminder of the others


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold back what asks a run to stop, until the block ends. Processes started meanwhile never see it: they inherit
    the mask, and their parent ends them.

    The mask alone will not do: where a library has threads, one of them takes the signal, and Python calls the handler
    in the main thread all the same.
    """
    held: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # only there are handlers set and called
        for number in ASKS_TO_STOP:
            if signal.getsignal(number) is not None:  # not Python's
                handlers[number] = signal.signal(number, lambda number, _: held.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ASKS_TO_STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])
