"""`python reports/make_tables.py`: the paper's tables from the recorded trials."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reports.formats import to_csv, to_document, to_latex, to_markdown
from reports.sheet import Sheet
from reports.tables import build_sheets
from stvm.errors import StvmError


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make_tables.py", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: RESULTS/tables")
    parser.add_argument("--tables", nargs="+", metavar="TABLE")
    parser.add_argument("--study", metavar="BASE", help="default: the study updated last")
    return parser.parse_args(argv)


def write_sheets(sheets: Sequence[Sheet], out: Path) -> None:
    """Write each sheet as .md, .tex and .csv into `out`, and all of them as tables.tex.

    Raises:
        StvmError: `out` cannot be written.
    """
    files = {"tables.tex": to_document(sheets)}
    for sheet in sheets:
        files[f"{sheet.name}.md"] = to_markdown(sheet)
        files[f"{sheet.name}.tex"] = to_latex(sheet)
        files[f"{sheet.name}.csv"] = to_csv(sheet)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StvmError(f"cannot write {out}: {error.strerror}; choose another --out") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 after one line on stderr."""
    arguments = _arguments(argv)
    try:
        studies = {"ablation": arguments.study} if arguments.study else None
        sheets = build_sheets(arguments.results, studies)
        write_sheets(sheets, arguments.out or arguments.results / "tables")
    except StvmError as error:
        print(f"make_tables: {error}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print("\n".join(map(to_markdown, sheets)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
