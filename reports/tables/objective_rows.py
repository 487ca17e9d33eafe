"""Rows of Table VIII: those of Table IV, and each objective with two choices of its rate."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from reports.sheets.rows import PooledStudy, Records, Row, collect, pool
from reports.tables.ablation_rows import ROWS
from stvm.records.manifest import Manifest
from stvm.records.record import Record
from stvm.records.trial_label import ORACLE


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
        row: mIoU of its trials, as fractions.
        oracle: the same objective with the rate that target labels choose; None for rows whose
            rate is not chosen.
        records: records of its done trials.
        oracle_records: records of the done trials of `oracle`.
    """

    row: Row
    oracle: Row | None
    records: tuple[Record, ...]
    oracle_records: tuple[Record, ...]


@dataclass(frozen=True)
class Table(PooledStudy):
    """Table VIII of one study.

    Attributes:
        lines: rows of the pooled trials, those of Table IV first.
    """

    lines: tuple[Line, ...]

    def row(self, name: str) -> Row | None:
        """The row of a name; None where the study does not list it."""
        return next((line.row for line in self.lines if line.row.name == name), None)


def build_table(manifest: Manifest, records: Records) -> Table:
    """Table VIII of a study; realisations tuned on are never pooled with fresh ones."""
    pooled = pool(records)
    rows = collect(pooled.records)
    known = {t.hash: r for t, r in pooled.records.items() if r is not None and r.miou is not None}

    def done(row: Row | None) -> tuple[Record, ...]:
        return tuple(known[name] for name in row.trials) if row else ()

    named = [name for name in rows if not name.endswith(ORACLE)]
    ordered = [name for name in ROWS if name in named]
    ordered += [name for name in named if name not in ROWS]
    lines = []
    for name in ordered:
        oracle = rows.get(f"{name}{ORACLE}")
        lines.append(Line(rows[name], oracle, done(rows[name]), done(oracle)))
    return Table(manifest, records, pooled, tuple(lines))


def rates_of(records: Iterable[Record]) -> list[float]:
    """Learning rates of some trials, each once, the lowest first."""
    found = {record.settings.get("lr") for record in records}
    return sorted(float(rate) for rate in found if isinstance(rate, int | float))


def memory_of(records: Iterable[Record]) -> float | None:
    """Largest peak memory of some trials in MiB; None where none is recorded."""
    found = [r.run["peak_memory_mib"] for r in records if "peak_memory_mib" in r.run]
    return max(found, default=None)


def seconds_of(records: Iterable[Record]) -> float | None:
    """Median time of the trials that ran without a break; None where there is none."""
    whole = [
        r.run["seconds"] for r in records if "seconds" in r.run and "resumed_from" not in r.run
    ]
    return median(whole) if whole else None
