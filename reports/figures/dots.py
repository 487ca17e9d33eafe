"""Dot plots, readable in black and white: Tables IV, VI and VII."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.sheets.notes import heading
from reports.sheets.rows import Records, Row, collect, pool
from reports.tables import table4, table6, table7
from reports.tables.ablation_rows import ROWS
from reports.tables.table4 import Line, Table
from stvm.records.manifest import Manifest
from stvm.statistics import Estimate, pooled_seed_variance

_MARKERS = dict(zip(table7.NAMES, ("v", "s", "D"), strict=True))


def draw_mean(axes: Axes, y: int, estimate: Estimate, face: str = "black") -> None:
    """A mean as a diamond with its t interval as a bar, in per cent; nothing where there is none.

    Args:
        axes: plot to draw in.
        y: place of the row.
        estimate: mean and interval, as fractions.
        face: colour inside the diamond.
    """
    if estimate.mean is None:
        return
    if estimate.low is not None and estimate.high is not None:
        ends = [100 * estimate.low, 100 * estimate.high]
        axes.plot(ends, [y, y], "|-", color="black", linewidth=1.2)
    axes.plot(100 * estimate.mean, y, "D", color="black", mfc=face, markersize=5)


def _draw_measured_rows(axes: Axes, lines: Sequence[Line]) -> None:
    for y, line in enumerate(lines):
        values = [100 * value for value in line.measured.values.values()]
        axes.plot(values, [y + 0.2] * len(values), "o", color="0.5", markersize=3.5, mfc="none")
        draw_mean(axes, y, line.measured.estimate)
        mean = line.measured.estimate.mean
        if mean is not None:
            axes.text(100 * mean, y - 0.22, f"{100 * mean:.1f}", ha="center", fontsize=8)


def _draw_published_rows(axes: Axes, lines: Sequence[Line]) -> None:
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
    _draw_measured_rows(measured, lines)
    _draw_published_rows(paper, lines)
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


def draw_variance(
    manifest: Manifest, records: Records, ablation: tuple[Manifest, Records] | None
) -> Figure:
    """Every trial of each row about its realisation's mean, and published sds about 0.

    Args:
        manifest: list of the trials of a variance study.
        records: record of each trial; None where there is none.
        ablation: ablation with the same settings; its rows with two seeds or more stand above.
    """
    row = collect(pool(records).records, names=(table6.NAME,))[table6.NAME]
    rows = [*(table6.beside(row, ablation[1]).values() if ablation else ()), row]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for y, one in enumerate(rows):
        _draw_deviations(left, y, one)
    left.set_yticks(range(len(rows)), [one.name for one in rows])
    left.set_title("Measured: each seed about its mean (circles), sd (bar)", fontsize=9)
    paper = table6.published_seeds()
    for y, published in enumerate(paper):
        right.plot([-published.sd, published.sd], [y, y], "|-", color="black", linewidth=1.2)
        right.text(published.sd, y, f"  {published.sd:.2f}", va="center", fontsize=8)
    right.set_yticks(range(len(paper)), [published.name for published in paper])
    right.set_title("Paper, five seeds, GTA5 to Cityscapes: sd (bar)", fontsize=9)
    for axes, count in ((left, len(rows)), (right, len(paper))):
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_xlabel("mIoU about the mean, points")
        axes.grid(axis="x", color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(heading(manifest), fontsize=9, wrap=True)
    return figure


def _draw_deviations(axes: Axes, y: int, row: Row) -> None:
    parts: dict[int, list[float]] = {}
    for (realisation, _), value in row.values.items():
        parts.setdefault(realisation, []).append(100 * value)
    for values in parts.values():
        mean = sum(values) / len(values)
        axes.plot([v - mean for v in values], [y] * len(values), "o", color="0.4", mfc="none")
    sd = pooled_seed_variance(row.values).sd
    if sd is not None:
        axes.plot([-100 * sd, 100 * sd], [y, y], "|-", color="black", linewidth=1.2)
        axes.text(1.02, y, f"{100 * sd:.2f}", va="center", fontsize=8,
                  transform=axes.get_yaxis_transform())  # fmt: skip


def draw_silhouette(manifest: Manifest, records: Records) -> Figure:
    """Mean silhouettes over mIoU, measured and published, a marker for each row."""
    part = pool(records).records
    mious = collect(part, names=table7.NAMES)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, kinds in zip(panels[:2], (table7.KINDS[:2], table7.KINDS[2:]), strict=True):
        for kind in kinds:
            _draw_silhouettes(axes, mious, collect(part, kind.of, table7.NAMES), kind.mean)
        axes.set_title(f"Measured, under {kinds[0].label.split(',')[0]}", fontsize=9)
    _draw_published_silhouettes(panels[2])
    panels[2].set_title("Paper, GTA5 to Cityscapes", fontsize=9)
    for axes in panels:
        axes.set_xlabel("mIoU on the target, %")
        axes.grid(color="0.93")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean silhouette x 100")
    panels[2].legend(fontsize=8, frameon=False, loc="best")
    figure.suptitle(
        f"{heading(manifest)}. Filled: overall mean; open: mean of the class means",
        fontsize=9,
        wrap=True,
    )
    return figure


def _draw_silhouettes(
    axes: Axes, mious: Mapping[str, Row], rows: Mapping[str, Row], mean: str
) -> None:
    for name, row in rows.items():
        keys = [key for key in row.values if key in mious[name].values]
        axes.plot(
            [100 * mious[name].values[key] for key in keys],
            [100 * row.values[key] for key in keys],
            linestyle="none",
            marker=_MARKERS[name],
            color="black",
            mfc="black" if mean == "overall_mean" else "none",
            markersize=5,
        )


def _draw_published_silhouettes(axes: Axes) -> None:
    mious = table4.published_ablation()
    for (name, mean), value in table7.published_silhouettes().items():
        filled, miou = mean == "overall_mean", mious[name].miou
        axes.plot(
            [] if miou is None else [miou],
            [] if miou is None else [value],
            linestyle="none",
            marker=_MARKERS[name],
            color="black",
            mfc="black" if filled else "none",
            markersize=6,
            label=name if filled else None,
        )
