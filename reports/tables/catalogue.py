"""The catalogue of tables, in the order of the paper. A new table is one file and one entry."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from reports.sheets.sheet import Sheet
from reports.tables import (
    fig1,
    score_ranking,
    search_result,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    table7,
    table8,
)
from reports.tables.chosen_studies import ChosenStudies
from reports.tables.table_spec import TableSpec
from stvm.records.passed_over import going_on

TABLES: tuple[TableSpec, ...] = (
    table1.TABLE,
    table2.TABLE,
    table3.TABLE,
    table4.TABLE,
    table5.TABLE,
    table6.TABLE,
    table7.TABLE,
    table8.TABLE,
    score_ranking.TABLE,
    fig1.TABLE,
    search_result.TABLE,
)
KEYS = tuple(table.key for table in TABLES)
"""Names of the tables for `--tables`."""


def build_tables(
    chosen: ChosenStudies, keys: Iterable[str] = KEYS
) -> tuple[list[Sheet], list[str]]:
    """Sheets of the tables that have a study, and a line for each table that has none.

    Args:
        chosen: studies to make the tables from.
        keys: names among `KEYS`; the tables come in the order of the catalogue.

    Raises:
        StvmError: something unreadable.
    """
    wanted = set(keys)
    sheets: list[Sheet] = []
    missing: list[str] = []
    for table in TABLES:
        if table.key in wanted:
            with going_on(chosen.passed_over):
                made = table.sheets(chosen)
                sheets += made
                missing += [] if made else [table.missing(chosen)]
    return sheets, missing


def build_sheets(results: Path, studies: Mapping[str, str] | None = None) -> list[Sheet]:
    """Sheets of every table whose study has a manifest, in the order of the paper.

    Args:
        results: folder of records and manifests.
        studies: base by kind of study; of other kinds the study updated last is taken.

    Raises:
        StvmError: nothing to read, or something unreadable.
    """
    return build_tables(ChosenStudies(results, studies))[0]
