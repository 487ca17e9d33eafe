"""Figures as cells of a sheet: rounding, signs, intervals, and what is best among rows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from reports.sheets.rows import Row
from reports.sheets.sheet import Cell, Column
from stvm.statistics import Estimate

COLLAPSED = "‡"
"""Stands behind a mean of which a trial has collapsed."""
IDLE = "§"
"""Stands behind a mean of which a trial had a part that is on and did nothing."""


def number(value: float | None, scale: float = 100, sign: bool = False, digits: int = 1) -> str:
    """Empty for None; a rounded zero has no sign."""
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
    """A number, empty for None; fractions become per cent unless `scale` says otherwise."""
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
    """'[low, high]', empty where an end does not exist."""
    if low is None or high is None:
        return Cell("")
    texts = [number(end, scale, sign, digits) for end in (low, high)]
    ends = (low * scale, high * scale)
    return Cell(f"[{', '.join(texts)}]", trials=tuple(trials), ends=ends)


def mean(row: Row, digits: int = 1) -> Cell:
    """Mean over the trials, with signs where one collapsed or a part of one did nothing."""
    cell = figure(row.estimate.mean, row.trials, digits=digits)
    signs = [sign for sign, has in ((COLLAPSED, row.collapsed), (IDLE, row.idle)) if has]
    return replace(cell, text=" ".join([cell.text, *signs])) if signs else cell


def count(row: Row) -> Cell:
    """'3', or '2 of 3, 1 failed' where trials are missing; the CSV file has the number."""
    n = row.estimate.n
    failed = f", {row.failed} failed" if row.failed else ""
    text = str(n) if n == row.listed else f"{n} of {row.listed}{failed}"
    return Cell(text, n, trials=row.trials)


def difference(delta: Estimate, *rows: Row, digits: int = 1) -> tuple[Cell, Cell]:
    """A paired difference and its interval; `rows` are the rows it is taken between."""
    trials = tuple(dict.fromkeys(name for row in rows for name in row.trials))
    return (
        figure(delta.mean, trials, sign=True, digits=digits),
        interval(delta.low, delta.high, trials, sign=True, digits=digits),
    )


def mark(
    rows: Sequence[tuple[Cell, ...]], column: int, among: Iterable[int], lowest: bool = False
) -> list[tuple[Cell, ...]]:
    """The rows with the best and second figure of `column` marked, by what is printed.

    Args:
        rows: of a sheet.
        column: from 0.
        among: rows that compete; figures that print alike share a mark. Of two rows only the
            best is marked, of one none.
        lowest: the lowest is the best.
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
    """Mean, sd and number of trials."""
    return (
        Column(what, "right", f"{key}_mean"),
        Column("sd", "right", f"{key}_std"),
        Column("n", "left", "n"),
    )


def measured_cells(row: Row, digits: int = 1) -> tuple[Cell, ...]:
    """The cells of `measured_columns`."""
    return mean(row, digits), figure(row.estimate.sd, row.trials, digits=digits), count(row)


def difference_columns(head: str = "Δ") -> tuple[Column, ...]:
    """Difference and interval."""
    return (
        Column(head, "right", "delta"),
        Column("95 % interval", "right", "delta", interval=True),
    )
