"""Figures as PNG files; the same figure gives the same bytes."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from stvm.errors import StvmError

MOST_BYTES = 400_000
_DPIS = (160, 130, 110, 90, 70, 50)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG at the highest resolution that stays under 400 kB.

    Raises:
        StvmError: `path` cannot be written.
    """
    for dpi in _DPIS:
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=dpi, metadata={"Software": None})
        if picture.tell() < MOST_BYTES:
            break
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.getvalue())
    except OSError as error:
        raise StvmError(f"cannot write {path}: {error.strerror}; choose another file") from None
