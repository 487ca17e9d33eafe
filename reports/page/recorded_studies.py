"""Studies of a results folder, and the record of each trial: all that the page is made of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stvm.records.manifest import Manifest, Trial, manifest_files, read_manifest
from stvm.records.passed_over import going_on
from stvm.records.record import Outcome, Record, RecordReader, outcome
from stvm.records.results import Results
from stvm.records.results_folder import check_results
from stvm.statistics import sort_key

Points = Sequence[Mapping[str, Any]]
"""Points of a curve over the iterations; each has `iteration`."""


@dataclass(frozen=True)
class Entry:
    """A trial with its record.

    Attributes:
        hash: name of the trial.
        record: record of the trial; None when it is missing.
    """

    hash: str
    record: Record | None

    @property
    def status(self) -> Outcome:
        return outcome(self.record)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings by name; empty when the trial is missing."""
        return self.record.settings if self.record else {}

    @property
    def result(self) -> Mapping[str, Any]:
        """Result in the record; empty unless the trial is done."""
        return self.record.result if self.record else {}

    @property
    def run(self) -> Mapping[str, Any]:
        """Start, device, duration and versions of the run."""
        return self.record.run if self.record else {}

    @property
    def failure(self) -> str:
        """First line of the error; empty unless the trial failed."""
        return (self.record.error if self.record else None) or ""

    @property
    def variant(self) -> str:
        """Label in the record."""
        return self.record.variant if self.record else ""

    @property
    def collapsed(self) -> bool:
        return self.record is not None and self.record.collapsed

    @property
    def idle(self) -> tuple[str, ...]:
        """Parts that were on and did nothing."""
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
    """Content of a results folder.

    Attributes:
        root: results folder.
        studies: all studies by kind; those of one kind by time, the one updated last first.
        entries: trials by hash, first those that a study lists, then recorded trials of no study.
    """

    root: Path
    studies: tuple[Manifest, ...]
    entries: dict[str, Entry]

    def done(self, study: Manifest, row: str) -> list[tuple[Trial, Entry]]:
        """Done trials behind the reported figures of a row, by realisation and seed."""
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
        reader: reader of its records that keeps their curves. With its `passed_over`, a file that
            cannot be used is noted there: a study is left out, and a trial counts as missing.

    Raises:
        StvmError: there is no such folder, or, without `passed_over`, a file is unreadable.
    """
    results = reader.results
    check_results(results)
    manifests = []
    for path in manifest_files(results):
        with going_on(reader.passed_over):
            manifests.append(read_manifest(path))
    studies = _newest_first(manifests)
    listed = dict.fromkeys(trial.hash for study in studies for trial in study.trials)
    names = listed | dict.fromkeys(Results(results).names())
    entries = {name: Entry(name, reader.record(name)) for name in names}
    shown = {name: entry for name, entry in entries.items() if entry.record or name in listed}
    return Recorded(results, studies, shown)
