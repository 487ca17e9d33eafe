"""What a person sees while a study runs: lines, or on a terminal a live table."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ray.tune import Callback
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from stvm.estimate import Estimate, duration

__all__ = ["Lines", "Table", "duration", "on_terminal", "reason_of_death", "watcher"]


class Lines(Callback):
    """Counts the tasks of one phase and prints a line when one ends.

    Args:
        total: tasks of the phase.
        slots: how many run at a time.
        what: noun for the tasks.
        tasks: all of them where they are known beforehand; makes the time to go exact.
    """

    report_every = 30.0
    """Seconds between a running task's reports."""

    def __init__(
        self, total: int, slots: int, what: str, tasks: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.total = total
        self.what = what
        self.done = 0
        self.failed = 0
        self.errors: list[str] = []
        self.estimate = Estimate(total, slots, tasks)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to undo."""

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Remember when it began."""
        self.estimate.start(trial.trial_id, trial.config["task"], time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A task ended, or says how far it is."""
        if "error" in result:
            self.failed += 1
            self.errors.append(str(result["error"]))
            self._ended(trial, f"error: {result['error']}", counts=False)
        elif result.get("status") == "failed":
            self.failed += 1
            self._ended(trial, f"failed: {result['reason']}", counts=False)
        elif result.get("status") == "done":
            self.done += 1
            self._ended(trial, f"mIoU {100 * result['miou']:.1f}" if "miou" in result else "")
        elif "of" in result:
            self.estimate.advance(trial.trial_id, result["iteration"], result["of"])

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker died and the task will run again."""
        self.estimate.drop(trial.trial_id)
        reason = reason_of_death(_error_of(trial))
        self.say(f"        {trial.config['task']['label']}: {reason}; it will run again")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The worker died once too often."""
        reason = reason_of_death(_error_of(trial))
        self.failed += 1
        self.errors.append(f"{trial.config['task']['label']}: {reason}")
        self._ended(trial, f"error: {reason}", counts=False)

    def say(self, line: str) -> None:
        """Show a line."""
        print(line, flush=True)

    def _ended(self, trial: Any, news: str, counts: bool = True) -> None:
        took = self.estimate.end(trial.trial_id, time.monotonic(), counts)
        ended = self.done + self.failed
        left = self.total - ended
        parts = [f"[{ended}/{self.total}] {trial.config['task']['label']}", news]
        parts += [f"{took:.0f} s"] if took is not None else []
        parts += [f"failed {self.failed}"] if self.failed else []
        to_go = self.to_go()
        parts += [f"left {left}" + (f", about {to_go}" if to_go else "")] if left else []
        self.say("  ".join(part for part in parts if part))

    def to_go(self) -> str:
        """Time to go for people; empty while nothing is known."""
        seconds = self.estimate.seconds_left(time.monotonic())
        return "" if seconds is None else duration(seconds)


class Table(Lines):
    """Lines that scroll by above a live table of what is running; ends with its block.

    Args:
        total: tasks of the phase.
        slots: how many run at a time.
        what: noun for the tasks.
        tasks: all of them where they are known beforehand.
        console: to show it on; None for the terminal.
    """

    report_every = 2.0

    def __init__(
        self,
        total: int,
        slots: int,
        what: str,
        tasks: Sequence[Mapping[str, Any]] = (),
        console: Console | None = None,
    ) -> None:
        super().__init__(total, slots, what, tasks)
        self.console = console or Console()
        self.live = Live(
            console=self.console,
            get_renderable=self.render,
            refresh_per_second=2,
            transient=True,
            redirect_stderr=False,
        )

    def __enter__(self) -> "Table":
        self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.live.stop()

    def say(self, line: str) -> None:
        """Show a line above the table."""
        self.console.print(Text(line), soft_wrap=True)

    def render(self) -> Group:
        """The table as it stands now; called from rich's thread too."""
        grid = Grid("running", "iteration", "elapsed", "left", box=None, pad_edge=False)
        now = time.monotonic()
        for task in self.estimate.running():
            left = self.estimate.left(task, now)
            grid.add_row(
                Text(task.label),
                f"{task.iteration}/{task.of}" if task.of else "",
                duration(now - task.since),
                "" if left is None else duration(left),
            )
        left_over = self.total - self.done - self.failed
        head = f"{self.what}: done {self.done}, failed {self.failed}, left {left_over}"
        to_go = self.to_go()
        return Group(Text(head + (f", about {to_go} to go" if to_go else ""), "bold"), grid)


def watcher(
    total: int, slots: int, what: str, tasks: Sequence[Mapping[str, Any]] = ()
) -> Lines | Table:
    """The table on a terminal, lines elsewhere."""
    return (Table if on_terminal() else Lines)(total, slots, what, tasks)


def on_terminal() -> bool:
    """Somebody looks at a terminal that can show a live table."""
    return sys.stdout.isatty() and Console().is_terminal


def _error_of(trial: Any) -> str:
    """Text of a trial's last error, as Tune keeps it on the driver."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8")
    except OSError as error:
        return f"no reason kept: {error.strerror}"
    return text.rpartition("Failure #")[2].partition("\n")[2]


def reason_of_death(error: str) -> str:
    """One line for a worker that did not end by itself, and what to do.

    Args:
        error: as Ray gives it.
    """
    text = " ".join(error.split())
    low = text.lower()
    where = f" on {text.split('ip: ')[1].split()[0]}" if "ip: " in text else ""
    if "running low on memory" in low or "memory usage threshold" in low:
        return (
            f"its process was stopped by Ray{where}, where memory ran out: fewer trials at a time "
            "(--cpus-per-trial), or a smaller batch"
        )
    if "node has died" in low or "node was terminated" in low or "nodediederror" in low:
        return f"its node died{where}: look at that machine, then run again"
    if "is unavailable" in low:
        return f"its process or node{where} cannot be reached any more: look there, then run again"
    if "worker process has died" in low or "worker unexpectedly exits" in low:
        return (
            f"its process was killed or crashed{where}: look for the out-of-memory killer in "
            "dmesg there, then run again"
        )
    return f"its process ended{where}: {text[:200] or 'Ray gives no reason'}"
