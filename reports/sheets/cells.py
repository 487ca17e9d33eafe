"""Figures as cells of a sheet: rounding, signs, intervals, and marks for the best row."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from reports.sheets.rows import Row
from reports.sheets.sheet import Cell, Column
from stvm.statistics import Estimate

COLLAPSED = "‡"
"""Sign behind a mean over trials of which one has collapsed."""
IDLE = "§"
"""Sign behind a mean over trials of which one had a part that was on and did nothing."""


def number(value: float | None, scale: float = 100, sign: bool = False, digits: int = 1) -> str:
    """Text of a number, empty for None; a rounded zero has no sign."""
    if value is None:
        return ""
    rounded = round(value * scale, digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}"


def figure(
    value: float | None,
    trials: Iterable[str] = (),
    scale: float = 100,
    sign: bool = False,
    digits: int = 1,
) -> Cell:
    """Cell of a number, empty for None; fractions become per cent with the usual `scale`."""
    if value is None:
        return Cell("")
    return Cell(number(value, scale, sign, digits), value * scale, trials=tuple(trials))


def interval(
    low: float | None,
    high: float | None,
    trials: Iterable[str] = (),
    scale: float = 100,
    sign: bool = False,
    digits: int = 1,
) -> Cell:
    """Cell with '[low, high]', empty where an end does not exist."""
    if low is None or high is None:
        return Cell("")
    texts = [number(end, scale, sign, digits) for end in (low, high)]
    ends = (low * scale, high * scale)
    return Cell(f"[{', '.join(texts)}]", trials=tuple(trials), ends=ends)


def mean(row: Row, digits: int = 1) -> Cell:
    """Cell of the mean; it has a sign where a trial collapsed or a part did nothing."""
    cell = figure(row.estimate.mean, row.trials, digits=digits)
    signs = [sign for sign, has in ((COLLAPSED, row.collapsed), (IDLE, row.idle)) if has]
    return replace(cell, text=" ".join([cell.text, *signs])) if signs else cell


def count(row: Row) -> Cell:
    """Cell with '3', or with '2 of 3, 1 failed' where trials are missing."""
    n = row.estimate.n
    failed = f", {row.failed} failed" if row.failed else ""
    text = str(n) if n == row.listed else f"{n} of {row.listed}{failed}"
    return Cell(text, n, trials=row.trials)


def difference(delta: Estimate, *rows: Row, digits: int = 1) -> tuple[Cell, Cell]:
    """Cells of a paired difference and its interval; `rows` are the two rows."""
    trials = tuple(dict.fromkeys(name for row in rows for name in row.trials))
    return (
        figure(delta.mean, trials, sign=True, digits=digits),
        interval(delta.low, delta.high, trials, sign=True, digits=digits),
    )


def mark(
    rows: Sequence[tuple[Cell, ...]], column: int, among: Iterable[int], lowest: bool = False
) -> list[tuple[Cell, ...]]:
    """The rows, with the best and the second figure of `column` marked as printed.

    Args:
        rows: rows of a sheet.
        column: number of the column, from 0.
        among: numbers of the rows that compete, from 0; figures that print alike share a mark.
            Of two rows only the best is marked, of one none.
        lowest: whether the lowest figure is the best.
    """
    marked = list(rows)
    texts = {i: rows[i][column].text.partition(" ")[0] for i in among}
    known = {i: float(text) for i, text in texts.items() if text}
    ranked = sorted(set(known.values()), reverse=not lowest)
    if len(known) < 2 or len(ranked) < 2:
        return marked
    names: dict[float, Literal["best", "second"]] = {ranked[0]: "best"}
    if len(known) > 2:
        names[ranked[1]] = "second"
    for i, value in known.items():
        if value in names:
            cells = list(marked[i])
            cells[column] = replace(cells[column], mark=names[value])
            marked[i] = tuple(cells)
    return marked


def measured_columns(what: str = "mIoU", key: str = "miou") -> tuple[Column, ...]:
    """Columns for mean, sd and number of trials."""
    return (
        Column(what, "right", f"{key}_mean"),
        Column("sd", "right", f"{key}_std"),
        Column("n", "left", "n"),
    )


def measured_cells(row: Row, digits: int = 1) -> tuple[Cell, ...]:
    """The cells of `measured_columns`."""
    return mean(row, digits), figure(row.estimate.sd, row.trials, digits=digits), count(row)


def difference_columns(head: str = "Δ") -> tuple[Column, ...]:
    """Columns for a difference and its interval."""
    return (
        Column(head, "right", "delta"),
        Column("95 % interval", "right", "delta", interval=True),
    )
