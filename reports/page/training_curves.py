"""Curves over the iterations: training with seed bands, and the watch for collapse."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from reports.page.recorded_studies import Entry, Recorded
from reports.page.svg import Plot, legend_above, line, panel, to_svg
from stvm.records.manifest import Manifest, Trial

_MEASURES = {
    "loss": "self-training loss",
    "metric_loss": "metric loss",
    "reliability": "mean reliability",
    "selected": "share of pixels selected",
    "metric_pixels": "pixels that a class gave to the metric network",
    "distance": "mean distance",
    "banked": "patches banked so far",
    "pasted": "share of the image pasted over",
    "kept": "share of pixels that an objective labels",
    "teacher_moves": "moves of the teacher so far",
    "rate": "effective learning rate",
}
_HATCHES = ("", "//", "..", "\\\\")
_NAMED = 7
_APART = 0.06
"""Distance of two names, as a share of the height."""


@dataclass(frozen=True)
class Band:
    """A measure over the iterations, of several trials.

    Attributes:
        x: iterations.
        mean: mean over the trials at each iteration.
        low: lowest value at each iteration.
        high: highest value at each iteration.
        trials: number of trials that have the measure.
    """

    x: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]
    trials: int


def band(curves: Iterable[Iterable[tuple[int, float]]]) -> Band:
    """Band of curves of (iteration, value); at an iteration the curves count that have it."""
    at: dict[int, list[float]] = defaultdict(list)
    curves = [list(curve) for curve in curves]
    for curve in curves:
        for iteration, value in curve:
            at[iteration].append(value)
    x = sorted(at)
    values = [at[i] for i in x]
    return Band(
        x,
        [sum(v) / len(v) for v in values],
        [min(v) for v in values],
        [max(v) for v in values],
        sum(bool(curve) for curve in curves),
    )


def effective_classes(shares: Iterable[float]) -> float:
    """Effective number of classes, exp of the entropy of the shares; k for k equal shares."""
    array = np.asarray(list(shares), dtype=np.float64)
    array = array[array > 0]
    return float(np.exp(-(array * np.log(array)).sum()))


def _curve(entry: Entry, measure: str) -> list[tuple[int, float]]:
    """Points of a measure; none where it never changes because its part is off."""
    curve = [(p["iteration"], p[measure]) for p in entry.curve if p.get(measure) is not None]
    still = len({value for _, value in curve}) == 1 and curve[0][1] in (0, 1)
    return [] if still else curve


def _watch(entry: Entry) -> list[tuple[int, float]]:
    return [(p["iteration"], effective_classes(p["shares"])) for p in entry.watch]


def _draw(axes: Axes, bands: dict[str, Band]) -> None:
    for number, (row, found) in enumerate(bands.items()):
        how = line(row, number)
        axes.fill_between(found.x, found.low, found.high, color=how.colour, alpha=0.15, lw=0)
        axes.plot(
            *(found.x, found.mean),
            color=how.colour,
            linestyle=how.style,
            marker=how.marker,
            markevery=(number * max(1, len(found.x) // 24), max(1, len(found.x) // 5)),
            markersize=5,
            linewidth=1.4,
            label=row,
        )
    axes.set_xlabel("iteration")
    axes.margins(x=0.02)
    legend_above(axes, 3)


def _bands(
    recorded: Recorded,
    study: Manifest,
    curve: Callable[[Entry], list[tuple[int, float]]],
) -> dict[str, Band]:
    rows = dict.fromkeys(trial.variant for trial in study.trials)
    found = {r: band(curve(e) for _, e in recorded.done(study, r)) for r in rows}
    return {row: values for row, values in found.items() if values.x}


def _plot(recorded: Recorded, study: Manifest, name: str, label: str) -> Plot | None:
    def curve(entry: Entry) -> list[tuple[int, float]]:
        return _watch(entry) if name == "watch" else _curve(entry, name)

    bands = _bands(recorded, study, curve)
    if not bands:
        return None
    figure, axes = panel()
    _draw(axes, bands)
    axes.set_ylabel(label)
    if name == "watch":
        start = max(found.mean[0] for found in bands.values())
        axes.axhline(start / 2, color="0.3", linewidth=0.9, linestyle=(0, (1, 2)))
        axes.set_ylim(bottom=0)
        axes.annotate("half of the start: collapsed below", (0.99, start / 2), va="bottom",
                      xycoords=("axes fraction", "data"), ha="right", fontsize=8)  # fmt: skip
    ends = ", ".join(f"{row} {found.mean[-1]:.3g}" for row, found in bands.items())
    alt = f"{label} over the iterations; at the end: {ends}"
    counts = sorted({found.trials for found in bands.values()})
    trials = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    caption = f"{label.capitalize()}. Mean of {trials} trials a row; band: lowest to highest."
    if counts == [1]:
        caption = f"{label.capitalize()}. One trial a row, so no band."
    return Plot(to_svg(figure, f"{study.study}-{name}", alt), caption)


def training_curves(recorded: Recorded, study: Manifest) -> list[Plot]:
    """A plot for each measure that a trial of the study has; a row has its line and marker."""
    plots = [_plot(recorded, study, name, label) for name, label in _MEASURES.items()]
    return [plot for plot in plots if plot]


def collapse_watch(recorded: Recorded, study: Manifest) -> list[Plot]:
    """Effective number of predicted classes, then the shares of one trial and of a collapsed one.

    The trial is the first of STvM, or else the last one that has been watched.
    """
    summary = _plot(recorded, study, "watch", "effective number of classes")
    if summary is None:
        return []
    rows = list(dict.fromkeys(trial.variant for trial in study.trials))
    watched = [pair for row in rows for pair in recorded.done(study, row) if pair[1].watch]
    stvm = [pair for pair in watched if pair[0].variant == "STvM"]
    shown = {entry.hash: (trial, entry) for trial, entry in [(stvm or watched[-1:])[0]]}
    for trial in (trial for other in recorded.studies for trial in other.trials):
        entry = recorded.entries[trial.hash]
        if entry.collapsed and entry.watch:
            shown.setdefault(trial.hash, (trial, entry))
            break
    return [summary, *(_shares(trial, entry) for trial, entry in shown.values())]


def _largest(
    shares: NDArray[np.float64], names: list[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """Shares and names of the largest classes, largest first, and of all others as one."""
    order = np.argsort(-shares.mean(axis=1), kind="stable")
    kept, others = order[:_NAMED], order[_NAMED:]
    parts, labels = shares[kept], [names[c] for c in kept]
    if len(others) and shares[others].max() > 0:
        parts = np.vstack([parts, shares[others].sum(axis=0)])
        labels.append(f"{len(others)} others")
    return parts, labels


def _shares(trial: Trial, entry: Entry) -> Plot:
    """Stacked shares of the predicted classes; hatches tell neighbours apart without colour."""
    points = entry.watch
    x = [p["iteration"] for p in points]
    shares = np.asarray([p["shares"] for p in points], dtype=np.float64).T
    given = entry.result.get("correspondence") or {}
    names = given.get("source") or entry.result.get("class_names")
    names = names or [f"class {c}" for c in range(len(shares))]
    parts, labels = _largest(shares, [str(name) for name in names])
    figure, axes = panel((4.9, 3.1))
    areas = axes.stackplot(x, parts, edgecolor="0.15", linewidth=0.5)
    for number, area in enumerate(areas):
        area.set_facecolor(("#ffffff", "#b9cfe8", "#e2e2e2", "#8fa9c4")[number % 4])
        area.set_hatch(_HATCHES[(number // 2) % len(_HATCHES)])
    _name_areas(axes, labels, parts[:, -1])
    axes.set(xlim=(x[0], x[-1]), ylim=(0, 1), xlabel="iteration", ylabel="share of pixels")
    mark = " (collapsed)" if entry.collapsed else ""
    title = trial.label(", ", mark)
    ends = zip(labels, parts[:, -1], strict=True)
    ends_text = ", ".join(f"{label} {100 * share:.0f} %" for label, share in ends)
    alt = f"Shares of the predicted classes of {title}; at the end: {ends_text}"
    caption = f"Predicted classes of {title}, on a few fixed target images; labels at the end."
    return Plot(to_svg(figure, f"shares-{trial.hash}", alt), caption)


def _name_areas(axes: Axes, names: list[str], ends: NDArray[np.float64]) -> None:
    """Class names at the right end, moved apart where they would overlap."""
    places = np.cumsum(ends) - ends / 2
    for number in range(1, len(places)):
        places[number] = max(places[number], places[number - 1] + _APART)
    places[-1] = min(places[-1], 1.0)
    for number in range(len(places) - 2, -1, -1):
        places[number] = min(places[number], places[number + 1] - _APART)
    for name, place in zip(names, places, strict=True):
        axes.annotate(name, (1.01, place), xycoords="axes fraction", va="center", fontsize=8,
                      annotation_clip=False)  # fmt: skip
