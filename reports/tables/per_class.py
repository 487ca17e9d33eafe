"""IoU of each class by row of Table IV, and AUROC of the scores that tell wrong labels."""

from collections.abc import Callable

from reports.sheets import notes
from reports.sheets.cells import figure
from reports.sheets.rows import Pool, Row, collect
from reports.sheets.sheet import Cell, Column, Sheet
from reports.tables.ablation_rows import ROWS, row_label
from stvm.errors import StvmError
from stvm.records.manifest import Manifest, command
from stvm.records.record import Record


def _different(manifest: Manifest, pooled: Pool) -> str:
    """Sentence that names the trials with other classes than the first, and the remedy."""
    named = [(t, r) for t, r in pooled.records.items() if r and r.result.get("class_names")]
    first, names = named[0][0], named[0][1].result["class_names"]
    others = [(t, r) for t, r in named if r.result["class_names"] != names]
    told = ", ".join(str(trial) for trial, _ in others[:3])
    return (
        f"study {manifest.base}: its records have different class names: {told} others than "
        f"{first}; move what is older away, as {others[0][1].path}, and run "
        f"`{command(manifest.study)}` again"
    )


def sheet(manifest: Manifest, pooled: Pool) -> Sheet | None:
    """A line for each class and a column for each row that has a trial; None without any.

    Figures are means of the IoU in per cent, empty where a class occurs in no trial of the row.
    The last lines are the AUROC of confidence and reliability, right labels against wrong ones.

    Raises:
        StvmError: the records of the study have different classes.
    """
    records = pooled.records
    have = collect(records, names=ROWS)
    rows = [name for name, row in have.items() if row.values]
    if not rows:
        return None
    classes = {
        tuple(r.result.get("class_names", ())) for r in records.values() if r and r.miou is not None
    } - {()}
    if len(classes) > 1:
        raise StvmError(_different(manifest, pooled))
    lines: dict[str, dict[str, Row]] = {}
    for number, name in enumerate(next(iter(classes), ())):
        lines[str(name)] = collect(records, _iou(number), ROWS)
    lines["mIoU"] = have
    for score in ("confidence", "reliability"):
        found = collect(records, _auroc(score), ROWS)
        if any(row.values for row in found.values()):
            lines[f"AUROC of {score} x 100"] = found
    columns = [Column(row_label(row), "right", row) for row in rows]
    return Sheet(
        "table4_per_class",
        notes.tuned_mark("Table IV by class", pooled),
        notes.heading(manifest),
        manifest.rule,
        (Column("class", "left", "class"), *columns),
        tuple(
            (Cell(name), *(figure(line[row].estimate.mean, line[row].trials) for row in rows))
            for name, line in lines.items()
        ),
        breaks=(list(lines).index("mIoU"),),
        notes=(
            notes.pool_note(pooled, manifest.dataset),
            "IoU in per cent, the mean over the trials in which the class occurs; AUROC: how well "
            "the score tells right labels of the labelling network from wrong ones.",
            *notes.class_notes(records),
        ),
    )


def _iou(number: int) -> Callable[[Record], float | None]:
    def of(record: Record) -> float | None:
        values = record.result.get("iou", ())
        return values[number] if number < len(values) else None

    return of


def _auroc(score: str) -> Callable[[Record], float | None]:
    return lambda record: record.auroc.get(score)
