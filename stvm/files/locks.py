"""Locks by which processes, on one machine or on several, share work; each dies with its process.

They are flock's, which network file systems pass on to their server. Where a file system has no
such locks, a file that says who holds it takes their place.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from stvm.files.whole_files import writing

_NO_LOCKS = {ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP}
_PATIENCE_S = 0.05
"""Longer than one who only asks whether a lock is held keeps it."""


class Held(Exception):
    """Another process holds the lock.

    Attributes:
        holder: who it is, for people; empty where it has not said.
    """

    def __init__(self, holder: str = "") -> None:
        super().__init__(f"held by {holder or 'another process'}")
        self.holder = holder


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """One process at a time, on all machines that share the file.

    Args:
        path: of the lock; its folder is made.
        wait: until it is free.

    Raises:
        Held: another process has it, and `wait` is false.
        StvmError: the lock's file cannot be written.
    """
    with writing(path.parent):
        lock = _acquired(path, -1 if wait else _PATIENCE_S)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now.

    Raises:
        OSError: it cannot be tried.
    """
    if not path.exists():
        return False
    try:
        _acquired(path, 0).release()
    except Held:
        return True
    return False


def look_afresh(folder: Path) -> None:
    """Make this machine forget what it remembers of the names in a folder.

    On a network file system it may for a minute not see what another machine has put there; a
    change of its own shows it that the folder is another one.
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
