"""Processes that decode images and write them into an array on the disk."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from stvm.data.published.dataset_layouts import LAYOUTS
from stvm.data.published.decode import Size, decode_ids, decode_image
from stvm.errors import StvmError

Given = TypeVar("Given")
Made = TypeVar("Made")
Result = tuple[int, str | None]
"""Number of an item, and the reason if its file cannot be used."""


@dataclass(frozen=True)
class Item:
    """One item to decode and write.

    Attributes:
        number: Number of the item.
        array_path: File of the array.
        offset: First byte of the item in that file.
        layout: Name of the data set's layout.
        image: Image file.
        label: Label file; None to write the image.
        size: Height and width.
    """

    number: int
    array_path: Path
    offset: int
    layout: str
    image: Path
    label: Path | None
    size: Size


class Decoders:
    """Decoder processes that live as long as the `with` block.

    Args:
        workers: Number of processes; 1 decodes in this process.
        mend: Remedy for too little memory, for the message about a killed process.
    """

    def __init__(self, workers: int, mend: str = "lower --workers") -> None:
        self._workers = workers
        self._mend = mend
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Decoders":
        if self._workers > 1:
            # A process forked while threads run may hang. These import no torch and start quickly.
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), initializer=_begin_worker
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def results(self, items: Iterator[Item]) -> Iterator[Result]:
        """Number and fault of each item, as soon as it is done.

        Raises:
            StvmError: A process was killed.
        """
        return self.each(_decode_and_write, items)

    def each(self, work: Callable[[Given], Made], items: Iterator[Given]) -> Iterator[Made]:
        """Result of `work` for each item, as soon as it is done.

        Args:
            work: Function at the top level of a module, so that it can be pickled.
            items: Arguments of the calls.

        Raises:
            StvmError: A process was killed.
        """
        if self._pool is None:
            yield from map(work, items)
            return
        running: set[Future[Made]] = set()
        try:
            while True:
                for item in islice(items, 4 * self._workers - len(running)):
                    running.add(self._pool.submit(work, item))
                if not running:
                    return
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        except BrokenProcessPool:
            raise StvmError(
                "a process that reads images was killed: look for the out-of-memory killer in "
                f"dmesg, or {self._mend}; the same command goes on"
            ) from None


def _begin_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends this process when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _decode_and_write(item: Item) -> Result:
    """Decodes an item and writes it to its place; returns its number and fault."""
    try:
        if item.label is None:
            array = decode_image(item.image, item.size)
        else:
            array = decode_ids(LAYOUTS[item.layout], item.label, item.image, item.size)
    except StvmError as error:
        return item.number, str(error)
    file = os.open(item.array_path, os.O_RDWR)
    try:
        content = memoryview(array.tobytes())
        while content:
            written = os.pwrite(file, content, item.offset + array.nbytes - len(content))
            content = content[written:]
    finally:
        os.close(file)
    return item.number, None
