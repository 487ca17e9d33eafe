"""The note of Table IV on the statistics at which rows start."""

import json
from pathlib import Path

from benchmarks.study_results import make_results
from reports.tables.catalogue import build_sheets


def notes_of(results: Path) -> list[str]:
    sheet = next(sheet for sheet in build_sheets(results) if sheet.name == "table4")
    return [note for note in sheet.notes if "start_bn" in note]


def test_table_four_says_that_its_rows_start_nearer_to_the_target(tmp_path: Path) -> None:
    root = make_results(tmp_path, ("ablation",), seeds=range(2), realisations=(0,))
    assert notes_of(root) == []
    for path in (root / "records").glob("*.json"):
        whole = json.loads(path.read_text())
        adapts = whole["variant"].startswith("ST")
        # Baselines do not read it.
        whole["settings"] |= {"st": adapts, "start_bn": 0.25 if adapts else 0.75}
        path.write_text(json.dumps(whole))
    (note,) = notes_of(root)
    assert note.startswith("Rows that adapt start with batch-norm statistics 0.25 of the way")
