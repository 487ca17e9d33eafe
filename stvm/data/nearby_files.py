"""What stands in a folder in place of what was looked for: for messages that say so."""

import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

PLACES = 200
"""Most folders that are looked into for one at another level."""


def composed(name: str) -> str:
    """A name in the Unicode form of most systems; macOS takes letters and accents apart."""
    return unicodedata.normalize("NFC", name)


def near(wanted: str, present: Iterable[str]) -> str:
    """What is there of nearly the same name, with what to do; empty where nothing is.

    Args:
        wanted: name of a PNG file.
        present: names in its folder.
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
    """A folder one or two levels above or below that is laid out as the root should be.

    Args:
        root: the one given.
        fits: tells whether a folder is laid out so.
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
