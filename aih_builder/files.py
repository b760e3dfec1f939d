"""Files appear whole: written under a temporary name, flushed, then renamed. Also digests."""

import contextlib
import fcntl
import glob
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from aih_builder.errors import ConfigError, ShardError

log = logging.getLogger(__name__)

# <name>.tmp-<host>-<pid>-<random>: a run deletes only temporary files of dead processes of its own host.
_TEMPORARY = re.compile(r".+\.tmp-(?P<host>.+)-(?P<pid>\d+)-[0-9a-f]{8}$")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary place to write a file to; it takes its name when the block ends, unless by an exception.

    Raises ShardError where it cannot be written.
    """
    temporary = path.with_name(f"{path.name}.tmp-{_host()}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ShardError(
            f"{path}: cannot be written ({error.strerror or error}). Free space or fix permissions, then run again."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside a new or empty one; it takes that place when the block ends, unless by an exception.

    What dead processes of this host left for the same folder is deleted. Raises ConfigError where the folder holds
    something, ShardError where it cannot be written.
    """
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(f"{path}: is there and not an empty folder. It was left untouched. Choose another one.")
        for left in sorted(path.parent.glob(f"{glob.escape(path.name)}.tmp-*")):
            if left.is_dir() and _is_stale(left):
                shutil.rmtree(left, ignore_errors=True)
        temporary = path.with_name(f"{path.name}.tmp-{_host()}-{os.getpid()}-{secrets.token_hex(4)}")
        temporary.mkdir(parents=True)
        try:
            yield temporary
            os.sync()  # one call for all of its files
            temporary.rename(path)
        finally:
            if temporary.exists():
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise ShardError(
            f"{path}: cannot be written ({error.strerror or error}). Free space or fix permissions, then run again."
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file such that it is there whole or not at all. Raises ShardError where it cannot be written."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def remove(path: Path) -> None:
    """Delete a file if it is there. Raises ShardError where it cannot be deleted."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ShardError(
            f"{path}: cannot be deleted ({error.strerror or error}). Fix permissions, then run again."
        ) from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON, whole, keys as given, with a final line feed."""
    write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises ShardError where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ShardError(f"{path}: not a readable JSON file ({error}).") from error
    if not isinstance(content, dict):
        raise ShardError(f"{path}: expected a JSON object, got {type(content).__name__}.")
    return content


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep out whoever else on this machine would read, change and write the small files of a folder by this lock.

    It is the kernel's, on the folder itself: it leaves no file, and ends with the process. Where the filesystem knows
    no locks, it goes without, with a warning. Raises ShardError where the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ShardError(f"{folder}: cannot be opened ({error.strerror}). Expected a dataset folder.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("%s: cannot be locked (%s); let no other process change it meanwhile", folder, error.strerror)
        yield
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes. Raises ShardError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ShardError(f"{path}: cannot be read ({error.strerror or error}).") from error


def remove_stale(folder: Path) -> list[Path]:
    """Delete temporary files that dead processes of this host left anywhere below a folder; returns them."""
    removed = []
    for path in sorted(folder.rglob("*.tmp-*")):
        if _is_stale(path):
            with contextlib.suppress(OSError):  # gone already, or not ours to delete
                path.unlink()
                removed.append(path)
    return removed


def _is_stale(path: Path) -> bool:
    match = _TEMPORARY.match(path.name)
    return bool(match and match["host"] == _host() and not _alive(int(match["pid"])))


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9.]", "_", socket.gethostname())


def _alive(pid: int) -> bool:
    """Whether a process of this host runs. A killed one whose parent has not asked for it (a zombie) does not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's
        return True
