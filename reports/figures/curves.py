"""Curves with the range of trials, readable in black and white: Fig. 1 and Table V."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.tables.fig1 import Curve
from reports.tables.table5 import Point, Table

_BAND = "0.85"
_TRIAL: dict[str, Any] = {
    "color": "0.45",
    "markersize": 3,
    "mfc": "none",
    "linestyle": "none",
    "marker": "o",
}
_OURS: dict[str, Any] = {"color": "black", "marker": "D", "markersize": 5, "linewidth": 1.3}
_PAPER: dict[str, Any] = {
    "color": "black",
    "marker": "s",
    "mfc": "white",
    "markersize": 5,
    "linewidth": 1,
}


def _band(axes: Axes, x: Sequence[float], values: Sequence[Sequence[float]], label: str) -> None:
    """Draw the range from the lowest to the highest value, and every value."""
    full = [(at, 100 * min(ys), 100 * max(ys)) for at, ys in zip(x, values, strict=True) if ys]
    if full:
        at, low, high = zip(*full, strict=True)
        axes.fill_between(at, low, high, color=_BAND, linewidth=0, label=label)
    for at_one, ys in zip(x, values, strict=True):
        axes.plot([at_one] * len(ys), [100 * y for y in ys], **_TRIAL)


def draw_fig1(curve: Curve) -> Figure:
    """mIoU by share of pseudo-labels: mean, band and every trial, Source as a line."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    have = {share: row for share, row in curve.shares.items() if row.values}
    shares = list(have)
    _band(axes, shares, [list(row.values.values()) for row in have.values()], "range of trials")
    means = [100 * float(np.mean(list(row.values.values()))) for row in have.values()]
    axes.plot(shares, means, **_OURS, label="self-training, mean")
    source = curve.source.estimate.mean
    if source is not None:
        axes.axhline(100 * source, color="black", linestyle="--", linewidth=1, label="Source, mean")
    title = f"{curve.manifest.title}{curve.pooled.named(': ')}"
    axes.set_title(title, fontsize=9, wrap=True)
    axes.set_xlabel("most confident share of the predictions used as pseudo-labels, %")
    axes.set_ylabel("mIoU on the target, %")
    axes.grid(color="0.93")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _draw_parameter(axes: Axes, name: str, points: Sequence[Point]) -> None:
    places = range(len(points))
    measured = [
        (x, [0.0] if point.default and point.measured.values else list(point.differences))
        for x, point in zip(places, points, strict=True)
    ]
    have = [(x, ys) for x, ys in measured if ys]
    axes.axhline(0, color="0.6", linewidth=0.8, linestyle=":")
    label = "range of paired differences"
    _band(axes, [x for x, _ in have], [ys for _, ys in have], label)
    axes.plot([x for x, _ in have], [100 * float(np.mean(ys)) for _, ys in have], **_OURS,
              label="measured, mean")  # fmt: skip
    paper = [
        (x, point.paper_delta or 0.0)
        for x, point in zip(places, points, strict=True)
        if point.paper is not None
    ]
    axes.plot([x for x, _ in paper], [y for _, y in paper], **_PAPER, linestyle="--",
              label="paper, GTA5 to Cityscapes")  # fmt: skip
    ours = [x for x, point in zip(places, points, strict=True) if point.default and
            point.measured.values]  # fmt: skip
    theirs = [x for x, point in zip(places, points, strict=True) if point.paper and
              point.paper.default]  # fmt: skip
    axes.plot(ours, [0.0] * len(ours), "o", color="black", mfc="none", markersize=13,
              label="default of the preset")  # fmt: skip
    axes.plot(theirs, [0.0] * len(theirs), "s", color="black", mfc="none", markersize=10,
              label="default of the paper")  # fmt: skip
    axes.set_title(name, fontsize=9)
    axes.set_xticks(list(places), [f"{point.value:g}" for point in points])
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="0.93")
    axes.spines[["top", "right"]].set_visible(False)


def _level(table: Table) -> str:
    references = [point.reference for point in table.points if point.reference]
    mean = references[0].estimate.mean if references else None
    published = [point.paper.miou for point in table.points if point.paper and point.paper.default]
    ours = "" if mean is None else f"measured {100 * mean:.1f}, "
    return f"mIoU of the defaults: {ours}paper {published[0]:.1f}"


def draw_sensitivity(table: Table) -> Figure:
    """A panel for each hyperparameter: difference to its default, measured beside published."""
    parameters = table.parameters()
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    rows = -(-(len(parameters) + 1) // 4)
    panels = figure.subplots(rows, 4, sharey=True, squeeze=False).ravel()
    for axes, (name, points) in zip(panels, parameters.items(), strict=False):
        _draw_parameter(axes, name, points)
    handles, labels = panels[0].get_legend_handles_labels()
    for axes in panels[len(parameters) :]:
        axes.set_axis_off()
    panels[-1].legend(handles, labels, loc="center", fontsize=8, frameon=False)
    figure.supylabel("mIoU less that of the default, points", fontsize=9)
    drawn = table.pooled.named(": ")
    figure.suptitle(f"{table.manifest.title}{drawn}; {_level(table)}", fontsize=9, wrap=True)
    return figure
