"""Temporary folders: their paths are short enough for sockets, and dead processes leave none.

    TEMPORARY/stvm-UID-MACHINE/lock, NUMBER/, NUMBER.lock

A process that takes a folder holds its lock, which ends with the process. The next process that
takes a folder removes those that nobody holds. Several machines may share a temporary folder and
not see each other's locks, so each machine has a folder of its own.
"""

import hashlib
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from stvm.errors import StvmError

RAY_BYTES = 40
"""Largest length in bytes of a folder for Ray; a socket's path below it may have 107."""
_LISTENER_BYTES = 75
"""Largest length in bytes of the temporary folder of Python's processes; their sockets are 32
longer, and may have 107."""
_ANY = 4096
_OTHERS = ("/tmp", "/var/tmp", "/dev/shm")
_NUMBER = 6
"""Number of characters of a folder's name, with its slash."""


@contextmanager
def own_folder(most_bytes: int = _ANY) -> Iterator[Path]:
    """A folder of this process alone, removed at the end of the block or by the next process.

    Args:
        most_bytes: largest length of its path.

    Raises:
        StvmError: no temporary folder is short enough and can be written to.
    """
    home = _home(most_bytes)
    folder, lock = _take(home)
    try:
        yield folder
    finally:
        with FileLock(home / "lock"):
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)


def shorten_temporary() -> None:
    """Give this process and its children a temporary folder short enough for Python's sockets."""
    try:
        fits = len(os.fsencode(tempfile.gettempdir())) <= _LISTENER_BYTES
    except FileNotFoundError:
        fits = False
    if not fits:
        os.environ["TMPDIR"] = str(_home(_LISTENER_BYTES).parent)
        tempfile.tempdir = None


def _home(most_bytes: int) -> Path:
    """The folder that holds all folders of this user on this machine; it is made if missing."""
    named = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    user = getattr(os, "getuid", lambda: 0)()
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:4]
    faults = []
    for base in dict.fromkeys([*named, *_OTHERS]):
        home = Path(base).absolute() / f"stvm-{user}-{machine}"
        fault = _fault(home, user, most_bytes - _NUMBER)
        if fault is None:
            return home
        faults.append(f"{base}: {fault}")
    raise StvmError(
        f"no temporary folder can be used ({'; '.join(faults)}): set TMPDIR to a folder that can "
        f"be written to, with a path of at most {most_bytes - _NUMBER - len(home.name) - 1} bytes"
    )


def _fault(home: Path, user: int, most_bytes: int) -> str | None:
    """The reason why a folder cannot be used; None if it can."""
    if len(os.fsencode(home)) > most_bytes:
        return "its path is too long for sockets"
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        found = home.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != user:
            return f"{home.name} in it belongs to somebody else"
        with FileLock(home / "lock"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _take(home: Path) -> tuple[Path, FileLock]:
    """A new folder and its lock, held."""
    with FileLock(home / "lock"):
        _sweep(home)
        number = 1
        while (home / f"{number}").exists():
            number += 1
        lock = FileLock(home / f"{number}.lock")
        lock.acquire()
        folder = home / f"{number}"
        folder.mkdir(mode=0o700)
    return folder, lock


def _sweep(home: Path) -> None:
    """Remove the folders of dead processes; the caller holds the lock of all folders."""
    for folder in [path for path in home.iterdir() if path.name.isdecimal()]:
        path = folder.with_suffix(".lock")
        try:
            with FileLock(path, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
                path.unlink(missing_ok=True)
        except Timeout:
            continue
    for path in home.glob("[0-9]*.lock"):
        if not path.with_suffix("").exists():
            path.unlink(missing_ok=True)
