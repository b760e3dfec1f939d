"""Which of the processes that draw on this machine a process is."""

import contextlib
import fcntl
import logging
import os
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

_MOST = 4096
_held: tuple[int, int, int] | None = None  # process, number, and the open file whose lock is the claim


def worker_number() -> int:
    """The lowest number from 0 that no other living process of this user and machine holds: devices are shared out by
    it, whichever way processes were started.

    A number is held by a lock on a file in the folder of temporary files, and let go by the kernel when the process
    ends. 0 where that folder takes no files.
    """
    global _held
    if _held is None or _held[0] != os.getpid():
        _held = (os.getpid(), *_claim(Path(tempfile.gettempdir()) / f"aih-builder-{os.getuid()}"))
    return _held[1]


def _claim(folder: Path) -> tuple[int, int]:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in range(_MOST):
            file = os.open(folder / f"worker-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number, file
            os.close(file)
    except OSError as error:
        log.info("%s: takes no lock (%s); this process draws as the first of its machine", folder, error.strerror)
    return 0, -1
