"""Tables of IoU by class and mean IoU, beside the published methods: Tables I and II."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports.sheets.cells import figure, mean, measured_cells
from reports.sheets.rows import Row, collect
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables import scenario_cells
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.published_rows import published
from reports.tables.scenario_rows import (
    PublishedMethod,
    Variant,
    class_iou,
    mean_iou,
    published_methods,
    variants_of,
)
from reports.tables.scenario_studies import STUDY, ScenarioStudy
from reports.tables.table_spec import TableSpec

SLIP = (
    "The first two STvM rows are of DeepLabV2, in whose block they stand; that the paper names "
    "DeepLabV3 beside them is a slip."
)
"""Note on a slip of the paper in both tables."""


@dataclass(frozen=True)
class Mean:
    """A mean over classes.

    Attributes:
        names: names of the classes.
        key: name of the mean in a record.
        column: name of the mean in the published file.
        head: text above its column.
    """

    names: tuple[str, ...]
    key: str
    column: str
    head: str = "mIoU"


@dataclass(frozen=True)
class Layout:
    """Columns and notes of a table.

    Attributes:
        table: number in the paper, "1" or "2".
        scenario: scenario of its studies.
        title: heading.
        classes: classes, a column each.
        means: means over classes, left to right; sd and n are of the last.
        notes: sentences on the table alone.
    """

    table: str
    scenario: str
    title: str
    classes: tuple[str, ...]
    means: tuple[Mean, ...]
    notes: tuple[str, ...]

    @property
    def starred(self) -> frozenset[str]:
        """Classes that the last mean leaves out."""
        return frozenset(self.classes) - frozenset(self.means[-1].names)


def scenario_table(layout: Layout) -> TableSpec:
    """The table with this layout."""

    def build(chosen: ChosenStudies) -> list[Sheet]:
        studies = chosen.of_scenario(layout.scenario)
        return [make_sheet(layout, studies)] if studies else []

    return TableSpec(layout.table, STUDY, build, layout.scenario)


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


def _published(row: PublishedMethod, layout: Layout) -> tuple[Cell, ...]:
    keys = [name.replace(" ", "_") for name in layout.classes]
    figures = {name.replace(" ", "_"): value for name, value in row.figures.items()}
    return (
        *scenario_cells.published_names(row),
        scenario_cells.source_free(row.source_free),
        *(published(figures[key]) for key in keys),
        *(published(figures[m.column]) for m in layout.means),
        *(Cell(""), Cell("")),
    )


def _mean_row(study: ScenarioStudy, variant: Variant, of: Mean) -> Row:
    return collect(study.records, mean_iou(of.names, of.key, variant), [variant.row])[variant.row]


def _measured(study: ScenarioStudy, variant: Variant, layout: Layout) -> tuple[Cell, ...]:
    classes = [
        collect(study.records, class_iou(name, variant), [variant.row])[variant.row]
        for name in layout.classes
    ]
    *first, last = (_mean_row(study, variant, of) for of in layout.means)
    return (
        *scenario_cells.measured_names(variant, study.network),
        scenario_cells.source_free(True if variant.adapts else None),
        *(figure(row.estimate.mean, row.trials) for row in classes),
        *map(mean, first),
        *measured_cells(last),
    )


def make_sheet(layout: Layout, studies: Sequence[ScenarioStudy]) -> Sheet:
    """Published rows of each network above the measured ones.

    Args:
        layout: layout of the table.
        studies: studies of its scenario, one a network.
    """
    paper = published_methods(layout.table)
    by_network = {study.network: study for study in studies}
    blocks = scenario_cells.stack_networks(
        studies,
        lambda network: [_published(row, layout) for row in paper if row.network == network],
        lambda network: (
            [
                _measured(by_network[network], variant, layout)
                for variant in variants_of(by_network[network].records)
            ]
            if network in by_network
            else []
        ),
        range(3, 3 + len(layout.classes) + len(layout.means)),
    )
    measured = [
        (v, _mean_row(s, v, layout.means[-1])) for s in studies for v in variants_of(s.records)
    ]
    return Sheet(
        f"table{layout.table}",
        layout.title,
        scenario_cells.caption(studies),
        scenario_cells.rule(studies),
        columns(layout),
        blocks.rows,
        breaks=blocks.breaks,
        notes=(
            f"{scenario_cells.NETS}; SF: source-free; w MST: with multi-scale testing.",
            scenario_cells.PUBLISHED,
            scenario_cells.SPREAD,
            scenario_cells.MARKS,
            *layout.notes,
            *scenario_cells.study_notes(studies, measured, scenario_cells.absent_networks(studies)),
        ),
        published_rows=blocks.published,
    )
