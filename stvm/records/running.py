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
from stvm.files.locks import is_held

WRITE_EVERY_S = 10.0
"""Least seconds between two writings of how far a task is."""

Progress = Callable[..., None]


@dataclass
class Sign:
    """A task at work.

    Attributes:
        label: label of the task for people.
        host: machine on which it runs.
        pid: number of its process there.
        since: time of its start.
        seen: time at which the sign was written.
        iteration: iterations done.
        of: iterations in all; 0 before the first progress.
        lock: file of the lock that it holds.
        stopped: time at which a user stopped it; empty unless that happened.
        stage: pass over images that is under way, whose images `iteration` and `of` then count;
            empty in a training.
    """

    label: str
    host: str
    pid: int
    since: str
    seen: str
    iteration: int = 0
    of: int = 0
    lock: str = ""
    stopped: str = ""
    stage: str = ""

    @property
    def holder(self) -> str:
        """Machine and process, for people."""
        return f"{self.host}:{self.pid}"

    def progress(self) -> str:
        """Progress for people; empty before the first one."""
        what = f"{self.stage}: image" if self.stage else "iteration"
        return f"{what} {self.iteration} of {self.of}" if self.of else ""


def read_sign(path: Path) -> Sign | None:
    """The sign in a file; None where there is none that can be read."""
    try:
        found = orjson.loads(path.read_bytes())
        # Earlier versions wrote neither of these.
        found = {"stopped": "", "stage": ""} | found
        return Sign(**{field.name: found[field.name] for field in fields(Sign)})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def mark_stopped(folder: Path, since: str, wait_s: float = 2.0) -> None:
    """Note on the signs of this machine that a user stopped their tasks.

    Args:
        folder: folder of the signs.
        since: start of the command; older signs are of other commands.
        wait_s: longest time in seconds for workers to end; one that runs on is another command's.
    """
    until, left = time.monotonic() + wait_s, list(folder.glob("*.json"))
    while left:
        left = [path for path in left if not _marked(path, since)]
        if time.monotonic() >= until:
            return
        time.sleep(0.1 if left else 0)


def _marked(path: Path, since: str) -> bool:
    """Mark a sign whose task has ended; False while its task still runs."""
    sign = read_sign(path)
    if sign is None or sign.host != platform.node() or sign.since < since:
        return True
    try:
        if is_held(Path(sign.lock)):
            return False
    except OSError:
        return True
    sign.stopped = now()
    _write(path, sign)
    return True


def holder_of(path: Path) -> str:
    """Machine and process of a task for people; empty without a sign."""
    sign = read_sign(path)
    return sign.holder if sign else ""


@contextmanager
def signed(
    path: Path | None, label: str, lock: Path, progress: Progress | None = None
) -> Iterator[Progress]:
    """Show that a task is at work within the block; gives the callback for its progress.

    The file is for people: where it cannot be written, the task goes on.

    Args:
        path: the file; it goes when the block ends, and stays when the process is killed. None
            writes none.
        label: label of the task, for people.
        lock: lock that the task holds.
        progress: told the same.
    """
    begun = now()
    sign = Sign(label, platform.node(), os.getpid(), begun, begun, lock=str(lock))
    _write(path, sign)
    try:
        yield _Told(path, sign, progress)
    finally:
        if path:
            with suppress(OSError):
                path.unlink(missing_ok=True)


class _Told:
    """Writes the sign anew now and then, and tells the task's own progress the same.

    Args:
        path: the file; None writes none.
        sign: the task at work.
        progress: told the same; also of passes if it has `tell_pass`.
    """

    def __init__(self, path: Path | None, sign: Sign, progress: Progress | None) -> None:
        self.path = path
        self.sign = sign
        self.progress = progress
        self.last = time.monotonic()

    def __call__(self, done: int, total: int, watch: Mapping[str, Any] | None = None, /) -> None:
        """Iterations are done."""
        self._see(done, total, "")
        if self.progress and watch is None:
            self.progress(done, total)
        elif self.progress:
            self.progress(done, total, watch)

    def tell_pass(self, what: str, done: int, total: int) -> None:
        """Images of a pass are done."""
        self._see(done, total, what)
        if tell := getattr(self.progress, "tell_pass", None):
            tell(what, done, total)

    def _see(self, done: int, total: int, stage: str) -> None:
        if time.monotonic() - self.last >= WRITE_EVERY_S:
            sign = self.sign
            sign.iteration, sign.of, sign.stage, sign.seen = done, total, stage, now()
            _write(self.path, sign)
            self.last = time.monotonic()


def _write(path: Path | None, sign: Sign) -> None:
    if path:
        with suppress(StvmError):
            write_json(path, asdict(sign))
