"""Tables I and II: IoU of each class and their means, beside the published methods."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.sheets.cells import figure, mark, mean, measured_cells
from reports.sheets.rows import Row, collect
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables import scenario_cells
from reports.tables.scenario_rows import (
    VARIANTS,
    PaperRow,
    Part,
    Variant,
    class_iou,
    mean_iou,
    networks_of,
    read_paper,
)
from stvm.data.cityscapes import CITYSCAPES, CROSS_CITY, SYNTHIA


@dataclass(frozen=True)
class Mean:
    """A mean over classes.

    Attributes:
        names: of the classes.
        key: of the mean in a record.
        column: in the published file.
        head: above its column.
    """

    names: tuple[str, ...]
    key: str
    column: str
    head: str = "mIoU"


@dataclass(frozen=True)
class Layout:
    """What a table holds.

    Attributes:
        starred: classes that the first mean counts and the second does not.
        means: left to right; sd and n are of the last.
    """

    table: str
    title: str
    classes: tuple[str, ...]
    means: tuple[Mean, ...]
    notes: tuple[str, ...]

    @property
    def starred(self) -> frozenset[str]:
        """Classes that the last mean leaves out."""
        return frozenset(self.classes) - frozenset(self.means[-1].names)


_SLIP = (
    "The first two STvM rows are of DeepLabV2, in whose block they stand; that the paper names "
    "DeepLabV3 beside them is a slip."
)
LAYOUTS = {
    "1": Layout(
        "1",
        "Table I: GTA5 to Cityscapes",
        CITYSCAPES,
        (Mean(CITYSCAPES, "19", "miou"),),
        (_SLIP,),
    ),
    "2": Layout(
        "2",
        "Table II: SYNTHIA to Cityscapes",
        SYNTHIA,
        (Mean(SYNTHIA, "16", "miou16"), Mean(CROSS_CITY, "13", "miou13", "mIoU*")),
        (
            "mIoU: over 16 classes; mIoU*: over the 13 without those marked *, for methods that "
            "give no IoU of these too.",
            _SLIP,
            "The paper's header has a column Truck too many, a slip: its rows have 16 classes, "
            "and SYNTHIA has no truck.",
        ),
    ),
}


def columns(layout: Layout) -> tuple[Column, ...]:
    """Method, network, SF, classes, means, sd and n."""
    starred = layout.starred
    return (
        *scenario_cells.METHOD,
        scenario_cells.SOURCE_FREE,
        *(
            Column(
                scenario_cells.head(name) + "*" * (name in starred), "right", name.replace(" ", "_")
            )
            for name in layout.classes
        ),
        *(Column(m.head, "right", m.column) for m in layout.means),
        Column("sd", "right", f"{layout.means[-1].column}_std"),
        Column("n", "left", "n"),
    )


def _published(row: PaperRow, layout: Layout) -> tuple[Cell, ...]:
    keys = [name.replace(" ", "_") for name in layout.classes]
    figures = {name.replace(" ", "_"): value for name, value in row.figures.items()}
    return (
        *scenario_cells.published_names(row),
        scenario_cells.source_free(row.source_free),
        *(figure(figures[key], scale=1) for key in keys),
        *(figure(figures[m.column], scale=1) for m in layout.means),
        *(Cell(""), Cell("")),
    )


def _row(part: Part, variant: Variant, layout: Layout, of: Mean) -> Row:
    return collect(part.records, mean_iou(of.names, of.key, variant), [variant.row])[variant.row]


def _measured(part: Part, variant: Variant, layout: Layout) -> tuple[Cell, ...]:
    classes = [
        collect(part.records, class_iou(name, variant), [variant.row])[variant.row]
        for name in layout.classes
    ]
    *first, last = (_row(part, variant, layout, of) for of in layout.means)
    return (
        *scenario_cells.measured_names(variant, part.network),
        scenario_cells.source_free(True if variant.adapts else None),
        *(figure(row.estimate.mean, row.trials) for row in classes),
        *map(mean, first),
        *measured_cells(last),
    )


def sheet(table: str, parts: Sequence[Part]) -> Sheet:
    """Published rows of each network above the measured ones.

    Args:
        table: "1" or "2".
        parts: its studies, one a network.
    """
    layout = LAYOUTS[table]
    paper = read_paper(table)
    by_network = {part.network: part for part in parts}
    rows: list[tuple[Cell, ...]] = []
    breaks: list[int] = []
    published: list[int] = []
    for network in networks_of(parts):
        start = len(rows)
        breaks.append(start)
        rows += [_published(row, layout) for row in paper if row.network == network]
        published += range(start, len(rows))
        if network in by_network:
            breaks.append(len(rows))
            rows += [_measured(by_network[network], v, layout) for v in VARIANTS]
        for column in range(3, 3 + len(layout.classes) + len(layout.means)):
            rows = mark(rows, column, range(start, len(rows)))
    measured = [(v, _row(p, v, layout, layout.means[-1])) for p in parts for v in VARIANTS]
    return Sheet(
        f"table{table}",
        layout.title,
        scenario_cells.caption(parts),
        scenario_cells.rule(parts),
        columns(layout),
        tuple(rows),
        breaks=tuple(sorted(set(breaks) - {0})),
        notes=(
            f"{scenario_cells.NETS}; SF: source-free; w MST: with multi-scale testing.",
            scenario_cells.PUBLISHED,
            scenario_cells.SPREAD,
            scenario_cells.MARKS,
            *layout.notes,
            *scenario_cells.study_notes(parts, measured, scenario_cells.absent_networks(parts)),
        ),
        published_rows=tuple(published),
    )
