"""`make_tables.py` as a command: which tables, which study, and one line for what is wrong."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.study_results import BASE, KINDS, change, make_results, make_study, record
from reports import make_figure, make_readings, make_report, make_tables
from reports.make_tables import main
from reports.tables.catalogue import build_sheets

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def results(tmp_path):
    return make_results(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_one_study_alone_is_enough_and_the_others_are_named(tmp_path, kind, capsys):
    make_study(tmp_path, kind)
    assert main(["--results", str(tmp_path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    expected = {"5": "hparam_grid", "6": "variance", "7": "silhouette"} | {"4": "ablation"}
    expected["8"] = "objectives"
    scenarios = ("gta5-cityscapes", "synthia-cityscapes", "cityscapes-crosscity")
    missing = [f"table {n}: no study yet: run `python studies/scenarios.py --scenario {s}`" for
               n, s in enumerate(scenarios, 1)]  # fmt: skip
    missing += [f"table {n}: no study yet: run `python studies/{k}.py`" for n, k in
                sorted(expected.items()) if k != kind]  # fmt: skip
    missing += ["fig1: no study yet: run `python studies/pseudo_labels.py`"] * (
        kind != "pseudo_labels"
    )
    missing += ["search: no study yet: run `python studies/optuna_search.py`"] * (kind != "search")
    assert lines == missing


@pytest.mark.parametrize(
    ("command", "reads"),
    [
        (make_tables, "choose_studies"),
        (make_report, "build_page"),
        (make_readings, "choose_manifest"),
        (make_figure, "_grid"),
    ],
)
def test_what_the_system_keeps_from_a_user_is_one_line_of_every_report(
    command, reads, tmp_path, capsys, monkeypatch
):
    def denied(*_):
        raise PermissionError(13, "Permission denied", "/data/records")

    monkeypatch.setattr(command, reads, denied)
    assert command.main(["--results", str(tmp_path)]) == 2
    name = command.__name__.rpartition(".")[2]
    said = f"{name}: /data/records: Permission denied; ask its owner for access, or name another"
    line = capsys.readouterr().err
    assert line.startswith(said) and line.count("\n") == 1


def test_what_can_be_made_of_the_tables_asked_for_is_made_and_a_line_names_each_other(
    tmp_path, capsys
):
    make_study(tmp_path, "variance")
    assert main(["--results", str(tmp_path), "--tables", "6", "5", "1"]) == 0
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["table 1", "table 5"]
    assert "run `python studies/hparam_grid.py`" in lines[1] and "Table VI" in shown.out
    assert {p.name for p in (tmp_path / "tables").glob("*.md")} == {"table6.md"}


def test_tables_asked_for_that_have_no_study_at_all_are_an_error_of_one_line(tmp_path, capsys):
    make_study(tmp_path, "variance")
    assert main(["--results", str(tmp_path), "--tables", "5", "4"]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and "run `python studies/hparam_grid.py`" in error[0]
    assert not (tmp_path / "tables").exists()
    assert main(["--results", str(tmp_path), "--tables", "9"]) == 2
    assert "unknown table '9'" in capsys.readouterr().err


@pytest.mark.slow
def test_only_the_tables_asked_for_are_written(results):
    assert main(["--results", str(results), "--tables", "6", "Fig1"]) == 0
    names = {p.name for p in (results / "tables").iterdir()}
    kinds = {f"{t}.{end}" for t in ("table6", "fig1") for end in ("md", "tex", "csv")}
    assert names == kinds | {"tables.tex", "fig1.png"}


def test_the_study_updated_last_is_taken_unless_another_is_named(tmp_path, capsys):
    make_study(tmp_path, "variance", seeds=range(2))
    manifest = make_study(tmp_path, "variance", seeds=range(4), base="0123456789ab")
    path = tmp_path / "studies/variance-0123456789ab.json"
    path.write_text(json.dumps(manifest | {"updated": "2026-02-01T00:00:00+00:00"}))
    made = next(s for s in build_sheets(tmp_path) if s.name == "table6")
    assert manifest["base"] in made.caption and made.rows[-6][5].text == "4"
    assert main(["--results", str(tmp_path), "--study", BASE, "--tables", "6"]) == 0
    with open(tmp_path / "tables/table6.csv") as file:
        assert next(r for r in csv.DictReader(file) if r["name"] == "STvM")["n"] == "2"
    assert f"other variance studies: --study {manifest['base']}" in capsys.readouterr().out
    assert main(["--results", str(tmp_path), "--study", "ffffffffffff"]) == 2
    assert "no study 'ffffffffffff'" in capsys.readouterr().err


@pytest.mark.slow
def test_every_file_has_the_same_bytes_twice(results):
    assert main(["--results", str(results)]) == 0
    first = {p.name: p.read_bytes() for p in (results / "tables").iterdir()}
    assert main(["--results", str(results), "--out", str(results / "again")]) == 0
    assert first == {p.name: p.read_bytes() for p in (results / "again").iterdir()}
    assert len(first) == 3 * 12 + 2 and first["fig1.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "fields",
    [
        {"scores": {"entropy": "low"}},
        {"silhouette": {"truth": 3}},
        {"iou": ["high"]},
        {"auroc": [1]},
        {"class_names": [1]},
    ],
)
def test_a_field_of_another_form_is_one_line_that_names_the_record(results, fields, capsys):
    name = record("STvM", {}, 0, 1)["hash"]
    change(results, name, **fields)
    assert main(["--results", str(results)]) == 2
    lines = capsys.readouterr().err.splitlines()
    error = [line for line in lines if line.startswith("make_tables: ")]
    assert len(error) == 1 and name in error[0] and f"'{next(iter(fields))}'" in error[0]


def test_the_other_tables_are_made_beside_a_damaged_record_and_manifest(tmp_path, capsys):
    make_study(tmp_path, "variance", seeds=range(3))
    make_study(tmp_path, "silhouette")
    whole = {"--results": str(tmp_path), "--tables": "6"}
    assert main([w for pair in whole.items() for w in pair]) == 0
    capsys.readouterr()
    name = record("STvM", {}, 0, 1)["hash"]
    (tmp_path / f"records/{name}.json").write_text('{"schema": 1')
    (tmp_path / f"studies/silhouette-{BASE}.json").write_text("{")
    (tmp_path / f"studies/variance-{BASE} copy.json").write_text("{}")
    assert main(["--results", str(tmp_path)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "no study yet" not in line]
    assert len(lines) == 3
    assert f"variance-{BASE} copy.json: not named" in lines[0]
    assert lines[1].startswith("make_tables: ") and f"silhouette-{BASE}.json" in lines[1]
    assert lines[2].startswith("make_tables: ") and f"{name}.json" in lines[2]
    with open(tmp_path / "tables/table6.csv") as file:
        assert next(r for r in csv.DictReader(file) if r["name"] == "STvM")["n"] == "2"


@pytest.mark.parametrize(
    ("kind", "replace"),
    [
        ("hparam_grid", {"facts": {"defaults": {"alpha": "two"}}}),
        ("hparam_grid", {"facts": {"defaults": 3}}),
        ("hparam_grid", {"facts": 3}),
        ("hparam_grid", {"trials": []}),
        ("search", {"facts": {"importances": {"alpha": "high"}}}),
        ("hparam_grid", "row"),
        ("pseudo_labels", "row"),
    ],
)
def test_a_manifest_of_another_form_is_one_line_that_names_the_study(
    tmp_path, kind, replace, capsys
):
    manifest = make_study(tmp_path, kind)
    if replace == "row":
        manifest["trials"][-1]["row"] = replace = "alpha"
        replace = {}
    (tmp_path / f"studies/{kind}-{BASE}.json").write_text(json.dumps(manifest | replace))
    assert main(["--results", str(tmp_path)]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if "no study yet" not in line]
    assert len(error) == 1 and BASE in error[0]


@pytest.mark.slow
@pytest.mark.long
def test_the_benchmark_says_how_long_it_took_and_that_the_bytes_are_the_same():
    command = [sys.executable, "benchmarks/tables.py", "--records", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "the same bytes twice" in done.stdout, done.stderr
    assert int(done.stdout.split()[0]) > 400
