"""Table VI: how much the result depends on the seed."""

import csv
from dataclasses import dataclass
from pathlib import Path

from reports.sheets import notes
from reports.sheets.cells import count, figure, interval, mark, mean
from reports.sheets.rows import Records, Row, by_realisation, collect, pool
from reports.sheets.sheet import Cell, Column, Sheet
from stvm.records.manifest import Manifest
from stvm.statistics.seed_variance import SeedVariance, pooled_seed_variance, variance_ratio

NAME = "STvM"
OTHERS = ("ST", "ST_Aug", "ST_MT", "STvM_Raw")
"""Rows of the ablation that have a trial a seed."""
_PAPER = Path(__file__).resolve().parents[1] / "paper" / "table6.csv"


@dataclass(frozen=True)
class PaperRow:
    """A row as published, GTA5 to Cityscapes over five seeds; figures in per cent."""

    name: str
    mean: float
    sd: float
    least: float


def read_paper(path: Path = _PAPER) -> list[PaperRow]:
    """The published rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            PaperRow(line["method"], float(line["mean"]), float(line["std"]), float(line["min"]))
            for line in csv.DictReader(file)
        ]


_COLUMNS = (
    Column("method", "left", "name"),
    Column("mIoU", "right", "miou_mean"),
    Column("sd", "right", "sd"),
    Column("95 % interval of sd", "right", "sd", interval=True),
    Column("min", "right", "min"),
    Column("n", "left", "n"),
    Column(f"variance / {NAME}'s", "right", "variance_ratio"),
    Column("95 % interval", "right", "variance_ratio", interval=True),
)
_MEAN, _SD, _MIN = 1, 2, 4


def _cells(label: str, row: Row, reference: SeedVariance | None) -> tuple[Cell, ...]:
    found = pooled_seed_variance(row.values)
    low, high = found.interval() or (None, None)
    ratio = variance_ratio(found, reference) if reference else None
    value, least, most = ratio or (None, None, None)
    return (
        Cell(label),
        mean(row, digits=2),
        figure(found.sd, row.trials, digits=2),
        interval(low, high, row.trials, digits=2),
        figure(min(row.values.values(), default=None), row.trials, digits=2),
        count(row),
        figure(value, row.trials, scale=1, digits=2),
        interval(least, most, row.trials, scale=1, digits=2),
    )


def _published() -> list[tuple[Cell, ...]]:
    empty = Cell("")
    return [
        (
            Cell(f"{row.name} (published †)", key=f"{row.name} (published)"),
            figure(row.mean, scale=1, digits=2),
            figure(row.sd, scale=1, digits=2),
            empty,
            figure(row.least, scale=1, digits=2),
            Cell("5", 5),
            empty,
            empty,
        )
        for row in read_paper()
    ]


def beside(row: Row, ablation: Records) -> dict[str, Row]:
    """Rows of an ablation that have two seeds on a realisation of `row`."""
    realisations = {realisation for realisation, _ in row.values}
    part = {t: r for t, r in ablation.items() if t.realisation in realisations}
    rows = collect(part, names=OTHERS)
    return {name: rows[name] for name in OTHERS if pooled_seed_variance(rows[name].values).freedom}


def sheet(
    manifest: Manifest, records: Records, ablation: tuple[Manifest, Records] | None = None
) -> Sheet:
    """Measured rows above published ones.

    Args:
        manifest: of a variance study.
        records: of its trials.
        ablation: of the same settings; its rows with two seeds or more stand beside.
    """
    pooled = pool(records)
    row = collect(pooled.records, names=(NAME,))[NAME]
    reference = pooled_seed_variance(row.values)
    base = ablation[0].base if ablation else ""
    others = beside(row, ablation[1]) if ablation else {}
    rows = [_cells(f"{name} (ablation)", other, reference) for name, other in others.items()]
    rows.append(_cells(NAME, row, None))
    breaks = [len(rows)]
    for column, lowest in ((_MEAN, False), (_SD, True), (_MIN, False)):
        rows = mark(rows, column, range(len(rows)), lowest)
    if len(pooled.realisations) > 1:
        for part in by_realisation(pooled.records):
            single = collect(part.records, names=(NAME,))[NAME]
            rows.append(_cells(f"{NAME}, realisation {part.realisations[0]}", single, None))
        breaks.append(len(rows))
    published = _published()
    source = [
        f"Rows marked (ablation) are those of study {base} on the same realisations; "
        f"the ratio of variances has an F interval, which takes rows as independent though they "
        "share seeds and images.",
        notes.BEST.format(", of sd the lowest"),
    ]
    return Sheet(
        "table6",
        notes.tuned_mark("Table VI", pooled),
        notes.heading(manifest),
        manifest.rule,
        _COLUMNS,
        tuple(rows + published),
        breaks=tuple(breaks),
        notes=(
            notes.pool_note(pooled, manifest.dataset),
            "mIoU in per cent over n trials that differ in the seed; sd has n - 1 in the "
            "denominator (ddof 1). The paper does not say which it uses; with n in the "
            "denominator five seeds give 0.89 of this figure.",
            "Over several realisations the sd is that within realisations: squares about the mean "
            "of each, summed, over n less the number of realisations.",
            "The interval of the sd is the chi-square interval, which takes mIoU as normal.",
            *(source if others else []),
            f"{notes.PUBLISHED} URMA's protocol: five seeds.",
            *notes.study_notes(manifest, pooled.records),
        ),
        published_rows=tuple(range(len(rows), len(rows) + len(published))),
    )
