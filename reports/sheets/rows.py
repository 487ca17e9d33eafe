"""Trials of a study by row: the realisations that are pooled, and the figures of each row."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from stvm.records.manifest import Manifest, Trial
from stvm.records.record import Record, outcome
from stvm.statistics import Estimate, TrialKey, estimate, sort_key

Records = Mapping[Trial, Record | None]
"""Record of each listed trial; None where there is none."""


@dataclass(frozen=True)
class Pool:
    """Trials whose realisations are all tuned on or all fresh.

    Attributes:
        records: record of each of these trials; None where there is none.
        realisations: numbers of their realisations, ascending.
        tuned: whether settings were chosen on these realisations.
        left_out: realisations of the study that are not pooled.
    """

    records: Records
    realisations: tuple[int, ...]
    tuned: bool
    left_out: tuple[int, ...] = ()

    def named(self, before: str = "") -> str:
        """Words for a title that name the realisations; empty for data that have none.

        Args:
            before: text before the words, where there are any.
        """
        if not all(trial.drawn for trial in self.records):
            return ""
        numbers = ", ".join(map(str, self.realisations))
        return f"{before}realisations {numbers} ({'tuned on' if self.tuned else 'fresh'})"


def pool(records: Records) -> Pool:
    """Trials on fresh realisations; on those tuned on where there is no fresh one."""
    tuned = {trial.realisation for trial in records if trial.tuned}
    everything = {trial.realisation for trial in records}
    chosen = everything - tuned or tuned
    part = {trial: record for trial, record in records.items() if trial.realisation in chosen}
    left_out = tuple(sorted(everything - chosen))
    return Pool(part, tuple(sorted(chosen)), chosen == tuned, left_out)


def by_realisation(records: Records) -> list[Pool]:
    """One pool for each realisation, ascending."""
    parts: dict[int, dict[Trial, Record | None]] = {}
    for trial, record in records.items():
        parts.setdefault(trial.realisation, {})[trial] = record
    return [
        Pool(part, (number,), any(trial.tuned for trial in part))
        for number, part in sorted(parts.items())
    ]


@dataclass(frozen=True)
class PooledStudy:
    """A study with the trials from which a table of it is made.

    Attributes:
        manifest: list of the study's trials.
        records: record of each trial; None where there is none.
        pooled: trials on fresh realisations; those tuned on where there is no fresh one.
    """

    manifest: Manifest
    records: Records
    pooled: Pool


@dataclass(frozen=True)
class Row:
    """One figure of the trials of a row.

    Attributes:
        name: name of the row.
        values: figure of each trial that has it, sorted by realisation and seed.
        trials: hashes of the trials in `values`.
        listed: number of trials that the study lists.
        failed: number of listed trials that failed.
        collapsed: number of `trials` that have collapsed.
        idle: number of `trials` with a part that was on and did nothing.
    """

    name: str
    values: dict[TrialKey, float]
    trials: tuple[str, ...]
    listed: int
    failed: int
    collapsed: int
    idle: int = 0

    @cached_property
    def estimate(self) -> Estimate:
        """Mean, sd and t interval over the trials."""
        return estimate(self.values.values())


def miou(record: Record) -> float | None:
    """mIoU of a trial, the figure of most tables; None when it failed."""
    return record.miou


def collect(
    records: Records,
    figure: Callable[[Record], float | None] = miou,
    names: Iterable[str] = (),
) -> dict[str, Row]:
    """Rows by name: first `names`, listed or not, then the others in the order of the study."""
    members: dict[str, list[Trial]] = {name: [] for name in names}
    for trial in records:
        members.setdefault(trial.variant, []).append(trial)
    return {name: _row(name, trials, records, figure) for name, trials in members.items()}


def _row(
    name: str, trials: list[Trial], records: Records, figure: Callable[[Record], float | None]
) -> Row:
    values: dict[TrialKey, float] = {}
    hashes: dict[str, Record] = {}
    failed = 0
    for trial in sorted(trials, key=lambda t: sort_key((t.realisation, t.seed))):
        record = records[trial]
        failed += outcome(record) == "failed"
        value = None if record is None else figure(record)
        if record is not None and value is not None:
            values[trial.realisation, trial.seed] = value
            hashes[trial.hash] = record
    collapsed = sum(record.collapsed for record in hashes.values())
    idle = sum(bool(record.idle) for record in hashes.values())
    return Row(name, values, tuple(hashes), len(trials), failed, collapsed, idle)
