"""Saved states of a running training, so that an interrupted one resumes and ends the same."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from stvm import __version__
from stvm.files import (
    Unreadable,
    drop_state,
    drop_unfinished,
    labels_beside,
    unreadable,
    write_whole,
    writing,
)

SAVE_INTERVAL_S = 300.0
"""Least seconds between two saved states."""
FORMAT = "2"
"""Format of an adaptation's state; it is raised whenever the content of a state changes."""
SUPERVISED_FORMAT = "1"
"""Format of the state of a training on labels: of a source model or of the oracle."""
_SHARE = 0.02
"""Largest share of a trial's time that is spent on saving states."""

_UNFIT = (KeyError, RuntimeError, TypeError, ValueError)
"""Errors that loading a state of another shape raises."""
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
"""Words of torch's RuntimeError for a lack of memory; it raises no MemoryError."""


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the GPU or of the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in said for words in _NO_MEMORY)


def _root(error: Exception) -> Exception:
    """The cause of a read error; torch hides errors of the file system in its own errors."""
    if lacks_memory(error):
        return MemoryError()
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, OSError):
        behind = behind.__cause__ or behind.__context__
    return behind or error


class TrainingCheckpoint:
    """File with the newest state of one training.

    Args:
        path: Path of the file, which is written whole or not at all.
        identity: Facts a saved state must match before training resumes from it.
        every_s: Least seconds between two states; 0 saves one after every iteration.
        form: Format of the state, `FORMAT` or `SUPERVISED_FORMAT`.

    Attributes:
        resumed: Iteration of the state that was loaded, with device and threads of the process that
            saved it; empty if the training began at the start. With the same device and number of
            threads the final weights are equal to the bit.
        set_aside: New path of a state that did not match; None if there was none.
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
        """Adds facts that a saved state must match."""
        self.identity = self.identity | facts

    def load(self) -> dict[str, Any] | None:
        """The saved state, with its "iteration"; None if there is none to resume from.

        A state is moved aside if it is damaged, was made from other settings, images or source
        model, or was written by another version. The training then begins at the start.

        Raises:
            Unreadable: The file cannot be read now but may be sound; it stays for the next start.
        """
        try:
            with open(self.path, "rb") as file:
                kept = torch.load(file, map_location="cpu", weights_only=True)
            fits = kept["identity"] == self.facts
        except FileNotFoundError:
            return None
        except Exception as error:
            fault = unreadable(self.path, _root(error), "move it away and run again")
            if isinstance(fault, Unreadable):
                raise fault from None
            # Any other error means a damaged state; losing it costs only training time.
            fits = False
        if not fits:
            self.refuse()
            return None
        state: dict[str, Any] = kept["state"]
        self.resumed = {"iteration": int(state["iteration"])} | kept["process"]
        return state

    def refuse(self) -> None:
        """Moves the state aside, because training cannot resume from it."""
        self.resumed = {}
        self.set_aside = self.path.with_suffix(".unusable")
        with writing(self.path.parent):
            os.replace(self.path, self.set_aside)

    def due(self) -> bool:
        """True if it is time to save a state."""
        return time.monotonic() >= self.next

    def save(self, state: dict[str, Any], device: torch.device) -> None:
        """Saves a state in place of the one before.

        Args:
            state: State of the training, with its "iteration".
            device: Device that the training runs on.

        Raises:
            StvmError: No space or no permission.
        """
        started = time.monotonic()
        process = {"device": device.type, "threads": torch.get_num_threads()}
        # Written by Python: torch turns a full disk into a RuntimeError, Python into an OSError.
        content = io.BytesIO()
        torch.save({"identity": self.facts, "process": process, "state": state}, content)
        write_whole(self.path, content.getbuffer())
        ended = time.monotonic()
        self.next = ended + (self.every_s and max(self.every_s, (ended - started) / _SHARE))

    def drop(self) -> None:
        """Deletes the state, and files that a killed process left: the result is written."""
        drop_state(self.path)
        drop_unfinished(self.path)

    @property
    def labels(self) -> Path:
        """Folder of the labels of offline passes, beside the file."""
        return labels_beside(self.path)

    @property
    def facts(self) -> dict[str, str]:
        """Facts that a saved state must match, with format and versions."""
        versions = {"format": self.form, "stvm": __version__, "torch": str(torch.__version__)}
        return self.identity | versions


class Resumable(Protocol):
    """A training that can be restored from a state."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


T = TypeVar("T", bound=Resumable)


def start_or_resume(
    make: Callable[[], T], checkpoint: TrainingCheckpoint | None
) -> tuple[T, dict[str, Any] | None]:
    """A training, and the state it resumes from; a state that does not fit is moved aside.

    Args:
        make: Creates a new training object; may be called twice.
        checkpoint: Place of the saved state; None saves none.

    Raises:
        Unreadable: The state cannot be read now; see `TrainingCheckpoint.load`.
        RuntimeError: Memory ran out; the state stays for the next start.
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
