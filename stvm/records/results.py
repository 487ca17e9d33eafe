"""Records on disk: one for each trial, written whole or not at all."""

import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from stvm.errors import StvmError
from stvm.files import drop_unfinished, now, replacing, write_json, writing
from stvm.files.locks import locked, look_afresh
from stvm.records.checked_values import is_hash
from stvm.records.manifest import manifest_files
from stvm.records.record import Record, find_record

_NAME = re.compile(r"\w[\w.-]*")


class Results:
    """A folder of records, samples, manifests and events.

    Args:
        root: `records/HASH.json`, `samples/HASH.npz`, `studies/NAME.json`, `events.jsonl`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def _path(self, folder: str, name: str, ending: str) -> Path:
        """A file of a trial; a name out of a damaged file must not lead elsewhere.

        Raises:
            StvmError: a name that is no hash.
        """
        if not _NAME.fullmatch(name):
            raise StvmError(f"no file and no trial {name!r}: a trial's hash has 12 hex digits")
        return self.root / folder / f"{name}{ending}"

    def record_path(self, name: str) -> Path:
        """The file of the trial's record."""
        return self._path("records", name, ".json")

    def model_path(self, name: str) -> Path:
        """The file of the network that the trial reports, if it is kept."""
        return self._path("models", name, ".safetensors")

    def metric_path(self, name: str) -> Path:
        """The file of the trial's metric network, if it has one and keeps it."""
        return self.root / "models" / f"{name}.metric.safetensors"

    def state_path(self, name: str) -> Path:
        """The file of the trial's state while it runs."""
        return self._path("checkpoints", name, ".pt")

    def sample_path(self, name: str) -> Path:
        """The file of the trial's predictions on a few images."""
        return self._path("samples", name, ".npz")

    def drop_unfinished(self, name: str) -> None:
        """Remove unfinished files that a kill left; only for the holder of the trial's lock."""
        for path in (self.record_path(name), self.sample_path(name), self.model_path(name)):
            drop_unfinished(path)

    def events_path(self, name: str) -> Path:
        """The folder of the trial's TensorBoard event files."""
        return self._path("tensorboard", name, "")

    def error_path(self, name: str) -> Path:
        """The file of the traceback of a task that ended with an error."""
        return self._path("errors", name, ".txt")

    def last_error(self, name: str) -> str:
        """The error that ends that traceback; empty where there is none."""
        path = self.error_path(name)
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        return "".join(text.strip().split("\n")[-1:]).strip()

    def read(self, name: str) -> Record | None:
        """The record of a trial; None when there is none.

        Raises:
            StvmError: the file is damaged, or belongs to another trial.
            Unreadable: a later version wrote it, or nothing is known to be wrong with it.
        """
        return find_record(self.record_path(name))

    def names(self) -> list[str]:
        """Hashes of all trials that have a record, sorted."""
        return [path.stem for path in record_files(self.root) if is_hash(path.stem)]

    def strays(self) -> list[str]:
        """A line for each file whose name is that of no record or manifest, such as a copy."""
        records = [path for path in record_files(self.root) if not is_hash(path.stem)]
        others = set(self.root.glob("studies/[!.]*.json")) - set(manifest_files(self.root))
        return [f"{p}: not named by a trial's hash, so it is passed over" for p in records] + [
            f"{p}: not named STUDY-BASE.json, so it is passed over" for p in sorted(others)
        ]

    def write(self, record: Record) -> None:
        """Put a new record in place; one that exists is never replaced.

        Raises:
            StvmError: there is one already, or it cannot be written.
        """
        path = self.record_path(record.hash)
        # Another machine may have written one where locks do not reach it.
        look_afresh(path.parent)
        if path.exists():
            raise StvmError(f"{path}: exists and is not overwritten; move it away and run again")
        write_json(path, record.as_dict())

    def stamp(self, name: str) -> str:
        """A text that differs for a record written in its place later; empty without a record."""
        path = self.record_path(name)
        retried = len(list((self.root / "retried").glob(f"{name}-*.json")))
        with suppress(FileNotFoundError):
            return f"{retried} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        return ""

    def set_aside(self, name: str) -> None:
        """Keep a failed record under another name, so that its trial may run again."""
        path = self.record_path(name)
        folder = self.root / "retried"
        with writing(folder):
            number = 1
            while (folder / f"{name}-{number}.json").exists():
                number += 1
            os.replace(path, folder / f"{name}-{number}.json")
            events = self.events_path(name)
            if events.is_dir():
                os.replace(events, folder / f"{name}-{number}-tensorboard")

    def write_sample(self, name: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Predictions on a few images, for pictures."""
        path = self.sample_path(name)
        with writing(path.parent), replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    def lock_path(self, name: str) -> Path:
        """The file of the trial's lock, held while it runs."""
        return self.root / "locks" / f"{name}.lock"

    def running_path(self, name: str) -> Path:
        """The file of the trial's sign, which shows its progress while it runs."""
        return self._path("running", name, ".json")

    @contextmanager
    def lock(self, name: str, wait: bool = True) -> Iterator[None]:
        """One process at a time on this trial; the lock dies with its process.

        Raises:
            Held: another process has it, and `wait` is false.
            StvmError: it cannot be written.
        """
        with locked(self.lock_path(name), wait):
            look_afresh(self.root / "records")
            yield

    def note(self, event: str, name: str, **details: Any) -> None:
        """Append a line to the log of events."""
        here = {"host": platform.node(), "pid": os.getpid()}
        line = {"time": now(), "event": event, "hash": name} | here | details
        path = self.root / "events.jsonl"
        # Two machines that append at a time would write over each other on a network file system.
        with self.lock("events"), writing(self.root), open(path, "ab+") as file:
            # A line torn by a full disk or a kill must not swallow this one.
            torn = file.tell() and _last_byte(file) != b"\n"
            file.write((b"\n" if torn else b"") + json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def record_files(root: Path) -> list[Path]:
    """Files among the records below a results folder, sorted."""
    return sorted((root / "records").glob("[!.]*.json"))
