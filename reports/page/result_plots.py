"""Plots of results: IoU by class, Fig. 1, Tables V and VIII, and label-free scores against mIoU."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from reports.figures.curves import draw_fig1, draw_sensitivity
from reports.figures.objective_dots import LEGEND, draw_objectives, from_the_best
from reports.page.recorded_studies import Recorded
from reports.page.svg import PANEL, Plot, legend_above, line, panel, to_svg
from reports.sheets.cells import number
from reports.tables import table5
from reports.tables.ablation_rows import row_label
from reports.tables.fig1 import Curve
from reports.tables.objective_rows import Table
from reports.tables.score_ranking import SCORES, Group, by_realisation
from stvm.records.manifest import Manifest
from stvm.records.selection_scores import SelectionScore
from stvm.statistics import rank_correlation, selection_regret

_COMPARED = ("Source", "ST_MT", "STvM", "Oracle")


def _mean_iou(results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean IoU of each class in per cent, over the trials in which the class occurs."""
    found: dict[str, list[float]] = {}
    for result in results:
        pairs = zip(result.get("class_names") or [], result.get("iou") or [], strict=False)
        for name, value in pairs:
            if value is not None:
                found.setdefault(str(name), []).append(100 * value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def class_dots(recorded: Recorded, study: Manifest) -> Plot | None:
    """IoU of each class as dots, a marker a row: Source, ST_MT, STvM and the oracle."""
    rows = {r: _mean_iou([e.result for _, e in recorded.done(study, r)]) for r in _COMPARED}
    rows = {row: values for row, values in rows.items() if values}
    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    if not names:
        return None
    figure, axes = panel((7.2, 0.27 * len(names) + 0.9))
    for y, name in enumerate(names):
        found = [values[name] for values in rows.values() if name in values]
        axes.plot([min(found), max(found)], [y, y], color="0.8", linewidth=1, zorder=1)
    for row, values in rows.items():
        how = line(row)
        axes.plot(
            *([values.get(name, math.nan) for name in names], range(len(names))),
            marker=how.marker,
            color=how.colour,
            linestyle="none",
            mfc=how.colour if row in ("STvM", "Oracle") else "white",
            markersize=6.5,
            label=row_label(row),
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("IoU, % (mean over the trials)")
    axes.grid(axis="y", visible=False)
    legend_above(axes, 4)
    text = [
        f"{name}: " + ", ".join(f"{r} {v[name]:.0f}" for r, v in rows.items() if name in v)
        for name in names
    ]
    alt = f"IoU of each class in per cent. {'; '.join(text)}"
    caption = "IoU of each class, mean over the trials of a row."
    return Plot(to_svg(figure, "classes", alt, 0.75), caption, wide=True)


def share_curve(curve: Curve) -> Plot | None:
    """Fig. 1 as measured; None where no share is done."""
    means = {f"{x:g}": row.estimate.mean for x, row in curve.shares.items()}
    known = [f"{share} %: {100 * mean:.1f}" for share, mean in means.items() if mean is not None]
    if not known:
        return None
    source = curve.source.estimate.mean
    known += [] if source is None else [f"Source: {100 * source:.1f}"]
    alt = f"mIoU in per cent by share of pseudo-labels: {', '.join(known)}"
    caption = (
        "Fig. 1, measured. The paper gives no numbers for its Fig. 1, so no published curve "
        "stands beside it."
    )
    return Plot(to_svg(draw_fig1(curve), "fig1", alt), caption)


def sensitivity(table: table5.Table) -> Plot | None:
    """A panel for each hyperparameter, measured beside published; None where nothing is done."""
    if not any(point.measured.values for point in table.points):
        return None
    texts = []
    for name, points in table.parameters().items():
        means = [(p.value, p.measured.estimate.mean) for p in points]
        texts.append(f"{name}: " + ", ".join(f"{v:g} {100 * m:.1f}" for v, m in means if m))
    alt = f"Measured mIoU in per cent by hyperparameter. {'; '.join(texts)}"
    caption = (
        "mIoU less that of the default, in points: measured (diamonds, with the range of trials) "
        "beside published (open squares)."
    )
    return Plot(to_svg(draw_sensitivity(table), "sensitivity", alt, 0.8), caption, wide=True)


def objectives(table: Table) -> Plot | None:
    """The rows of Table VIII as dots, the best first; None where nothing is done."""
    pairs = from_the_best(table)
    if not pairs:
        return None
    texts = [f"{row_label(line.row.name)} {mean:.1f}" for mean, line in pairs]
    alt = f"mIoU in per cent of each row of Table VIII, the best first: {', '.join(texts)}"
    caption = f"Table VIII, measured. {LEGEND}"
    return Plot(to_svg(draw_objectives(table), "objectives", alt, 0.8), caption, wide=True)


Points = list[tuple[float, float]]
"""Score (higher is better) and mIoU of trials."""


def _draw_points(axes: Axes, sign: int, points: Points, label: str, **style: Any) -> None:
    """Draw mIoU in per cent against the score as it is recorded."""
    x, y = [sign * score for score, _ in points], [100 * miou for _, miou in points]
    if points:
        axes.plot(x, y, linestyle="none", label=label, **style)


def _score_plot(group: Group, score: SelectionScore) -> Plot:
    collapsed = {trial.hash for trial, record in group.done if record.collapsed}
    whole: Points = []
    fallen: Points = []
    scored = group.scored(score)
    for trial, value, miou in scored:
        (fallen if trial.hash in collapsed else whole).append((value, miou))
    pairs = by_realisation(scored)
    chosen = [max(points, key=lambda p: p[0]) for points in pairs.values()]
    best = [max(points, key=lambda p: p[1]) for points in pairs.values()]
    figure, axes = panel(PANEL)
    sign = 1 if score.higher_is_better else -1
    grey = {"color": "0.35", "mfc": "none", "markersize": 5}
    _draw_points(axes, sign, whole, "trial", marker="o", **grey)
    _draw_points(axes, sign, fallen, "collapsed", marker="x", **grey)
    _draw_points(axes, sign, chosen, "chosen by the score", marker="D", color="black", markersize=7)
    _draw_points(axes, sign, best, "best (oracle)", marker="s", color="black", mfc="none",
                 markersize=11)  # fmt: skip
    direction = "higher" if score.higher_is_better else "lower"
    axes.set(xlabel=f"{score.label} ({direction} taken as better)", ylabel="mIoU, % (oracle)")
    legend_above(axes, 2)
    caption = _score_caption(score, pairs)
    return Plot(to_svg(figure, f"score-{score.name}", caption), caption)


def _score_caption(score: SelectionScore, pairs: dict[int, Points]) -> str:
    rho, regret = rank_correlation(pairs).rho, selection_regret(pairs)
    texts = ["undefined" if rho is None else number(rho, 1, sign=True, digits=2)]
    texts += [f"choosing by it loses {number(regret.chosen)} points of mIoU"] if regret else []
    return f"{score.label.capitalize()}: Spearman's correlation with mIoU {'; '.join(texts)}."


def score_plots(group: Group) -> list[Plot]:
    """Each label-free score against mIoU over the trials of a group that have it."""
    return [_score_plot(group, score) for score in SCORES if len(group.scored(score)) > 1]
