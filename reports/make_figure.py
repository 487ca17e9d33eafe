"""`python reports/make_figure.py`: what adaptation looks like, and Tables IV and V drawn."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.curves import draw_sensitivity
from reports.figures.dots import draw_silhouette, draw_variance
from reports.figures.png import save
from reports.tables import table5
from reports.tables.catalogue import Chosen
from reports.tables.table4 import KNOWN, ROWS, Line, Table, build_table
from stvm.errors import StvmError
from stvm.files import unreadable
from stvm.records.manifest import Trial, choose_manifest
from stvm.records.record import read_records
from stvm.statistics.paired import order

SHOWN = ("Source", "ST_MT", "STvM")
IMAGES = 3
IGNORE_INDEX = 255


@dataclass(frozen=True)
class Sample:
    """Predictions of one trial on a few images; k images of H x W pixels.

    Attributes:
        images: (k, H, W, 3) uint8.
        labels: (k, H, W) uint8, 255 ignored; for evaluation only.
        predictions: (k, H, W) uint8.
        palette: (C, 3) uint8.
        miou: fraction, of the trial and not of these images.
        reliability: (k, H, W) from 0 to 1; None for a trial without metric network.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    predictions: NDArray[np.uint8]
    palette: NDArray[np.uint8]
    miou: float
    reliability: NDArray[np.float32] | None


def read_sample(path: Path) -> Sample:
    """One file of samples.

    Raises:
        StvmError: unreadable, an array missing or of another shape than the images.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        sample = Sample(
            arrays["images"],
            arrays["labels"],
            arrays["predictions"],
            arrays["palette"],
            float(arrays["miou"]),
            arrays.get("reliability"),
        )
    except KeyError as error:
        raise StvmError(f"cannot read {path}: no array {error}; evaluate the trial again") from None
    except (OSError, ValueError, EOFError, BadZipFile, TypeError, MemoryError) as error:
        raise unreadable(path, error, "move it away and run the trial again") from None
    maps = [sample.labels, sample.predictions]
    maps += [] if sample.reliability is None else [np.asarray(sample.reliability)]
    if sample.images.ndim != 4 or any(a.shape != sample.images.shape[:3] for a in maps):
        raise StvmError(f"cannot read {path}: shapes of images and maps differ")
    return sample


def choose_trials(results: Path, trials: Sequence[Trial]) -> dict[str, Trial]:
    """The trial of each shown row: fresh realisations first, then the lowest numbers.

    Raises:
        StvmError: no realisation and seed for which every shown row has samples.
    """
    have = {
        (t.variant, t.realisation, t.seed): t
        for t in trials
        if t.variant in SHOWN and (results / "samples" / f"{t.hash}.npz").exists()
    }
    last = [t for t in have.values() if t.variant == SHOWN[-1]]
    for t in sorted(last, key=lambda t: (t.tuned, order((t.realisation, t.seed)))):
        keys = [[(row, t.realisation, seed) for seed in (t.seed, None)] for row in SHOWN]
        found = [next((have[k] for k in pair if k in have), None) for pair in keys]
        if all(found):
            return {trial.variant: trial for trial in found if trial}
    raise StvmError(
        f"no samples of {', '.join(SHOWN)} with one realisation and seed in {results / 'samples'}: "
        "run `python studies/ablation.py` first"
    )


def _coloured(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    coloured: NDArray[np.uint8] = table[labels]
    return coloured


def _correctness(sample: Sample) -> NDArray[np.float64]:
    right = (sample.labels == sample.predictions).astype(np.float64)
    return np.where(sample.labels == IGNORE_INDEX, 0.6, right)


def picture_columns(samples: dict[str, Sample]) -> list[tuple[str, NDArray[np.generic]]]:
    """Title and k pictures of each column: uint8 colours, or grey from 0 to 1."""
    first, last = samples[SHOWN[0]], samples[SHOWN[-1]]
    columns: list[tuple[str, NDArray[np.generic]]] = [
        ("Target image", first.images),
        ("Label\n(evaluation only)", _coloured(first.labels, first.palette)),
    ]
    for name, sample in samples.items():
        title = f"{name}\nmIoU {100 * sample.miou:.1f}"
        columns.append((title, _coloured(sample.predictions, sample.palette)))
    if last.reliability is not None:
        columns.append((f"{SHOWN[-1]} reliability\nblack 0, white 1", last.reliability))
    columns.append((f"{SHOWN[-1]} errors\nblack wrong, grey ignored", _correctness(last)))
    return columns


def draw_grid(samples: dict[str, Sample], caption: str) -> Figure:
    """Three images, a row each: image, label, predictions, reliability, errors.

    Raises:
        StvmError: the samples show different images.
    """
    first = samples[SHOWN[0]]
    for name, sample in samples.items():
        if not np.array_equal(sample.images, first.images):
            raise StvmError(f"samples of {name} and {SHOWN[0]} show different images: run both")
    columns = picture_columns(samples)
    rows = min(IMAGES, len(first.images))
    height, width = first.images.shape[1:3]
    size = 1.75
    figure = Figure(
        figsize=(size * len(columns), size * rows * height / width + 0.75), layout="constrained"
    )
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=9)
        for row in range(rows):
            axes[row, column].imshow(
                pictures[row], cmap="gray", vmin=0, vmax=1, interpolation="nearest"
            )
            axes[row, column].set_axis_off()
    figure.supxlabel(caption, fontsize=8, wrap=True)
    return figure


def _draw_measured(axes: Axes, lines: Sequence[Line]) -> None:
    for y, line in enumerate(lines):
        values = [100 * value for value in line.measured.values.values()]
        axes.plot(values, [y + 0.2] * len(values), "o", color="0.5", markersize=3.5, mfc="none")
        estimate = line.measured.estimate
        mean, low, high = estimate.mean, estimate.low, estimate.high
        if mean is None:
            continue
        if low is not None and high is not None:
            axes.plot([100 * low, 100 * high], [y, y], "|-", color="black", linewidth=1.2)
        axes.plot(100 * mean, y, "D", color="black", markersize=5)
        axes.text(100 * mean, y - 0.22, f"{100 * mean:.1f}", ha="center", fontsize=8)


def _draw_paper(axes: Axes, lines: Sequence[Line]) -> None:
    for y, row in enumerate(lines):
        if row.paper.miou is not None:
            axes.plot(row.paper.miou, y, "s", color="black", mfc="white", markersize=6)
            axes.text(row.paper.miou, y - 0.22, f"{row.paper.miou:.1f}", ha="center", fontsize=8)
        else:
            axes.text(0.5, y, "not in the paper", transform=axes.get_yaxis_transform(),
                      ha="center", va="center", fontsize=8, color="0.4")  # fmt: skip


def draw_bars(table: Table) -> Figure:
    """Table IV as dots: measured on the left, published on the right, one scale."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    measured, paper = figure.subplots(1, 2, sharex=True, sharey=True)
    lines = table.lines
    _draw_measured(measured, lines)
    _draw_paper(paper, lines)
    measured.set_title(
        f"Measured{table.pooled.named(', ')}\ndiamond: mean with 95 % t interval; circles: trials",
        fontsize=9,
    )
    paper.set_title("Paper, GTA5 to Cityscapes\n(other data and network)", fontsize=9)
    measured.set_yticks(range(len(lines)), [line.label for line in lines])
    measured.set_ylim(len(lines) - 0.5, -0.6)
    for axes in (measured, paper):
        axes.axhline(ROWS.index("AdaBN") - 0.5, color="0.6", linewidth=0.8, linestyle=":")
        axes.set_xlabel("mIoU on the target, %")
        axes.grid(axis="x", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _grid(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, KNOWN, study)
    trials = choose_trials(results, manifest.trials)
    samples = {
        row: read_sample(results / "samples" / f"{trial.hash}.npz") for row, trial in trials.items()
    }
    last = trials[SHOWN[-1]]
    mark = "used for tuning" if last.tuned else "fresh"
    drawn = f"realisation {last.realisation} ({mark}), " if last.drawn else ""
    return draw_grid(samples, f"{manifest.title}: {drawn}seed {last.seed}")


def _bars(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, KNOWN, study)
    return draw_bars(build_table(manifest, read_records(results, manifest)))


def _sensitivity(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, None, study, "hparam_grid")
    return draw_sensitivity(table5.build_table(manifest, read_records(results, manifest)))


def _variance(results: Path, study: str | None) -> Figure:
    base = choose_manifest(results, None, study, "variance").base
    chosen = Chosen(results, {"variance": base})
    manifest, records = chosen["variance"]
    return draw_variance(manifest, records, chosen.ablation_of(manifest))


def _silhouette(results: Path, study: str | None) -> Figure:
    manifest = choose_manifest(results, None, study, "silhouette")
    return draw_silhouette(manifest, read_records(results, manifest))


FIGURES = {
    "bars": ("Table IV as dots", _bars),
    "sensitivity": ("Table V as curves", _sensitivity),
    "variance": ("Table VI as dots", _variance),
    "silhouette": ("Table VII over mIoU", _silhouette),
}
"""Option to what it draws."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make_figure.py", description=__doc__)
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
    """Returns 0, or 2 after one line on stderr."""
    arguments = _arguments(argv)
    results, study, out = arguments.results, arguments.study, arguments.out
    wanted = {name: path for name in FIGURES if (path := getattr(arguments, name))}
    if not (wanted or out):
        out = results / "adaptation.png"
    try:
        for name, path in wanted.items():
            save(FIGURES[name][1](results, study), path)
        if out:
            save(_grid(results, study), out)
    except StvmError as error:
        print(f"make_figure: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
