"""What the page is made of: the studies of a results folder and what is recorded of each trial."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reports.manifests import Manifest, Trial, command, field_of, read_json, read_manifest
from reports.paired import order
from stvm.errors import StvmError


@dataclass(frozen=True)
class Entry:
    """A trial and what is recorded of it.

    Attributes:
        settings: by name; empty when the trial is missing.
        result: of the record; empty unless the trial is done.
        run: when, where and how long.
        failure: first line of the error; empty unless the trial failed.
        variant: label that the record gives itself.
    """

    hash: str
    status: Literal["done", "failed", "missing"]
    settings: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    failure: str = ""
    variant: str = ""

    @property
    def collapsed(self) -> bool:
        return bool(self.result.get("collapsed"))


def reported(study: Manifest) -> tuple[Trial, ...]:
    """Trials on fresh realisations; all where every realisation was tuned on."""
    return tuple(t for t in study.trials if not t.tuned) or study.trials


@dataclass(frozen=True)
class Recorded:
    """A results folder, read.

    Attributes:
        root: the folder.
        studies: every study, the one updated last of each kind first, kinds by name.
        entries: every trial that a study lists, by hash; then recorded trials of no study.
    """

    root: Path
    studies: tuple[Manifest, ...]
    entries: dict[str, Entry]

    def done(self, study: Manifest, row: str) -> list[tuple[Trial, Entry]]:
        """The done trials behind the reported figures of a row, by realisation and seed."""
        trials = [t for t in reported(study) if t.row == row]
        trials.sort(key=lambda t: order((t.realisation, t.seed)))
        return [(t, self.entries[t.hash]) for t in trials if self.is_done(t.hash)]

    def is_done(self, name: str) -> bool:
        return self.entries[name].status == "done"


_SHOWN: dict[str, type] = {
    "curve": list,
    "watch": list,
    "scores": dict,
    "class_names": list,
    "iou": list,
}
"""Fields of a result that the page shows beside its mIoU; each may be absent or null."""


def _is_point(point: Any, field_name: str) -> bool:
    if not isinstance(point, dict) or not isinstance(point.get("iteration"), int):
        return False
    numbers = point.get("shares") if field_name == "watch" else [v for v in point.values() if v]
    return isinstance(numbers, list) and all(isinstance(v, int | float) for v in numbers)


def _check(result: dict[str, Any], path: Path) -> None:
    """Absent fields are missing; those that are there are what they should be."""
    miou = result.get("miou")
    if isinstance(miou, bool) or not isinstance(miou, int | float) or not math.isfinite(miou):
        raise StvmError(f"{path}: 'miou' is {miou!r}, not a number; delete it and run again")
    for name, kind in _SHOWN.items():
        value = result.get(name)
        good = value is None or isinstance(value, kind)
        if good and value and name in ("curve", "watch"):
            good = all(_is_point(point, name) for point in value)
        if not good:
            raise StvmError(f"{path}: '{name}' is not readable; delete it and run again")


def _entry(path: Path, name: str) -> Entry:
    if not path.exists():
        return Entry(name, "missing")
    data = read_json(path)
    status = data.get("status")
    if data.get("hash") != name or status not in ("done", "failed"):
        raise StvmError(f"{path}: not a record of trial {name}; move it away and run again")
    settings, run = (field_of(data, key, dict, path) for key in ("settings", "run"))
    variant = str(data.get("variant", ""))
    if status == "failed":
        lines = str((data.get("failure") or {}).get("error", "")).strip().splitlines()
        reason = lines[0] if lines else "no reason recorded"
        return Entry(name, "failed", settings, {}, run, reason, variant)
    result = field_of(data, "result", dict, path)
    _check(result, path)
    return Entry(name, "done", settings, result, run, "", variant)


def _newest_first(manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    dated = sorted(manifests, key=lambda m: (m.updated, m.base), reverse=True)
    return tuple(sorted(dated, key=lambda m: m.study))


def read_results(results: Path) -> Recorded:
    """Every manifest and every record of a folder.

    Raises:
        StvmError: no such folder, or a file that is not what its name says.
    """
    if not results.is_dir():
        raise StvmError(f"no results folder {results}: run `{command('ablation')}` first")
    studies = _newest_first(read_manifest(path) for path in results.glob("studies/[!.]*-*.json"))
    names = dict.fromkeys(trial.hash for study in studies for trial in study.trials)
    names |= dict.fromkeys(sorted(p.stem for p in results.glob("records/[!.]*.json")))
    entries = {name: _entry(results / "records" / f"{name}.json", name) for name in names}
    return Recorded(results, studies, entries)
