"""Tables V to VII, Fig. 1 and the table of scores, from made-up records of every study."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.study_results import BASE, KINDS, change, fail, make_results, make_study, record
from reports.sheets.sheet import Cell, Sheet
from reports.tables.catalogue import build_sheets
from stvm.records import record as record_module
from stvm.settings.presets import PRESETS


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return make_results(tmp_path)


def sheet(results: Path, name: str) -> Sheet:
    return next(s for s in build_sheets(results) if s.name == name)


def keyed(sheet: Sheet, *columns: int) -> dict[tuple[str, ...], dict[str, Cell]]:
    keys = [column.key for column in sheet.columns]
    return {
        tuple(row[i].text for i in columns): {
            f"{key}_interval" if cell.ends else key: cell
            for key, cell in zip(keys, row, strict=True)
            if not (key in ("delta", "sd", "rho", "variance_ratio") and cell == Cell(""))
        }
        for row in sheet.rows
    }


def values(manifest: dict, root: Path, row: str, key: str = "miou") -> np.ndarray:
    names = [t["hash"] for t in manifest["trials"] if t["row"] == row]
    texts = [(root / f"records/{name}.json").read_text() for name in names]
    return np.array([json.loads(text)["result"][key] for text in texts])


def test_table5_has_a_row_for_each_value_with_the_paired_difference_of_scipy(tmp_path):
    manifest = make_study(tmp_path, "hparam_grid", seeds=range(4))
    rows = keyed(sheet(tmp_path, "table5"), 0, 1)
    assert len(rows) == 29
    alpha, default = (100 * values(manifest, tmp_path, f"alpha={v}") for v in (8, 2))
    row = rows["alpha", "8"]
    interval = stats.ttest_rel(alpha, default).confidence_interval(0.95)
    found = [row[k].value for k in ("miou_mean", "miou_std", "delta")]
    np.testing.assert_allclose(
        [*found, *row["delta_interval"].ends],
        [alpha.mean(), alpha.std(ddof=1), (alpha - default).mean(), *interval],
    )
    assert row["paper_miou"].text == "50.0" and row["paper_delta"].text == "-4.0"
    assert set(row["delta"].trials) == {
        t["hash"] for t in manifest["trials"] if t["row"] in ("alpha=8", "alpha=2")
    }


def test_table5_marks_the_defaults_of_preset_and_paper(tmp_path):
    make_study(tmp_path, "hparam_grid")
    rows = keyed(sheet(tmp_path, "table5"), 0, 1)
    assert {("n_mocm", "3 (default)"), ("n_mocm", "10 (paper's default)")} <= set(rows)
    both = rows["alpha", "2 (default, paper's default)"]
    assert "delta" not in both and both["paper_delta"].text == ""
    assert rows["n_mocm", "3 (default)"]["paper_miou"].text == ""


def test_best_and_second_are_of_measured_rows_of_their_hyperparameter(results):
    made = sheet(results, "table5")
    marks: dict[str, list[str]] = {}
    for row in made.rows:
        marks.setdefault(row[0].text, []).append(row[2].mark)
        assert not any(cell.mark for i, cell in enumerate(row) if i != 2)
    assert len(marks) == 7
    for name, found in marks.items():
        rows = [row for row in made.rows if row[0].text == name]
        shown = sorted({float(row[2].text) for row in rows}, reverse=True)
        assert found == [
            {shown[0]: "best", shown[1]: "second"}.get(float(row[2].text), "") for row in rows
        ]


def test_published_figures_are_never_marked(results):
    for made in build_sheets(results):
        published = {i for i, column in enumerate(made.columns) if column.published}
        for row in made.rows:
            lines = range(len(row)) if "published" in row[0].text else published
            assert not any(row[i].mark or row[i].trials for i in lines)


def test_spread_of_seeds_is_not_that_of_realisations(tmp_path):
    manifest = make_study(tmp_path, "variance", seeds=range(5), realisations=(0, 1))
    rows = keyed(sheet(tmp_path, "table6"), 0)
    parts = 100 * values(manifest, tmp_path, "STvM").reshape(2, 5)
    pooled = np.sqrt(parts.var(axis=1, ddof=1).mean())
    assert rows[("STvM",)]["sd"].value == pytest.approx(pooled)
    assert rows[("STvM",)]["min"].value == pytest.approx(parts.min())
    assert rows["STvM, realisation 1",]["sd"].value == pytest.approx(parts[1].std(ddof=1))
    for trial in manifest["trials"]:
        if trial["realisation"] == 1:
            old = json.loads((tmp_path / f"records/{trial['hash']}.json").read_text())["result"]
            change(tmp_path, trial["hash"], miou=old["miou"] + 0.2)
    moved = keyed(sheet(tmp_path, "table6"), 0)
    assert moved[("STvM",)]["sd"].value == pytest.approx(pooled)
    assert moved[("STvM",)]["miou_mean"].value == pytest.approx(parts.mean() + 10)


def test_table6_has_the_ablation_beside_it_only_where_settings_are_the_same(tmp_path):
    make_results(tmp_path, ["variance", "ablation"], seeds=range(3))
    rows = keyed(sheet(tmp_path, "table6"), 0)
    one, other = rows["ST_MT (ablation)",], rows[("STvM",)]
    assert one["variance_ratio"].value == pytest.approx((one["sd"].value / other["sd"].value) ** 2)
    assert "STvM (published †)" in [key[0] for key in rows]
    measured = [row for key, row in rows.items() if "published" not in key[0]]
    best = {k: next(r[k].value for r in measured if r[k].mark == "best") for k in ("sd", "min")}
    assert best["sd"] == min(row["sd"].value for row in measured)
    assert best["min"] == max(row["min"].value for row in measured)
    path = tmp_path / f"studies/ablation-{BASE}.json"
    path.write_text(path.read_text().replace(record("STvM", {}, 0, 0)["hash"], "0" * 12))
    for seed in (1, 2):
        path.write_text(path.read_text().replace(record("STvM", {}, 0, seed)["hash"], "f" * 12))
    assert not [key for key in keyed(sheet(tmp_path, "table6"), 0) if "ablation" in key[0]]


def test_table6_has_measured_rows_of_others_where_the_study_of_objectives_shares_its_trials(
    tmp_path,
):
    make_results(tmp_path, ["variance", "objectives"], seeds=range(3))
    assert not [key for key in keyed(sheet(tmp_path, "table6"), 0) if "objectives" in key[0]]
    path = tmp_path / f"studies/objectives-{BASE}.json"
    manifest = json.loads(path.read_text().replace('"MinEnt"', '"CBST"'))
    path.write_text(json.dumps(manifest))
    rows = keyed(sheet(tmp_path, "table6"), 0)
    found = 100 * values(manifest, tmp_path, "CBST")
    assert rows["CBST (objectives)",]["sd"].value == pytest.approx(found.std(ddof=1))
    assert rows["CBST (objectives)",]["miou_mean"].value == pytest.approx(found.mean())
    assert rows["CBST (published †)",]["sd"].text == "0.88"
    assert ("ST (objectives)",) not in rows and ("ST (ablation)",) not in rows
    assert any(
        f"(objectives) are those of study {BASE}" in n for n in sheet(tmp_path, "table6").notes
    )


def test_table7_is_the_mean_silhouette_x_100_beside_the_papers(results, tmp_path):
    rows = keyed(sheet(results, "table7"), 0, 1)
    assert len(rows) == 12
    manifest = json.loads((tmp_path / f"studies/silhouette-{BASE}.json").read_text())
    found = values(manifest, results, "STvM", "silhouette")
    row = rows["own predictions, class mean", "STvM"]
    expected = np.mean([100 * s["prediction"]["class_mean"] for s in found])
    assert row["silhouette_mean"].value == pytest.approx(expected)
    assert row["paper"].text == ""
    row = rows["target labels, overall mean", "STvM_Raw"]
    assert row["paper"].text == "48.3" and row["delta"].value is not None
    mious = 100 * values(manifest, results, "STvM_Raw")
    assert row["miou_mean"].value == pytest.approx(mious.mean())


def test_scores_are_spearmans_within_the_realisation_with_entropy_turned_round(tmp_path):
    manifest = make_study(tmp_path, "hparam_grid", seeds=[0])
    names = sorted({t["hash"] for t in manifest["trials"]})
    done = [json.loads((tmp_path / f"records/{n}.json").read_text())["result"] for n in names]
    miou = np.array([r["miou"] for r in done])
    entropy = np.array([r["scores"]["entropy"] for r in done])
    row = keyed(sheet(tmp_path, "scores"), 0, 1)["hparam grid", "mean entropy"]
    assert row["n"].value == len(names) == 23
    assert row["rho"].value == pytest.approx(-stats.spearmanr(entropy, miou).statistic)
    assert row["lost"].value == pytest.approx(100 * (miou.max() - miou[entropy.argmin()]))
    random = keyed(sheet(tmp_path, "scores"), 0, 1)["hparam grid", "a random trial"]
    assert random["lost"].value == pytest.approx(100 * (miou.max() - miou.mean()))


def test_scores_leave_failed_trials_out_and_count_them(results, tmp_path):
    manifest = json.loads((tmp_path / f"studies/silhouette-{BASE}.json").read_text())
    before = keyed(sheet(results, "scores"), 0, 1)["silhouette", "silhouette"]["n"].value
    failed = next(t["hash"] for t in manifest["trials"] if t["row"] == "ST_MT")
    fail(results, failed)
    made = sheet(results, "scores")
    assert keyed(made, 0, 1)["silhouette", "silhouette"]["n"].value == before - 1
    assert any("failed or not recorded: silhouette 1" in note for note in made.notes)


def test_scores_of_different_splits_are_not_mixed(tmp_path):
    manifest = make_study(tmp_path, "search")
    make_study(tmp_path, "variance")
    searched = {t["hash"] for t in manifest["trials"] if t["row"].startswith("trial")}
    for name in searched:
        change(tmp_path, name, split="val")
    rows = keyed(sheet(tmp_path, "scores"), 0, 1)
    assert rows["search (val)", "mean entropy"]["n"].value == len(searched)
    assert rows["search (test)", "mean entropy"]["n"].value == 6 - len(
        {t["hash"] for t in manifest["trials"] if t["row"] in ("best", "default")} & searched
    )
    assert ("all that adapt (demo, test)", "mean entropy") in rows
    assert ("all that adapt (demo, val)", "mean entropy") not in rows


def test_shares_of_fig1_ascend_as_numbers_after_source(results):
    made = sheet(results, "fig1")
    assert [row[0].text for row in made.rows] == ["none (Source)"] + [
        str(share) for share in range(10, 101, 10)
    ]
    assert made.rows[1][4].text[0] in "+-" and made.rows[1][1].trials


@pytest.mark.slow
def test_a_collapsed_trial_is_marked_and_named_in_every_table_that_has_it(results):
    name = record("STvM", {}, 0, 1)["hash"]
    change(results, name, collapsed=True)
    for table in ("table4", "table5", "table6", "table7"):
        made = sheet(results, table)
        marked = [cell for row in made.rows for cell in row if "‡" in cell.text]
        assert marked and all(name in cell.trials for cell in marked)
        assert any("‡" in note and name in note for note in made.notes)
    assert not any("‡" in c.text for row in sheet(results, "fig1").rows for c in row)


def test_failed_and_missing_trials_show_in_table5(results):
    fail(results, record("STvM", {"alpha": 8}, 0, 0)["hash"], "loss is nan at iteration 3")
    (results / "records" / f"{record('STvM', {'alpha': 8}, 0, 1)['hash']}.json").unlink()
    made = sheet(results, "table5")
    row = keyed(made, 0, 1)["alpha", "8"]
    assert row["n"].text == "1 of 3, 1 failed" and row["miou_std"].text == ""
    assert any("loss is nan at iteration 3" in note for note in made.notes)
    assert any("not recorded yet (1): alpha=8" in note for note in made.notes)


@pytest.mark.slow
def test_records_without_the_new_fields_make_every_table_but_the_scores(results):
    new = dict.fromkeys(("scores", "silhouette", "watch", "collapsed", "auroc", "student"))
    for path in (results / "records").glob("*.json"):
        change(results, path.stem, **new)
    names = {s.name for s in build_sheets(results)}
    assert {"table4", "table5", "table6", "table7", "fig1"} <= names and "scores" not in names
    assert sheet(results, "table7").rows[0][2].text == ""


def test_each_record_is_read_once(results, monkeypatch):
    read: list[str] = []
    plain = record_module.find_json

    def counted(path):
        found = plain(path)
        read.extend([path.stem] * (found is not None))
        return found

    monkeypatch.setattr(record_module, "find_json", counted)
    build_sheets(results)
    assert sorted(read) == sorted(p.stem for p in (results / "records").glob("*.json"))


def test_a_metric_network_alongside_makes_no_second_trial_of_a_training(tmp_path):
    """ST_MT of ablation and silhouettes are one training, counted with its silhouette."""
    make_results(tmp_path, ("ablation", "silhouette"), seeds=range(5))
    base = PRESETS["demo"].settings(realisation=0, mgs=False, mocm=False)
    moved = {}
    for seed in range(5):
        alone = base.replace(seed=seed)
        twin = alone.replace(metric_alongside=True)
        assert alone.hash() != twin.hash()
        for changes, settings in (({}, alone), ({"mgs": False, "metric": True}, twin)):
            made = record("ST_MT", changes, 0, seed)
            old = tmp_path / "records" / f"{made['hash']}.json"
            moved[made["hash"]] = settings.hash()
            made |= {"hash": settings.hash(), "settings": settings.canonical().flat()}
            if settings is alone:
                made["result"]["scores"]["silhouette"] = None
            old.unlink()
            old.with_stem(made["hash"]).write_text(json.dumps(made))
    for path in (tmp_path / "studies").glob("*.json"):
        text = path.read_text()
        for name, other in moved.items():
            text = text.replace(name, other)
        path.write_text(text)
    rows = keyed(sheet(tmp_path, "scores"), 0, 1)
    label = "all that adapt (demo, test)"
    assert rows["ablation", "mean entropy"]["n"].text == "25"
    assert rows["silhouette", "silhouette"]["n"].text == "15"
    assert rows[label, "mean entropy"]["n"].text == "25"
    assert rows[label, "silhouette"]["n"].text == "15"


def test_a_trial_that_several_rows_share_is_named_once(results):
    name = record("STvM", {}, 0, 1)["hash"]
    (results / "records" / f"{name}.json").unlink()
    notes = [note for note in sheet(results, "table5").notes if name in note]
    assert len(notes) == 1 and notes[0].count(name) == 1 and "(1): tau_mocm=0.6" in notes[0]


@pytest.mark.slow
def test_realisations_tuned_on_stay_out_of_every_table_but_the_scores(tmp_path):
    kinds = [kind for kind in KINDS if kind not in ("ablation", "search")]
    make_results(tmp_path, kinds, realisations=(0, 100), tuned=(100,))
    for made in build_sheets(tmp_path):
        if made.name == "scores":
            assert "Realisations tuned on are among them: 100." in made.notes
            continue
        if made.name == "table8_published":
            continue
        assert "Fresh realisations pooled: 0; tuned on and left out: 100." in made.notes
        if made.name == "table8_cost":
            continue
        column = [column.key for column in made.columns].index("n")
        measured = [r for i, r in enumerate(made.rows) if i not in made.published_rows]
        counts = {row[column].value for row in measured}
        assert counts <= {0, 1, 3}, made.name
