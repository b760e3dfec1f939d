"""Which of the processes that draw on this machine a process is."""

import fcntl
import hashlib
import logging
import os
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

_MOST = 4096
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID")
_held: tuple[int, int] | None = None  # number, and the open file whose lock is the claim; -1 for none


def worker_number() -> int:
    """The lowest number from 0 that no other living process holds which is offered the same devices: devices are shared
    out by it, whichever way processes were started.

    That is, processes of this user and machine or, where a batch system hands out devices, of the same job. A number is
    held by a lock on a file in the folder of temporary files, and let go by the kernel when the process ends. 0 where
    that folder takes no files.
    """
    global _held
    if _held is None:
        _held = _claim(Path(tempfile.gettempdir()) / f"aih-builder-{os.getuid()}{_offered()}")
    return _held[0]


def _offered() -> str:
    """What tells apart processes that are offered different devices; empty where all see all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return ""
    text = "|".join([visible, *(os.environ.get(name, "") for name in _JOBS)])
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _claim(folder: Path) -> tuple[int, int]:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(0, "it is somebody else's")
        for number in range(_MOST):
            if (file := _locked(folder / f"worker-{number}")) is not None:
                return number, file
    except OSError as error:
        log.info("%s: takes no lock (%s); this process draws as the first of its machine", folder, error.strerror)
    return 0, -1


def _locked(path: Path) -> int | None:
    """The file, open and locked; None where another process holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return file


def _forget() -> None:
    """A forked child is a process of its own, and must not keep its parent's number when that ends."""
    global _held
    if _held is not None and _held[1] >= 0:
        os.close(_held[1])
    _held = None


os.register_at_fork(after_in_child=_forget)
