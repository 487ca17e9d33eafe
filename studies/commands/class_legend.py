"""classes.csv: ids, names and colours of the classes of predicted label maps."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stvm.errors import StvmError
from stvm.files import write_whole

LEGEND = "classes.csv"
_COLUMNS = ("id", "name", "red", "green", "blue")


def legend_of(names: Sequence[str], palette: np.ndarray[Any, Any]) -> bytes:
    """Content of the file for classes with these names; colours are by id, (256, 3)."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows((i, name, *palette[i].tolist()) for i, name in enumerate(names))
    return text.getvalue().encode()


def refuse_other_legend(legend: bytes, path: Path) -> None:
    """Refuse a folder whose predictions are of other classes.

    Raises:
        StvmError: the file is there and says otherwise.
    """
    if path.exists() and path.read_bytes() != legend:
        raise StvmError(
            f"{path} exists and is not of these classes, so it stays as it is: name another folder "
            "with --out"
        )


def write_legend(legend: bytes, path: Path) -> None:
    """Write the file where it is not there yet.

    Raises:
        StvmError: it stands and says otherwise, no space, no permission.
    """
    refuse_other_legend(legend, path)
    if not path.exists():
        write_whole(path, legend)


def holds_predictions(folder: Path) -> bool:
    """Whether `predict` or `adapt` wrote to a folder: its legend tells."""
    try:
        with open(folder / LEGEND, "rb") as file:
            return file.readline(100).rstrip(b"\r\n") == ",".join(_COLUMNS).encode()
    except OSError:
        return False
