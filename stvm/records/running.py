"""Tasks that run now: a small file for each, which says where it runs and how far it is."""

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from stvm.errors import StvmError
from stvm.files import now, write_json

WRITE_EVERY_S = 10.0
"""Least seconds between two writings of how far a task is."""

Progress = Callable[..., None]


@dataclass
class Sign:
    """A task at work.

    Attributes:
        label: for people.
        host: machine it runs on.
        pid: its process there.
        since: time at its start.
        seen: time at which this was written.
        iteration: done.
        of: iterations in all; 0 while it has not said.
        lock: file of the lock that it holds.
    """

    label: str
    host: str
    pid: int
    since: str
    seen: str
    iteration: int = 0
    of: int = 0
    lock: str = ""

    @property
    def holder(self) -> str:
        """Machine and process, for people."""
        return f"{self.host}:{self.pid}"

    def progress(self) -> str:
        """How far it is, for people; empty while it has not said."""
        return f"iteration {self.iteration} of {self.of}" if self.of else ""


def read_sign(path: Path) -> Sign | None:
    """What a task says of itself; None where there is nothing that can be read."""
    try:
        found = orjson.loads(path.read_bytes())
        return Sign(**{field.name: found[field.name] for field in fields(Sign)})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def holder_of(path: Path) -> str:
    """Who works on a task, for people; empty where it does not say."""
    sign = read_sign(path)
    return sign.holder if sign else ""


@contextmanager
def signed(
    path: Path | None, label: str, lock: Path, progress: Progress | None = None
) -> Iterator[Progress]:
    """A task is at work within the block; gives what it is to call with how far it is.

    The file is for people: where it cannot be written, the task goes on.

    Args:
        path: the file; it goes when the block ends, and stays when the process is killed. None
            writes none.
        label: label of the task, for people.
        lock: that the task holds.
        progress: told the same.
    """
    begun = now()
    sign = Sign(label, platform.node(), os.getpid(), begun, begun, lock=str(lock))
    _write(path, sign)
    last = time.monotonic()

    def told(done: int, total: int, watch: Mapping[str, Any] | None = None, /) -> None:
        nonlocal last
        if time.monotonic() - last >= WRITE_EVERY_S:
            sign.iteration, sign.of, sign.seen = done, total, now()
            _write(path, sign)
            last = time.monotonic()
        if progress and watch is None:
            progress(done, total)
        elif progress:
            progress(done, total, watch)

    try:
        yield told
    finally:
        if path:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _write(path: Path | None, sign: Sign) -> None:
    if path:
        with suppress(StvmError):
            write_json(path, asdict(sign))
