"""Processes of a command under attack: who descends from whom, and that none stays behind."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process that no other can be mistaken for.

    Attributes:
        pid: process id, which the system uses again.
        born: clock ticks from boot to its start.
    """

    pid: int
    born: int

    def alive(self) -> bool:
        """It still runs; a zombie does not."""
        return _read(self.pid).get("born") == self.born and _read(self.pid)["state"] != ord("Z")

    def kill(self) -> None:
        """SIGKILL, if it is still the same process."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _read(pid: int) -> dict[str, int]:
    """State, parent and start of a process; empty where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return {}
    return {"state": ord(fields[0]), "parent": int(fields[1]), "born": int(fields[19])}


def descendants(pid: int) -> list[Process]:
    """Children, their children and so on."""
    every = {int(p.name): _read(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit()}
    found: list[Process] = []
    parents = [pid]
    while parents:
        level = [p for p, facts in every.items() if facts and facts["parent"] in parents]
        found += [Process(p, every[p]["born"]) for p in level]
        parents = level
    return found


def marked(mark: str) -> list[Process]:
    """Processes that were started with this word in their environment."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and mark.encode() in (path / "environ").read_bytes():
                facts = _read(int(path.name))
                found += [Process(int(path.name), facts["born"])] if facts else []
    return found


class Driver:
    """A study's command, started as often as it is killed.

    Args:
        command: words.
        log: file its output is appended to.
        mark: word put into the environment of all it starts.
    """

    def __init__(self, command: Sequence[str], log: Path, mark: str) -> None:
        self.command = list(command)
        self.log = log
        self.mark = mark
        self.process: subprocess.Popen[bytes] | None = None
        self.slowest = 0.0
        self.forced = 0

    def start(self) -> None:
        """Start it anew, in a process group of its own."""
        with open(self.log, "ab") as file:
            self.process = subprocess.Popen(
                self.command,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"STVM_KILLS": self.mark},
            )

    def ended(self) -> int | None:
        """Exit code; None while it runs."""
        return self.process.poll() if self.process else None

    def kill(self, group: bool, patience: float = 5.0) -> None:
        """SIGKILL to it, or to its whole group; then all it started must go.

        Args:
            group: its process group too.
            patience: seconds for what it started to go by itself; then it is killed and counted.
        """
        assert self.process
        family = descendants(self.process.pid)
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.bury(family, patience)

    def bury(self, family: Iterable[Process], patience: float) -> None:
        """Wait for what is left of a family, and end it."""
        start = time.monotonic()
        left = [*family, *marked(self.mark)]
        while (left := [p for p in left if p.alive()]) and time.monotonic() - start < patience:
            time.sleep(0.1)
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.forced += len(left)
        for process in [*left, *marked(self.mark)]:
            process.kill()

    def stop(self) -> None:
        """End it and all it started."""
        if self.process and self.process.poll() is None:
            self.kill(group=True, patience=0.0)
