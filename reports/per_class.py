"""IoU of each class, and how well scores tell right labels from wrong, by row of Table IV."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from reports.read_results import Record, Trial, read_json
from reports.table4 import LABELS, ROWS


def per_class(results: Path, records: Mapping[Trial, Record | None], tuned: bool) -> str:
    """Markdown with a line for each class and a column for each row that has a trial.

    Args:
        results: folder of the records.
        records: of one study.
        tuned: of the realisations tuned on, or of the fresh ones.

    Returns:
        Mean IoU in per cent, empty where a class occurs in no trial of the row; then the AUROC of
        confidence and reliability for right against wrong labels of the labelling network.
    """
    found: dict[str, list[dict[str, Any]]] = {row: [] for row in ROWS}
    for trial, record in records.items():
        if trial.tuned == tuned and record is not None and record.miou is not None:
            data = read_json(results / "records" / f"{trial.hash}.json")
            found[trial.row].append(data["result"])
    rows = [row for row in ROWS if found[row]]
    if not rows:
        return ""
    names = found[rows[0]][0]["class_names"]
    lines = [
        [name, *(_mean([r["iou"][i] for r in found[row]]) for row in rows)]
        for i, name in enumerate(names)
    ]
    lines.append(["mIoU", *(_mean([r["miou"] for r in found[row]]) for row in rows)])
    for name in ("confidence", "reliability"):
        aurocs = [[(r.get("auroc") or {}).get(name) for r in found[row]] for row in rows]
        if any(value is not None for row in aurocs for value in row):
            lines.append([f"AUROC of {name} x 100", *(_mean(values) for values in aurocs)])
    head = ["class", *(LABELS.get(row, row) for row in rows)]
    return str(tabulate(lines, head, "pipe", disable_numparse=True)) + "\n"


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * sum(known) / len(known):.1f}" if known else ""
