"""The progress of a study for people: lines, or a live table on a terminal."""

import math
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

from stvm.durations import duration
from stvm.tune.remaining_time import RemainingTime
from stvm.tune.worker_deaths import reason_of_death

__all__ = ["LineProgress", "TableProgress", "duration", "on_terminal", "reason_of_death", "watcher"]


TELL_EVERY_S = 300.0
"""Seconds between lines about what is still under way."""
_NAMED = 3
"""Most tasks of others that one line names."""


class LineProgress(Callback):
    """Counts the tasks of one phase and prints a line when one ends.

    Args:
        total: number of tasks of the phase.
        slots: number of tasks at a time.
        what: noun for the tasks.
        tasks: all of them where they are known beforehand; makes the time to go exact.
    """

    report_every = 30.0
    """Seconds between a running task's reports."""
    tell_every = TELL_EVERY_S
    """Seconds between lines about a task that runs."""

    def __init__(
        self, total: int, slots: int, what: str, tasks: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.total = total
        self.what = what
        self.done = 0
        self.failed = 0
        self.errors: list[str] = []
        self.estimate = RemainingTime(total, slots, tasks)
        self._told: dict[str, float] = {}
        self._waited = -math.inf

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: no study reads the copy that Tune keeps, and a terminal's locks have no copy."""
        return {}

    def __enter__(self) -> "LineProgress":
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
        self._told[trial.trial_id] = time.monotonic()
        self.estimate.start(trial.trial_id, trial.config["task"], time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A task ended, or says how far it is."""
        if "set_aside" in result:
            self.say(
                f"        {trial.config['task']['label']}: began afresh; its kept state was of "
                f"another version or other files, and lies in {result['set_aside']}"
            )
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
        elif result.get("status") == "held":
            self.estimate.drop(trial.trial_id)
        elif "of" in result:
            begun = result.get("begun", 0)
            self.estimate.advance(trial.trial_id, result["iteration"], result["of"], begun)
            self._tell(trial.trial_id)
        elif "pass" in result:
            stage = f"{result['pass']}: image {result['image']} of {result['images']}"
            self.estimate.enter_pass(trial.trial_id, stage)
            self._tell(trial.trial_id)

    def elsewhere(self, task: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        """A task needs no run here: another driver has recorded it, or its record is damaged."""
        if "error" in outcome:
            self.failed += 1
            self.errors.append(str(outcome["error"]))
            news = f"error: {outcome['error']}"
        elif outcome["status"] == "failed":
            self.failed += 1
            news = f"by another driver  failed: {outcome['reason']}"
        else:
            self.done += 1
            miou = f"  mIoU {100 * outcome['miou']:.1f}" if "miou" in outcome else ""
            news = f"by another driver{miou}"
        self._count(str(task["name"]), str(task["label"]), news, counts=False)

    def waiting(self, others: Sequence[tuple[str, str]]) -> None:
        """Nothing is to be done here until others have ended; told now and then.

        Args:
            others: labels of their tasks, and who runs each.
        """
        now = time.monotonic()
        if now - self._waited < TELL_EVERY_S:
            return
        self._waited = now
        named = [f"{label} ({who})" if who else label for label, who in others[:_NAMED]]
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        self.say(f"        waiting for other drivers, which run {', '.join(named)}{more}")

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

    def _tell(self, key: str) -> None:
        """Tell the progress of a long task now and then."""
        task, now = self.estimate.task(key), time.monotonic()
        if task is None or now - self._told.get(key, now) < self.tell_every:
            return
        self._told[key] = now
        left = self.estimate.left(task, now)
        parts = (
            [task.stage]
            if task.stage
            else [
                f"iteration {task.iteration} of {task.of}",
                f"{100 * task.iteration / task.of:.0f} %",
            ]
        )
        parts += [f"{duration(now - task.since)} so far"]
        parts += [] if left is None else [f"about {duration(left)} left"]
        self.say(f"        {task.label}: {', '.join(parts)}")

    def _ended(self, trial: Any, news: str, counts: bool = True) -> None:
        self._count(trial.trial_id, trial.config["task"]["label"], news, counts)

    def _count(self, key: str, label: str, news: str, counts: bool) -> None:
        took = self.estimate.end(key, time.monotonic(), counts)
        ended = self.done + self.failed
        left = self.total - ended
        parts = [f"[{ended}/{self.total}] {label}", news]
        parts += [f"{took:.0f} s"] if took is not None else []
        parts += [f"failed {self.failed}"] if self.failed else []
        to_go = self.to_go()
        parts += [f"left {left}" + (f", about {to_go}" if to_go else "")] if left else []
        self.say("  ".join(part for part in parts if part))

    def to_go(self) -> str:
        """Time to go for people; empty while nothing is known."""
        seconds = self.estimate.seconds_left(time.monotonic())
        return "" if seconds is None else duration(seconds)


class TableProgress(LineProgress):
    """Lines that scroll by above a live table of the running tasks; it ends with its block.

    Args:
        total: number of tasks of the phase.
        slots: number of tasks at a time.
        what: noun for the tasks.
        tasks: all of them where they are known beforehand.
        console: console of the table; None for the terminal.
    """

    report_every = 2.0
    tell_every = math.inf

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

    def __enter__(self) -> "TableProgress":
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
                task.stage or (f"{task.iteration}/{task.of}" if task.of else ""),
                duration(now - task.since),
                "" if left is None else duration(left),
            )
        left_over = self.total - self.done - self.failed
        head = f"{self.what}: done {self.done}, failed {self.failed}, left {left_over}"
        if not left_over:
            head += "; Ray Tune ends"
        elif to_go := self.to_go():
            head += f", about {to_go} to go"
        # Tune takes seconds to end after the last task, and to start the first.
        return Group(Text(head, "bold"), *([grid] if grid.row_count else []))


def watcher(
    total: int, slots: int, what: str, tasks: Sequence[Mapping[str, Any]] = ()
) -> LineProgress | TableProgress:
    """The table on a terminal, lines elsewhere."""
    return (TableProgress if on_terminal() else LineProgress)(total, slots, what, tasks)


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
