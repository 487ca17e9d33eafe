"""Results folders told from other folders, so that a wrong one is named before it is read."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from stvm.errors import StvmError
from stvm.files import refuse_file

FIRST = "run a study first, as `python studies/ablation.py` or `python studies/scenarios.py`"
_SURE = ("records", "locks", "searches", "errors", "retried")
_PARTS = (*_SURE, "events.jsonl", "report.html")
"""Files and folders of which each results folder has one, from the start of its first study."""
_FOLDERS = (
    *_SURE,
    *("studies", "models", "samples", "running", "checkpoints", "tables", "tensorboard"),
)
"""Folders that a results folder may hold."""


def check_results(results: Path, first: str = FIRST) -> None:
    """Refuse results that are not there; an empty folder counts as one of no study yet.

    Args:
        results: folder of the records.
        first: step that makes a results folder, told where there is none.

    Raises:
        StvmError: no such folder, a file, or a folder of other things.
    """
    refuse_file(results, "--results")
    if not results.is_dir():
        raise StvmError(f"no results folder {results}: {first}, or name another --results")
    inside = [name for name in os.listdir(results) if not name.startswith(".")]
    if not _is_results(results) and (inside or results.name in _PARTS):
        near = next(_near(results), None)
        advice = f"did you mean {near}?" if near else f"{first}, or name another --results"
        raise StvmError(f"{results} is no results folder, as it holds no records: {advice}")


def refuse_part_of_results(results: Path) -> None:
    """Refuse to run a study into a part of a results folder, where no record would be found.

    Args:
        results: folder of the records; it need not be there.

    Raises:
        StvmError: it is such a part, or a file.
    """
    refuse_file(results, "--results")
    above = Path(os.path.normpath(results / ".."))
    name = os.path.basename(os.path.abspath(results))
    if name in _FOLDERS and _is_results(above) and not _is_results(results):
        raise StvmError(f"--results {results} is a part of a results folder: did you mean {above}?")


def _is_results(folder: Path) -> bool:
    held = any((folder / part).exists() for part in _PARTS)
    return held or any(folder.glob("studies/*-*.json"))


def _near(folder: Path) -> Iterator[Path]:
    """Results folders that hold a folder or lie in it."""
    around = [Path(os.path.normpath(folder / "..")), folder / "results"]
    for place in [*around, *sorted(path for path in folder.iterdir() if path.is_dir())]:
        with suppress(OSError):
            if _is_results(place):
                yield place
