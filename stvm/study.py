"""A study as a value: the trials it lists, and the manifest that tells reports about them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stvm.errors import StvmError
from stvm.files import drop_unfinished, now, read_json, write_json
from stvm.records.manifest import read_trial
from stvm.records.passed_over import going_on
from stvm.records.results import Results
from stvm.records.trial_label import label_parts
from stvm.settings import Settings, digest

Rename = Callable[[Settings], Settings]
"""A function from settings to the settings whose hash is the trial's name."""


@dataclass(frozen=True)
class Trial:
    """One cell of a study.

    Attributes:
        variant: name of the row in the study's table.
        seed: seed of the training; None where the variant has one trial for all seeds.
        realisation: number of the draw of the embedded benchmark; 0 for other data.
        tuned: whether settings were chosen on this realisation.
        settings: all settings of the trial.
    """

    variant: str
    seed: int | None
    realisation: int
    tuned: bool
    settings: Settings

    @property
    def hash(self) -> str:
        """Name of the trial."""
        return self.settings.hash()

    @property
    def label(self) -> str:
        """The trial's label for people."""
        city = self.settings.data.city
        return " ".join(label_parts(self.variant, self._drawn, self.seed, city))

    @property
    def where(self) -> str:
        """The draw of the embedded benchmark, with a space before it; empty for other data."""
        return "".join(f" {part}" for part in label_parts("", self._drawn, None)[1:])

    @property
    def _drawn(self) -> int | None:
        return self.realisation if self.settings.data.dataset == "streets" else None

    def entry(self) -> dict[str, Any]:
        """The trial in a manifest."""
        return {
            "hash": self.hash,
            "row": self.variant,
            "seed": self.seed,
            "realisation": self.realisation,
            "tuned": self.tuned,
        }


@dataclass(frozen=True)
class Study:
    """Trials that belong to one table.

    Attributes:
        name: name of the kind of study.
        table: number of the paper's table.
        preset: name of the preset it started from.
        base: hash of the settings that its trials share.
        title: one line for people.
        rule: sentence on which network is measured, where and when.
        dataset: value of the setting `dataset`; only "streets" has realisations.
        trials: trials in the order in which they run.
        facts: further values that reports of this kind of study need.
        replaces: variants of which the manifest keeps only the trials listed here.
        shared: settings that its trials share, if `base` was made from them.
        varied: settings that are not part of `base`.
        given: names of the settings that the user gave.
    """

    name: str
    table: int
    preset: str
    base: str
    title: str
    rule: str
    dataset: str
    trials: tuple[Trial, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    replaces: tuple[str, ...] = ()
    shared: Settings | None = None
    varied: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    def renamed(self, rename: Rename) -> "Study":
        """The same study with its trials, and so its base, under other names.

        If one of its trials keeps its old name, the study keeps its old base.
        """
        trials = tuple(replace(t, settings=rename(t.settings)) for t in self.trials)
        same = any(new.hash == old.hash for new, old in zip(trials, self.trials, strict=True))
        if self.shared is None or same:
            return replace(self, trials=trials)
        return replace(self, trials=trials, base=base_of(rename(self.shared), self.varied))

    def missing(
        self,
        results: Results,
        retry_failed: bool = False,
        passed_over: list[str] | None = None,
    ) -> list[Trial]:
        """Trials without a record, each hash once.

        Args:
            results: folder of the records.
            retry_failed: count failed trials among them.
            passed_over: list for a line on each record that cannot be read, whose trial is then
                not among them; without a list such a record is an error.

        Raises:
            StvmError: a record cannot be read, and there is no list.
        """
        todo: dict[str, Trial] = {}
        for trial in self.trials:
            with going_on(passed_over):
                record = results.read(trial.hash)
                if record is None or (retry_failed and not record.is_done):
                    todo.setdefault(trial.hash, trial)
        return list(todo.values())

    def write_manifest(self, results: Results) -> None:
        """Add the trials to the study's manifest; earlier ones stay, but for rows it replaces."""
        path = results.root / "studies" / f"{self.name}-{self.base}.json"
        with results.lock(path.stem):
            drop_unfinished(path)
            old = _listed(path) if path.exists() else []
            old = [entry for entry in old if entry["row"] not in self.replaces]
            merged = _merge(old, (trial.entry() for trial in self.trials))
            write_json(path, self._head() | {"updated": now(), "trials": merged})

    def _head(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "study": self.name,
            "table": self.table,
            "preset": self.preset,
            "base": self.base,
            "title": self.title,
            "rule": self.rule,
            "dataset": self.dataset,
            "facts": self.facts,
        }


@dataclass(frozen=True)
class Studies:
    """Studies that run as one, each with a manifest of its own.

    Attributes:
        parts: studies in the order in which they run.
        title: title in one line for people.
    """

    parts: tuple[Study, ...]
    title: str

    def renamed(self, rename: Rename) -> "Studies":
        """The same studies, each renamed by `Study.renamed`."""
        return replace(self, parts=tuple(part.renamed(rename) for part in self.parts))

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials of all studies."""
        return tuple(trial for part in self.parts for trial in part.trials)

    @property
    def given(self) -> tuple[str, ...]:
        """Names of the settings that the user gave, of all studies."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.given))

    def missing(
        self,
        results: Results,
        retry_failed: bool = False,
        passed_over: list[str] | None = None,
    ) -> list[Trial]:
        """Trials without a record, each hash once; see `Study.missing`."""
        todo = [t for part in self.parts for t in part.missing(results, retry_failed, passed_over)]
        return list({trial.hash: trial for trial in todo}.values())

    def write_manifest(self, results: Results) -> None:
        """Add the trials of each to its manifest."""
        for part in self.parts:
            part.write_manifest(results)


def base_of(settings: Settings, varied: Iterable[str]) -> str:
    """Hash of the settings that the trials of a study share."""
    left_out = set(varied)
    return digest({k: v for k, v in settings.naming().items() if k not in left_out})


def _listed(path: Path) -> list[dict[str, Any]]:
    """The entries of a manifest that stands.

    Raises:
        StvmError: it is damaged.
    """
    entries = read_json(path).get("trials")
    try:
        if not isinstance(entries, list):
            raise StvmError(f"{path}: is no list of a study's trials")
        for entry in entries:
            read_trial(entry, path)
    except StvmError as error:
        raise StvmError(f"{error}; move it away and run again") from None
    return entries


def _merge(old: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Union by row, realisation and seed; the new entry of a cell wins."""
    cells = {(e["row"], e["realisation"], e["seed"]): e for e in old}
    cells |= {(e["row"], e["realisation"], e["seed"]): e for e in new}
    return list(cells.values())
