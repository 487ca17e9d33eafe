"""The state of a trial on disk while it runs, so that an interrupted one goes on and ends alike."""

import io
import os
import time
from pathlib import Path
from typing import Any

import torch

from stvm.files import writing
from stvm.records import replacing

EVERY_S = 300.0


class Keeper:
    """Keeps the newest state of one trial.

    Args:
        path: of the file, written whole or not at all.
        identity: what a state must have been made from to be gone on from.
        every_s: least seconds between two states; 0 keeps every iteration's.

    Attributes:
        resumed_from: iteration gone on from; 0 for a trial begun afresh.
    """

    def __init__(self, path: Path, identity: dict[str, str], every_s: float = EVERY_S) -> None:
        self.path = path
        self.identity = identity
        self.every_s = every_s
        self.resumed_from = 0
        self.saved = time.monotonic()

    def bind(self, **facts: str) -> None:
        """Say what else a state must have been made from."""
        self.identity = self.identity | facts

    def load(self) -> dict[str, Any] | None:
        """The state kept last, with its "iteration"; None where there is none to go on from.

        One that cannot be read, or was made from other settings, another source model or another
        torch, is moved aside: the trial begins afresh, and nothing is lost.
        """
        if not self.path.exists():
            return None
        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
            fits = kept["identity"] == self._identity()
        except Exception:
            # Whatever torch finds wrong with it: a state is worth no more than its time.
            fits = False
        if not fits:
            os.replace(self.path, self.path.with_suffix(".unusable"))
            return None
        state: dict[str, Any] = kept["state"]
        self.resumed_from = int(state["iteration"])
        return state

    def due(self) -> bool:
        """It is time to keep a state."""
        return time.monotonic() - self.saved >= self.every_s

    def save(self, state: dict[str, Any]) -> None:
        """Keep a state in place of the one before.

        Raises:
            StvmError: no space, no permission.
        """
        # torch's own writer turns a full disk into a RuntimeError; Python's into an OSError.
        content = io.BytesIO()
        torch.save({"identity": self._identity(), "state": state}, content)
        with writing(self.path.parent), replacing(self.path) as temporary:
            temporary.write_bytes(content.getbuffer())
        self.saved = time.monotonic()

    def drop(self) -> None:
        """The trial has its record: its state is of no more use."""
        self.path.unlink(missing_ok=True)

    def _identity(self) -> dict[str, str]:
        return self.identity | {"torch": str(torch.__version__)}
