"""Table VIII as dots: each row's trials and mean, the highest mean first."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.sheets.notes import heading
from reports.tables.ablation_rows import ROWS, row_label
from reports.tables.objective_rows import Line, Table

REFERENCES = ("Source", "AdaBN", "STvM")
"""Rows whose means are lines from top to bottom."""
LEGEND = (
    "Circles: trials. Diamond: mean, with 95 % t interval; filled: a row of Table IV, open: rate "
    "chosen without labels. Triangle: mean with the oracle's rate. Lines: Source, AdaBN, STvM."
)
"""What the marks mean."""


def from_the_best(table: Table) -> list[Line]:
    """Rows that have a mean, the highest first."""
    known = [line for line in table.lines if line.row.estimate.mean is not None]
    return sorted(known, key=lambda line: line.row.estimate.mean or 0.0, reverse=True)


def _draw_row(axes: Axes, y: int, line: Line) -> None:
    values = [100 * value for value in line.row.values.values()]
    axes.plot(values, [y] * len(values), "o", color="0.5", markersize=3.5, mfc="none")
    estimate = line.row.estimate
    if estimate.low is not None and estimate.high is not None:
        axes.plot([100 * estimate.low, 100 * estimate.high], [y, y], "|-", color="black", lw=1.2)
    ours = line.row.name in ROWS
    for row, marker, face in (
        (line.oracle, "^", "white"),
        (line.row, "D", "black" if ours else "white"),
    ):
        if row is not None and row.estimate.mean is not None:
            axes.plot(100 * row.estimate.mean, y, marker, color="black", mfc=face, markersize=5)
    axes.text(1.01, y, f"{100 * (estimate.mean or 0.0):.1f}", va="center", fontsize=8,
              transform=axes.get_yaxis_transform())  # fmt: skip


def draw_objectives(table: Table) -> Figure:
    """All rows of Table VIII that have a figure, mIoU in per cent."""
    lines = from_the_best(table)
    figure = Figure(figsize=(9, 1.6 + 0.22 * len(lines)), layout="constrained")
    axes = figure.subplots()
    for y, line in enumerate(lines):
        _draw_row(axes, y, line)
        if line.row.name in REFERENCES and line.row.estimate.mean is not None:
            axes.axvline(100 * line.row.estimate.mean, color="0.6", lw=0.8, ls=":", zorder=0)
    axes.set_yticks(range(len(lines)), [row_label(line.row.name) for line in lines], fontsize=8)
    axes.set_ylim(len(lines) - 0.5, -0.6)
    axes.set_xlabel("mIoU on the target, %")
    axes.grid(axis="x", color="0.93")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("\n".join(textwrap.wrap(LEGEND, 110)), fontsize=8)
    figure.suptitle(f"{heading(table.manifest)}{table.pooled.named(', ')}", fontsize=9, wrap=True)
    return figure
