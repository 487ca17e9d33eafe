"""Table VIII as dots: each row's trials and mean, the highest mean first."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.dots import draw_mean
from reports.sheets.notes import heading
from reports.tables.ablation_rows import ROWS, row_label
from reports.tables.objective_rows import Line, Table
from reports.tables.table8 import REFERENCES
from stvm.errors import StvmError

LEGEND = (
    "Circles: trials. Diamond: mean, with 95 % t interval; filled: a row of Table IV, open: rate "
    "chosen without labels. Triangle, below: mean with the oracle's rate. Lines: Source, AdaBN, "
    "STvM."
)
"""What the marks mean."""


def from_the_best(table: Table) -> list[tuple[float, Line]]:
    """Mean mIoU of each row that has one, in per cent, with the row; the highest first."""
    means = [(line.row.estimate.mean, line) for line in table.lines]
    known = [(100 * mean, line) for mean, line in means if mean is not None]
    return sorted(known, key=lambda pair: pair[0], reverse=True)


def _draw_row(axes: Axes, y: int, mean: float, line: Line) -> None:
    values = [100 * value for value in line.row.values.values()]
    axes.plot(values, [y] * len(values), "o", color="0.5", markersize=3.5, mfc="none")
    draw_mean(axes, y, line.row.estimate, "black" if line.row.name in ROWS else "white")
    if line.oracle and line.oracle.estimate.mean is not None:
        axes.plot(100 * line.oracle.estimate.mean, y + 0.3, "^", color="0.4", markersize=4)
    axes.text(1.01, y, f"{mean:.1f}", va="center", fontsize=8,
              transform=axes.get_yaxis_transform())  # fmt: skip


def draw_objectives(table: Table) -> Figure:
    """The rows of Table VIII that have a mean.

    Raises:
        StvmError: there is none.
    """
    pairs = from_the_best(table)
    if not pairs:
        raise StvmError(
            f"{heading(table.manifest)}: no row has a record yet, so there is nothing to draw"
        )
    figure = Figure(figsize=(9, 1.6 + 0.24 * len(pairs)), layout="constrained")
    axes = figure.subplots()
    for y, (mean, line) in enumerate(pairs):
        _draw_row(axes, y, mean, line)
        if line.row.name in REFERENCES:
            axes.axvline(mean, color="0.6", lw=0.8, ls=":", zorder=0)
    names = [row_label(line.row.name) for _, line in pairs]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("mIoU on the target, %")
    axes.grid(axis="x", color="0.93")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("\n".join(textwrap.wrap(LEGEND, 110)), fontsize=8)
    figure.suptitle(f"{heading(table.manifest)}{table.pooled.named(', ')}", fontsize=9, wrap=True)
    return figure
