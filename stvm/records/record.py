"""Records of the trials that a study lists, read as typed values."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from stvm.errors import StvmError
from stvm.files import find_json
from stvm.records.manifest import Manifest, Trial, field_of

Points = list[dict[str, Any]]
"""Of a curve over the iterations; each has `iteration`."""


@dataclass(frozen=True)
class Record:
    """What became of a trial.

    Attributes:
        path: of the file.
        miou: fraction; None when the trial failed.
        error: first line of the failure; None when the trial is done.
        result: as recorded, without what is null and without the curves; empty when the trial
            failed.
        settings: by name.
        run: when, where and how long.
        variant: label that the record gives itself.
        curve: losses and the like over the iterations.
        watch: shares of the predicted classes over the iterations.
    """

    path: Path
    miou: float | None
    error: str | None
    result: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    variant: str = ""
    curve: Points = field(default_factory=list)
    watch: Points = field(default_factory=list)

    @property
    def split(self) -> str:
        """Images it was measured on; empty when the trial failed."""
        return str(self.result.get("split", ""))

    @property
    def adapts(self) -> bool:
        """The trial trained on the target."""
        return isinstance(self.result.get("student"), dict)

    @property
    def collapsed(self) -> bool:
        """Its predictions fell to few classes."""
        return self.result.get("collapsed") is True

    @property
    def idle(self) -> tuple[str, ...]:
        """Its parts that were on and did nothing, each with what it did not do."""
        told = self.result.get("idle")
        return tuple(map(str, told)) if isinstance(told, list) else ()


def _is_point(point: Any, name: str) -> bool:
    if not isinstance(point, dict) or not isinstance(point.get("iteration"), int):
        return False
    numbers = point.get("shares") if name == "watch" else list(point.values())
    return isinstance(numbers, list) and all(map(_is_figure, numbers))


_SHOWN = ("iou", "class_names", "auroc", "scores", "silhouette", "means", "multi_scale", "protocol")
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
    if name == "multi_scale":
        return _is_measured(value)
    if name == "protocol":
        return isinstance(value.get("name"), str)
    if name != "silhouette":
        return all(map(_is_figure, value.values()))
    parts = [part for part in value.values() if part is not None]
    return all(
        isinstance(part, dict) and all(_is_figure(part.get(f"{k}_mean")) for k in _MEANS)
        for part in parts
    )


def _is_measured(value: dict[str, Any]) -> bool:
    """Figures of multi-scale testing, and its scales."""
    means, scales = value.get("means") or {}, value.get("scales") or []
    return (
        _is_figure(value.get("miou"))
        and _is_sound("iou", value.get("iou") or [])
        and _is_sound("means", means)
        and _is_sound("iou", scales)
    )


_MEANS = ("class", "overall")


def _unsound(path: Path, name: str) -> StvmError:
    return StvmError(f"{path}: '{name}' holds no figures; move it away and run it again")


def _result(data: dict[str, Any], path: Path) -> dict[str, Any]:
    result = field_of(data, "result", dict, path)
    miou = result.get("miou")
    if isinstance(miou, bool) or not isinstance(miou, int | float) or not math.isfinite(miou):
        raise StvmError(f"{path}: 'miou' is {miou!r}, not a number; move it away and run it again")
    if not 0 <= miou <= 1:
        raise StvmError(f"{path}: 'miou' is {miou}, not a fraction between 0 and 1")
    found = {name: value for name, value in result.items() if value is not None}
    for name in _SHOWN:
        if name in found and not _is_sound(name, found[name]):
            raise _unsound(path, name)
    return found | {"miou": float(miou)}


def _points(result: dict[str, Any], name: str, path: Path) -> Points:
    points = result.get(name, [])
    if not isinstance(points, list) or not all(_is_point(point, name) for point in points):
        raise _unsound(path, name)
    return points


def _optional(data: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    return field_of(data, name, dict, path) if data.get(name) is not None else {}


_CURVES = ("curve", "watch")


def read_record(path: Path, curves: bool = True) -> Record | None:
    """The record in a file `HASH.json`; None when there is none.

    Args:
        path: of the file.
        curves: keep them, which are most of a record.

    Raises:
        StvmError: unreadable, of another trial than its name says, or a field is not what it
            should be.
    """
    data = find_json(path)
    if data is None:
        return None
    if data.get("hash") != path.stem:
        raise StvmError(
            f"{path}: hash is {data.get('hash')!r}, so it is no record of trial {path.stem}; "
            "move it away and run again"
        )
    about: dict[str, Any] = {
        "settings": field_of(data, "settings", dict, path),
        "run": _optional(data, "run", path),
        "variant": str(data.get("variant", "")),
    }
    status = field_of(data, "status", str, path)
    if status == "done":
        result = _result(data, path)
        if curves:
            about |= {name: _points(result, name, path) for name in _CURVES}
        shown = {name: value for name, value in result.items() if name not in _CURVES}
        return Record(path, result["miou"], None, shown, **about)
    if status != "failed":
        raise StvmError(f"{path}: status is {status!r}, neither 'done' nor 'failed'")
    lines = str(_optional(data, "failure", path).get("error", "")).strip().splitlines()
    return Record(path, None, lines[0] if lines else "no reason recorded", **about)


def _check_trial(record: Record, trial: Trial) -> None:
    for name in ("realisation", "seed"):
        expected = getattr(trial, name)
        found = record.settings.get(name, expected)
        if expected is not None and found != expected:
            raise StvmError(f"{record.path}: {name} is {found!r}, the study lists {expected!r}")


Outcome = Literal["done", "failed", "missing"]


def outcome(record: Record | None) -> Outcome:
    """State of a listed trial."""
    if record is None:
        return "missing"
    return "failed" if record.miou is None else "done"


class RecordReader:
    """Records of a results folder, each read once however many studies list it.

    Args:
        results: the folder.
        curves: keep the curves of the records, for which tables have no use.
    """

    def __init__(self, results: Path, curves: bool = False) -> None:
        self.results = results
        self.curves = curves
        self._read: dict[str, Record | None] = {}

    def record(self, name: str) -> Record | None:
        """What is recorded of the trial with this hash; None when nothing is.

        Raises:
            StvmError: as `read_record`.
        """
        if name not in self._read:
            self._read[name] = read_record(self.results / "records" / f"{name}.json", self.curves)
        return self._read[name]

    def records(self, manifest: Manifest) -> dict[Trial, Record | None]:
        """Records of the trials that `manifest` lists, and of no other.

        Raises:
            StvmError: as `read_record`, or another seed or realisation than the study lists.
        """
        found = {}
        for trial in manifest.trials:
            record = self.record(trial.hash)
            if record is not None:
                _check_trial(record, trial)
            found[trial] = record
        return found


def read_records(results: Path, manifest: Manifest) -> dict[Trial, Record | None]:
    """Records of the trials that `manifest` lists, and of no other."""
    return RecordReader(results).records(manifest)
