"""Locks by which processes, on one machine or on several, share work.

A lock ends with its process. Locks are flock's, which network file systems pass on to their server.
If a file system has no such locks, a file that names its holder takes their place.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from stvm.files.atomic_files import writing

_NO_LOCKS = {ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP}
_PATIENCE_S = 0.05
"""Seconds to wait for a lock. A process that only asks whether it is held keeps it for less."""


class Held(Exception):
    """Another process holds the lock.

    Attributes:
        holder: name of the other process, for people; empty if unknown.
    """

    def __init__(self, holder: str = "") -> None:
        super().__init__(f"held by {holder or 'another process'}")
        self.holder = holder


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold a lock: one process at a time, on all machines that share the file.

    Args:
        path: file of the lock; its folder is made.
        wait: wait until the lock is free.

    Raises:
        Held: another process holds it, and `wait` is false.
        StvmError: the lock's file cannot be written.
    """
    with writing(path.parent):
        lock = _acquired(path, -1 if wait else _PATIENCE_S)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now.

    Raises:
        OSError: the lock cannot be tried.
    """
    if not path.exists():
        return False
    try:
        _acquired(path, 0).release()
    except Held:
        return True
    return False


def look_afresh(folder: Path) -> None:
    """Make this machine read the names in a folder afresh.

    On a network file system a machine may for a minute not see the files that another machine
    has written. A change of its own in the folder makes it look again.
    """
    with suppress(OSError):
        (folder / ".look").touch()
        (folder / ".look").unlink(missing_ok=True)


def _acquired(path: Path, wait_s: float) -> BaseFileLock:
    try:
        return _of(FileLock(path), wait_s)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return _of(SoftFileLock(path.with_suffix(".held")), wait_s)


def _of(lock: BaseFileLock, wait_s: float) -> BaseFileLock:
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            lock.acquire(timeout=wait_s, poll_interval=0.05 if wait_s < 0 else 0.01)
    except Timeout:
        raise Held from None
    return lock
