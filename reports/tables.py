"""All tables of a results folder as sheets, from which every format is made."""

from collections.abc import Mapping
from pathlib import Path

from reports import per_class, table4
from reports.manifests import choose_manifest, find_manifests
from reports.read_results import Reader
from reports.sheet import Sheet


def build_sheets(results: Path, studies: Mapping[str, str] | None = None) -> list[Sheet]:
    """The sheets of every table whose study has a manifest, in the order of the paper.

    Args:
        results: folder of records and manifests.
        studies: base by kind of study; of other kinds the study updated last.

    Raises:
        StvmError: nothing to read, or something unreadable.
    """
    chosen = studies or {}
    reader = Reader(results)
    sheets: list[Sheet | None] = []
    if "ablation" in find_manifests(results):
        manifest = choose_manifest(results, table4.ROWS, chosen.get("ablation"))
        table = table4.build_table(manifest, reader.records(manifest))
        sheets += [table4.sheet(table), table4.realisation_sheet(table), per_class.sheet(table)]
    return [sheet for sheet in sheets if sheet]
