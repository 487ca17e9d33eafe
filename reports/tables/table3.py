"""Table III: Cityscapes to the four cities of Cross-City, and its cities class by class."""

from collections.abc import Callable, Mapping, Sequence

from reports.sheets import notes
from reports.sheets.cells import figure, mark, mean, measured_cells, measured_columns
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
from reports.tables.scenario_studies import (
    CITIES,
    CROSS_CITY_SCENARIO,
    STUDY,
    ScenarioStudy,
    network_label,
    networks_of,
)
from reports.tables.table_spec import TableSpec
from stvm.data.cityscapes import CROSS_CITY
from stvm.records.record import Record

_TITLE = "Table III: Cityscapes to NTHU Cross-City"
_COLUMNS = (
    *scenario_cells.METHOD,
    *(Column(name, "right", key) for key, name in CITIES.items()),
    Column("Mean", "right", "mean"),
    Column("sd", "right", "mean_std"),
    Column("n", "left", "n"),
)
_FIRST = len(scenario_cells.METHOD)
_MEAN = (
    "Mean: over the four cities of each seed that is recorded in all of them, then over these n "
    "seeds; a city's own figure is over all its trials."
)


def _of(study: ScenarioStudy, variant: Variant, figure_of: Callable[[Record], float | None]) -> Row:
    return collect(study.records, figure_of, [variant.row])[variant.row]


def _miou(study: ScenarioStudy, variant: Variant) -> Row:
    return _of(study, variant, mean_iou(CROSS_CITY, "13", variant))


def mean_of_cities(cities: Mapping[str, Row], name: str) -> Row:
    """The mean of the four cities for each seed that all of them have."""
    rows = list(cities.values())
    complete = len(cities) == len(CITIES)
    keys = [key for key in rows[0].values if all(key in r.values for r in rows)] if complete else []
    return Row(
        name,
        {key: sum(row.values[key] for row in rows) / len(rows) for key in keys},
        tuple(trial for row in rows for trial in row.trials) if keys else (),
        max((row.listed for row in rows), default=0),
        max((row.failed for row in rows), default=0),
        sum(row.collapsed for row in rows),
        sum(row.idle for row in rows),
    )


def _published(row: PublishedMethod) -> tuple[Cell, ...]:
    figures = [published(row.figures[key]) for key in (*CITIES, "mean")]
    return (*scenario_cells.published_names(row), *figures, Cell(""), Cell(""))


def _measured(
    variant: Variant, network: str, studies: Mapping[str, ScenarioStudy]
) -> tuple[Cell, ...]:
    cities = {city: _miou(study, variant) for city, study in studies.items()}
    return (
        *scenario_cells.measured_names(variant, network),
        *(mean(cities[city]) if city in cities else Cell("") for city in CITIES),
        *measured_cells(mean_of_cities(cities, variant.name)),
    )


def _by_network(studies: Sequence[ScenarioStudy]) -> dict[str, dict[str, ScenarioStudy]]:
    found: dict[str, dict[str, ScenarioStudy]] = {}
    for study in studies:
        found.setdefault(study.network, {})[study.city] = study
    return found


def _absent(studies: Sequence[ScenarioStudy]) -> list[str]:
    there = {(study.network, study.city) for study in studies}
    absent = scenario_cells.absent_networks(studies)
    return absent + [
        f"{network_label(network)} {name}"
        for network in networks_of(studies)
        for city, name in CITIES.items()
        if network_label(network) not in absent and (network, city) not in there
    ]


def _measured_rows(network: str, cities: Mapping[str, ScenarioStudy]) -> list[tuple[Cell, ...]]:
    rows = variants_of(*(study.records for study in cities.values())) if cities else ()
    return [_measured(variant, network, cities) for variant in rows]


def sheet(studies: Sequence[ScenarioStudy]) -> Sheet:
    """Published rows of each network above the measured ones.

    Args:
        studies: studies of the table, one a network and city.
    """
    paper, networks = published_methods("3"), _by_network(studies)
    blocks = scenario_cells.stack_networks(
        studies,
        lambda network: [_published(row) for row in paper if row.network == network],
        lambda network: _measured_rows(network, networks.get(network, {})),
        range(_FIRST, _FIRST + len(CITIES) + 1),
    )
    measured = [(v, _miou(study, v)) for study in studies for v in variants_of(study.records)]
    return Sheet(
        "table3",
        _TITLE,
        scenario_cells.caption(studies),
        scenario_cells.rule(studies),
        _COLUMNS,
        blocks.rows,
        breaks=blocks.breaks,
        notes=(
            f"{scenario_cells.NETS}; w MST: with multi-scale testing. Every figure is the mean IoU "
            "over 13 classes; all published methods here are source-free.",
            scenario_cells.PUBLISHED,
            scenario_cells.SPREAD,
            _MEAN,
            scenario_cells.MARKS,
            *scenario_cells.study_notes(studies, measured, _absent(studies)),
        ),
        published_rows=blocks.published,
    )


def class_sheet(studies: Sequence[ScenarioStudy]) -> Sheet | None:
    """Measured rows class by class, which the paper does not print; None without any."""
    rows: list[tuple[Cell, ...]] = []
    breaks: list[int] = []
    for study in studies:
        if not any(_miou(study, v).values for v in variants_of(study.records)):
            continue
        start = len(rows)
        breaks.append(start)
        rows += [_class_cells(study, v) for v in variants_of(study.records)]
        for column in range(3, 4 + len(CROSS_CITY)):
            rows = mark(rows, column, range(start, len(rows)))
    if not rows:
        return None
    return Sheet(
        "table3_by_class",
        "Table III by class",
        scenario_cells.caption(studies),
        scenario_cells.rule(studies),
        (
            *scenario_cells.METHOD,
            Column("City", "left", "city"),
            *(Column(scenario_cells.head(n), "right", n.replace(" ", "_")) for n in CROSS_CITY),
            *measured_columns(),
        ),
        tuple(rows),
        breaks=tuple(breaks[1:]),
        notes=(
            f"{scenario_cells.NETS}. All rows are measured.",
            scenario_cells.SPREAD,
            "Bold: best of a column, underlined: second, of the rows of a network and city.",
            *notes.class_notes(scenario_cells.all_records(studies)),
        ),
    )


def _class_cells(study: ScenarioStudy, variant: Variant) -> tuple[Cell, ...]:
    classes = [_of(study, variant, class_iou(name, variant)) for name in CROSS_CITY]
    return (
        *(Cell(variant.name), scenario_cells.measured_names(variant, study.network)[1]),
        Cell(CITIES[study.city], key=study.city),
        *(figure(row.estimate.mean, row.trials) for row in classes),
        *measured_cells(_miou(study, variant)),
    )


def _build(chosen: ChosenStudies) -> list[Sheet | None]:
    studies = chosen.of_scenario(CROSS_CITY_SCENARIO)
    return [sheet(studies), class_sheet(studies)] if studies else []


TABLE = TableSpec("3", STUDY, _build, CROSS_CITY_SCENARIO)
