"""The state of a trial on disk while it runs, so that an interrupted one goes on and ends alike."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from stvm import __version__
from stvm.files import Unreadable, drop_unfinished, unreadable, write_whole, writing

SAVE_INTERVAL_S = 300.0
FORMAT = "2"
"""Of an adaptation: raised whenever its state holds other things than before."""
SUPERVISED_FORMAT = "1"
"""The same of a training on labels: a source model's or the oracle's."""
_SHARE = 0.02
"""Most of a trial's time that goes into keeping states."""

_UNFIT = (KeyError, RuntimeError, TypeError, ValueError)
"""What loading a state of another shape raises."""
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
"""What torch says, in a plain RuntimeError, where Python would raise a MemoryError."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the GPU or of the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _NO_MEMORY)


def _root(error: Exception) -> Exception:
    """What lies behind an error of reading: torch hides those of the file system in its own."""
    if lacks_memory(error):
        return MemoryError()
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__cause__ or behind.__context__
    return behind or error


class TrainingCheckpoint:
    """Keeps the newest state of one trial.

    Args:
        path: of the file, written whole or not at all.
        identity: what a state must have been made from to be gone on from.
        every_s: least seconds between two states; 0 keeps every iteration's.
        form: `FORMAT` of the kind of training.

    Attributes:
        resumed: iteration gone on from, and the device and threads of the process that kept it;
            empty for a trial begun afresh. Weights end alike to the bit if these are the same.
        set_aside: where a state went that could not be gone on from; None if there was none.
    """

    def __init__(
        self,
        path: Path,
        identity: dict[str, str],
        every_s: float = SAVE_INTERVAL_S,
        form: str = FORMAT,
    ) -> None:
        self.path = path
        self.form = form
        self.identity = identity
        self.every_s = every_s
        self.resumed: dict[str, Any] = {}
        self.set_aside: Path | None = None
        self.next = time.monotonic() + every_s

    def bind(self, **facts: str) -> None:
        """Say what else a state must have been made from."""
        self.identity = self.identity | facts

    def load(self) -> dict[str, Any] | None:
        """The state kept last, with its "iteration"; None where there is none to go on from.

        One that is damaged, or was made from other settings, images or source model, or by
        another version, is moved aside: the trial begins afresh, and nothing is lost.

        Raises:
            Unreadable: it may be sound and cannot be read now; it stays for the next start.
        """
        try:
            with open(self.path, "rb") as file:
                kept = torch.load(file, map_location="cpu", weights_only=True)
            fits = kept["identity"] == self._identity()
        except FileNotFoundError:
            return None
        except Exception as error:
            fault = unreadable(self.path, _root(error), "move it away and run again")
            if isinstance(fault, Unreadable):
                raise fault from None
            # Whatever torch finds wrong with it: a state is worth no more than its time.
            fits = False
        if not fits:
            self.refuse()
            return None
        state: dict[str, Any] = kept["state"]
        self.resumed = {"iteration": int(state["iteration"])} | kept["process"]
        return state

    def refuse(self) -> None:
        """Move the state aside: it cannot be gone on from."""
        self.resumed = {}
        self.set_aside = self.path.with_suffix(".unusable")
        with writing(self.path.parent):
            os.replace(self.path, self.set_aside)

    def due(self) -> bool:
        """It is time to keep a state."""
        return time.monotonic() >= self.next

    def save(self, state: dict[str, Any], device: torch.device) -> None:
        """Keep a state in place of the one before.

        Args:
            state: with its "iteration".
            device: that the trial runs on.

        Raises:
            StvmError: no space, no permission.
        """
        started = time.monotonic()
        process = {"device": device.type, "threads": torch.get_num_threads()}
        # torch's own writer turns a full disk into a RuntimeError; Python's into an OSError.
        content = io.BytesIO()
        torch.save({"identity": self._identity(), "process": process, "state": state}, content)
        write_whole(self.path, content.getbuffer())
        ended = time.monotonic()
        self.next = ended + (self.every_s and max(self.every_s, (ended - started) / _SHARE))

    def drop(self) -> None:
        """The trial has its record: its state is of no more use, nor are files a kill left."""
        self.path.unlink(missing_ok=True)
        drop_unfinished(self.path)

    def _identity(self) -> dict[str, str]:
        versions = {"format": self.form, "stvm": __version__, "torch": str(torch.__version__)}
        return self.identity | versions


class Resumable(Protocol):
    """A training that can go on from a state."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


T = TypeVar("T", bound=Resumable)


def start_or_resume(
    make: Callable[[], T], checkpoint: TrainingCheckpoint | None
) -> tuple[T, dict[str, Any] | None]:
    """A training, and the state it goes on from; one that does not fit is moved aside.

    Args:
        make: makes the training afresh, however far one that it made before has come.
        checkpoint: of its state; None keeps none.

    Raises:
        Unreadable: as `Keeper.load`.
        RuntimeError: memory ran out; the state stays for the next start.
    """
    training = make()
    state = checkpoint.load() if checkpoint else None
    if checkpoint and state:
        try:
            training.load_state_dict(state)
        except _UNFIT as error:
            if lacks_memory(error):
                raise
            checkpoint.refuse()
            return make(), None
    return training, state
