"""Rows as the paper prints them: how its files are read, and its figures as cells."""

import csv
from pathlib import Path

from reports.sheets.cells import figure
from reports.sheets.sheet import Cell, Column

FOLDER = Path(__file__).resolve().parents[1] / "paper"
"""Folder with one CSV file for each table of the paper."""
COLUMNS = (
    Column("paper mIoU", "right", "paper_miou", published=True),
    Column("paper Δ", "right", "paper_delta", published=True),
)
"""Columns for the published mIoU beside a measured one, and for its difference."""


def read_rows(table: str) -> list[dict[str, str]]:
    """Text of each published row by column, in the paper's order.

    Args:
        table: number of the table in the paper, "1" to "7"; "8" for the figures of others beside
            Table VIII, which is not the paper's.
    """
    with (FOLDER / f"table{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float | None:
    """Figure of a published row; None for an empty text."""
    return float(text) if text else None


def published(value: float | None, sign: bool = False, digits: int = 1) -> Cell:
    """Cell of a published figure, which is in per cent already."""
    return figure(value, scale=1, sign=sign, digits=digits)


def published_cells(miou: float | None, delta: float | None) -> tuple[Cell, Cell]:
    """The cells of `COLUMNS`; figures in per cent."""
    return published(miou), published(delta, sign=True)
