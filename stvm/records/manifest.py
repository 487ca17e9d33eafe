"""Manifests of studies as typed values: the list of the trials that belong to a study."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stvm.errors import StvmError
from stvm.files import read_json
from stvm.records.checked_values import field_of, is_hash
from stvm.records.results_folder import FIRST, check_results
from stvm.records.trial_label import label_parts

_FILE = re.compile(r"\w+-\w+")
"""Name of a manifest's file without its ending, STUDY-BASE."""


@dataclass(frozen=True)
class Trial:
    """A trial that a manifest lists.

    Attributes:
        hash: name of the trial.
        variant: name of the row in the study's table.
        seed: seed of the training; None where the variant has one trial for all seeds.
        realisation: number of the draw of the embedded benchmark; 0 for other data.
        tuned: whether settings were chosen on this realisation.
        drawn: whether the realisation is a draw of the embedded benchmark.
    """

    hash: str
    variant: str
    seed: int | None
    realisation: int
    tuned: bool
    drawn: bool = True

    def __str__(self) -> str:
        return f"{self.label()} ({self.hash})"

    def label(self, separator: str = " ", mark: str = "") -> str:
        """The trial's label for people.

        Args:
            separator: text between variant, realisation and seed.
            mark: text right after the variant.
        """
        realisation = self.realisation if self.drawn else None
        return separator.join(label_parts(f"{self.variant}{mark}", realisation, self.seed))


@dataclass(frozen=True)
class Manifest:
    """One study: its trials and the rule of their evaluation.

    Attributes:
        study: kind of study, such as "ablation".
        base: hash of the settings that its trials share.
        preset: name of the preset it started from.
        title: title in one line for people.
        rule: sentence that says which network is measured, and on which images.
        updated: time of the last run.
        trials: trials in the order in which they run.
        dataset: value of the setting `dataset`.
        facts: further values for reports of this kind of study.
        others: bases of the other studies of this kind in the same results.
    """

    study: str
    base: str
    preset: str
    title: str
    rule: str
    updated: datetime
    trials: tuple[Trial, ...]
    dataset: str = "streets"
    facts: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """STUDY-BASE, the name of its file."""
        return f"{self.study}-{self.base}"


def read_trial(data: Any, path: Path, drawn: bool = True) -> Trial:
    """The trial that an entry of a manifest holds.

    Args:
        data: entry.
        path: file of the manifest, for errors.
        drawn: whether the realisation is a draw of the embedded benchmark.

    Raises:
        StvmError: a field is missing or of the wrong type.
    """
    if not isinstance(data, dict):
        raise StvmError(f"{path}: an entry of 'trials' is not an object")
    name = field_of(data, "hash", str, path)
    if not is_hash(name):
        raise StvmError(f"{path}: hash {name!r} is not 12 hex digits")
    seed = None if data.get("seed") is None else field_of(data, "seed", int, path)
    realisation = field_of(data, "realisation", int, path)
    return Trial(
        name,
        field_of(data, "row", str, path),
        seed,
        realisation,
        field_of(data, "tuned", bool, path),
        drawn,
    )


def _check_trials(trials: tuple[Trial, ...], rows: tuple[str, ...] | None, path: Path) -> None:
    seen: set[tuple[str, int, int | None]] = set()
    tuned: dict[int, bool] = {}
    for trial in trials:
        key = (trial.variant, trial.realisation, trial.seed)
        if rows is not None and trial.variant not in rows:
            raise StvmError(f"{path}: unknown row '{trial.variant}'; rows are {', '.join(rows)}")
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


def read_manifest(path: Path, rows: tuple[str, ...] | None = None, empty: bool = False) -> Manifest:
    """The manifest of a study.

    Args:
        path: `results/studies/STUDY-BASE.json`.
        rows: variants that its trials may have; None for any.
        empty: accept a study without trials, such as a search that was stopped early.

    Raises:
        StvmError: unreadable, a field missing or of the wrong type, a trial listed twice.
    """
    data = read_json(path)
    try:
        manifest = _manifest(data, path, rows)
    except StvmError as error:
        again = command(kind_and_base(path.stem)[0])
        advice = "" if "move it away" in str(error) else f"; move it away and run `{again}` again"
        raise StvmError(f"{error}{advice}") from None
    if not (manifest.trials or empty):
        raise StvmError(f"{path}: lists no trial: run `{command(manifest.study)}` again")
    return manifest


def _manifest(data: Mapping[str, Any], path: Path, rows: tuple[str, ...] | None) -> Manifest:
    """The manifest that a JSON object holds; see `read_manifest`."""
    dataset = str(data.get("dataset", "streets"))
    listed = field_of(data, "trials", list, path)
    trials = tuple(read_trial(item, path, dataset == "streets") for item in listed)
    _check_trials(trials, rows, path)
    study, base, preset, title, rule, updated = (
        field_of(data, name, str, path)
        for name in ("study", "base", "preset", "title", "rule", "updated")
    )
    if path.stem != f"{study}-{base}":
        raise StvmError(
            f"{path}: 'base' is {base!r}, which is not the base in the file's name; rename the "
            f"file to {study}-{base}.json, or move it away"
        )
    return Manifest(
        study,
        base,
        preset,
        title,
        rule,
        _time(updated, path),
        trials,
        dataset,
        field_of({"facts": data.get("facts") or {}}, "facts", dict, path),
    )


_COMMANDS = {"search": "optuna_search", "objective_rates": "objectives"}


def command(study: str) -> str:
    """The command that makes a study of this kind."""
    return f"python studies/{_COMMANDS.get(study, study)}.py"


def kind_and_base(name: str) -> tuple[str, str]:
    """Kind and base of a study named KIND-BASE; the kind is empty where it is left out."""
    kind, _, base = name.rpartition("-")
    return kind, base


def manifest_files(results: Path) -> list[Path]:
    """Files of all manifests, sorted; a file of another name, such as a copy, is none of them."""
    return sorted(p for p in results.glob("studies/*.json") if _FILE.fullmatch(p.stem))


def find_manifests(results: Path) -> dict[str, dict[str, Path]]:
    """Paths of the manifests by kind of study and base.

    Raises:
        StvmError: no results, or no manifest.
    """
    check_results(results)
    found: dict[str, dict[str, Path]] = {}
    for path in manifest_files(results):
        study, base = kind_and_base(path.stem)
        found.setdefault(study, {})[base] = path
    if not found:
        raise StvmError(f"no manifest in {results / 'studies'}: {FIRST}")
    return found


def newest(paths: Mapping[str, Path], rows: tuple[str, ...] | None = None) -> Manifest:
    """The manifest updated last among those of one kind, by base; it knows the others' bases."""
    manifests = [read_manifest(path, rows) for path in paths.values()]
    chosen = max(manifests, key=lambda m: (m.updated, m.base))
    return replace(chosen, others=tuple(sorted(set(paths) - {chosen.base})))


def choose_manifest(
    results: Path,
    rows: tuple[str, ...] | None,
    base: str | None = None,
    study: str = "ablation",
) -> Manifest:
    """The study of a kind with this base (or kind and base), or the one updated last.

    Raises:
        StvmError: no results, no manifest, or no study with that base.
    """
    paths = find_manifests(results).get(study, {})
    if not paths:
        raise StvmError(f"no {study} study in {results}: run `{command(study)}` first")
    if base is None:
        return newest(paths, rows)
    name, (kind, base) = base, kind_and_base(base)
    if base not in paths or kind not in ("", study):
        there = ", ".join(f"{study}-{other}" for other in sorted(paths))
        raise StvmError(f"no study '{name}' in {results}: there are {there}")
    others = tuple(sorted(set(paths) - {base}))
    return replace(read_manifest(paths[base], rows), others=others)
