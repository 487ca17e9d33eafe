"""The progress of one piece of work: a live line on a terminal, a line now and then in a log.

The remaining time comes from the work's own pace.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from stvm.durations import duration
from stvm.tune.remaining_time import ANY, Running

SAY_EVERY_S = 30.0
"""Seconds between two lines of a log."""
_WIPE = "\r\x1b[K"


class ProgressLine:
    """Says how much is done, of how much, and how long the rest takes.

    Args:
        what: noun of one of what is counted.
        now: clock in seconds.
    """

    def __init__(self, what: str, now: Callable[[], float] = time.monotonic) -> None:
        self.what = what
        self._now = now
        self._live = sys.stderr.isatty()
        self._work: Running | None = None
        self._seen = 0.0
        self._said = -math.inf
        self._pass: ProgressLine | None = None

    def __call__(self, done: int, total: int, watch: Mapping[str, Any] | None = None, /) -> None:
        """So many are done."""
        self._seen = now = self._now()
        if self._work is None:
            # The first one has been done already: the pace is that of those after it.
            self._work = Running(self.what, (ANY,), now, begun=done)
        self._work.iteration, self._work.of = done, total
        if self._live:
            print(f"{_WIPE}{self.text()}", end="", file=sys.stderr, flush=True)
            if done == total:
                self.end()
        elif now - self._said >= SAY_EVERY_S or done == total:
            self._said = now
            print(self.text(), file=sys.stderr, flush=True)

    def tell_pass(self, what: str, done: int, total: int) -> None:
        """So many images of a pass are done."""
        noun = f"{what}: image"
        if self._pass is None or self._pass.what != noun:
            self._pass = ProgressLine(noun, self._now)
        self._pass(done, total)

    def text(self) -> str:
        """The line."""
        work = self._work
        if work is None:
            return ""
        parts = [f"{self.what} {work.iteration} of {work.of}"]
        if pace := self.pace():
            parts.append(f"{pace:.2g} s each")
            if left := (work.of - work.iteration) * pace:
                parts.append(f"about {duration(left)} left")
        return ", ".join(parts)

    def pace(self) -> float | None:
        """Seconds that one takes; None while it is not known."""
        work = self._work
        whole = work.whole(self._seen) if work else None
        return whole / (work.of - work.begun) if work and whole else None

    def end(self) -> None:
        """End the line of a terminal, so that others can follow."""
        if self._live and self._work:
            print(file=sys.stderr, flush=True)
            self._live = False
