"""Table IV from synthetic records."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parents[2]
MIOU = {"ST": [0.31, 0.33, 0.36], "ST_Aug": [0.36, 0.35, 0.42]}


def make_tables(results):
    command = [sys.executable, "reports/make_tables.py", "--results", str(results)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture
def results(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "studies").mkdir()
    trials = []
    for i, (row, values) in enumerate(MIOU.items()):
        for seed, miou in enumerate(values):
            name = f"{i:06d}{seed:06d}"
            trials.append(
                {"hash": name, "row": row, "seed": seed, "realisation": 0, "tuned": False}
            )
            result = {"miou": miou, "iou": [miou], "class_names": ["road"], "iteration": 8}
            result |= {"evaluated": "student", "split": "test", "pixel_accuracy": 0.8}
            record = {"schema": 1, "hash": name, "status": "done", "variant": row}
            record |= {"settings": {"seed": seed, "realisation": 0}, "result": result}
            record |= {"failure": None, "run": {}}
            (tmp_path / "records" / f"{name}.json").write_text(json.dumps(record))
    manifest = {"schema": 1, "study": "ablation", "table": 4, "preset": "demo"}
    manifest |= {"base": "abcdefabcdef", "title": "T", "rule": "the student, last iteration"}
    manifest |= {"updated": "2026-01-01T00:00:00", "trials": trials}
    (tmp_path / "studies/ablation-abcdefabcdef.json").write_text(json.dumps(manifest))
    return tmp_path


def read(results):
    with open(results / "tables/table4.csv") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_mean_spread_and_paired_interval_are_scipys(results):
    assert make_tables(results).returncode == 0
    row = read(results)["ST_Aug"]
    ours = [float(row[k]) for k in ("miou_mean", "miou_std", "delta", "delta_low", "delta_high")]
    st, aug = 100 * np.array(MIOU["ST"]), 100 * np.array(MIOU["ST_Aug"])
    interval = stats.ttest_rel(aug, st).confidence_interval(0.95)
    expected = [aug.mean(), aug.std(ddof=1), (aug - st).mean(), interval.low, interval.high]
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@pytest.mark.slow
def test_missing_shows_as_missing_and_a_rerun_is_identical(results):
    (results / "records/000001000001.json").unlink()
    first = make_tables(results)
    files = {p: p.read_bytes() for p in (results / "tables").iterdir()}
    assert "Not part of this study: Source, ST_MT" in first.stdout
    assert "2 of 3" in first.stdout and "the student, last iteration" in first.stdout
    assert read(results)["STvM"]["miou_mean"] == ""
    assert "partial AdaBN" not in read(results), "studies of before have no such row"
    assert make_tables(results).stdout == first.stdout
    assert files == {p: p.read_bytes() for p in (results / "tables").iterdir()}


def test_a_truncated_record_is_one_line_that_names_it(results):
    (results / "records/000001000001.json").write_text('{"schema": 1')
    done = make_tables(results)
    assert done.returncode == 2 and "000001000001.json" in done.stderr
    assert done.stderr.count("make_tables: ") == 1 and "Traceback" not in done.stderr
    assert "2 of 3" in done.stdout, "it counts as missing"


@pytest.mark.slow
def test_iou_of_each_class_is_the_mean_over_the_fresh_trials(results):
    make_tables(results)
    text = (results / "tables/table4_per_class.md").read_text()
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in lines[0]] == ["class", "ST", "ST_Aug"]
    assert [cell.strip() for cell in lines[2]] == ["road", "33.3", "37.7"]


@pytest.mark.slow
def test_readings_are_compared_with_the_row_they_depart_from(results):
    manifest = json.loads(next((results / "studies").glob("ablation-*.json")).read_text())
    rows = {"ST": "STvM", "ST_Aug": "STvM, patch_order=random"}
    trials = [t | {"row": rows[t["row"]]} for t in manifest["trials"] if t["row"] in rows]
    manifest |= {"study": "readings", "trials": trials}
    (results / "studies" / f"readings-{manifest['base']}.json").write_text(json.dumps(manifest))
    command = [sys.executable, "reports/make_readings.py", "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    line = next(li for li in done.stdout.splitlines() if "patch_order" in li)
    cells = [c.strip() for c in line.strip("|").split("|")]
    differences = [b - a for a, b in zip(MIOU["ST"], MIOU["ST_Aug"], strict=True)]
    half = stats.t.ppf(0.975, 2) * np.std(differences, ddof=1) / 3**0.5
    mean = np.mean(differences)
    assert cells[4] == f"{100 * mean:+.1f}"
    assert cells[5] == f"[{100 * (mean - half):+.1f}, {100 * (mean + half):+.1f}]"


def test_no_readings_is_one_line(results):
    command = [sys.executable, "reports/make_readings.py", "--results", str(results)]
    command += ["--of", "Readings"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "run `python studies/readings.py` first" in done.stderr


def many(tmp_path, tuned_on):
    """A study of two realisations and two seeds; every row is 0.05 above the one before."""
    for folder in ("records", "studies"):
        (tmp_path / folder).mkdir()
    rows = ["Source", "ST", "ST_Aug", "ST_MT", "STvM_Raw", "STvM", "AdaBN"]
    rows += ["partial AdaBN", "Oracle"]
    trials = []
    for realisation in (0, 7):
        for number, row in enumerate(rows):
            alone = row in ("Source", "AdaBN", "partial AdaBN", "Oracle")
            for seed in [None] if alone else [0, 1]:
                name = f"{len(trials):012d}"
                trials.append({"hash": name, "row": row, "seed": seed, "realisation": realisation})
                trials[-1]["tuned"] = realisation == tuned_on
                miou = 0.3 + 0.05 * number + 0.01 * (seed or 0) + 0.1 * (realisation == 7)
                result = {"miou": miou, "iou": [miou], "class_names": ["road"], "iteration": 8}
                result |= {"evaluated": "student", "split": "test", "pixel_accuracy": 0.8}
                record = {"schema": 1, "hash": name, "status": "done", "variant": row}
                record |= {"settings": {"seed": seed or 0, "realisation": realisation}}
                record |= {"result": result, "failure": None, "run": {}}
                (tmp_path / "records" / f"{name}.json").write_text(json.dumps(record))
    manifest = {"schema": 1, "study": "ablation", "table": 4, "preset": "demo"}
    manifest |= {"base": "abcdefabcdef", "title": "a_b", "rule": "50% of it"}
    manifest |= {"updated": "2026-01-01T00:00:00", "trials": trials}
    (tmp_path / "studies/ablation-abcdefabcdef.json").write_text(json.dumps(manifest))
    return tmp_path, rows


@pytest.mark.slow
def test_realisations_tuned_on_are_never_pooled_with_fresh_ones(tmp_path):
    results, rows = many(tmp_path, tuned_on=7)
    done = make_tables(results)
    assert "Fresh realisations pooled: 0; tuned on and left out: 7." in done.stdout
    table = read(results)
    assert list(table) == rows
    assert float(table["ST"]["miou_mean"]) == 35.5 and table["ST"]["n"] == "2"
    assert float(table["ST"]["delta"]) == 5.5
    with open(results / "tables/table4_by_realisation.csv") as file:
        lines = [r for r in csv.DictReader(file) if r["name"] == "STvM"]
    found = [(r["realisation"], r["tuned"], float(r["miou_mean"])) for r in lines]
    assert found == [("0", "0", 55.5), ("7", "1", 65.5)]


@pytest.mark.slow
def test_fresh_realisations_are_pooled_and_a_row_without_seed_pairs_with_every_seed(tmp_path):
    results, _ = many(tmp_path, tuned_on=None)
    make_tables(results)
    table = read(results)
    assert (table["Source"]["n"], table["ST"]["n"]) == ("2", "4")
    interval = stats.ttest_1samp([0.05, 0.06, 0.05, 0.06], 0).confidence_interval(0.95)
    assert float(table["ST"]["delta_low"]) == pytest.approx(100 * interval.low, abs=1e-3)
    assert float(table["AdaBN"]["delta"]) == 30 and table["Oracle"]["delta"] == ""
    assert float(table["partial AdaBN"]["delta"]) == 5


@pytest.mark.slow
def test_latex_is_booktabs_with_escaped_text_and_every_row(tmp_path):
    results, rows = many(tmp_path, tuned_on=None)
    make_tables(results)
    text = (results / "tables/table4.tex").read_text()
    for line in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{table}"):
        assert line in text
    assert r"a\_b" in text and r"50\% of it" in text
    body = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(body) == 1 + len(rows) and {line.count(" & ") for line in body} == {12}


def test_the_study_of_the_teacher_has_a_table_of_its_own(tmp_path: Path) -> None:
    from reports.tables import reading_costs
    from studies.teacher import build_study
    from stvm.records.manifest import choose_manifest
    from stvm.records.record import read_records
    from stvm.records.results import Results

    study = build_study("demo", {}, [0], [100])
    study.write_manifest(Results(tmp_path))
    manifest = choose_manifest(tmp_path, None, None, "teacher")
    shown = reading_costs.sheet(manifest, read_records(tmp_path, manifest))
    assert (shown.name, len(shown.rows)) == ("teacher", 30)


def test_the_oracle_is_above_the_best_and_takes_no_mark(tmp_path: Path) -> None:
    from reports.sheets.formats import to_markdown
    from reports.tables.catalogue import build_sheets

    results, _ = many(tmp_path, tuned_on=None)
    sheet = next(sheet for sheet in build_sheets(results) if sheet.name == "table4")
    lines = to_markdown(sheet).splitlines()
    # Every row lies 5 points above the one before, and Oracle is the last.
    assert {line.split("|")[1].strip() for line in lines if "**" in line} == {"partial AdaBN"}
    assert {line.split("|")[1].strip() for line in lines if "<u>" in line} == {"AdaBN"}
