"""Records of the trials that a study lists, read as typed values."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reports.manifests import (
    Manifest,
    Trial,
    choose_manifest,
    field_of,
    read_json,
    read_manifest,
)
from stvm.errors import StvmError

__all__ = [
    "Manifest",
    "Outcome",
    "Reader",
    "Record",
    "Trial",
    "choose_manifest",
    "outcome",
    "read_json",
    "read_manifest",
    "read_record",
    "read_records",
]


@dataclass(frozen=True)
class Record:
    """What became of a trial.

    Attributes:
        miou: fraction; None when the trial failed.
        split: images it was measured on; empty when the trial failed.
        error: first line of the failure; None when the trial is done.
        result: the part of a done trial's result that tables show.
        adapts: the trial trained on the target.
        collapsed: its predictions fell to few classes.
    """

    miou: float | None
    split: str
    error: str | None
    result: dict[str, Any] = field(default_factory=dict)
    adapts: bool = False
    collapsed: bool = False


_SHOWN = ("iou", "class_names", "auroc", "scores", "silhouette")
"""Fields of a result that tables show beside its mIoU; each may be absent or null."""


def _is_figure(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _is_sound(name: str, value: Any) -> bool:
    """Whether a field has the form that tables expect."""
    if name == "class_names":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if name == "iou":
        return isinstance(value, list) and all(map(_is_figure, value))
    if not isinstance(value, dict):
        return False
    if name != "silhouette":
        return all(map(_is_figure, value.values()))
    parts = [part for part in value.values() if part is not None]
    return all(
        isinstance(part, dict) and all(_is_figure(part.get(f"{k}_mean")) for k in _MEANS)
        for part in parts
    )


_MEANS = ("class", "overall")


def _done(data: dict[str, Any], path: Path) -> Record:
    result = field_of(data, "result", dict, path)
    miou = result.get("miou")
    if isinstance(miou, bool) or not isinstance(miou, int | float) or not math.isfinite(miou):
        raise StvmError(f"{path}: 'miou' is {miou!r}, not a number; delete it and run again")
    if not 0 <= miou <= 1:
        raise StvmError(f"{path}: 'miou' is {miou}, not a fraction between 0 and 1")
    shown = {name: result[name] for name in _SHOWN if result.get(name) is not None}
    for name, value in shown.items():
        if not _is_sound(name, value):
            raise StvmError(f"{path}: '{name}' holds no figures; move it away and run it again")
    return Record(
        float(miou),
        str(result.get("split", "")),
        None,
        shown | {"miou": float(miou)},
        isinstance(result.get("student"), dict),
        result.get("collapsed") is True,
    )


def read_record(results: Path, trial: Trial) -> Record | None:
    """What is recorded of `trial`; None when nothing is.

    Raises:
        StvmError: unreadable, or of another trial than its name says.
    """
    path = results / "records" / f"{trial.hash}.json"
    if not path.exists():
        return None
    data = read_json(path)
    settings = field_of(data, "settings", dict, path)
    _check_trial({"hash": data.get("hash")} | settings, trial, path)
    status: str = field_of(data, "status", str, path)
    if status == "done":
        return _done(data, path)
    if status != "failed":
        raise StvmError(f"{path}: status is {status!r}, neither 'done' nor 'failed'")
    failure: dict[str, Any] = data.get("failure") or {}
    lines = str(failure.get("error", "")).strip().splitlines()
    return Record(None, "", lines[0] if lines else "no reason recorded")


def _check_trial(found: dict[str, Any], trial: Trial, path: Path) -> None:
    for name in ("hash", "realisation", "seed"):
        expected = getattr(trial, name)
        if expected is not None and found.get(name, expected) != expected:
            raise StvmError(f"{path}: {name} is {found[name]!r}, the study lists {expected!r}")


Outcome = Literal["done", "failed", "missing"]


def outcome(record: Record | None) -> Outcome:
    """State of a listed trial."""
    if record is None:
        return "missing"
    return "failed" if record.miou is None else "done"


class Reader:
    """Records of a results folder, each read once however many studies list it."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self._read: dict[tuple[str, int, int | None], Record | None] = {}

    def records(self, manifest: Manifest) -> dict[Trial, Record | None]:
        """Records of the trials that `manifest` lists, and of no other.

        Raises:
            StvmError: a record is unreadable, or of another trial than its name says.
        """
        found = {}
        for trial in manifest.trials:
            key = (trial.hash, trial.realisation, trial.seed)
            if key not in self._read:
                self._read[key] = read_record(self.results, trial)
            found[trial] = self._read[key]
        return found


def read_records(results: Path, manifest: Manifest) -> dict[Trial, Record | None]:
    """Records of the trials that `manifest` lists, and of no other."""
    return Reader(results).records(manifest)
