"""Ctrl-C during a training: the iteration at work ends, its state is saved, and then it stops."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stvm.training.loop import Progress
from stvm.training.resume import TrainingCheckpoint


class StoppableProgress:
    """The progress of a training that can be asked to stop.

    Args:
        progress: told the same.
        checkpoint: place of the training's saved state.

    Attributes:
        last: iterations done so far; 0 before the first one that this process ends.
        runs: whether the training is between two of its iterations.
        passes: whether it is in a pass over images.
        asked: whether the training was asked to stop.
    """

    def __init__(self, progress: Progress, checkpoint: TrainingCheckpoint) -> None:
        self.progress = progress
        self.checkpoint = checkpoint
        self.last = 0
        self.runs = False
        self.passes = False
        self.asked = False

    def ask(self, *_: object) -> None:
        """Ask the training to stop; outside iterations and passes, or asked twice, at once.

        Raises:
            KeyboardInterrupt: it stops at once.
        """
        if self.asked or not (self.runs or self.passes):
            raise KeyboardInterrupt
        self.asked = True
        self._save_next()
        what = "image" if self.passes else "iteration"
        print(f"stopping after this {what}", file=sys.stderr, flush=True)

    def __call__(self, done: int, total: int, watch: Mapping[str, Any] | None = None, /) -> None:
        """Told after each iteration, and after the state is saved where it was due.

        Raises:
            KeyboardInterrupt: it was asked to stop, and the state is saved.
        """
        self.last, self.runs, self.passes = done, done < total, False
        self.progress(done, total, watch)
        # Asked after the state could be saved: one iteration more.
        if self.asked and self.checkpoint.next > 0:
            raise KeyboardInterrupt
        if done == total - 1:
            # What follows the training can be stopped too, and nothing is then trained again.
            self._save_next()

    def tell_pass(self, what: str, done: int, total: int) -> None:
        """Told between two images of a pass; see `stvm.training.pass_progress`.

        Raises:
            KeyboardInterrupt: it was asked to stop; a pass with labels saves them.
        """
        self.passes = done < total
        if tell := getattr(self.progress, "tell_pass", None):
            tell(what, done, total)
        if self.asked:
            raise KeyboardInterrupt

    def _save_next(self) -> None:
        self.checkpoint.next = 0.0


@contextmanager
def stoppable(progress: Progress, checkpoint: TrainingCheckpoint) -> Iterator[StoppableProgress]:
    """Within the block Ctrl-C asks the training to stop; call it in the main thread.

    Args:
        progress: function that is told how far the training is.
        checkpoint: place of the training's saved state.
    """
    told = StoppableProgress(progress, checkpoint)
    before = signal.signal(signal.SIGINT, told.ask)
    try:
        yield told
    finally:
        signal.signal(signal.SIGINT, before)
