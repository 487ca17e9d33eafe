"""`python reports/make_readings.py`: what each reading of the paper costs, from records."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reports import readings
from reports.formats import to_csv, to_latex, to_markdown
from reports.manifests import choose_manifest
from reports.read_results import read_records
from reports.sheet import Sheet
from stvm.errors import StvmError


def write(sheet: Sheet, out: Path) -> None:
    """The sheet as .md, .tex and .csv into `out`.

    Raises:
        StvmError: `out` cannot be written.
    """
    texts = {"md": to_markdown(sheet), "tex": to_latex(sheet), "csv": to_csv(sheet)}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for kind, text in texts.items():
            path = out / f"{sheet.name}.{kind}"
            path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StvmError(f"cannot write {out}: {error.strerror}; choose another --out") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: RESULTS/tables")
    parser.add_argument("--study", metavar="BASE", help="default: the study updated last")
    options = parser.parse_args(arguments)
    try:
        manifest = choose_manifest(options.results, None, options.study, "readings")
        sheet = readings.sheet(manifest, read_records(options.results, manifest))
        write(sheet, options.out or options.results / "tables")
    except StvmError as error:
        print(f"make_readings: {error}", file=sys.stderr)
        return 2
    print(to_markdown(sheet), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
