"""Which of the processes that draw on this machine a process is."""

import errno
import hashlib
import logging
import os
import socket

log = logging.getLogger(__name__)

_MOST = 4096
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID")
_held: tuple[int, int] | None = None  # the number, and the descriptor of the socket that claims it; -1 for none


def worker_number() -> int:
    """The lowest number from 0 that no other living process holds which is offered the same devices: devices are shared
    out by it, whichever way processes were started.

    That is, processes of this user and machine or, where a batch system hands out devices, of the same job. A number is
    held by the name of a socket (Linux's abstract ones, which are no files), let go by the kernel when the process
    ends. 0 where names cannot be had.
    """
    global _held
    if _held is None:
        _held = _claim(f"aih-builder-{os.getuid()}{_offered()}")
    return _held[0]


def _offered() -> str:
    """What tells apart processes that are offered different devices; empty where all see all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return ""
    text = "|".join([visible, *(os.environ.get(name, "") for name in _JOBS)])
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _claim(name: str) -> tuple[int, int]:
    for number in range(_MOST):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0{name}-{number}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                log.info("no number can be claimed (%s): this process draws as the first of its machine", error)
                break
        else:
            return number, claim.detach()
    return 0, -1


def _forget() -> None:
    """A forked child is a process of its own, and must not keep its parent's number when that ends."""
    global _held
    if _held is not None and _held[1] >= 0:
        os.close(_held[1])
    _held = None


os.register_at_fork(after_in_child=_forget)
