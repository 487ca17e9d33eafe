"""Notes of tables on source classes that stand for others of the target."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.study_results import CLASSES, change, make_results
from reports.page.build_page import build_page
from reports.sheets.formats import to_markdown
from reports.sheets.latex import to_latex
from reports.tables.catalogue import build_sheets

SOURCE = [*CLASSES, "truck", "tram"]
MAP: dict[str, Any] = {
    "source": SOURCE,
    "target": [*CLASSES, "car", None],
    **{"by": "map", "unmatched": "error"},
}
SENTENCE = (
    f"Classes: {len(SOURCE)} of the source model, {len(CLASSES)} of the target; predictions are "
    "mapped before they are counted; car from car and truck; no class of the target: tram (a pixel "
    "predicted as such a class is an error of its true class)."
)
KINDS = ("ablation", "hparam_grid", "silhouette", "pseudo_labels")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Studies whose trials all have a source model of two classes more."""
    root = make_results(tmp_path / "results", KINDS, seeds=range(2), realisations=(0, 1))
    for path in (root / "records").glob("*.json"):
        whole = json.loads(path.read_text())
        shares = [0.5 / len(CLASSES)] * len(CLASSES) + [0.1, 0.4]
        watch = [{"iteration": i, "shares": shares} for i in (0, 100)]
        if whole["result"]:
            change(root, path.stem, correspondence=MAP, watch=watch)
    return root


def test_every_table_says_which_classes_were_mapped(results: Path) -> None:
    sheets = build_sheets(results)
    named = {sheet.name for sheet in sheets if SENTENCE in sheet.notes}
    expected = {"table4", "table4_by_realisation", "table4_per_class", "table5", "table7", "fig1"}
    assert named >= expected
    sheet = next(sheet for sheet in sheets if sheet.name == "table4")
    assert f"- {SENTENCE}" in to_markdown(sheet) and SENTENCE in to_latex(sheet)


@pytest.mark.slow
def test_the_page_says_it_and_names_the_shares_by_the_source_classes(results: Path) -> None:
    page = build_page(results)
    assert SENTENCE in page and "tram" in page.replace(SENTENCE, "")


def test_trials_of_different_correspondences_are_not_mixed_without_a_word(results: Path) -> None:
    changed = next(
        path.stem
        for path in sorted((results / "records").glob("*.json"))
        if json.loads(path.read_text())["variant"] == "STvM"
    )
    change(results, changed, correspondence=None)
    sheet = next(sheet for sheet in build_sheets(results) if sheet.name == "table4")
    told = [note for note in sheet.notes if note.startswith("WARNING: trials with different")]
    assert len(told) == 1 and "the classes of the source model are the target's" in told[0]
