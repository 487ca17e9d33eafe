"""Figures as PNG files; the same figure gives the same bytes."""

import io
import struct
from pathlib import Path

from matplotlib.figure import Figure

from stvm.errors import StvmError
from stvm.files import refuse_other_file, write_whole

MOST_BYTES = 400_000
_DPIS = (160, 130, 110, 90, 70, 50)
_SIGNS = [b"pHYs" + struct.pack(">II", *2 * [int(dpi / 0.0254 + 0.5)]) for dpi in _DPIS]
"""Resolutions, in dots per metre, as a PNG holds them. Pictures of others rarely have one."""


def refuse_other_figure(path: Path) -> None:
    """Refuse to replace a file that is no figure of this project, and names of other pictures.

    Raises:
        StvmError: it is none, or cannot be read, or its name ends otherwise than in .png.
    """
    if path.suffix.lower() not in ("", ".png"):
        raise StvmError(f"{path}: figures are PNG files; name it {path.with_suffix('.png')}")
    refuse_other_file(path, "figure", lambda head: any(sign in head for sign in _SIGNS))


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all, at the highest resolution that stays under 400 kB.

    Raises:
        StvmError: `path` cannot be written, or another file is there.
    """
    for dpi in _DPIS:
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=dpi, metadata={"Software": None})
        if picture.tell() < MOST_BYTES:
            break
    refuse_other_figure(path)
    write_whole(path, picture.getvalue())
