"""A table as a value, from which every format is made: Markdown, LaTeX, CSV and HTML."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """A column of a sheet.

    Attributes:
        head: plain text above the column.
        align: alignment of its cells.
        key: name in the CSV file.
        published: whether its figures are the paper's.
        interval: whether its cells are intervals, for which the CSV file has KEY_low and KEY_high.
    """

    head: str
    align: Literal["left", "right", "center"]
    key: str
    published: bool = False
    interval: bool = False


def column_title(column: Column) -> str:
    """Text above a column; figures of the paper have a dagger."""
    return f"{column.head} †" if column.published else column.head


@dataclass(frozen=True)
class Cell:
    """A cell of a sheet.

    Attributes:
        text: plain text as people read it; empty for a figure that does not exist.
        value: unrounded figure for the CSV file; None writes `text`.
        mark: place among the measured rows of its column, "best", "second" or none.
        trials: hashes of the trials behind the figure.
        ends: ends of an interval, unrounded.
        key: text for the CSV file in place of `text`.
    """

    text: str
    value: float | None = None
    mark: Literal["", "best", "second"] = ""
    trials: tuple[str, ...] = ()
    ends: tuple[float, float] | None = None
    key: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        name: name of its files, as in "table5".
        title: heading.
        caption: line that names the study.
        rule: rule of evaluation: the measured network, its images and its iteration.
        columns: columns from left to right.
        rows: rows of cells, each as long as `columns`.
        breaks: numbers of the rows above which a line is drawn, from 0.
        notes: plain sentences below the table.
        published_rows: numbers of the rows that are the paper's, from 0.
    """

    name: str
    title: str
    caption: str
    rule: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    breaks: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    published_rows: tuple[int, ...] = ()
