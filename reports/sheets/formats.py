"""A sheet as Markdown and CSV, and its files; the same sheet gives the same bytes."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from reports.sheets.earlier_tables import is_earlier_table
from reports.sheets.latex import to_latex
from reports.sheets.sheet import Cell, Column, Sheet, column_title
from stvm.files import refuse_file, refuse_other_file, write_whole

_MARKDOWN = str.maketrans({c: "\\" + c for c in "\\`*<|"})


def _plain(text: str) -> str:
    return " ".join(text.split()).translate(_MARKDOWN)


def _markdown_cell(cell: Cell) -> str:
    text = _plain(cell.text)
    marks = {"best": f"**{text}**", "second": f"<u>{text}</u>"}
    return marks.get(cell.mark, text)


def to_markdown(sheet: Sheet) -> str:
    """Title, study, rule, table and notes as Markdown."""
    table = tabulate(
        [[_markdown_cell(cell) for cell in row] for row in sheet.rows],
        headers=[_plain(column_title(column)) for column in sheet.columns],
        tablefmt="pipe",
        colalign=[column.align for column in sheet.columns],
        disable_numparse=True,
    )
    parts = [
        f"# {_plain(sheet.title)}",
        _plain(sheet.caption),
        f"Rule: {_plain(sheet.rule)}" if sheet.rule else "",
        str(table),
        "\n".join(f"- {_plain(note)}" for note in sheet.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _csv_cells(column: Column, cell: Cell) -> list[str]:
    if column.interval:
        return [f"{end:.10g}" for end in cell.ends] if cell.ends else ["", ""]
    if cell.value is None:
        return [cell.key or cell.text]
    return [f"{cell.value + 0.0:.10g}"]


def to_csv(sheet: Sheet) -> str:
    """Figures in per cent, unrounded, as CSV; a figure that does not exist is empty."""
    names = [[f"{c.key}_low", f"{c.key}_high"] if c.interval else [c.key] for c in sheet.columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for pair in names for name in pair])
    for row in sheet.rows:
        pairs = [_csv_cells(column, cell) for column, cell in zip(sheet.columns, row, strict=True)]
        writer.writerow([text for pair in pairs for text in pair])
    return text.getvalue()


def files_of(sheet: Sheet) -> dict[str, str]:
    """Text of the files of a sheet (.md, .tex and .csv) by name."""
    return {
        f"{sheet.name}.md": to_markdown(sheet),
        f"{sheet.name}.tex": to_latex(sheet),
        f"{sheet.name}.csv": to_csv(sheet),
    }


def write_files(files: Mapping[str, str], out: Path) -> None:
    """Write texts by name, each file whole or not at all, into the folder `out`; it may be missing.

    Raises:
        StvmError: `out` cannot be written, or another file of such a name is there.
    """
    refuse_file(out, "--out")
    for name, text in files.items():
        refuse_other_file(out / name, "table", is_earlier_table(out / name, text))
    for name, text in files.items():
        write_whole(out / name, text.encode())
