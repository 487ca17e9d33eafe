"""`python reports/make_readings.py`: what each reading of the paper costs, from records."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from reports.sheets.formats import files_of, to_markdown, write_files
from reports.tables import reading_costs
from stvm.errors import USER_ERRORS, as_known, told_of
from stvm.option_parser import OneLineParser
from stvm.records.manifest import choose_manifest
from stvm.records.record import read_records


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 after one line on stderr."""
    parser = OneLineParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: RESULTS/tables")
    parser.add_argument(
        "--of",
        type=partial(as_known, names=reading_costs.TITLES),
        choices=list(reading_costs.TITLES),
        default="readings",
        help="study",
    )
    parser.add_argument("--study", metavar="BASE", help="default: the study updated last")
    options = parser.parse_args(arguments)
    try:
        manifest = choose_manifest(options.results, None, options.study, options.of)
        sheet = reading_costs.sheet(manifest, read_records(options.results, manifest))
        write_files(files_of(sheet), options.out or options.results / "tables")
    except USER_ERRORS as error:
        print(f"make_readings: {told_of(error)}", file=sys.stderr)
        return 2
    print(to_markdown(sheet), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
