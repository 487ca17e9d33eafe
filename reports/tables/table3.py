"""Table III: Cityscapes to the four cities of Cross-City, and its cities class by class."""

from collections.abc import Callable, Mapping, Sequence

from reports.sheets.cells import figure, mark, mean, measured_cells, measured_columns
from reports.sheets.rows import Row, collect
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables import scenario_cells
from reports.tables.scenario_rows import (
    CITIES,
    VARIANTS,
    PaperRow,
    Part,
    Variant,
    class_iou,
    mean_iou,
    network_label,
    networks_of,
    read_paper,
)
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


def _of(part: Part, variant: Variant, figure_of: Callable[[Record], float | None]) -> Row:
    return collect(part.records, figure_of, [variant.row])[variant.row]


def _miou(part: Part, variant: Variant) -> Row:
    return _of(part, variant, mean_iou(CROSS_CITY, "13", variant))


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


def _published(row: PaperRow) -> tuple[Cell, ...]:
    figures = [figure(row.figures[key], scale=1) for key in (*CITIES, "mean")]
    return (*scenario_cells.published_names(row), *figures, Cell(""), Cell(""))


def _measured(variant: Variant, network: str, parts: Mapping[str, Part]) -> tuple[Cell, ...]:
    cities = {city: _miou(part, variant) for city, part in parts.items()}
    return (
        *scenario_cells.measured_names(variant, network),
        *(mean(cities[city]) if city in cities else Cell("") for city in CITIES),
        *measured_cells(mean_of_cities(cities, variant.name)),
    )


def _by_network(parts: Sequence[Part]) -> dict[str, dict[str, Part]]:
    found: dict[str, dict[str, Part]] = {}
    for part in parts:
        found.setdefault(part.network, {})[part.city] = part
    return found


def _absent(parts: Sequence[Part]) -> list[str]:
    there = {(part.network, part.city) for part in parts}
    absent = scenario_cells.absent_networks(parts)
    return absent + [
        f"{network_label(network)} {name}"
        for network in networks_of(parts)
        for city, name in CITIES.items()
        if network_label(network) not in absent and (network, city) not in there
    ]


def sheet(parts: Sequence[Part]) -> Sheet:
    """Published rows of each network above the measured ones.

    Args:
        parts: its studies, one a network and city.
    """
    paper, networks = read_paper("3"), _by_network(parts)
    rows: list[tuple[Cell, ...]] = []
    breaks: list[int] = []
    published: list[int] = []
    for network in networks_of(parts):
        start = len(rows)
        breaks.append(start)
        rows += [_published(row) for row in paper if row.network == network]
        published += range(start, len(rows))
        if network in networks:
            breaks.append(len(rows))
            rows += [_measured(v, network, networks[network]) for v in VARIANTS]
        for column in range(_FIRST, _FIRST + len(CITIES) + 1):
            rows = mark(rows, column, range(start, len(rows)))
    return Sheet(
        "table3",
        _TITLE,
        scenario_cells.caption(parts),
        scenario_cells.rule(parts),
        _COLUMNS,
        tuple(rows),
        breaks=tuple(sorted(set(breaks) - {0})),
        notes=(
            f"{scenario_cells.NETS}; w MST: with multi-scale testing. Every figure is the mean IoU "
            "over 13 classes; all published methods here are source-free.",
            scenario_cells.PUBLISHED,
            scenario_cells.SPREAD,
            _MEAN,
            scenario_cells.MARKS,
            *scenario_cells.study_notes(
                parts, [(v, _miou(p, v)) for p in parts for v in VARIANTS], _absent(parts)
            ),
        ),
        published_rows=tuple(published),
    )


def class_sheet(parts: Sequence[Part]) -> Sheet | None:
    """The measured rows class by class, which the paper does not print; None without any."""
    rows: list[tuple[Cell, ...]] = []
    breaks: list[int] = []
    for part in parts:
        if not any(_miou(part, v).values for v in VARIANTS):
            continue
        start = len(rows)
        breaks.append(start)
        rows += [_class_cells(part, v) for v in VARIANTS]
        for column in range(3, 4 + len(CROSS_CITY)):
            rows = mark(rows, column, range(start, len(rows)))
    if not rows:
        return None
    return Sheet(
        "table3_by_class",
        "Table III by class",
        scenario_cells.caption(parts),
        scenario_cells.rule(parts),
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
        ),
    )


def _class_cells(part: Part, variant: Variant) -> tuple[Cell, ...]:
    classes = [_of(part, variant, class_iou(name, variant)) for name in CROSS_CITY]
    return (
        *(Cell(variant.name), scenario_cells.measured_names(variant, part.network)[1]),
        Cell(CITIES[part.city], key=part.city),
        *(figure(row.estimate.mean, row.trials) for row in classes),
        *measured_cells(_miou(part, variant)),
    )
