"""Table VIII, ours: objectives of others beside STvM and its ablation, from the same start."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reports.sheets import notes
from reports.sheets.cells import (
    difference,
    difference_columns,
    figure,
    mark,
    mean,
    measured_cells,
    measured_columns,
)
from reports.sheets.rows import Row
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.ablation_rows import ROWS, row_label
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.objective_rows import Line, Table, build_table, memory_of, rates_of, seconds_of
from reports.tables.published_rows import number, published, read_rows
from reports.tables.table_spec import TableSpec
from stvm.records.record import Record
from stvm.records.selection_scores import SELECTION_SCORES
from stvm.statistics import paired_difference

REFERENCES = ("Source", "AdaBN", "STvM")
"""Rows that every row is compared with."""
_OURS = (
    "Table VIII is not the paper's. All rows that adapt have the same source model, target images, "
    "iterations and evaluation; batch norm and trained parameters are each objective's own."
)
_DELTA = (
    "Differences are means over complete pairs of equal realisation and seed; a row without seed "
    "pairs with every seed of its realisation. Intervals are 95 % t intervals of these pairs. They "
    "take pairs as independent, but those of one realisation share images and source model."
)
_APART = (
    "These figures were measured by others: other data, networks, source models and schedules. "
    "They do not belong beside measured figures. Those under 'with source' come from training "
    "that also used source images and labels, so they are not source-free."
)
_TIME = (
    "Seconds are the median of run.seconds over the trials: from start to result, with labels, "
    "training and evaluation, on the machine of the trial; resumed trials are left out."
)
_MEMORY = (
    "Peak memory is the largest run.peak_memory_mib of the trials: on a GPU that of torch's "
    "tensors, on the CPU the growth of the process in a trial. The command memory of studies "
    "estimates what a GPU needs."
)

_ENDS = (
    "(end): the rate is the lowest or the highest of those to choose from, so a better one may lie "
    "beyond."
)
_STEP = "ms an iteration: these seconds over the iterations of the training, evaluation included."


def _from_paired(row: Row, reference: Row | None) -> tuple[Cell, Cell]:
    if reference is None or reference.name == row.name:
        return Cell(""), Cell("")
    return difference(paired_difference(row.values, reference.values), row, reference)


def _columns() -> tuple[Column, ...]:
    compared = [
        replace(column, head=column.head if column.interval else f"Δ {name}",
                key=f"delta_{name.lower()}")
        for name in REFERENCES
        for column in difference_columns()
    ]  # fmt: skip
    oracle = Column("mIoU, oracle's rate", "right", "oracle_miou_mean")
    return (Column("row", "left", "name"), *measured_columns(), *compared, oracle)


_MIOU = 1


def _cells(line: Line, table: Table) -> tuple[Cell, ...]:
    compared = [_from_paired(line.row, table.row(name)) for name in REFERENCES]
    return (
        Cell(row_label(line.row.name), key=line.row.name),
        *measured_cells(line.row),
        *(cell for pair in compared for cell in pair),
        mean(line.oracle) if line.oracle else Cell(""),
    )


def _breaks(lines: Sequence[Line]) -> tuple[int, ...]:
    """The number of the first row that is not one of Table IV."""
    first = sum(line.row.name in ROWS for line in lines)
    return (first,) if 0 < first < len(lines) else ()


def _choice_note(facts: Mapping[str, object]) -> list[str]:
    """Sentences on how the learning rates were chosen."""
    score = SELECTION_SCORES.get(str(facts.get("score")))
    if score is None:
        return []
    number = facts.get("choice_realisation")
    where = f"seed {facts.get('choice_seed')}, realisation {number}"
    told = (
        f"Rows below the line: the learning rate is the best of three by {score.label}, a score "
        f"without labels, on {where}, which no row reports; collapsed trials are passed over. For "
        "an objective that is trained on this score, as SHOT-IM on information maximisation, the "
        "choice says less. Oracle's rate: the best of the three by mIoU on target labels of the "
        f"split {facts.get('choice_split')} there."
    )
    tuned = facts.get("tuned")
    kept = "Rows above the line have the preset's learning rate"
    if isinstance(tuned, list) and tuned:
        kept += f", chosen by validation labels of realisations {', '.join(map(str, tuned))}"
    return [told, f"{kept}; row 'STvM (chosen rate)' is chosen as the objectives are."]


def _mixed_note(lines: Iterable[Line]) -> list[str]:
    """A warning of rows whose trials have different learning rates."""
    mixed = [
        f"{line.row.name} ({', '.join(f'{rate:g}' for rate in rates)})"
        for line in lines
        if len(rates := rates_of(line.records)) > 1
    ]
    return [f"WARNING: learning rates are mixed in: {', '.join(mixed)}."] if mixed else []


def sheet(table: Table) -> Sheet:
    """Rows of Table IV, then the objectives with the rate chosen without labels."""
    rows = [_cells(line, table) for line in table.lines]
    among = [i for i, line in enumerate(table.lines) if line.row.name != "Oracle"]
    return Sheet(
        "table8",
        notes.tuned_mark("Table VIII", table.pooled),
        notes.heading(table.manifest),
        table.manifest.rule,
        _columns(),
        tuple(mark(rows, _MIOU, among)),
        breaks=_breaks(table.lines),
        notes=(
            _OURS,
            notes.pool_note(table.pooled, table.manifest.dataset),
            notes.SPREAD,
            _DELTA,
            *_choice_note(table.manifest.facts),
            *_mixed_note(table.lines),
            notes.BEST.format(" without the oracle and the oracle's rates"),
            *notes.study_notes(table.manifest, table.pooled.records),
        ),
    )


def _rate_cell(records: Iterable[Record], ends: Sequence[float] = ()) -> Cell:
    rates = rates_of(records)
    value = rates[0] if len(rates) == 1 else None
    at_end = " (end)" if value in ends else ""
    return Cell(", ".join(f"{rate:g}" for rate in rates) + at_end, value)


def _cost_cells(line: Line, ends: Mapping[str, Sequence[float]]) -> tuple[Cell, ...]:
    seconds = seconds_of(line.records)
    steps = {record.result.get("iteration", 0) for record in line.records}
    step = seconds / max(steps) if seconds is not None and max(steps, default=0) else None
    lost = (Cell(""), Cell(""))
    if line.oracle:
        lost = _from_paired(line.row, line.oracle)
    adapts = [record for record in line.records if record.adapts]
    return (
        Cell(row_label(line.row.name), key=line.row.name),
        _rate_cell(adapts, ends.get(line.row.name, ())),
        _rate_cell(line.oracle_records, ends.get(line.row.name, ())),
        *lost,
        figure(seconds, line.row.trials, scale=1),
        figure(step, line.row.trials, scale=1000),
        figure(memory_of(line.records), line.row.trials, scale=1, digits=0),
    )


def cost_sheet(table: Table) -> Sheet:
    """The learning rates, time and memory of each row."""
    told = table.manifest.facts.get("grid_ends")
    ends: dict[str, list[float]] = told if isinstance(told, dict) else {}
    return Sheet(
        "table8_cost",
        "Table VIII, learning rates, time and memory",
        notes.heading(table.manifest),
        "",
        (
            Column("row", "left", "name"),
            Column("rate", "right", "rate"),
            Column("oracle's rate", "right", "oracle_rate"),
            Column("Δ to oracle's rate", "right", "delta_oracle"),
            Column("95 % interval", "right", "delta_oracle", interval=True),
            Column("s", "right", "seconds"),
            Column("ms an iteration", "right", "step_ms"),
            Column("peak MiB", "right", "peak_memory_mib"),
        ),
        tuple(_cost_cells(line, ends) for line in table.lines),
        breaks=_breaks(table.lines),
        notes=(
            notes.pool_note(table.pooled, table.manifest.dataset),
            *(_TIME, _STEP, _MEMORY, _ENDS),
            *_choice_note(table.manifest.facts),
        ),
    )


def published_sheet(table: Table) -> Sheet:
    """Figures of others for rows of the study, apart from the measured ones."""
    here = {line.row.name for line in table.lines}
    rows = [
        (
            Cell(row["row"]),
            published(number(row["source_free"])),
            published(number(row["with_source"])),
            Cell(row["remark"]),
        )
        for row in read_rows("8")
        if row["row"] in here
    ]
    return Sheet(
        "table8_published",
        "Published figures for GTA5 to Cityscapes",
        "DeepLabV2 with ResNet-101 where nothing else is said",
        "",
        (
            Column("row", "left", "name"),
            Column("source-free", "right", "source_free", published=True),
            Column("with source", "right", "with_source", published=True),
            Column("remark", "left", "remark"),
        ),
        tuple(rows),
        notes=(_APART, notes.PUBLISHED),
        published_rows=tuple(range(len(rows))),
    )


def _build(chosen: ChosenStudies) -> list[Sheet | None]:
    table = build_table(*chosen["objectives"])
    printed = published_sheet(table)
    return [sheet(table), cost_sheet(table), printed if printed.rows else None]


TABLE = TableSpec("8", "objectives", _build)
