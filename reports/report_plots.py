"""Plots of results: IoU of each class, Fig. 1, and label-free scores against mIoU."""

import math
from typing import Any

from scipy import stats

from reports.manifests import Manifest
from reports.paired import estimate
from reports.report_data import Entry, Recorded
from reports.report_svg import PANEL, Plot, line, panel, to_svg
from reports.table4 import LABELS
from stvm.objectives import OBJECTIVES, Objective

_COMPARED = ("Source", "ST_MT", "STvM", "Oracle")


def _mean_iou(results: list[dict[str, Any]]) -> dict[str, float]:
    """Per cent by class, over the trials in which the class occurs."""
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
            label=LABELS.get(row, row),
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("IoU, % (mean over the trials)")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False, fontsize=9)
    text = [
        f"{name}: " + ", ".join(f"{r} {v[name]:.0f}" for r, v in rows.items() if name in v)
        for name in names
    ]
    alt = f"IoU of each class in per cent. {'; '.join(text)}"
    caption = "IoU of each class, mean over the trials of a row."
    return Plot(to_svg(figure, "classes", alt), caption, wide=True)


def _shares(study: Manifest) -> list[str]:
    rows = dict.fromkeys(trial.row for trial in study.trials if trial.row.isdecimal())
    return sorted(rows, key=int)


def share_curve(recorded: Recorded, study: Manifest) -> Plot | None:
    """Fig. 1: mIoU of plain self-training against the share of predictions it trains on."""
    found = {
        share: sorted(recorded.miou(study, share).items(), key=str) for share in _shares(study)
    }
    found = {share: values for share, values in found.items() if values}
    if not found:
        return None
    figure, axes = panel((5.6, 3.4))
    means = {s: estimate(v for _, v in values) for s, values in found.items()}
    x = [int(share) for share in means]
    for share, values in found.items():
        axes.plot([int(share)] * len(values), [v for _, v in values], "o", color="0.5",
                  markersize=3.5, mfc="none")  # fmt: skip
    y = [e.mean for e in means.values() if e.mean is not None]
    axes.plot(x, y, "D-", color="black", markersize=5, linewidth=1.4, label="self-training, mean")
    source = estimate(recorded.miou(study, "Source").values()).mean
    if source is not None:
        axes.axhline(source, color="black", linestyle=":", label="Source, not adapted")
    axes.set(xlabel="most confident predictions used as pseudo-labels, %", ylabel="mIoU, %")
    axes.set_xticks(x)
    axes.legend(frameon=False, fontsize=8.5)
    alt = "mIoU by share of pseudo-labels: " + ", ".join(
        f"{a} %: {b:.1f}" for a, b in zip(x, y, strict=True)
    )
    alt += "" if source is None else f"; source model {source:.1f}"
    caption = (
        "Fig. 1, measured: circles are trials, diamonds their mean. The paper gives no numbers "
        "for its Fig. 1, so no published curve stands beside it."
    )
    return Plot(to_svg(figure, "shares", alt), caption)


def _scored(recorded: Recorded, objective: Objective) -> list[tuple[float, float, Entry]]:
    pairs = []
    for entry in recorded.entries.values():
        adapted = entry.status == "done" and entry.result.get("curve")
        value = objective.value(entry.result) if adapted else None
        if value is not None:
            pairs.append((value, 100 * float(entry.result["miou"]), entry))
    return pairs


def _score_plot(objective: Objective, pairs: list[tuple[float, float, Entry]]) -> Plot:
    figure, axes = panel(PANEL)
    for kept, marker, label in ((False, "o", "trial"), (True, "x", "collapsed")):
        points = [(x, y) for x, y, e in pairs if e.collapsed == kept]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color="0.35", mfc="none", markersize=5,
                      label=label)  # fmt: skip
    sign = 1 if objective.higher_is_better else -1
    chosen = max(pairs, key=lambda p: (sign * p[0], p[2].hash))
    best = max(pairs, key=lambda p: (p[1], p[2].hash))
    axes.plot(*chosen[:2], "D", color="black", markersize=8, label="chosen by the score")
    axes.plot(*best[:2], "s", color="black", mfc="none", markersize=11, mew=1.6,
              label="best (oracle)")  # fmt: skip
    direction = "higher" if objective.higher_is_better else "lower"
    axes.set(
        xlabel=f"{objective.label} ({direction} is taken as better)", ylabel="mIoU, % (oracle)"
    )
    axes.legend(frameon=False, fontsize=8)
    rho = _spearman(pairs, sign)
    lost = best[1] - chosen[1]
    caption = (
        f"{objective.label.capitalize()}: Spearman correlation with mIoU {rho}, n = {len(pairs)}; "
        f"choosing by it loses {lost:.1f} points to the oracle's choice."
    )
    return Plot(to_svg(figure, f"score-{objective.name}", caption), caption)


def _spearman(pairs: list[tuple[float, float, Entry]], sign: int) -> str:
    xs, ys = [sign * x for x, _, _ in pairs], [y for _, y, _ in pairs]
    if len(set(xs)) < 2 or len(set(ys)) < 2:
        return "undefined"
    return f"{stats.spearmanr(xs, ys).statistic:+.2f}"


def score_plots(recorded: Recorded) -> list[Plot]:
    """Each label-free score against mIoU over all adapted trials that have it."""
    found = {o: _scored(recorded, o) for o in OBJECTIVES.values() if not o.oracle}
    return [_score_plot(o, pairs) for o, pairs in found.items() if len(pairs) > 1]
