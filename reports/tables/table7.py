"""Table VII: silhouettes of the metric features, beside mIoU."""

from dataclasses import dataclass

from reports.sheets import notes
from reports.sheets.cells import (
    difference,
    difference_columns,
    mark,
    mean,
    measured_cells,
    measured_columns,
)
from reports.sheets.rows import Records, collect, pool
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.published_rows import published, read_rows
from reports.tables.table_spec import TableSpec
from stvm.records.manifest import Manifest
from stvm.records.record import Record
from stvm.statistics import Estimate, paired_difference

NAMES = ("ST_MT", "STvM_Raw", "STvM")


@dataclass(frozen=True)
class SilhouetteKind:
    """A silhouette in a record.

    Attributes:
        labels: labels that group the pixels, "truth" or "prediction".
        mean: kind of mean, "class_mean" or "overall_mean".
        label: name in the table.
    """

    labels: str
    mean: str
    label: str

    def of(self, record: Record) -> float | None:
        """Silhouette of a trial, between -1 and 1; None where it has none."""
        value = record.silhouette(self.labels).get(self.mean)
        return None if value is None else float(value)


KINDS = (
    SilhouetteKind("truth", "class_mean", "target labels, class mean"),
    SilhouetteKind("truth", "overall_mean", "target labels, overall mean"),
    SilhouetteKind("prediction", "class_mean", "own predictions, class mean"),
    SilhouetteKind("prediction", "overall_mean", "own predictions, overall mean"),
)


def published_silhouettes() -> dict[tuple[str, str], float]:
    """Published silhouettes x 100 by row and kind of mean."""
    return {
        (row["name"], mean): float(row[mean])
        for row in read_rows("7")
        for mean in ("class_mean", "overall_mean")
    }


_COLUMNS = (
    Column("silhouette under", "left", "silhouette"),
    Column("name", "left", "name"),
    *measured_columns("x 100", "silhouette"),
    *difference_columns(),
    Column("mIoU", "right", "miou_mean"),
    Column("paper x 100", "right", "paper", published=True),
)
_FIGURE = 2


def _group(records: Records, kind: SilhouetteKind) -> list[tuple[Cell, ...]]:
    rows = collect(records, kind.of, NAMES)
    mious = collect(records, names=NAMES)
    paper = published_silhouettes() if kind.labels == "truth" else {}
    lines = []
    for place, name in enumerate(NAMES):
        row = rows[name]
        above = rows[NAMES[place - 1]] if place else None
        delta = paired_difference(row.values, above.values) if above else Estimate(0)
        lines.append(
            (
                Cell(kind.label),
                Cell(name),
                *measured_cells(row),
                *difference(delta, *([row, above] if above else [row])),
                mean(mious[name]),
                published(paper.get((name, kind.mean))),
            )
        )
    return mark(lines, _FIGURE, range(len(lines)))


def sheet(manifest: Manifest, records: Records) -> Sheet:
    """Class mean and overall mean under the target's labels and the network's predictions."""
    pooled = pool(records)
    rows: list[tuple[Cell, ...]] = []
    for kind in KINDS:
        rows += _group(pooled.records, kind)
    size = len(NAMES)
    absent = [name for name in NAMES if not any(trial.variant == name for trial in pooled.records)]
    return Sheet(
        "table7",
        notes.tuned_mark("Table VII", pooled),
        notes.heading(manifest),
        manifest.rule,
        _COLUMNS,
        tuple(rows),
        breaks=tuple(range(size, len(rows), size)),
        notes=(
            notes.pool_note(pooled, manifest.dataset),
            "Silhouette of the metric features of every pixel of every image of the evaluation "
            "split, x 100; sd has n - 1 in the denominator. Under target labels it is an oracle's "
            "figure; under the network's own predictions it needs no label. mIoU in per cent.",
            "ST_MT: a metric network is trained alongside and not used.",
            "Delta is to the row above, the mean over pairs of equal realisation and seed, with "
            "the 95 % t interval of these paired differences, which takes pairs as independent.",
            notes.BEST.format(" of each group"),
            f"{notes.PUBLISHED} The paper does not say by which labels pixels are grouped: its "
            "figures stand beside those under target labels.",
            *notes.study_notes(manifest, pooled.records),
            *notes.unlisted_note(absent),
        ),
    )


TABLE = TableSpec("7", "silhouette", lambda chosen: [sheet(*chosen["silhouette"])])
