"""Dot plots, readable in black and white: Table VI by seed, Table VII beside mIoU."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.sheets.notes import heading
from reports.sheets.rows import Records, Row, collect, pool
from reports.tables import table4, table6, table7
from stvm.records.manifest import Manifest
from stvm.statistics.seed_variance import pooled_seed_variance

_MARKERS = dict(zip(table7.NAMES, ("v", "s", "D"), strict=True))


def draw_variance(
    manifest: Manifest, records: Records, ablation: tuple[Manifest, Records] | None
) -> Figure:
    """Every trial of each row about its realisation's mean, and published sds about 0.

    Args:
        manifest: of a variance study.
        records: of its trials.
        ablation: of the same settings; its rows with two seeds or more stand above.
    """
    row = collect(pool(records).records, names=(table6.NAME,))[table6.NAME]
    rows = [*(table6.beside(row, ablation[1]).values() if ablation else ()), row]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for y, one in enumerate(rows):
        _draw_deviations(left, y, one)
    left.set_yticks(range(len(rows)), [one.name for one in rows])
    left.set_title("Measured: each seed about its mean (circles), sd (bar)", fontsize=9)
    paper = table6.read_paper()
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
            _draw_measured(axes, mious, collect(part, kind.of, table7.NAMES), kind.mean)
        axes.set_title(f"Measured, under {kinds[0].label.split(',')[0]}", fontsize=9)
    _draw_published(panels[2])
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


def _draw_measured(
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


def _draw_published(axes: Axes) -> None:
    mious = table4.read_paper()
    for (name, mean), value in table7.read_paper().items():
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
