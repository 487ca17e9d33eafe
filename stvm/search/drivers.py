"""Drivers of one search: each is known by a lock that it holds, and they take turns."""

import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stvm.errors import StvmError
from stvm.files.locks import Held, is_held, locked
from stvm.records.results import Results

DRIVER = "driver"
"""Optuna's attribute of a trial that says who runs it."""
_DRIVER = "driver-"
"""Before a driver's name in its lock's."""


class Drivers:
    """The drivers of one search, as one of them sees them.

    Args:
        results: results to which all of them write.
        name: name of the search.
        me: name of this driver, from `driving`; empty if no other driver has to know it.
    """

    def __init__(self, results: Results, name: str, me: str = "") -> None:
        self.results, self.name, self.me = results, name, me

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One driver at a time draws, takes over or tells trials."""
        with self.results.lock(f"search-{self.name}"):
            yield

    def lives(self, driver: str) -> bool:
        """Whether another driver is still at work."""
        path = _lock_of(self.results, driver)
        return bool(driver) and driver != self.me and is_held(path)


@contextmanager
def driving(results: Results, name: str) -> Iterator[Drivers]:
    """Work on a search beside other drivers; the lock dies with the process.

    What killed drivers have left is taken away.

    Raises:
        StvmError: the lock cannot be written.
    """
    for path in (results.root / "locks").glob(f"{_DRIVER}*.lock"):
        # While it is held, so that nobody who has just made it goes on with a file without a name.
        with suppress(OSError, StvmError, Held), locked(path, wait=False):
            path.unlink()
    me = f"{platform.node()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
    path = _lock_of(results, me)
    with locked(path):
        try:
            yield Drivers(results, name, me)
        finally:
            path.unlink(missing_ok=True)


def _lock_of(results: Results, driver: str) -> Path:
    return results.lock_path(f"{_DRIVER}{driver}")
