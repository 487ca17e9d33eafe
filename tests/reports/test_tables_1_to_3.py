"""Tables I to III: published rows as printed, measured rows from records, marks and notes."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.study_results import change, fail
from reports.make_tables import main
from reports.page.build_page import build_page
from reports.sheets.sheet import Cell, Sheet
from reports.tables.catalogue import build_sheets, build_tables
from reports.tables.chosen_studies import bases_of, choose_studies
from reports.tables.scenario_rows import published_methods
from stvm.errors import StvmError
from tests.helpers.scenario_results import CITIES, NETWORKS, make_all, make_scenario, record


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_all(tmp_path_factory.mktemp("scenarios"))


def sheet_of(root: Path, name: str) -> Sheet:
    return next(made for made in build_sheets(root) if made.name == name)


def cell(made: Sheet, row: str, column: str, network: str = NETWORKS[0]) -> Cell:
    """Of the row whose CSV name and network are these."""
    keys = [one.key for one in made.columns]
    found = [cells for cells in made.rows if (cells[0].key, cells[1].key) == (row, network)]
    assert len(found) == 1, (row, network)
    return found[0][keys.index(column)]


def test_an_objective_of_a_study_is_a_measured_row_beside_the_published_one(tmp_path: Path) -> None:
    for city in CITIES:
        make_scenario(tmp_path, "cityscapes_crosscity", city=city)
    manifest = make_scenario(tmp_path, "gta5_cityscapes")
    for path in (tmp_path / "studies").glob("*.json"):
        listed = json.loads(path.read_text())
        more = [t | {"row": "CBST"} for t in listed["trials"] if t["row"] == "STvM"]
        path.write_text(json.dumps(listed | {"trials": listed["trials"] + more}))
    made = sheet_of(tmp_path, "table1")
    measured = cell(made, "CBST (measured)", "miou")
    assert measured.value == cell(made, "STvM (w/o MST) (measured)", "miou").value
    assert cell(made, "CBST (measured)", "source_free").text == "✓"
    assert len(measured.trials) == sum(t["row"] == "STvM" for t in manifest["trials"])
    assert cell(sheet_of(tmp_path, "table3"), "CBST (measured)", "mean").value


@pytest.mark.slow
def test_published_rows_stand_as_printed_in_the_papers_order_and_groups(results: Path) -> None:
    for table, count in (("1", 20), ("2", 19), ("3", 6)):
        made, paper = sheet_of(results, f"table{table}"), published_methods(table)
        assert len(paper) == count == len(made.published_rows)
        names = [made.rows[i][0].text.removesuffix(" †") for i in made.published_rows]
        assert names == [row.name for row in paper]
        assert [c[1].text for c in made.rows] == sorted(c[1].text for c in made.rows)
    made = sheet_of(results, "table1")
    assert cell(made, "STvM (w MST) (published)", "miou").text == "54.9"
    assert cell(made, "URMA (published)", "source_free").text == "✓"
    assert cell(made, "FDA (published)", "train").text == "16.9"
    assert cell(made, "SFDA (published)", "miou", NETWORKS[1]).text == "43.2"
    made = sheet_of(results, "table2")
    assert cell(made, "BDL (published)", "wall").text == ""
    assert cell(made, "BDL (published)", "miou16").text == ""
    assert cell(made, "BDL (published)", "miou13").text == "51.4"
    assert cell(sheet_of(results, "table3"), "URMA (published)", "tokyo").text == "49.8"


def test_the_heads_are_the_papers_and_three_of_table_two_are_starred(results: Path) -> None:
    first, second = (sheet_of(results, f"table{n}") for n in "12")
    heads = [column.head for column in first.columns]
    assert len(heads) == 3 + 19 + 3 and heads[9:12] == ["Light", "Sign", "Veg."]
    starred = [c.head for c in second.columns if c.head.endswith("*")]
    assert starred == ["Wall*", "Fence*", "Pole*", "mIoU*"]
    assert len(second.columns) == 3 + 16 + 4 and "Truck" not in {c.head for c in second.columns}
    assert any("Truck" in note and "slip" in note for note in second.notes)
    for made in (first, second):
        assert any("DeepLabV3 beside them is a slip" in note for note in made.notes)


def test_measured_rows_are_means_over_seeds_of_the_records(results: Path) -> None:
    made = sheet_of(results, "table1")
    found = [record("gta5_cityscapes", NETWORKS[0], "", "STvM", seed)["result"] for seed in (0, 1)]
    for name, parts in (
        ("STvM (w/o MST) (measured)", found),
        ("STvM (w MST) (measured)", [result["multi_scale"] for result in found]),
    ):
        values = [100 * part["miou"] for part in parts]
        assert cell(made, name, "miou").value == pytest.approx(np.mean(values))
        assert cell(made, name, "miou_std").value == pytest.approx(np.std(values, ddof=1))
        assert cell(made, name, "n").text == "2"
        car = np.mean([100 * part["iou"][13] for part in parts])
        assert cell(made, name, "car").value == pytest.approx(car)
        assert len(cell(made, name, "car").trials) == 2
    assert cell(made, "Source (measured)", "n").text == "1"
    assert cell(made, "Source (measured)", "miou_std").text == ""


def test_table_two_has_both_means(results: Path) -> None:
    made = sheet_of(results, "table2")
    result = record("synthia_cityscapes", NETWORKS[1], "", "AdaBN", None)["result"]
    iou = dict(zip(result["class_names"], result["iou"], strict=True))
    without = [v for name, v in iou.items() if name not in ("wall", "fence", "pole")]
    row = ("AdaBN (measured)", NETWORKS[1])
    assert cell(made, row[0], "miou16", row[1]).value == pytest.approx(
        100 * np.mean([*iou.values()])
    )
    assert cell(made, row[0], "miou13", row[1]).value == pytest.approx(100 * np.mean(without))


def test_studies_of_before_have_no_row_of_partial_adabn(tmp_path: Path) -> None:
    def measured(name: str) -> set[str]:
        return {str(cells[0].key) for cells in sheet_of(tmp_path, name).rows}

    row = "partial AdaBN (measured)"
    make_scenario(tmp_path, "gta5_cityscapes", partial=False)
    make_scenario(tmp_path, "cityscapes_crosscity", city="rome", partial=False)
    assert "AdaBN (measured)" in measured("table1") & measured("table3")
    assert row not in measured("table1") | measured("table3")
    make_scenario(tmp_path, "cityscapes_crosscity", city="rio")
    assert row in measured("table3") and row not in measured("table1")


def test_table_three_is_the_mean_over_cities_of_each_seed(results: Path) -> None:
    made = sheet_of(results, "table3")
    values = np.array(
        [
            [
                record("cityscapes_crosscity", NETWORKS[0], city, "STvM", seed)["result"]["miou"]
                for seed in (0, 1)
            ]
            for city in CITIES
        ]
    )
    name = "STvM (w/o MST) (measured)"
    for city, pair in zip(CITIES, values, strict=True):
        assert cell(made, name, city).value == pytest.approx(100 * pair.mean())
    assert cell(made, name, "mean").value == pytest.approx(100 * values.mean())
    assert cell(made, name, "mean_std").value == pytest.approx(100 * values.mean(0).std(ddof=1))
    by_class = sheet_of(results, "table3_by_class")
    assert len(by_class.rows) == 2 * 4 * 5 and by_class.rows[0][2].text == "Rome"


@pytest.mark.parametrize("table", ["1", "2", "3"])
def test_best_and_second_of_each_column_are_marked_within_a_network(
    results: Path, table: str
) -> None:
    made = sheet_of(results, f"table{table}")
    first = 2 if table == "3" else 3
    for network in NETWORKS:
        block = [row for row in made.rows if row[1].key == network]
        for number in range(first, len(made.columns) - 2):
            texts = [row[number].text for row in block]
            ranked = sorted({float(text) for text in texts if text}, reverse=True)
            for row, text in zip(block, texts, strict=True):
                place = ranked.index(float(text)) if text else 9
                expected = {0: "best", 1: "second"}.get(place, "")
                assert row[number].mark == expected, (row[0].text, made.columns[number].head)
    assert any("published and measured" in note for note in made.notes)


def test_without_measured_figures_the_marks_are_the_papers(tmp_path: Path) -> None:
    manifest = make_scenario(tmp_path, "gta5_cityscapes")
    for trial in manifest["trials"]:
        (tmp_path / f"records/{trial['hash']}.json").unlink()
    made = sheet_of(tmp_path, "table1")
    assert cell(made, "Texture Invariant (published)", "road").mark == "best"
    assert cell(made, "DMLC (published)", "road").mark == "second"
    assert cell(made, "URMA (published)", "pole").mark == "best"
    assert cell(made, "STvM (w MST) (published)", "miou").mark == "best"
    assert cell(made, "STvM (w/o MST) (published)", "miou").mark == "second"
    assert cell(made, "AdaptSegNet (published)", "truck", NETWORKS[1]).mark == "best"
    assert cell(made, "STvM (w/o MST) (measured)", "miou").text == ""
    assert cell(made, "STvM (w/o MST) (measured)", "n").text == "0 of 2"
    assert any("Trials not recorded yet (5)" in note for note in made.notes)
    assert any(note.startswith("Not run yet: DL V3 (") for note in made.notes)


def test_protocol_and_scales_stand_below_and_mixed_ones_warn(tmp_path: Path) -> None:
    make_scenario(tmp_path, "gta5_cityscapes")
    notes = " ".join(sheet_of(tmp_path, "table1").notes)
    assert "protocol adaptsegnet (images of 1024x512, labels of 2048x1024" in notes
    assert "scales 0.75, 1, 1.25, each also mirrored; chosen for this project" in notes
    assert "their own protocol" in notes and "WARNING" not in notes
    name = record("gta5_cityscapes", NETWORKS[0], "", "STvM", 1)["hash"]
    other = {"name": "maxsquare", "input_size": [512, 1024], "label_size": [512, 1024]}
    change(tmp_path, name, protocol=other)
    warned = " ".join(sheet_of(tmp_path, "table1").notes)
    assert "WARNING: trials of different protocols are mixed: adaptsegnet" in warned


def test_what_failed_or_was_not_measured_is_missing_and_named(tmp_path: Path) -> None:
    make_scenario(tmp_path, "gta5_cityscapes", multi_scale=False)
    fail(tmp_path, record("gta5_cityscapes", NETWORKS[0], "", "STvM", 0)["hash"])
    made = sheet_of(tmp_path, "table1")
    assert cell(made, "STvM (w/o MST) (measured)", "n").text == "1 of 2, 1 failed"
    assert cell(made, "STvM (w MST) (measured)", "miou").text == ""
    notes = " ".join(made.notes)
    assert "STvM (w MST) was not measured: the setting multi_scale=true" in notes
    assert "loss is nan" in notes


def test_a_city_that_was_not_run_leaves_the_mean_empty(tmp_path: Path) -> None:
    for city in CITIES[:3]:
        make_scenario(tmp_path, "cityscapes_crosscity", NETWORKS[1], city)
    made = sheet_of(tmp_path, "table3")
    name = "STvM (w/o MST) (measured)"
    assert (
        cell(made, name, "rio", NETWORKS[1]).text
        and not cell(made, name, "taipei", NETWORKS[1]).text
    )
    assert cell(made, name, "mean", NETWORKS[1]).text == ""
    assert any("Not run yet: DL V2, DL V3 Taipei" in note for note in made.notes)


def test_the_newest_study_of_each_network_is_taken_unless_one_is_named(tmp_path: Path) -> None:
    old = make_scenario(tmp_path, "gta5_cityscapes")
    new = make_scenario(
        *(tmp_path, "gta5_cityscapes"),
        seeds=range(3),
        base="0123456789ab",
        updated="2026-02-01T00:00:00+00:00",
    )
    make_scenario(tmp_path, "gta5_cityscapes", NETWORKS[1])
    name = "STvM (w/o MST) (measured)"
    made = sheet_of(tmp_path, "table1")
    assert cell(made, name, "n").text == "3" and new["base"] in made.caption
    assert cell(made, name, "n", NETWORKS[1]).text == "2"
    assert any(f"left out: --study {old['base']}" in note for note in made.notes)
    (named, *_), _ = build_tables(choose_studies(tmp_path, [old["base"]]), ["1"])
    assert cell(named, name, "n").text == "2" and cell(named, name, "n", NETWORKS[1]).text == "2"
    with pytest.raises(StvmError, match="names two studies of gta5_cityscapes"):
        build_tables(choose_studies(tmp_path, [old["base"], new["base"]]), ["1"])
    assert bases_of(tmp_path, [f"scenarios-{old['base']}"]) == ({}, (old["base"],))


def test_a_network_of_ones_own_has_a_block_of_measured_rows(tmp_path: Path) -> None:
    make_scenario(tmp_path, "gta5_cityscapes", "small_deeplab")
    made = sheet_of(tmp_path, "table1")
    assert len(made.rows) == 20 + 5
    assert cell(made, "Source (measured)", "network", "small_deeplab").text == "small_deeplab"


@pytest.mark.parametrize(
    "facts", [{}, {"scenario": "x", "network": "y"}, {"scenario": "cityscapes_crosscity"}]
)
def test_facts_of_another_form_are_one_line(
    tmp_path: Path, facts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = make_scenario(tmp_path, "gta5_cityscapes")
    path = tmp_path / f"studies/scenarios-{manifest['base']}.json"
    path.write_text(json.dumps(manifest | {"facts": facts}))
    assert main(["--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and manifest["base"] in error[0] and "scenarios.py" in error[0]


def test_multi_scale_figures_of_another_form_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_scenario(tmp_path, "gta5_cityscapes")
    name = record("gta5_cityscapes", NETWORKS[0], "", "STvM", 1)["hash"]
    change(tmp_path, name, multi_scale={"miou": "high"})
    assert main(["--results", str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    error = [line for line in lines if ": run `python " not in line]
    assert len(error) == 1 and name in error[0] and "'multi_scale'" in error[0]


def test_the_command_writes_the_three_tables_and_the_page_shows_them(results: Path) -> None:
    assert main(["--results", str(results), "--tables", "1", "2", "3"]) == 0
    names = {path.name for path in (results / "tables").iterdir()}
    assert {f"table{n}.{end}" for n in "123" for end in ("md", "tex", "csv")} <= names
    with (results / "tables/table1.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["method"] == "AdvEnt (published)" and rows[0]["source_free"] == "0"
    assert "**54.9**" in (results / "tables/table1.md").read_text(encoding="utf-8")
    assert "sidewaystable" in (results / "tables/table1.tex").read_text(encoding="utf-8")
    assert "sidewaystable" not in (results / "tables/table3.tex").read_text(encoding="utf-8")
    page = build_page(results)
    assert all(f'<table id="sheet-table{n}"' in page for n in "123")
    assert len(re.findall('<tr class="[^"]*published">', page)) == 20 + 19 + 6
    assert 'id="sheet-table1" class="wide"' in page
