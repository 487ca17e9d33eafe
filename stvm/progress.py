"""One line per event while a study runs: what is done, failed, left, and how long it takes."""

import sys
import time
from typing import Any

from ray.tune import Callback


class Lines(Callback):
    """Counts the tasks of one phase and prints a line when one ends.

    Args:
        total: tasks of the phase.
        slots: how many run at a time.
        what: noun for the tasks.
    """

    def __init__(self, total: int, slots: int, what: str) -> None:
        self.total = total
        self.slots = slots
        self.what = what
        self.done = 0
        self.failed = 0
        self.errors: list[str] = []
        self.started = time.monotonic()
        self.since: dict[str, float] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Remember when it began."""
        self.since.setdefault(trial.trial_id, time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A task ended, or says how far it is."""
        label = trial.config["task"]["label"]
        if "error" in result:
            self.failed += 1
            self.errors.append(str(result["error"]))
            self._line(label, f"error: {result['error']}", trial)
        elif result.get("status") == "failed":
            self.failed += 1
            self._line(label, f"failed: {result['reason']}", trial)
        elif result.get("status") == "done":
            self.done += 1
            self._line(label, f"mIoU {100 * result['miou']:.1f}" if "miou" in result else "", trial)
        elif "of" in result and sys.stdout.isatty():
            print(f"        {label}: iteration {result['iteration']} of {result['of']}", flush=True)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker itself died."""
        label = trial.config["task"]["label"]
        self.failed += 1
        self.errors.append(f"{label}: its process died; look for the out-of-memory killer")
        self._line(label, "its process died", trial)

    def _line(self, label: str, news: str, trial: Any) -> None:
        ended = self.done + self.failed
        left = self.total - ended
        took = time.monotonic() - self.since.get(trial.trial_id, self.started)
        pace = (time.monotonic() - self.started) / ended
        parts = [f"[{ended}/{self.total}] {label}", news, f"{took:.0f} s"]
        parts += [f"failed {self.failed}"] if self.failed else []
        parts += [f"left {left}, about {duration(pace * left)}"] if left else []
        print("  ".join(part for part in parts if part), flush=True)


def duration(seconds: float) -> str:
    """A time span for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
