"""Table V: one hyperparameter at a time, with the difference to its default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.sheets import notes
from reports.sheets.cells import (
    difference,
    difference_columns,
    mark,
    measured_cells,
    measured_columns,
)
from reports.sheets.rows import PooledStudy, Records, Row, collect, pool
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.published_rows import COLUMNS as PUBLISHED_COLUMNS
from reports.tables.published_rows import published_cells, read_rows
from reports.tables.table_spec import TableSpec
from stvm.errors import StvmError
from stvm.records.manifest import Manifest
from stvm.statistics import Estimate, estimate, matched_pairs

PARAMETERS = ("tau_mocm", "n_mocm", "n_f", "temperature", "q_m", "alpha", "beta")
"""Hyperparameters in the order of the paper."""
Value = tuple[str, float]
"""Name of a hyperparameter and its value."""


@dataclass(frozen=True)
class PublishedValue:
    """A row as published, GTA5 to Cityscapes.

    Attributes:
        miou: mIoU in per cent.
        default: whether it is the paper's default.
    """

    miou: float
    default: bool


@dataclass(frozen=True)
class Point:
    """One value of one hyperparameter, measured beside published.

    Attributes:
        parameter: name of the hyperparameter.
        value: value of the hyperparameter.
        measured: mIoU of the trials, as fractions.
        reference: row of the default; None where the study has none.
        default: whether it is the default of the study's preset.
        differences: mIoU less that of the default, for each complete pair, as fractions.
        paper: published figures; None for a value that the paper does not have.
        paper_delta: published mIoU less that of the paper's default, in points.
    """

    parameter: str
    value: float
    measured: Row
    reference: Row | None
    default: bool
    differences: tuple[float, ...]
    paper: PublishedValue | None
    paper_delta: float | None

    @property
    def delta(self) -> Estimate:
        """Mean of the differences with the 95 % t interval."""
        return estimate(self.differences)


@dataclass(frozen=True)
class Table(PooledStudy):
    """Table V of one study.

    Attributes:
        points: values by hyperparameter, ascending.
    """

    points: tuple[Point, ...]

    def parameters(self) -> dict[str, list[Point]]:
        """The points of each hyperparameter."""
        found: dict[str, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.parameter, []).append(point)
        return found


def published_grid() -> dict[Value, PublishedValue]:
    """Published figures by hyperparameter and value."""
    return {
        (row["parameter"], float(row["value"])): PublishedValue(
            float(row["miou"]), row["default"] == "1"
        )
        for row in read_rows("5")
    }


def _parse(row: str, base: str) -> Value:
    name, _, text = row.partition("=")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise StvmError(
            f"study {base}: row {row!r} is not PARAMETER=VALUE: "
            "run `python studies/hparam_grid.py` again"
        )
    return name, value


def _defaults(facts: Mapping[str, Any], base: str) -> dict[str, float]:
    given = facts.get("defaults") or {}
    try:
        return {str(name): float(value) for name, value in given.items()}
    except (AttributeError, TypeError, ValueError):
        raise StvmError(
            f"study {base}: 'defaults' of its facts is no object of numbers: "
            "run `python studies/hparam_grid.py` again"
        ) from None


def _order(value: Value) -> tuple[int, str, float]:
    name, number = value
    place = PARAMETERS.index(name) if name in PARAMETERS else len(PARAMETERS)
    return place, name, number


def build_table(manifest: Manifest, records: Records) -> Table:
    """Table V of `manifest`: its rows and those of the paper.

    Raises:
        StvmError: a row that is not PARAMETER=VALUE, or defaults that are no numbers.
    """
    pooled = pool(records)
    rows = {_parse(name, manifest.base): row for name, row in collect(pooled.records).items()}
    paper = published_grid()
    defaults = _defaults(manifest.facts, manifest.base)
    usual = {name: row.miou for (name, _), row in paper.items() if row.default}
    points = []
    for name, value in sorted({*rows, *paper}, key=_order):
        row = rows.get((name, value), Row(f"{name}={value:g}", {}, (), 0, 0, 0))
        reference = rows.get((name, defaults[name])) if name in defaults else None
        default = defaults.get(name) == value
        pairs = matched_pairs(row.values, reference.values) if reference and not default else []
        published = paper.get((name, value))
        points.append(
            Point(
                name,
                value,
                row,
                reference,
                default,
                tuple(a - b for a, b in pairs),
                published,
                published.miou - usual[name] if published and not published.default else None,
            )
        )
    return Table(manifest, records, pooled, tuple(points))


_COLUMNS = (
    Column("hyperparameter", "left", "parameter"),
    Column("value", "left", "value"),
    *measured_columns(),
    *difference_columns("Δ to default"),
    *PUBLISHED_COLUMNS,
)
_MIOU = 2
_DELTA = (
    "Delta is to the default of the same hyperparameter, the mean over pairs of equal realisation "
    "and seed; the interval is the 95 % t interval of these paired differences. It takes pairs as "
    "independent, but those of one realisation share images and source model, and all share the "
    "default's trials. Of twenty such intervals one leaves out zero by chance alone."
)


def _value_cell(point: Point) -> Cell:
    marks = ["default"] * point.default
    marks += ["paper's default"] * (point.paper is not None and point.paper.default)
    text = f"{point.value:g}" + (f" ({', '.join(marks)})" if marks else "")
    return Cell(text, point.value)


def _cells(point: Point) -> tuple[Cell, ...]:
    rows = (point.measured, point.reference) if point.reference else (point.measured,)
    return (
        Cell(point.parameter),
        _value_cell(point),
        *measured_cells(point.measured),
        *difference(point.delta, *rows),
        *published_cells(point.paper.miou if point.paper else None, point.paper_delta),
    )


def _unlisted(table: Table) -> list[str]:
    return [point.measured.name for point in table.points if not point.measured.listed]


def sheet(table: Table) -> Sheet:
    """A row for each hyperparameter and value."""
    rows = [_cells(point) for point in table.points]
    breaks = []
    start = 0
    for points in table.parameters().values():
        rows = mark(rows, _MIOU, range(start, start + len(points)))
        breaks.append(start)
        start += len(points)
    return Sheet(
        "table5",
        notes.tuned_mark("Table V", table.pooled),
        notes.heading(table.manifest),
        table.manifest.rule,
        _COLUMNS,
        tuple(rows),
        breaks=tuple(breaks[1:]),
        notes=(
            notes.pool_note(table.pooled, table.manifest.dataset),
            "One hyperparameter at a time, the others at the defaults of the preset; all rows "
            "marked default are the same trials.",
            notes.SPREAD,
            _DELTA,
            notes.BEST.format(" of each hyperparameter"),
            notes.PUBLISHED,
            *notes.study_notes(table.manifest, table.pooled.records),
            *notes.unlisted_note(_unlisted(table)),
        ),
    )


TABLE = TableSpec("5", "hparam_grid", lambda chosen: [sheet(build_table(*chosen["hparam_grid"]))])
