"""The remaining time of a study, from tasks that ended, that run and that wait."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Kinds = tuple[str, ...]
"""Kinds of a task, on which its duration depends, from the narrowest to the widest."""

ANY = "any"


def kinds_of(task: Mapping[str, Any]) -> Kinds:
    """Kinds of a task; one that does not say may be like any other."""
    return tuple(map(str, task.get("kinds", ()))) or (ANY,)


@dataclass
class Running:
    """A task at work.

    Attributes:
        label: label for people.
        kinds: kinds of the task.
        since: monotonic seconds at its start.
        iteration: iterations done so far.
        of: iterations in all; 0 before the first progress.
        begun: iterations done before, if it resumes from a state.
        stage: pass over images that is under way, with its images; empty in a training.
    """

    label: str
    kinds: Kinds
    since: float
    iteration: int = 0
    of: int = 0
    begun: int = 0
    stage: str = ""

    def whole(self, now: float) -> float | None:
        """Seconds from start to end at its own pace; None while it has not said how far it is."""
        done = self.iteration - self.begun
        return (now - self.since) * (self.of - self.begun) / done if done > 0 else None


class RemainingTime:
    """Seconds to go of a phase.

    The time before the first task starts is not counted, and short tasks that run first say
    nothing of long ones: a task is expected to take the mean of those of its narrowest kind
    that have ended, or of what those that run are heading for.

    Args:
        total: number of tasks of the phase.
        slots: number of tasks at a time.
        tasks: those known beforehand, with `name` and `kinds`.
    """

    def __init__(self, total: int, slots: int, tasks: Iterable[Mapping[str, Any]] = ()) -> None:
        self._slots = max(1, slots)
        self._left = total
        self._waiting = {task["name"]: kinds_of(task) for task in tasks}
        self._running: dict[str, Running] = {}
        self._took: dict[str, list[float]] = defaultdict(list)
        self._tasks: dict[str, str] = {}

    def start(self, key: str, task: Mapping[str, Any], now: float) -> None:
        """A task begins, or begins anew after its process died."""
        self._running[key] = Running(str(task["label"]), kinds_of(task), now)
        self._tasks[key] = str(task.get("name", key))
        self._waiting.pop(self._tasks[key], None)

    def advance(self, key: str, iteration: int, of: int, begun: int = 0) -> None:
        """A running task says how far it is, and where it went on from."""
        if task := self._running.get(key):
            task.iteration, task.of, task.begun, task.stage = iteration, of, begun, ""

    def enter_pass(self, key: str, stage: str) -> None:
        """A running task says how far its pass over images is."""
        if task := self._running.get(key):
            task.stage = stage

    def drop(self, key: str) -> None:
        """A running task died and waits again."""
        task = self._running.pop(key, None)
        if task:
            self._waiting[self._tasks[key]] = task.kinds

    def end(self, key: str, now: float, counts: bool = True) -> float | None:
        """A task has ended.

        Args:
            key: it was started with.
            now: monotonic seconds.
            counts: it says how long its kind takes; one cut short does not.

        Returns:
            Seconds it took; None where it never started.
        """
        self._left -= 1
        self._waiting.pop(self._tasks.get(key, key), None)
        task = self._running.pop(key, None)
        if task is None:
            return None
        if counts:
            for kind in {*task.kinds, ANY}:
                self._took[kind].append(now - task.since)
        return now - task.since

    def task(self, key: str) -> Running | None:
        """The running task with this key; None where there is none."""
        return self._running.get(key)

    def running(self) -> Sequence[Running]:
        """The running tasks; a copy, for another thread."""
        return list(self._running.values())

    def expected(self, kinds: Kinds, now: float) -> float | None:
        """Seconds a task of these kinds takes; None while nothing is known of any of them."""
        for kind in kinds:
            if took := self._took.get(kind):
                return statistics.fmean(took)
        for kind in kinds:
            wholes = [t.whole(now) for t in self.running() if kind in (*t.kinds, ANY)]
            if known := [whole for whole in wholes if whole is not None]:
                return statistics.fmean(known)
        return None

    def left(self, task: Running, now: float) -> float | None:
        """Seconds a running task will still take: by its own pace, else by its kind."""
        whole = task.whole(now)
        whole = self.expected(task.kinds, now) if whole is None else whole
        return None if whole is None else max(0.0, whole - (now - task.since))

    def seconds_left(self, now: float) -> float | None:
        """Seconds until all is done; None while it is not known of every task."""
        running = [self.left(task, now) for task in self.running()]
        waiting = list(self._waiting.values())
        waiting += [(ANY,)] * (self._left - len(running) - len(waiting))
        costs = {kinds: self.expected(kinds, now) for kinds in set(waiting)}
        lefts = [*running, *(costs[kinds] for kinds in waiting)]
        known = [left for left in lefts if left is not None]
        if len(known) < len(lefts):
            return None
        return max([*known, math.fsum(known) / self._slots], default=0.0)
