"""Writes the arrays of `array_cache` with several processes; resumes after a kill.

An item is marked as done only after it is on the disk. The index follows after the last item; only
then is the array read.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from stvm.data.array_files import map_array
from stvm.data.published.array_cache import DecodedArray
from stvm.data.published.decode_pool import Decoders, Item
from stvm.errors import StvmError
from stvm.files import drop_unfinished, replacing, unreadable, write_json, writing
from stvm.files.locks import Held, locked

MARK_EVERY_S = 5.0
"""Most seconds of work that a kill may cost."""
MOST_FAULTS = 20
"""Number of unusable files after which the work stops."""

Watch = Callable[[int], None]
"""Function that is told how many more items are done."""


def missing_items(store: DecodedArray) -> list[int]:
    """Numbers of the items that are not done, in order.

    Raises:
        StvmError: A label is missing.
    """
    if store.is_whole():
        return []
    done = _read_marks(store)
    return [number for number in range(len(store.images)) if not done[number]]


def check_room(stores: list[DecodedArray]) -> str:
    """Text that says how much disk space the arrays still need and how much is free.

    Raises:
        StvmError: The space is too small.
    """
    need = sum(
        store.nbytes * len(missing_items(store)) // max(1, len(store.images)) for store in stores
    )
    cache = stores[0].cache
    free = _free(cache)
    if need > free:
        raise StvmError(
            f"{cache}: {gigabytes(need)} are needed and {gigabytes(free)} are free; make room, or "
            "name a folder on another disk with --cache"
        )
    return f"{gigabytes(need)} are needed, {gigabytes(free)} are free in {cache}"


def _free(folder: Path) -> int:
    """Free bytes on the disk of a folder, which may not exist yet."""
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        return shutil.disk_usage(there).free
    except OSError as error:
        raise StvmError(f"{there}: {error.strerror}; name another folder with --cache") from error


def gigabytes(size: int) -> str:
    """A number of bytes as text in GB or MB."""
    return f"{size / 1e9:.1f} GB" if size >= 5e7 else f"{size / 1e6:.1f} MB"


def fill(store: DecodedArray, decoders: Decoders, watch: Watch) -> list[str]:
    """Writes the missing items of an array.

    Args:
        store: Array to complete.
        decoders: Running decoder processes.
        watch: Function that is told of progress.

    Returns:
        One line for each file that cannot be used; if there are none, the array is complete.

    Raises:
        StvmError: The disk is full, an original file changed meanwhile, a process died, or another
            command writes the same array.
    """
    with _alone(store):
        if store.is_whole():
            return []
        _make_files(store)
        todo = missing_items(store)
        faults = _write(store, todo, decoders, watch)
        if not faults:
            _complete(store)
    return faults


@contextmanager
def _alone(store: DecodedArray) -> Iterator[None]:
    try:
        with locked(store.folder / "lock", wait=False):
            yield
    except Held:
        raise StvmError(
            f"{store.folder}: another process prepares it; wait for it, or stop it"
        ) from None


def _marks_path(store: DecodedArray) -> Path:
    return store.folder / "done"


def _read_marks(store: DecodedArray) -> bytearray:
    """One byte for each item, 1 if it is done; all 0 if an earlier run cannot be resumed."""
    count = len(store.images)
    try:
        marks = bytearray(_marks_path(store).read_bytes())
    except FileNotFoundError:
        marks = bytearray()
    except OSError as error:
        raise unreadable(_marks_path(store), error, f"delete {store.folder}") from None
    return marks if len(marks) == count and store.array_path.is_file() else bytearray(count)


def _make_files(store: DecodedArray) -> None:
    """Creates the array's file with no item marked, or keeps those of an interrupted run."""
    if any(_read_marks(store)) and map_array(store.array_path).shape == store.shape:
        return
    with writing(store.folder):
        _marks_path(store).unlink(missing_ok=True)
        drop_unfinished(store.array_path)
        with replacing(store.array_path) as temporary:
            np.lib.format.open_memmap(temporary, "w+", np.uint8, store.shape).flush()
        _marks_path(store).write_bytes(bytes(len(store.images)))


def _write(store: DecodedArray, todo: list[int], decoders: Decoders, watch: Watch) -> list[str]:
    first = int(map_array(store.array_path).offset)  # type: ignore[attr-defined]
    item_bytes = store.nbytes // len(store.images)
    labels = store.part.labels(store.images) if store.kind == "labels" else None
    items = (
        Item(
            number,
            store.array_path,
            first + number * item_bytes,
            store.part.layout.name,
            store.images[number],
            labels[number] if labels else None,
            store.size,
        )
        for number in todo
    )
    faults: list[str] = []
    with writing(store.folder), _Marker(store) as marker:
        for number, fault in decoders.results(items):
            if fault is None:
                marker.add(number)
                watch(1)
                continue
            faults.append(fault)
            if len(faults) == MOST_FAULTS:
                break
    return faults


class _Marker:
    """Marks items as done, several at once, after their content is on the disk."""

    def __init__(self, store: DecodedArray) -> None:
        self._array = os.open(store.array_path, os.O_RDWR)
        self._marks = os.open(_marks_path(store), os.O_RDWR)
        self._waiting: list[int] = []
        self._last = time.monotonic()

    def __enter__(self) -> "_Marker":
        return self

    def add(self, number: int) -> None:
        """Notes that an item was written."""
        self._waiting.append(number)
        if time.monotonic() - self._last >= MARK_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Marks all noted items."""
        os.fsync(self._array)
        for number in self._waiting:
            os.pwrite(self._marks, b"\x01", number)
        os.fsync(self._marks)
        self._waiting = []
        self._last = time.monotonic()

    def __exit__(self, *_: object) -> None:
        try:
            self.flush()
        finally:
            os.close(self._array)
            os.close(self._marks)


def _complete(store: DecodedArray) -> None:
    """Writes the index, which means that the array is complete."""
    now = store.part.listing(
        store.images if store.kind == "images" else store.part.labels(store.images)
    )
    if now != store.files:
        raise StvmError(
            f"{store.part.root}: files changed while they were prepared; delete {store.folder} and "
            "run again"
        )
    index = {
        "dataset": store.part.title,
        "split": store.part.split,
        "kind": store.kind,
        "height": store.size[0],
        "width": store.size[1],
        "files": [list(entry) for entry in store.files],
    }
    write_json(store.index_path, index)
    _marks_path(store).unlink(missing_ok=True)
