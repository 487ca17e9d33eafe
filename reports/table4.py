"""Table IV, the ablation: recorded trials to rows with deltas and paired intervals."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reports.paired import Estimate, Key, estimate, order, paired
from reports.read_results import Manifest, Record, Trial, outcome
from stvm.errors import StvmError

TOGGLES = ("st", "aug", "mt", "mgs", "mocm")
ABOVE = {
    "Source": None,
    "ST": "Source",
    "ST_Aug": "ST",
    "ST_MT": "ST_Aug",
    "STvM_Raw": "ST_MT",
    "STvM": "STvM_Raw",
    "AdaBN": "Source",
    "Oracle": None,
}
"""Rows in the order of the table, each with the row its delta is taken against."""
ROWS = tuple(ABOVE)
LABELS = {"Oracle": "Oracle (target labels)"}
_PAPER = Path(__file__).parent / "paper" / "table4.csv"
_NAMED = 10


@dataclass(frozen=True)
class PaperRow:
    """A row as published, GTA5 to Cityscapes; figures in per cent."""

    toggles: tuple[bool, ...]
    miou: float | None = None
    delta: float | None = None


@dataclass(frozen=True)
class Row:
    """A measured row beside the published one; measured figures are fractions.

    Attributes:
        miou: over the done trials of the row.
        delta: over the complete pairs with the row above.
        listed: trials that the study lists for the row.
        failed: how many of them failed.
        values: mIoU of each done trial.
    """

    name: str
    paper: PaperRow
    miou: Estimate
    delta: Estimate
    listed: int
    failed: int
    values: dict[Key, float]

    @property
    def label(self) -> str:
        return LABELS.get(self.name, self.name)


@dataclass(frozen=True)
class Section:
    """The rows over some realisations, which are all tuned on or all fresh."""

    realisations: tuple[int, ...]
    tuned: bool
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """Table IV of one study.

    Attributes:
        pooled: over the fresh realisations; over those tuned on where there is no fresh one.
        single: one section a realisation, ascending.
        notes: plain sentences that belong under the table.
    """

    manifest: Manifest
    pooled: Section
    single: tuple[Section, ...]
    notes: tuple[str, ...]


def read_paper(path: Path = _PAPER) -> dict[str, PaperRow]:
    """The published rows by name."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            line["name"]: PaperRow(
                tuple(line[toggle] == "1" for toggle in TOGGLES),
                float(line["miou"]),
                float(line["delta"]) if line["delta"] else None,
            )
            for line in csv.DictReader(file)
        }


def _rows(records: dict[Trial, Record | None]) -> tuple[Row, ...]:
    paper = read_paper()
    values: dict[str, dict[Key, float]] = {name: {} for name in ROWS}
    listed, failed = dict.fromkeys(ROWS, 0), dict.fromkeys(ROWS, 0)
    for trial, record in records.items():
        listed[trial.row] += 1
        failed[trial.row] += outcome(record) == "failed"
        if record is not None and record.miou is not None:
            values[trial.row][trial.realisation, trial.seed] = record.miou
    return tuple(
        Row(
            name,
            paper.get(name, PaperRow((False,) * len(TOGGLES))),
            estimate(values[name][key] for key in sorted(values[name], key=order)),
            paired(values[name], values[above]) if above else Estimate(0),
            listed[name],
            failed[name],
            values[name],
        )
        for name, above in ABOVE.items()
    )


def _section(records: dict[Trial, Record | None], realisations: Iterable[int]) -> Section:
    chosen = tuple(sorted(realisations))
    part = {trial: record for trial, record in records.items() if trial.realisation in chosen}
    return Section(chosen, any(trial.tuned for trial in part), _rows(part))


def _pool_note(pooled: Section, tuned: set[int], dataset: str) -> str:
    if dataset != "streets":
        return "One data set and one source model; the trials of a row differ in the seed."
    names = ", ".join(map(str, pooled.realisations))
    if pooled.tuned:
        return (
            f"TUNED ON: every realisation of this study ({names}) was used to choose settings, "
            "so these figures are optimistic; none is fresh."
        )
    left_out = f"; tuned on and left out: {', '.join(map(str, sorted(tuned)))}" if tuned else ""
    return f"Fresh realisations pooled: {names}{left_out}."


def _some(items: list[str]) -> str:
    more = len(items) - _NAMED
    return "; ".join(items[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _short(pooled: Section) -> list[str]:
    short = [row for row in pooled.rows if ABOVE[row.name] and row.delta.n < row.miou.n]
    return [f"Delta of {row.name}: complete pairs {row.delta.n}." for row in short]


def _unlisted(rows: Iterable[Row]) -> list[str]:
    names = [row.name for row in rows if not row.listed]
    why = " (no labels of target training images)" if names == ["Oracle"] else ""
    return [f"Not part of this study: {', '.join(names)}{why}."] if names else []


def _gaps(records: dict[Trial, Record | None]) -> list[str]:
    ordered = sorted(records, key=lambda t: (ROWS.index(t.row), order((t.realisation, t.seed))))
    failed, missing = [], []
    for trial in ordered:
        record = records[trial]
        if record is None:
            missing.append(str(trial))
        elif record.error is not None:
            failed.append(f"{trial}: {record.error}")
    notes = []
    if failed:
        notes.append(f"Failed trials, left out ({len(failed)}): {_some(failed)}.")
    if missing:
        notes.append(f"Trials not recorded yet ({len(missing)}): {_some(missing)}.")
    return notes


def _notes(manifest: Manifest, records: dict[Trial, Record | None]) -> list[str]:
    splits = sorted({r.split for r in records.values() if r is not None and r.split})
    notes = [
        "Measured figures are per cent; mIoU and sd (n - 1 in the denominator) are over the n "
        "recorded (realisation, seed) trials.",
        "Delta is to the row above (AdaBN: to Source; Oracle: none), the mean over complete pairs "
        "of equal realisation and seed; a row without seed pairs with every seed of its "
        "realisation. The interval is the 95 % t interval of these paired differences. It takes "
        "pairs as independent, but those of one realisation share images and source model.",
        "† Published figures for GTA5 to Cityscapes: other data and another network.",
    ]
    if len(splits) == 1:
        notes.append(f"Split: {splits[0]}.")
    elif splits:
        notes.append(f"WARNING: trials of different splits are mixed: {', '.join(splits)}.")
    notes += _gaps(records)
    if manifest.others:
        options = ", ".join(f"--study {base}" for base in manifest.others)
        notes.append(f"This is study {manifest.base}; other ablation studies: {options}.")
    return notes


def build_table(manifest: Manifest, records: dict[Trial, Record | None]) -> Table:
    """Table IV of `manifest`; realisations tuned on are never pooled with fresh ones.

    Raises:
        StvmError: the study lists no trial.
    """
    tuned = {trial.realisation for trial in records if trial.tuned}
    everything = {trial.realisation for trial in records}
    if not everything:
        raise StvmError(
            f"study {manifest.base} lists no trial: run `python studies/ablation.py` again"
        )
    pooled = _section(records, everything - tuned or tuned)
    single = tuple(_section(records, [number]) for number in sorted(everything))
    notes = (
        _pool_note(pooled, tuned, manifest.dataset),
        *_notes(manifest, records),
        *_short(pooled),
        *_unlisted(pooled.rows),
    )
    return Table(manifest, pooled, single, notes)
