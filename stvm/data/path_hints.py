"""Suggestions for messages: a file or folder that is nearly the one that was looked for."""

import os
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from stvm.errors import StvmError

PLACES = 200
"""Largest number of folders that are searched for a suggestion."""


def composed(name: str) -> str:
    """A name in the Unicode form of most systems; macOS writes accents as separate characters."""
    return unicodedata.normalize("NFC", name)


def refuse_no_text(path: Path) -> None:
    """Refuse a file whose name is not UTF-8, as some archives leave it: no list can hold it.

    Raises:
        StvmError: It is such a file.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise StvmError(f"{shown}: the file's name is not UTF-8; rename it") from None


def near(wanted: str, present: Iterable[str]) -> str:
    """A file of nearly the wanted name, with what to do; empty if there is none.

    Args:
        wanted: Name of a PNG file.
        present: Names in its folder.
    """
    stem = wanted.rpartition(".")[0]
    for name in sorted(present):
        if name.lower() == wanted.lower():
            return f"; {name} is there: rename it to {wanted}"
        if composed(name) == composed(wanted):
            return f"; {name} is there in another Unicode form: rename it to that of its image"
        if name.rpartition(".")[0] == stem and name.lower().endswith((".jpg", ".jpeg")):
            return f"; {name} is there, but JPEG changes ids: save the ids as PNG"
        if name.rpartition(".")[0] == stem:
            return f"; {name} is there: save it as {wanted}"
    return ""


def did_you_mean(root: Path, fits: Callable[[Path], bool]) -> str:
    """A folder one or two levels above or below that has the expected layout.

    Args:
        root: Folder that was given and does not have it.
        fits: Function that is true for a folder of the expected layout.
    """
    below = _folders(root)
    deeper = [folder for first in below for folder in _folders(first)]
    beside = _folders(root.parent) if not root.is_dir() else []
    for folder in [*below, *root.parents[:2], *deeper, *beside][:PLACES]:
        if fits(folder):
            return f"; did you mean {folder}?"
    return ""


def _folders(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [path for path in found if not path.name.startswith(".")]
