"""What the page is made of: the studies of a results folder and what is recorded of each trial."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvm.errors import StvmError
from stvm.records.manifest import FIRST, Manifest, Trial, read_manifest
from stvm.records.record import Outcome, Record, RecordReader, outcome
from stvm.records.results import Results
from stvm.statistics import sort_key

Points = Sequence[Mapping[str, Any]]
"""Points of a curve over the iterations; each has `iteration`."""


@dataclass(frozen=True)
class Entry:
    """A trial and what is recorded of it.

    Attributes:
        record: None when the trial is missing.
    """

    hash: str
    record: Record | None

    @property
    def status(self) -> Outcome:
        return outcome(self.record)

    @property
    def settings(self) -> dict[str, Any]:
        """By name; empty when the trial is missing."""
        return self.record.settings if self.record else {}

    @property
    def result(self) -> Mapping[str, Any]:
        """Of the record; empty unless the trial is done."""
        return self.record.result if self.record else {}

    @property
    def run(self) -> Mapping[str, Any]:
        """When, where and how long."""
        return self.record.run if self.record else {}

    @property
    def failure(self) -> str:
        """First line of the error; empty unless the trial failed."""
        return (self.record.error if self.record else None) or ""

    @property
    def variant(self) -> str:
        """Label that the record gives itself."""
        return self.record.variant if self.record else ""

    @property
    def collapsed(self) -> bool:
        return self.record is not None and self.record.collapsed

    @property
    def idle(self) -> tuple[str, ...]:
        """Parts that are on and did nothing."""
        return self.record.idle if self.record else ()

    @property
    def curve(self) -> Points:
        return self.record.curve if self.record else []

    @property
    def watch(self) -> Points:
        return self.record.watch if self.record else []


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
        trials = [t for t in reported(study) if t.variant == row]
        trials.sort(key=lambda t: sort_key((t.realisation, t.seed)))
        return [(t, self.entries[t.hash]) for t in trials if self.is_done(t.hash)]

    def is_done(self, name: str) -> bool:
        return self.entries[name].status == "done"


def _newest_first(manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    dated = sorted(manifests, key=lambda m: (m.updated, m.base), reverse=True)
    return tuple(sorted(dated, key=lambda m: m.study))


def read_results(reader: RecordReader) -> Recorded:
    """Every manifest and every record of a folder.

    Args:
        reader: of its records, with their curves.

    Raises:
        StvmError: no such folder, or a file that is not what its name says.
    """
    results = reader.results
    if not results.is_dir():
        raise StvmError(f"no results folder {results}: {FIRST}, or name another")
    studies = _newest_first(read_manifest(path) for path in results.glob("studies/[!.]*-*.json"))
    names = dict.fromkeys(trial.hash for study in studies for trial in study.trials)
    names |= dict.fromkeys(Results(results).names())
    entries = {name: Entry(name, reader.record(name)) for name in names}
    return Recorded(results, studies, entries)
