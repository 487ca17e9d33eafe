"""Table IV, the ablation: rows with deltas to the row above and their paired intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.sheets import notes
from reports.sheets.cells import (
    difference,
    difference_columns,
    mark,
    measured_cells,
    measured_columns,
)
from reports.sheets.rows import PooledStudy, Records, Row, by_realisation, collect, pool
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables import per_class
from reports.tables.ablation_rows import ABOVE, CONTROL, PARTIAL, ROWS, row_label
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.published_rows import COLUMNS as PUBLISHED_COLUMNS
from reports.tables.published_rows import number, published_cells, read_rows
from reports.tables.table_spec import TableSpec
from stvm.records.manifest import Manifest
from stvm.statistics import Estimate, paired_difference

TOGGLES = {"st": "ST", "aug": "Aug", "mt": "MT", "mgs": "MGS", "mocm": "MOCM"}
_CONTROL = (
    "Control: ST_MT with every pixel weighed by STvM_Raw's mean reliability over training, trial "
    "by trial; its delta is to STvM_Raw, whose weight differs from pixel to pixel."
)
_PARTIAL = (
    "partial AdaBN: batch-norm statistics half of the way from the source's to the target's. The "
    "half is a fixed choice, not tuned on labels."
)
_DELTA = (
    "Delta is to the row above (AdaBN: to Source; Oracle: none), the mean over complete pairs "
    "of equal realisation and seed; a row without seed pairs with every seed of its "
    "realisation. The interval is the 95 % t interval of these paired differences. It takes "
    "pairs as independent, but those of one realisation share images and source model."
)


@dataclass(frozen=True)
class PublishedRow:
    """A row as published, GTA5 to Cityscapes.

    Attributes:
        toggles: whether each part of `TOGGLES` is on.
        miou: mIoU in per cent; None where the paper has none.
        delta: difference to the row above, in points; None where the paper has none.
    """

    toggles: tuple[bool, ...] = (False,) * len(TOGGLES)
    miou: float | None = None
    delta: float | None = None


_CONTROL_ROW = PublishedRow((True, True, True, False, False))


@dataclass(frozen=True)
class Line:
    """A measured row beside the published one.

    Attributes:
        measured: mIoU of the trials, as fractions.
        above: row that the delta is taken against; None where there is none.
        delta: difference to that row over complete pairs, as a fraction.
        paper: published row.
    """

    measured: Row
    above: Row | None
    delta: Estimate
    paper: PublishedRow

    @property
    def name(self) -> str:
        return self.measured.name

    @property
    def label(self) -> str:
        return row_label(self.name)


@dataclass(frozen=True)
class Table(PooledStudy):
    """Table IV of one study.

    Attributes:
        lines: rows of the pooled trials.
    """

    lines: tuple[Line, ...]


def published_ablation() -> dict[str, PublishedRow]:
    """Published rows by name."""
    return {
        row["name"]: PublishedRow(
            tuple(row[toggle] == "1" for toggle in TOGGLES),
            number(row["miou"]),
            number(row["delta"]),
        )
        for row in read_rows("4")
    }


def _lines(records: Records) -> tuple[Line, ...]:
    paper = published_ablation()
    rows = collect(records, names=ROWS)
    lines = []
    order = ABOVE | ({CONTROL: "STvM_Raw"} if CONTROL in rows else {})
    if not rows[PARTIAL].listed:
        del order[PARTIAL]
    for name, above in order.items():
        base = rows[above] if above else None
        delta = paired_difference(rows[name].values, base.values) if base else Estimate(0)
        known = paper.get(name, _CONTROL_ROW if name == CONTROL else PublishedRow())
        lines.append(Line(rows[name], base, delta, known))
    return tuple(lines)


def build_table(manifest: Manifest, records: Records) -> Table:
    """Table IV of `manifest`; realisations tuned on are never pooled with fresh ones."""
    pooled = pool(records)
    return Table(manifest, records, pooled, _lines(pooled.records))


_COLUMNS = (
    Column("Name", "left", "name"),
    *(Column(head, "center", key) for key, head in TOGGLES.items()),
    *measured_columns(),
    *difference_columns(),
    *PUBLISHED_COLUMNS,
)
_MIOU = 1 + len(TOGGLES)


def _cells(line: Line) -> tuple[Cell, ...]:
    rows = (line.measured, line.above) if line.above else (line.measured,)
    return (
        Cell(line.label, key=line.name),
        *(Cell("✓" if toggle else "", int(toggle)) for toggle in line.paper.toggles),
        *measured_cells(line.measured),
        *difference(line.delta, *rows),
        *published_cells(line.paper.miou, line.paper.delta),
    )


def _marked(lines: Sequence[Line]) -> list[tuple[Cell, ...]]:
    names = [line.name for line in lines]
    return mark([_cells(line) for line in lines], _MIOU, range(names.index("Oracle")))


def _notes(table: Table) -> tuple[str, ...]:
    short = [
        f"Delta of {line.name}: complete pairs {line.delta.n}."
        for line in table.lines
        if line.above and line.delta.n < line.measured.estimate.n
    ]
    control = [_CONTROL] if any(line.name == CONTROL for line in table.lines) else []
    partial = [_PARTIAL] if any(line.name == PARTIAL for line in table.lines) else []
    absent = [line.name for line in table.lines if not line.measured.listed]
    why = " (no labels of target training images)" if absent == ["Oracle"] else ""
    return (
        notes.pool_note(table.pooled, table.manifest.dataset),
        notes.SPREAD,
        _DELTA,
        *partial,
        *control,
        *notes.start_notes(table.records),
        notes.BEST.format(" without the oracle"),
        notes.PUBLISHED,
        *notes.study_notes(table.manifest, table.records),
        *short,
        *notes.unlisted_note(absent, why),
    )


def sheet(table: Table) -> Sheet:
    """Rows of the pooled trials."""
    return Sheet(
        "table4",
        notes.tuned_mark("Table IV", table.pooled),
        notes.heading(table.manifest),
        table.manifest.rule,
        _COLUMNS,
        tuple(_marked(table.lines)),
        breaks=(ROWS.index("AdaBN"),),
        notes=_notes(table),
    )


def realisation_sheet(table: Table) -> Sheet | None:
    """Rows of each realisation by itself; None where there is only one."""
    parts = by_realisation(table.records)
    if len(parts) < 2:
        return None
    rows: list[tuple[Cell, ...]] = []
    breaks = []
    for part in parts:
        number = part.realisations[0]
        state = Cell("tuned on" if part.tuned else "fresh", int(part.tuned))
        breaks.append(len(rows))
        for cells in _marked(_lines(part.records)):
            rows.append((Cell(str(number), number), state, *cells))
    columns = (
        Column("realisation", "left", "realisation"),
        Column("status", "left", "tuned"),
        *_COLUMNS,
    )
    return Sheet(
        "table4_by_realisation",
        "Table IV by realisation",
        notes.heading(table.manifest),
        table.manifest.rule,
        columns,
        tuple(rows),
        breaks=tuple(breaks[1:]),
        notes=(
            notes.SPREAD,
            _DELTA,
            notes.BEST.format(" without the oracle"),
            notes.PUBLISHED,
            *notes.class_notes(table.records),
            *notes.gap_notes(table.records),
        ),
    )


def _build(chosen: ChosenStudies) -> list[Sheet | None]:
    table = build_table(*chosen["ablation"])
    classes = per_class.sheet(table.manifest, table.pooled)
    return [sheet(table), realisation_sheet(table), classes]


TABLE = TableSpec("4", "ablation", _build)
