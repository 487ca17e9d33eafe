"""Files of an earlier run, which a later one may replace, told from files of others."""

import struct
from collections.abc import Callable
from pathlib import Path

from stvm.errors import StvmError

_HEAD_BYTES = 65536
"""Number of bytes at a file's beginning that are looked at."""
FIGURE_SOFTWARE = "stvm"
"""Program that a figure names in its metadata; without a version, which would change the bytes."""


def resolution(dpi: int) -> bytes:
    """A resolution in dots per inch as a PNG holds it: dots per metre, across and down."""
    return struct.pack(">II", *2 * [round(dpi / 0.0254)])


def names_us(head: bytes) -> bool:
    """Whether a PNG, by its beginning, names this project as its software."""
    return b"tEXtSoftware\0" + FIGURE_SOFTWARE.encode() in head[:4096]


def refuse_other_file(path: Path, kind: str, is_ours: Callable[[bytes], bool]) -> None:
    """Refuse to replace a file that this project did not write; an empty file may be replaced.

    Args:
        path: file to write; it need not be there.
        kind: noun for what is written, for the message.
        is_ours: function that tells from the beginning of a file whether it is such an earlier
            file.

    Raises:
        StvmError: the file is there and is none, or cannot be read.
    """
    try:
        if not (path.is_file() and path.stat().st_size):
            return
        head = _head(path)
    except OSError as error:
        raise StvmError(f"cannot write {path}: {error.strerror}; name another place") from None
    if not is_ours(head):
        raise other_file(path, kind)


def other_file(path: Path, kind: str) -> StvmError:
    """The error for a file that this project did not write and would replace.

    Args:
        path: file to write.
        kind: noun for what is written.
    """
    return StvmError(
        f"{path} exists and is no {kind} of this project, so it stays as it is: move it away, "
        "or name another place"
    )


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEAD_BYTES)
