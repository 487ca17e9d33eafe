"""`python reports/make_tables.py`: the paper's Table IV from the recorded trials."""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reports.formats import to_csv, to_csv_by_realisation, to_latex, to_markdown
from reports.per_class import per_class
from reports.read_results import Manifest, Record, Trial, choose_manifest, read_records
from reports.table4 import ROWS, Table, build_table
from stvm.errors import StvmError


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make_tables.py", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: RESULTS/tables")
    parser.add_argument("--tables", nargs="+", default=["4"], metavar="NUMBER", help="only 4")
    parser.add_argument("--study", metavar="BASE", help="default: the study updated last")
    return parser.parse_args(argv)


def load_records(results: Path, study: str | None) -> tuple[Manifest, dict[Trial, Record | None]]:
    """The study with base `study`, or the one updated last, with its records.

    Raises:
        StvmError: nothing to read, or something unreadable.
    """
    manifest = choose_manifest(results, ROWS, study)
    return manifest, read_records(results, manifest)


def load_table(results: Path, study: str | None) -> Table:
    """Table IV of the study with base `study`, or of the one updated last.

    Raises:
        StvmError: nothing to read, or something unreadable.
    """
    return build_table(*load_records(results, study))


def write_tables(table: Table, classes: str, out: Path) -> str:
    """Write the files into `out`; returns the Markdown of the table.

    Args:
        table: Table IV.
        classes: IoU of each class, in Markdown.
        out: made where it does not exist.

    Raises:
        StvmError: `out` cannot be written.
    """
    files = {
        "table4.md": to_markdown(table),
        "table4.tex": to_latex(table),
        "table4.csv": to_csv(table),
        "table4_by_realisation.csv": to_csv_by_realisation(table),
        "table4_per_class.md": classes,
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StvmError(f"cannot write {out}: {error.strerror}; choose another --out") from None
    return files["table4.md"]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 after one line on stderr."""
    arguments = _arguments(argv)
    try:
        for number in arguments.tables:
            if number != "4":
                raise StvmError(f"unknown table '{number}': the only one is --tables 4")
        manifest, records = load_records(arguments.results, arguments.study)
        table = build_table(manifest, records)
        classes = per_class(arguments.results, records, table.pooled.tuned)
        text = write_tables(table, classes, arguments.out or arguments.results / "tables")
    except StvmError as error:
        print(f"make_tables: {error}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
