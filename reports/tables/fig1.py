"""Fig. 1: self-training with the most confident share of the predictions as pseudo-labels."""

from dataclasses import dataclass

from reports.sheets import notes
from reports.sheets.cells import (
    difference,
    difference_columns,
    mark,
    measured_cells,
    measured_columns,
)
from reports.sheets.rows import Pool, Records, Row, collect, pool
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.table_spec import TableSpec
from stvm.errors import StvmError
from stvm.records.manifest import Manifest
from stvm.statistics import Estimate, paired_difference

SOURCE = "Source"


@dataclass(frozen=True)
class Curve:
    """mIoU by share of pseudo-labels.

    Attributes:
        manifest: list of the study's trials.
        pooled: trials on fresh realisations; those tuned on where there is no fresh one.
        source: row without adaptation.
        shares: row of each share of the predictions, in per cent and ascending.
    """

    manifest: Manifest
    pooled: Pool
    source: Row
    shares: dict[float, Row]


def build_curve(manifest: Manifest, records: Records) -> Curve:
    """Fig. 1 of `manifest`.

    Raises:
        StvmError: a row is neither a share in per cent nor "Source".
    """
    pooled = pool(records)
    rows = collect(pooled.records, names=(SOURCE,))
    source = rows.pop(SOURCE)
    try:
        shares = {float(name): row for name, row in rows.items()}
    except ValueError as error:
        raise StvmError(
            f"study {manifest.base}: a row is no share in per cent ({error}): "
            "run `python studies/pseudo_labels.py` again"
        ) from None
    return Curve(manifest, pooled, source, dict(sorted(shares.items())))


_COLUMNS = (
    Column("most confident share, %", "left", "share"),
    *measured_columns(),
    *difference_columns("Δ to Source"),
)


def sheet(curve: Curve) -> Sheet:
    """A row for Source, then one for each share."""
    source = curve.source
    none = difference(Estimate(0), source)
    rows: list[tuple[Cell, ...]] = [(Cell("none (Source)", 0), *measured_cells(source), *none)]
    for share, row in curve.shares.items():
        delta = difference(paired_difference(row.values, source.values), row, source)
        rows.append((Cell(f"{share:g}", share), *measured_cells(row), *delta))
    absent = [] if source.listed else [SOURCE]
    return Sheet(
        "fig1",
        notes.tuned_mark("Fig. 1", curve.pooled),
        notes.heading(curve.manifest),
        curve.manifest.rule,
        _COLUMNS,
        tuple(mark(rows, 1, range(len(rows)))),
        breaks=(1,),
        notes=(
            notes.pool_note(curve.pooled, curve.manifest.dataset),
            "Self-training (ST) on the given share of the most confident "
            "predictions; the paper's figure has no table.",
            notes.SPREAD,
            "Delta is to Source of the same realisation, with the 95 % t interval of the paired "
            "differences. It takes them as independent, but those of one realisation share "
            "images and source model.",
            notes.BEST.format(""),
            *notes.study_notes(curve.manifest, curve.pooled.records),
            *notes.unlisted_note(absent),
        ),
    )


TABLE = TableSpec(
    "fig1", "pseudo_labels", lambda chosen: [sheet(build_curve(*chosen["pseudo_labels"]))]
)
