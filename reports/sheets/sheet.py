"""A table as a value: what every format (Markdown, LaTeX, CSV, HTML) is made from."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """A column of a sheet.

    Attributes:
        head: plain text.
        align: of its cells.
        published: figures of the paper and not measured here.
        key: name in the CSV file.
        interval: the CSV file has KEY_low and KEY_high in its place.
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
        value: the figure unrounded, for the CSV file; None writes `text`.
        mark: among the measured rows of its column.
        trials: hashes of the records behind the figure.
        ends: of an interval, unrounded.
        key: in the CSV file in place of the text.
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
        name: of its files, as in "table5".
        title: heading.
        caption: which study, one line.
        rule: which network is measured, where and when.
        columns: left to right.
        rows: each as long as `columns`.
        breaks: rows (from 0) above which a line is drawn.
        notes: plain sentences below the table.
        published_rows: rows (from 0) of the paper and not measured here.
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
