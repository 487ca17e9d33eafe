"""`python reports/make_figure.py`: what adaptation looks like, and Tables IV to VIII drawn."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from reports.figures.curves import draw_sensitivity
from reports.figures.dots import draw_bars, draw_silhouette, draw_variance
from reports.figures.objective_dots import draw_objectives
from reports.figures.png import refuse_other_figure, save
from reports.figures.samples import caption, choose_trials, draw_grid, read_sample, sample_path
from reports.tables import objective_rows, table5
from reports.tables.ablation_rows import KNOWN
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.table4 import build_table
from stvm.errors import USER_ERRORS, StvmError, told_of
from stvm.option_parser import OneLineParser
from stvm.records.manifest import choose_manifest
from stvm.records.record import RecordReader, read_records


def _grid(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, KNOWN, study)
    trials = choose_trials(results, manifest.trials)
    # The records tell the version: one with a later schema is refused here.
    reader = RecordReader(results)
    for trial in trials.values():
        reader.record(trial.hash)
    samples = {row: read_sample(sample_path(results, trial)) for row, trial in trials.items()}
    return draw_grid(samples, f"{manifest.title}: {caption(trials)}")


def _bars(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, KNOWN, study)
    return draw_bars(build_table(manifest, read_records(results, manifest)))


def _sensitivity(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, None, study, "hparam_grid")
    return draw_sensitivity(table5.build_table(manifest, read_records(results, manifest)))


def _variance(results: Path, study: str | None) -> Figure:
    base = choose_manifest(results, None, study, "variance").base
    chosen = ChosenStudies(results, {"variance": base})
    manifest, records = chosen["variance"]
    return draw_variance(manifest, records, chosen.ablation_of(manifest))


def _silhouette(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, None, study, "silhouette")
    return draw_silhouette(manifest, read_records(results, manifest))


def _objectives(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, None, study, "objectives")
    return draw_objectives(objective_rows.build_table(manifest, read_records(results, manifest)))


FIGURES = {
    "bars": ("Table IV as dots", _bars),
    "sensitivity": ("Table V as curves", _sensitivity),
    "variance": ("Table VI as dots", _variance),
    "silhouette": ("Table VII over mIoU", _silhouette),
    "objectives": ("Table VIII as dots", _objectives),
}
"""Help text and function of each option."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(prog="make_figure.py", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="images and predictions; without any option: RESULTS/adaptation.png",
    )
    for name, (about, _) in FIGURES.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=about)
    parser.add_argument("--study", metavar="BASE", help="default: the study updated last")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 after one line on stderr."""
    arguments = _arguments(argv)
    results, study, out = arguments.results, arguments.study, arguments.out
    wanted = {name: path for name in FIGURES if (path := getattr(arguments, name))}
    if not (wanted or out):
        out = results / "adaptation.png"
    try:
        paths = [path for path in (*wanted.values(), out) if path]
        for path in paths:
            refuse_other_figure(path)
            if paths.count(path) > 1:
                raise StvmError(f"{path} is named for two figures: name a file for each")
        for name, path in wanted.items():
            save(FIGURES[name][1](results, study), path)
        if out:
            save(_grid(results, study), out)
    except USER_ERRORS as error:
        print(f"make_figure: {told_of(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
