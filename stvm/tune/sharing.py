"""Tasks that several drivers share: each driver takes a free one when Ray Tune asks for a task.

Drivers do not talk to each other. A task is free if it has no record and nobody holds its lock. A
task that another driver runs is looked at again later. A driver that dies releases its locks.
"""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ray.tune.search import Searcher

from stvm.errors import StvmError
from stvm.files.locks import is_held
from stvm.records.record import Record
from stvm.records.results import Results
from stvm.records.running import read_sign
from stvm.source_model.location import source_lock
from stvm.tune.progress import LineProgress

LOOK_EVERY_S = 1.0
"""Least seconds between two looks at the tasks of other drivers."""

Task = dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """The state of a task, whichever driver runs it.

    Attributes:
        state: nobody's, another's, or with its outcome.
        outcome: outcome of a recorded trial as a worker would report it.
    """

    state: Literal["free", "held", "ended"]
    outcome: Mapping[str, Any]


FREE, HELD = Standing("free", {}), Standing("held", {})


def standing(task: Task) -> Standing:
    """The state of a task now.

    Raises:
        StvmError: its record cannot be read.
    """
    if task["kind"] == "source":
        path = Path(task["source"])
        if path.exists():
            return Standing("ended", {"status": "done"})
        return _taken(source_lock(path))
    results = Results(Path(task["results"]))
    record = results.read(task["name"])
    failed = record is not None and not record.is_done
    again = failed and task["retry_failed"] and results.stamp(task["name"]) == task["failed"]
    if record is None or again:
        return _taken(results.lock_path(task["name"]))
    return Standing("ended", outcome(record))


def outcome(record: Record) -> dict[str, Any]:
    """The report of a worker on a trial with this record."""
    if not record.is_done:
        return {"status": "failed", "reason": record.reason}
    return {"status": "done", "miou": record.miou}


def _taken(lock: Path) -> Standing:
    try:
        return HELD if is_held(lock) else FREE
    except OSError:
        # Whoever runs the task meets the same and says so.
        return FREE


class Shared(Searcher):
    """Tune's view of the tasks of one phase.

    Args:
        tasks: tasks in the order in which a single driver runs them.
        at_once: number of tasks that this driver is expected to run at a time.
        shown: progress that is told what other drivers have done.
        stands: state of a task.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        at_once: int,
        shown: LineProgress,
        stands: Callable[[Task], Standing] = standing,
    ) -> None:
        super().__init__()
        self.left = list(tasks)
        self.at_once, self.shown, self.stands = at_once, shown, stands
        self.taken: dict[str, Task] = {}
        self.order = random.Random(os.getpid())
        self.not_before = 0.0

    def suggest(  # type: ignore[override]
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        """A free task; None while there is none, or enough of them wait for room."""
        running = max(self.at_once, len(self.shown.estimate.running()))
        # One more than run, so that a slot that becomes free need not wait for the next look.
        if len(self.taken) > running or time.monotonic() < self.not_before:
            return None
        task, held = self._free()
        if task is not None:
            self.taken[trial_id] = task
            return {"task": task}
        if not (self.left or self.taken):
            return Searcher.FINISHED
        self.not_before = time.monotonic() + LOOK_EVERY_S
        if held and not self.taken:
            self.shown.waiting([(task["label"], _who(task)) for task in held])
        return None

    def _free(self) -> tuple[Task | None, list[Task]]:
        """A free task and, where there is none, those that others hold."""
        held: list[Task] = []
        todo = list(self.left)
        while todo:
            task = todo.pop(0)
            found = self._stands(task)
            if found.state == "held":
                # Drivers that went on in the same order would always reach for the same tasks.
                if not held:
                    self.order.shuffle(todo)
                held.append(task)
                continue
            self.left.remove(task)
            if found.state == "free":
                return task, []
            self.shown.elsewhere(task, found.outcome)
        return None, held

    def _stands(self, task: Task) -> Standing:
        try:
            return self.stands(task)
        except StvmError as error:
            return Standing("ended", {"error": str(error)})

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A task has ended, or another driver was the faster to lock it."""
        task = self.taken.pop(trial_id)
        if not error and (result or {}).get("status") == "held":
            self.left.append(task)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: records and locks are the memory."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: records and locks are the memory."""


def _who(task: Task) -> str:
    """The holder of a task and its progress, for people."""
    sign = read_sign(Path(task["sign"]))
    if sign is None:
        return ""
    return ", ".join(part for part in (sign.holder, sign.progress()) if part)


def sweep(results: Results) -> None:
    """Remove the signs of killed processes on trials that have a record by now."""
    for path in (results.root / "running").glob("*.json"):
        if results.record_path(path.stem).exists():
            with suppress(OSError):
                path.unlink()
