"""Reading only: manifests of studies and records of trials, as typed values."""

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from stvm.errors import StvmError

SCHEMA = 1
_HASH = re.compile(r"[0-9a-f]{12}")
T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """A trial that a manifest lists.

    Attributes:
        seed: None for a row that has one trial a realisation.
        tuned: settings were chosen on this realisation.
    """

    hash: str
    row: str
    seed: int | None
    realisation: int
    tuned: bool

    def __str__(self) -> str:
        seed = "" if self.seed is None else f" seed {self.seed}"
        return f"{self.row} realisation {self.realisation}{seed} ({self.hash})"


@dataclass(frozen=True)
class Manifest:
    """One ablation study: what belongs to it and by which rule it is evaluated.

    Attributes:
        others: bases of the other ablation studies in the same results.
    """

    base: str
    preset: str
    title: str
    rule: str
    updated: datetime
    trials: tuple[Trial, ...]
    dataset: str = "streets"
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record:
    """What became of a trial.

    Attributes:
        miou: fraction; None when the trial failed.
        split: images it was measured on; empty when the trial failed.
        error: first line of the failure; None when the trial is done.
    """

    miou: float | None
    split: str
    error: str | None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the supported schema.

    Raises:
        StvmError: unreadable, not JSON, not an object, or of another schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise StvmError(f"cannot read {path}: {reason}; delete it and run again") from None
    if not isinstance(data, dict):
        raise StvmError(f"cannot read {path}: not a JSON object; delete it and run again")
    if data.get("schema") != SCHEMA:
        raise StvmError(
            f"unsupported schema {data.get('schema')!r} in {path}: this version reads {SCHEMA}"
        )
    return data


def _field(data: dict[str, Any], name: str, kind: type[T], path: Path) -> T:
    value = data.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise StvmError(f"{path}: '{name}' is {value!r}, not of type {kind.__name__}")
    return value


def _trial(data: Any, path: Path) -> Trial:
    if not isinstance(data, dict):
        raise StvmError(f"{path}: an entry of 'trials' is not an object")
    name = _field(data, "hash", str, path)
    if not _HASH.fullmatch(name):
        raise StvmError(f"{path}: hash {name!r} is not 12 hex digits")
    seed = None if data.get("seed") is None else _field(data, "seed", int, path)
    realisation = _field(data, "realisation", int, path)
    return Trial(
        name, _field(data, "row", str, path), seed, realisation, _field(data, "tuned", bool, path)
    )


def _check_trials(trials: tuple[Trial, ...], rows: tuple[str, ...], path: Path) -> None:
    seen: set[tuple[str, int, int | None]] = set()
    tuned: dict[int, bool] = {}
    for trial in trials:
        key = (trial.row, trial.realisation, trial.seed)
        if trial.row not in rows:
            raise StvmError(f"{path}: unknown row '{trial.row}'; rows are {', '.join(rows)}")
        if key in seen:
            raise StvmError(f"{path}: {trial} is listed twice")
        if tuned.setdefault(trial.realisation, trial.tuned) != trial.tuned:
            raise StvmError(f"{path}: realisation {trial.realisation} is both tuned on and fresh")
        seen.add(key)


def _time(text: str, path: Path) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise StvmError(f"{path}: 'updated' is {text!r}, not an ISO time") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def read_manifest(path: Path, rows: tuple[str, ...]) -> Manifest:
    """The manifest of a study whose rows are among `rows`.

    Raises:
        StvmError: unreadable, a field missing or of the wrong type, a trial listed twice.
    """
    data = read_json(path)
    trials = tuple(_trial(item, path) for item in _field(data, "trials", list, path))
    _check_trials(trials, rows, path)
    base, preset, title, rule, updated = (
        _field(data, name, str, path) for name in ("base", "preset", "title", "rule", "updated")
    )
    if path.stem != f"{_field(data, 'study', str, path)}-{base}":
        raise StvmError(f"{path}: 'base' is {base!r}, which is not the base in the file's name")
    dataset = str(data.get("dataset", "streets"))
    return Manifest(base, preset, title, rule, _time(updated, path), trials, dataset)


def choose_manifest(results: Path, rows: tuple[str, ...], study: str | None = None) -> Manifest:
    """The study with base `study`, or the one updated last, with the bases of the others.

    Raises:
        StvmError: no results, no manifest, or no study with that base.
    """
    if not results.is_dir():
        raise StvmError(f"no results folder {results}: run `python studies/ablation.py` first")
    paths = {p.stem.removeprefix("ablation-"): p for p in results.glob("studies/ablation-*.json")}
    if not paths:
        raise StvmError(
            f"no manifest in {results / 'studies'}: run `python studies/ablation.py` first"
        )
    if study is not None and study not in paths:
        raise StvmError(f"no study '{study}' in {results}: there are {', '.join(sorted(paths))}")
    wanted = [study] if study is not None else sorted(paths)
    chosen = max(
        (read_manifest(paths[base], rows) for base in wanted), key=lambda m: (m.updated, m.base)
    )
    others = tuple(sorted(set(paths) - {chosen.base}))
    return replace(chosen, others=others)


def _done(data: dict[str, Any], path: Path) -> Record:
    result = _field(data, "result", dict, path)
    miou = result.get("miou")
    if isinstance(miou, bool) or not isinstance(miou, int | float) or not math.isfinite(miou):
        raise StvmError(f"{path}: 'miou' is {miou!r}, not a number; delete it and run again")
    if not 0 <= miou <= 1:
        raise StvmError(f"{path}: 'miou' is {miou}, not a fraction between 0 and 1")
    return Record(float(miou), str(result.get("split", "")), None)


def read_record(results: Path, trial: Trial) -> Record | None:
    """What is recorded of `trial`; None when nothing is.

    Raises:
        StvmError: unreadable, or of another trial than its name says.
    """
    path = results / "records" / f"{trial.hash}.json"
    if not path.exists():
        return None
    data = read_json(path)
    settings = _field(data, "settings", dict, path)
    expected: dict[str, object] = {"hash": trial.hash, "realisation": trial.realisation}
    if trial.seed is not None:
        expected["seed"] = trial.seed
    for name, value in expected.items():
        found = data.get("hash") if name == "hash" else settings.get(name, value)
        if found != value:
            raise StvmError(f"{path}: {name} is {found!r}, the study lists {value!r}")
    status: str = _field(data, "status", str, path)
    if status == "done":
        return _done(data, path)
    if status != "failed":
        raise StvmError(f"{path}: status is {status!r}, neither 'done' nor 'failed'")
    failure: dict[str, Any] = data.get("failure") or {}
    lines = str(failure.get("error", "")).strip().splitlines()
    return Record(None, "", lines[0] if lines else "no reason recorded")


Outcome = Literal["done", "failed", "missing"]


def outcome(record: Record | None) -> Outcome:
    """State of a listed trial."""
    if record is None:
        return "missing"
    return "failed" if record.miou is None else "done"


def read_records(results: Path, manifest: Manifest) -> dict[Trial, Record | None]:
    """Records of the trials that `manifest` lists, and of no other."""
    return {trial: read_record(results, trial) for trial in manifest.trials}
