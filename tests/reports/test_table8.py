"""Table VIII from made-up records: differences as SciPy has them, and all that stands apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.study_results import BASE, change, make_study
from reports.sheets.formats import files_of
from reports.sheets.sheet import Cell, Sheet
from reports.tables.catalogue import build_sheets
from reports.tables.published_rows import read_rows

ROW = "MinEnt"


@pytest.fixture
def manifest(tmp_path: Path) -> dict[str, Any]:
    return make_study(tmp_path, "objectives", seeds=range(3), realisations=(0, 1))


def sheets(root: Path) -> dict[str, Sheet]:
    return {s.name: s for s in build_sheets(root) if s.name.startswith("table8")}


def cells(sheet: Sheet, row: str) -> list[Cell]:
    return next(list(cells) for cells in sheet.rows if (cells[0].key or cells[0].text) == row)


def mious(manifest: dict[str, Any], root: Path, row: str) -> dict[tuple[int, int | None], float]:
    found = {}
    for trial in manifest["trials"]:
        if trial["row"] == row:
            text = (root / f"records/{trial['hash']}.json").read_text()
            found[trial["realisation"], trial["seed"]] = 100 * json.loads(text)["result"]["miou"]
    return found


@pytest.mark.parametrize(("reference", "place"), [("Source", 4), ("AdaBN", 6), ("STvM", 8)])
def test_each_row_is_compared_with_three_by_paired_differences(
    reference: str, place: int, manifest: dict[str, Any], tmp_path: Path
) -> None:
    made = cells(sheets(tmp_path)["table8"], ROW)
    own, other = mious(manifest, tmp_path, ROW), mious(manifest, tmp_path, reference)
    values = np.array(list(own.values()))
    partners = np.array([other.get(key, other.get((key[0], None), np.nan)) for key in own])
    interval = stats.ttest_rel(values, partners).confidence_interval(0.95)
    delta, ends = made[place], made[place + 1].ends
    assert delta.value == pytest.approx((values - partners).mean()) and len(own) == 6
    np.testing.assert_allclose(ends or (), [interval.low, interval.high])
    assert made[1].value == pytest.approx(values.mean())
    assert made[2].value == pytest.approx(values.std(ddof=1))
    itself = cells(sheets(tmp_path)["table8"], reference)
    assert itself[place].text == itself[place + 1].text == ""


def test_the_oracles_rate_stands_beside_and_never_competes(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    best = [t["hash"] for t in manifest["trials"] if t["row"] == f"{ROW}, oracle's rate"]
    for name in best:
        change(tmp_path, name, miou=0.9)
    made = sheets(tmp_path)
    rows = [cells[0].key or cells[0].text for cells in made["table8"].rows]
    assert rows[-1] == ROW and rows.index("Oracle") < rows.index(ROW)
    assert made["table8"].breaks == (rows.index(ROW),)
    assert cells(made["table8"], ROW)[10].value == pytest.approx(90)
    marked = {row[0].key for row in made["table8"].rows if row[1].mark}
    assert marked == {"STvM", "STvM_Raw"}
    cost = cells(made["table8_cost"], ROW)
    assert [cost[1].text, cost[2].text] == ["0.00015", "0.00045"]
    own = mious(manifest, tmp_path, ROW)
    assert cost[3].value == pytest.approx(np.mean([value - 90 for value in own.values()]))
    assert cost[5].value == 60 and cost[6].value == pytest.approx(75)


def test_a_rate_at_the_end_of_its_grid_is_marked(manifest: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / f"studies/objectives-{BASE}.json"
    entries = json.loads(path.read_text())
    (rate,) = {
        json.loads((tmp_path / f"records/{t['hash']}.json").read_text())["settings"]["lr"]
        for t in entries["trials"]
        if t["row"] == ROW
    }
    for ends, text in (([rate, 1.0], f"{rate:g} (end)"), ([1e-9, 1.0], f"{rate:g}")):
        entries["facts"]["grid_ends"] = {ROW: ends}
        path.write_text(json.dumps(entries))
        made = cells(sheets(tmp_path)["table8_cost"], ROW)
        assert made[1].text == text and made[1].value == rate


def test_resumed_trials_give_no_time(manifest: dict[str, Any], tmp_path: Path) -> None:
    names = [t["hash"] for t in manifest["trials"] if t["row"] == ROW]
    for i, name in enumerate(names):
        path = tmp_path / f"records/{name}.json"
        record = json.loads(path.read_text())
        record["run"] |= {"seconds": 10.0 + i} | ({"resumed_from": 8} if i < 3 else {})
        path.write_text(json.dumps(record))
    assert cells(sheets(tmp_path)["table8_cost"], ROW)[5].value == 14


def test_peak_memory_is_the_largest_of_the_trials(manifest: dict[str, Any], tmp_path: Path) -> None:
    assert cells(sheets(tmp_path)["table8_cost"], ROW)[7].text == ""
    names = [t["hash"] for t in manifest["trials"] if t["row"] == ROW]
    for i, name in enumerate(names[1:]):
        path = tmp_path / f"records/{name}.json"
        record = json.loads(path.read_text())
        record["run"]["peak_memory_mib"] = 700 + 10 * i
        path.write_text(json.dumps(record))
    assert cells(sheets(tmp_path)["table8_cost"], ROW)[7].value == 700 + 10 * (len(names) - 2)


def test_a_collapsed_trial_is_marked_and_named(manifest: dict[str, Any], tmp_path: Path) -> None:
    name = next(t["hash"] for t in manifest["trials"] if t["row"] == ROW)
    change(tmp_path, name, collapsed=True)
    made = sheets(tmp_path)["table8"]
    assert cells(made, ROW)[1].text.endswith("‡")
    assert any("Collapsed trials" in note and name in note for note in made.notes)


def test_mixed_learning_rates_are_a_warning(manifest: dict[str, Any], tmp_path: Path) -> None:
    assert not any("WARNING" in note for note in sheets(tmp_path)["table8"].notes)
    path = tmp_path / f"studies/objectives-{BASE}.json"
    text = path.read_text().replace(f"{ROW}, oracle's rate", "x")
    entries = json.loads(text)
    for trial in entries["trials"]:
        if trial["row"] == "x" and trial["seed"] == 0:
            trial |= {"row": ROW, "seed": 9}
            record = tmp_path / f"records/{trial['hash']}.json"
            record.write_text(record.read_text().replace('"seed": 0', '"seed": 9'))
    path.write_text(json.dumps(entries))
    notes = sheets(tmp_path)["table8"].notes
    assert "WARNING: learning rates are mixed in: MinEnt (0.00015, 0.00045)." in notes


def test_published_figures_stand_in_a_table_of_their_own(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    made = sheets(tmp_path)
    assert not any(column.published for column in made["table8"].columns)
    apart = made["table8_published"]
    assert cells(apart, ROW)[1].text == "" and cells(apart, ROW)[2].text == "42.2"
    assert not any("†" in text for text in files_of(made["table8"]).values())
    listed = {row[0].text for row in apart.rows}
    assert listed <= {t["row"] for t in manifest["trials"]} and "CBST" not in listed


def test_every_figure_of_others_says_whether_source_images_were_used() -> None:
    for row in read_rows("8"):
        assert row["source_free"] or row["with_source"], row
    with_source = {row["row"] for row in read_rows("8") if not row["source_free"]}
    assert {"MinEnt", "MaxSquares", "IAST", "CRST-MRKLD"} <= with_source
