"""Reports are made in one order, sheets to page, and the catalogue knows every table."""

import ast
import importlib
import json
from pathlib import Path

import pytest

from benchmarks.study_results import make_results, make_study
from reports.tables import score_ranking
from reports.tables.catalogue import KEYS, TABLES
from reports.tables.chosen_studies import ChosenStudies, bases_of
from reports.tables.published_rows import published_cells, read_rows
from stvm.errors import StvmError
from tests.test_imports import imported, modules

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("sheets", "tables", "figures", "page", "commands")
"""Folders of `reports`, the lowest first; the modules beside them are the commands."""
OURS = {name: path for name, path in modules().items() if name.startswith("reports.")}


def layer(module: str) -> int:
    """`reports.page.svg` and all that it holds are on the layer of `page`."""
    _, first, *rest = module.split(".")
    return LAYERS.index(first if rest or first in LAYERS else "commands")


def test_a_layer_imports_what_stands_before_it() -> None:
    assert len(LAYERS) <= 5
    for name, path in OURS.items():
        for other in imported(path) & set(OURS):
            assert layer(other) <= layer(name), f"{name} imports {other}"
            assert layer(other) < len(LAYERS) - 1, f"{name} imports the command {other}"


def test_the_rule_would_notice() -> None:
    assert layer("reports.sheets") < layer("reports.tables.table4") < layer("reports.make_figure")
    assert "reports.sheets.cells" in imported(ROOT / "reports" / "tables" / "table4.py")


def test_every_file_that_has_a_table_is_an_entry_of_the_catalogue() -> None:
    found = [
        importlib.import_module(name).TABLE
        for name, path in OURS.items()
        if any(
            isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TABLE"
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        )
    ]
    assert {table.key for table in found} == set(KEYS) and len(found) == len(TABLES) == 11
    assert all(table in TABLES for table in found)


def test_scores_rank_the_trials_of_every_kind_that_has_one_table() -> None:
    assert {t.study for t in TABLES if t.study and not t.scenario} == set(score_ranking.RANKED)


def test_a_table_without_a_result_is_told_from_one_without_a_study(tmp_path: Path) -> None:
    tables = {table.key: table for table in TABLES}
    chosen = ChosenStudies(make_results(tmp_path, ["variance"]))
    assert [sheet.name for sheet in tables["6"].sheets(chosen)] == ["table6"]
    assert not tables["5"].sheets(chosen)
    expected = "table 5: no study yet: run `python studies/hparam_grid.py`"
    assert tables["5"].missing(chosen) == expected
    assert "table 6: no result yet" in tables["6"].missing(chosen)
    assert "--scenario synthia-cityscapes`" in tables["2"].missing(chosen)
    assert tables["scores"].missing(chosen).startswith("scores: no record with scores yet")


def test_studies_of_several_kinds_are_chosen_by_their_bases(tmp_path: Path) -> None:
    make_study(tmp_path, "variance", seeds=[0])
    make_study(tmp_path, "variance", seeds=[1], base="0123456789ab")
    chosen = ChosenStudies(tmp_path, {"variance": "0123456789ab"})
    manifest, records = chosen["variance"]
    assert manifest.base == "0123456789ab" and [trial.seed for trial in records] == [1]
    assert manifest.others == ("abcdefabcdef",)


def test_a_base_that_no_study_or_another_study_of_its_kind_has_is_refused(tmp_path: Path) -> None:
    bases = ("abcdefabcdef", "0123456789ab")
    for base in bases:
        make_study(tmp_path, "variance", base=base)
    make_study(tmp_path, "ablation", base=bases[0])
    assert bases_of(tmp_path, bases[:1]) == ({"variance": bases[0], "ablation": bases[0]}, ())
    assert bases_of(tmp_path, [f"variance-{bases[0]}"]) == ({"variance": bases[0]}, ())
    with pytest.raises(StvmError, match=f"names two variance studies, {bases[0]} and {bases[1]}"):
        bases_of(tmp_path, bases)
    with pytest.raises(StvmError, match="no study '0' in .*: there are ablation-abcdefabcdef, var"):
        bases_of(tmp_path, ["0"])
    with pytest.raises(StvmError, match=f"no ablation study '{bases[1]}' .*there are {bases[0]}"):
        ChosenStudies(tmp_path, {"ablation": bases[1]})
    with pytest.raises(StvmError, match="no scenarios study 'a' .*there are none"):
        ChosenStudies(tmp_path, scenarios=["a"])


def test_the_chosen_ablation_stands_beside_a_study_of_the_same_trials(tmp_path: Path) -> None:
    """Both ablations share the trials of row STvM with the study of its seeds."""
    make_study(tmp_path, "variance")
    make_study(tmp_path, "ablation", base="0123456789ab")
    newer = make_study(tmp_path, "ablation") | {"updated": "2026-02-01T00:00:00+00:00"}
    (tmp_path / "studies" / "ablation-abcdefabcdef.json").write_text(json.dumps(newer))
    for given, base in (({}, "abcdefabcdef"), ({"ablation": "0123456789ab"}, "0123456789ab")):
        chosen = ChosenStudies(tmp_path, given)
        found = chosen.ablation_of(chosen["variance"][0])
        assert found and found[0].base == base


def test_published_figures_are_per_cent_as_they_are_and_differences_have_a_sign() -> None:
    for given, texts in (
        ((43.7, 2.05), ("43.7", "+2.0")),
        ((50.0, -0.9), ("50.0", "-0.9")),
        ((36.6, None), ("36.6", "")),
        ((None, 0.0), ("", "0.0")),
    ):
        assert tuple(cell.text for cell in published_cells(*given)) == texts


@pytest.mark.parametrize(("table", "rows"), [("1", 20), ("2", 19), ("3", 6), ("4", 6), ("6", 5)])
def test_published_rows_are_all_read_from_one_place(table: str, rows: int) -> None:
    assert len(read_rows(table)) == rows
    readers = [name for name, path in OURS.items() if "csv" in imported(path)]
    assert sorted(readers) == ["reports.sheets.formats", "reports.tables.published_rows"]
