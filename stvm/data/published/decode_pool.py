"""Processes that decode images into an array on the disk, each item into its place."""

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
"""Number of an item and, where its file cannot be used, the reason."""


@dataclass(frozen=True)
class Item:
    """One item to decode and write.

    Attributes:
        number: of it.
        array_path: file it goes into.
        offset: byte at which it begins there.
        layout: name of the data set's.
        image: its image file.
        label: its label file; None where the image is wanted.
        size: height and width.
    """

    number: int
    array_path: Path
    offset: int
    layout: str
    image: Path
    label: Path | None
    size: Size


class Decoders:
    """Processes that decode, for as long as the block lasts.

    Args:
        workers: how many; with 1 this process does it.
        mend: what helps against too little memory.
    """

    def __init__(self, workers: int, mend: str = "lower --workers") -> None:
        self._workers = workers
        self._mend = mend
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Decoders":
        if self._workers > 1:
            # Children forked while threads run may hang; these import no torch and start soon.
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), initializer=_begin_worker
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def results(self, items: Iterator[Item]) -> Iterator[Result]:
        """Number and fault of each item as it is done.

        Raises:
            StvmError: a process was killed.
        """
        return self.each(_decode_and_write, items)

    def each(self, work: Callable[[Given], Made], items: Iterator[Given]) -> Iterator[Made]:
        """What is made of each item, in the order in which they are done.

        Args:
            work: a function of a module.
            items: to be given to it.

        Raises:
            StvmError: a process was killed.
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
    """Ctrl-C is the parent's to handle, and nobody works on when the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _decode_and_write(item: Item) -> Result:
    """Decodes an item into its place; the fault of its file, if it has one."""
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
