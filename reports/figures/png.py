"""Figures as PNG files; the same figure gives the same bytes."""

import io
import re
from pathlib import Path

from matplotlib.figure import Figure

from stvm.errors import StvmError
from stvm.files import FIGURE_SOFTWARE, names_us, refuse_other_file, resolution, write_whole

MOST_BYTES = 400_000
_DPIS = (160, 130, 110, 90, 70, 50)
_METRES = b"|".join(re.escape(resolution(dpi)) for dpi in _DPIS)
_UNMARKED = re.compile(
    rb"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR.{8}\x08\x06\0\0\0.{4}"
    rb"\0\0\0\x09pHYs(?:" + _METRES + rb")\x01.{8}IDAT",
    re.DOTALL,
)
"""Beginning of a figure of earlier versions: RGBA, a resolution of `_DPIS` and no other metadata.
Pictures of other programs name the program or have another resolution, if any."""


def refuse_other_figure(path: Path) -> None:
    """Refuse to replace a file that is no figure of this project, and names of other pictures.

    Raises:
        StvmError: it is none, or cannot be read, or its name ends otherwise than in .png.
    """
    if path.suffix.lower() not in ("", ".png"):
        raise StvmError(f"{path}: figures are PNG files; name it {path.with_suffix('.png')}")
    refuse_other_file(path, "figure", _is_ours)


def _is_ours(head: bytes) -> bool:
    return names_us(head) or bool(_UNMARKED.match(head))


def save(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all, at the highest resolution that stays under 400 kB.

    Raises:
        StvmError: `path` cannot be written, or another file is there.
    """
    for dpi in _DPIS:
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=dpi, metadata={"Software": FIGURE_SOFTWARE})
        if picture.tell() < MOST_BYTES:
            break
    refuse_other_figure(path)
    write_whole(path, picture.getvalue())
