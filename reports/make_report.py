"""`python reports/make_report.py`: everything recorded, as one HTML page that needs no other."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.page.build_page import build_page, refuse_other_page, write_page
from stvm.errors import USER_ERRORS, told_of
from stvm.option_parser import OneLineParser
from stvm.records.results import Results


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(prog="make_report.py", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: RESULTS/report.html")
    parser.add_argument(
        "--study",
        nargs="+",
        default=[],
        metavar="BASE",
        help="default: of each kind the study updated last",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 after a line on stderr for each file that is not used."""
    arguments = _arguments(argv)
    out = arguments.out or arguments.results / "report.html"
    wrong: list[str] = []
    try:
        refuse_other_page(out)
        write_page(build_page(arguments.results, arguments.study, wrong), out)
        print(out)
        for line in Results(arguments.results).strays():
            print(line, file=sys.stderr)
    except USER_ERRORS as error:
        wrong.append(told_of(error))
    for line in wrong:
        print(f"make_report: {line}", file=sys.stderr)
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
