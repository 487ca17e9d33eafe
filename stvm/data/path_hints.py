"""Suggestions for messages: a file or folder that is nearly the one that was looked for."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from stvm.errors import StvmError, nearest

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".rar", ".7z")
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


def why_no_folder(path: Path) -> str:
    """What is there in place of a folder, with what to do; empty if nothing is known.

    Args:
        path: Path that is no folder.
    """
    if path.is_symlink() and not path.exists():
        return f"; it is a link to {os.readlink(path)}, which is not there: link it again"
    if path.exists():
        return f"; it is a file{_unpack(path) if path.name.lower().endswith(ARCHIVES) else ''}"
    beside = sorted(os.listdir(path.parent)) if path.parent.is_dir() else []
    for name in beside:
        if name.lower() in (f"{path.name}{ending}".lower() for ending in ARCHIVES):
            return f"; {path.with_name(name)} is there: unpack it"
    return not_written_out(path)


def why_not_there(part: Path, root: Path) -> tuple[str, str]:
    """Advice on a missing folder of a layout, and on archives in its root; each may be empty.

    The second is for a layout that is found nowhere near: it is empty where the first is not.

    Args:
        part: Path that is no folder, the root itself or one that the layout asks for in it.
        root: Root of the data set.
    """
    hint = why_no_folder(part) or ("" if part == root else in_other_capitals(part))
    return hint, "" if hint else _still_packed(root)


def _unpack(archive: Path) -> str:
    others = [name for name in _archives(archive.parent) if name != archive.name]
    if not others:
        return ": unpack it and name its folder"
    return (
        f": unpack it, and those beside it that belong to the same data set ({_first(others)}), "
        "into one folder and name that folder"
    )


def _still_packed(root: Path) -> str:
    """Advice on a folder that holds archives and no folder; empty for other folders."""
    archives = _archives(root)
    if not archives or _folders(root):
        return ""
    return f"; nothing is unpacked in {root}: unpack {_first(archives)} there"


def in_other_capitals(path: Path) -> str:
    """Advice on a missing folder that is there with other capitals in its name, else empty.

    Args:
        path: Path whose last part is a name that a layout asks for.
    """
    beside = _folders(path.parent) if not path.exists() else []
    for folder in beside:
        if folder.name.lower() == path.name.lower():
            return f"; {folder} is there: rename it to {path.name}"
    return ""


def not_written_out(path: Path) -> str:
    """Advice about a path with a ~ that the shell left as it is; empty for other paths."""
    begins = path.parts[:1] and path.parts[0].startswith("~")
    return "; the shell left ~ as it is: write the path in full" if begins else ""


def did_you_mean(root: Path, fits: Callable[[Path], bool], *, similar: bool = False) -> str:
    """A folder one or two levels above or below that has the expected layout.

    Args:
        root: Folder that was given and does not have it.
        fits: Function that is true for a folder of the expected layout.
        similar: Whether a folder beside a missing one must have a similar name.
    """
    below = _folders(root)
    deeper = [folder for first in below for folder in _folders(first)]
    beside = _folders(root.parent) if not root.is_dir() else []
    if similar:
        beside = [folder for folder in beside if nearest(root.name, [folder.name])]
    for folder in [*below, *root.parents[:2], *deeper, *beside][:PLACES]:
        if fits(folder):
            return f"; did you mean {folder}?"
    return ""


def folders_with(root: Path, inside: str) -> list[Path]:
    """Folders of a folder that hold a folder of this path, sorted by name."""
    return [folder for folder in _folders(root) if (folder / inside).is_dir()]


def _first(names: Sequence[str]) -> str:
    """The first two names, and the number of the others."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{', '.join(names[:2])}{more}"


def _archives(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.lower().endswith(ARCHIVES))
    except OSError:
        return []


def _folders(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []
    return [path for path in found if not path.name.startswith(".")]
