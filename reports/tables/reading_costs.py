"""Cost of each reading of the paper's open points, beside the row that it changes."""

from reports.sheets import notes
from reports.sheets.cells import difference, difference_columns, measured_cells, measured_columns
from reports.sheets.rows import Records, Row, collect, pool
from reports.sheets.sheet import Cell, Column, Sheet
from stvm.records.manifest import Manifest
from stvm.statistics import paired_difference

TITLES = {"readings": "Readings of the paper", "teacher": "The mean teacher's schedule"}
"""Title of the table by kind of study."""

_COLUMNS = (
    Column("reading", "left", "row"),
    *measured_columns(),
    *difference_columns("against the row"),
)


def _cells(row: Row, reference: Row | None) -> tuple[Cell, ...]:
    """Cells of a reading; `reference` is the row that it changes, None for such a row itself."""
    if reference is None:
        label, delta = row.name, (Cell(""), Cell(""))
    else:
        found = paired_difference(row.values, reference.values)
        label, delta = row.name.partition(", ")[2], difference(found, row, reference)
    return (Cell(label, key=row.name), *measured_cells(row), *delta)


def sheet(manifest: Manifest, records: Records) -> Sheet:
    """Each row of Table IV and the readings tried on it, below a line of their own.

    Args:
        manifest: list of the trials of a study in `TITLES`; its rows are "ROW" and "ROW,
            SETTING=VALUE ...".
        records: record of each trial; None where there is none.
    """
    pooled = pool(records)
    rows = collect(pooled.records)
    own = {name: name.partition(", ")[0] for name in rows}
    ordered = sorted(rows, key=lambda name: list(own.values()).index(own[name]))
    lines = [_cells(rows[n], None if own[n] == n else _reference(rows, own[n])) for n in ordered]
    starts = [i for i, name in enumerate(ordered) if i and own[name] != own[ordered[i - 1]]]
    return Sheet(
        manifest.study,
        notes.tuned_mark(TITLES[manifest.study], pooled),
        notes.heading(manifest),
        manifest.rule,
        _COLUMNS,
        tuple(lines),
        breaks=tuple(starts),
        notes=(
            notes.pool_note(pooled, manifest.dataset),
            notes.SPREAD,
            "A reading is a row of Table IV with these settings changed; its difference to that "
            "row is the mean over pairs of equal realisation and seed, with the 95 % t interval.",
            *notes.study_notes(manifest, pooled.records),
        ),
    )


def _reference(rows: dict[str, Row], name: str) -> Row:
    return rows.get(name) or Row(name, {}, (), 0, 0, 0)
