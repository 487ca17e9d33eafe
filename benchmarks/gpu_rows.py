"""Rows of the sections of `make gpu`: a check, or something measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Row = dict[str, Any]
"""Columns of a table; `passed` false makes the section fail, `error` says why."""


class Skipped(Exception):
    """A section that this machine cannot run; the message says why."""


def one_line(error: BaseException) -> str:
    """An error's kind and the beginning of what it says."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


@contextmanager
def noted(row: Row) -> Iterator[None]:
    """What goes wrong in the block, memory that runs out above all, is written into the row."""
    try:
        yield
    except Exception as error:
        row |= {"passed": False, "error": one_line(error)}
