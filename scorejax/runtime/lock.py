"""Who writes in a folder: one process at a time, and a second one is refused in a line that names the first.

The lock is one of the kernel (flock), which ends with the process that holds it, `kill -9` included; the file stays,
and says nothing by being there. Network file systems pass it on to their server; where one cannot, a warning says so.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from absl import logging

from scorejax.runtime.errors import RunError, explained

if sys.platform != "win32":
    import fcntl

FILE = ".lock"
_SHOWN = 100  # characters of a command in a message
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_held: set[Path] = set()  # by this process


class LockedError(RunError):
    """Another process writes in the folder."""


@contextlib.contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Be the one process that writes in a folder, which is made if need be; within a process locks may be nested.

    Raises:
        LockedError: another process is; the message says which, since when, and what to do.
        RunError: the folder cannot be written.
    """
    folder = Path(folder).resolve()
    if folder in _held or sys.platform == "win32":  # where flock is unknown
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunError(f"cannot write in {explained(OSError(error.errno, ''), folder)}") from error
    try:
        _take(file, folder)
        _held.add(folder)
        yield
    finally:
        _held.discard(folder)
        os.close(file)  # which releases it


def _take(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(_refusal(folder, os.pread(file, 4096, 0))) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        logging.warning("%s: this file system has no locks; let only one process at a time write there", folder)
        return
    with contextlib.suppress(OSError):  # on a full disk the lock holds, though it cannot say whose it is
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(_about_this_process()).encode(), 0)


def _about_this_process() -> dict[str, object]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": shlex.join(sys.argv)[:500],
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _refusal(folder: Path, content: bytes) -> str:
    try:
        by = json.loads(content)
        command = by["command"] if len(by["command"]) <= _SHOWN else by["command"][:_SHOWN] + " ..."
        who = f"process {by['pid']} on {by['host']} has been writing there since {by['since']} ({command})"
        stop = f"stop it (kill {by['pid']})"
    except (ValueError, TypeError, KeyError):  # it has only just begun
        who, stop = "another process writes there", "stop it"
    return f"{folder} is in use: {who}; wait for it, {stop}, or choose another --workdir"
