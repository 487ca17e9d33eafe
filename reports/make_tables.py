"""`python reports/make_tables.py`: the paper's tables from the recorded trials."""

import argparse
import gc
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from reports.sheets.formats import files_of, to_markdown, write_files
from reports.sheets.latex import to_document
from reports.sheets.sheet import Sheet
from reports.tables.catalogue import KEYS, build_tables
from reports.tables.chosen_studies import ChosenStudies, choose_studies
from reports.tables.fig1 import build_curve
from stvm.errors import USER_ERRORS, StvmError, known_name, told_of
from stvm.option_parser import OneLineParser
from stvm.records.record import RecordReader
from stvm.records.results import Results


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(prog="make_tables.py", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: RESULTS/tables")
    parser.add_argument(
        "--tables",
        nargs="+",
        metavar="TABLE",
        help=f"{' '.join(KEYS)}; default: all. Those that have no study are named",
    )
    parser.add_argument(
        "--study",
        nargs="+",
        default=[],
        metavar="BASE",
        help="default: of each kind the study updated last",
    )
    return parser.parse_args(argv)


def _write_with_fig1(sheets: Sequence[Sheet], chosen: ChosenStudies, out: Path) -> None:
    # Here, since matplotlib takes longer to load than most tables to make.
    from reports.figures.curves import draw_fig1
    from reports.figures.png import refuse_other_figure, save

    refuse_other_figure(out / "fig1.png")
    write_sheets(sheets, out)
    save(draw_fig1(build_curve(*chosen["pseudo_labels"])), out / "fig1.png")


def write_sheets(sheets: Sequence[Sheet], out: Path) -> None:
    """Write each sheet as .md, .tex and .csv into `out`, and all sheets as tables.tex.

    Raises:
        StvmError: `out` cannot be written.
    """
    files = {"tables.tex": to_document(sheets)}
    for sheet in sheets:
        files |= files_of(sheet)
    write_files(files, out)


def make(
    results: Path,
    out: Path,
    tables: Sequence[str] | None,
    bases: Sequence[str],
    passed_over: list[str],
) -> str:
    """Write the files of the tables into `out`; returns their Markdown.

    Args:
        results: folder of records and manifests.
        out: folder for the files; it is made where it does not exist.
        tables: names among `KEYS`, whatever their capitals, None for all; those that have no study
            are named on stderr.
        bases: bases of studies to take in place of those updated last.
        passed_over: list for a line on each file that cannot be used; the tables go without it.

    Raises:
        StvmError: nothing to read, or no table that has a study.
    """
    keys = [known_name("table", table, KEYS) for table in tables or KEYS]
    chosen = choose_studies(results, bases, RecordReader(results, passed_over=passed_over))
    sheets, missing = build_tables(chosen, keys)
    if not sheets:
        # What cannot be used says more than that nothing is there.
        raise StvmError(passed_over.pop() if passed_over else "; ".join(missing))
    if any(sheet.name == "fig1" for sheet in sheets):
        _write_with_fig1(sheets, chosen, out)
    else:
        write_sheets(sheets, out)
    _say(missing)
    return "\n".join(map(to_markdown, sheets))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 after a line on stderr for each file that is not used."""
    arguments = _arguments(argv)
    results = arguments.results
    out = arguments.out or results / "tables"
    text = ""
    wrong: list[str] = []
    try:
        text = make(results, out, arguments.tables, arguments.study, wrong)
        _say(Results(results).strays())
    except USER_ERRORS as error:
        wrong.append(told_of(error))
    _say([f"make_tables: {line}" for line in wrong])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print(text, end="")
    return 2 if wrong else 0


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line, file=sys.stderr)


if __name__ == "__main__":
    # What is read lives until the end: looking for garbage in it takes a tenth of the time.
    gc.disable()
    sys.exit(main())
