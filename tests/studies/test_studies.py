"""The lists of the studies: the cells of the tables, and the trials that they share."""

from studies import (
    ablation,
    hparam_grid,
    objectives,
    optuna_search,
    pseudo_labels,
    scenarios,
    silhouette,
    variance,
)
from studies.study_builder import TOGGLES
from stvm.settings import MethodSettings

PAPER = {"source_root": "s", "target_root": "t", "classes": "road,sidewalk"}


def test_tables_four_to_six_have_39_cells_and_31_trials_for_a_shared_seed() -> None:
    rows = {"Source", "ST", "ST_Aug", "ST_MT", "STvM_Raw", "STvM"}
    four = [t for t in ablation.build_study("paper", PAPER, [0], None).trials if t.variant in rows]
    five = hparam_grid.build_study("paper", PAPER, [0], None).trials
    six = variance.build_study("paper", PAPER, variance.SEEDS, None).trials
    assert (len(four), len(five), len(six)) == (6, 28, 5)
    assert len({t.hash for t in (*four, *five, *six)}) == 31


def test_a_preset_whose_default_the_paper_did_not_try_has_one_value_more() -> None:
    study = hparam_grid.build_study("demo", {}, [0], None)
    assert len(study.trials) == 29 and len({t.hash for t in study.trials}) == 23
    assert study.facts["defaults"]["n_mocm"] == 3
    assert study.facts["grid"]["n_mocm"] == [2, 3, 5, 10, 15]


def test_each_cell_of_table_five_changes_one_setting_of_the_default() -> None:
    study = hparam_grid.build_study("demo", {}, [4], None)
    default = variance.build_study("demo", {}, [4], None).trials[0].settings.flat()
    for trial in study.trials:
        name, value = trial.variant.split("=")
        flat = trial.settings.flat()
        assert flat[name] == float(value)
        assert {k for k in flat if flat[k] != default[k]} <= {name}


def test_a_grid_around_another_default_is_refused_nowhere_and_says_so_in_its_facts() -> None:
    study = hparam_grid.build_study("demo", {"alpha": "3"}, [0], None)
    assert study.facts["grid"]["alpha"] == [1, 2, 3, 4, 8]
    assert study.base != hparam_grid.build_study("demo", {}, [0], None).base


def test_all_pseudo_labels_is_the_row_st_of_table_four() -> None:
    trials = {t.variant: t for t in pseudo_labels.build_study("demo", {}, [0], None).trials}
    table4 = {t.variant: t for t in ablation.build_study("demo", {}, [0], None).trials}
    assert (
        trials["100"].hash == table4["ST"].hash and trials["Source"].hash == table4["Source"].hash
    )
    assert len({t.hash for t in trials.values()}) == 11
    assert trials["30"].settings.method.pseudo_label_share == 0.3


def test_table_seven_shares_two_rows_with_table_four() -> None:
    seven = {t.variant: t for t in silhouette.build_study("demo", {}, [0], None).trials}
    table4 = {t.variant: t for t in ablation.build_study("demo", {}, [0], None).trials}
    assert seven["STvM"].hash == table4["STvM"].hash
    assert seven["STvM_Raw"].hash == table4["STvM_Raw"].hash
    assert seven["ST_MT"].hash != table4["ST_MT"].hash
    assert seven["ST_MT"].settings.method.metric_alongside


def test_toggles_are_settings() -> None:
    assert set(TOGGLES) <= set(MethodSettings.model_fields)


def test_a_list_says_that_a_folder_is_not_there(tmp_path, capsys):
    given = ["dataset=folder", f"source_root={tmp_path / 'sim'}", f"target_root={tmp_path}"]
    classes = ["classes=0:road,1:walk", "height=48", "width=64", "crop_height=32", "crop_width=32"]
    assert ablation.main([*given, *classes, "--list", "--results", str(tmp_path / "results")]) == 0
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and f"source_root={tmp_path / 'sim'} is not there" in error[0]
    assert "without its files trials have other names" in error[0]
    (tmp_path / "sim").write_text("x")
    assert ablation.main([*given, *classes, "--list", "--results", str(tmp_path / "results")]) == 0
    assert f"source_root={tmp_path / 'sim'} is a file, no folder" in capsys.readouterr().err


def test_a_list_of_a_scenario_says_of_a_missing_folder_that_trials_need_it(tmp_path, capsys):
    # Trials on published data sets are named without their files.
    given = [f"source_root={tmp_path / 'sim'}", f"target_root={tmp_path}", "--list"]
    assert scenarios.main([*given, "--results", str(tmp_path / "results")]) == 0
    note = f"note: source_root={tmp_path / 'sim'} is not there; trials need it to run"
    assert capsys.readouterr().err.splitlines() == [note]


def test_a_study_into_a_part_of_a_results_folder_is_refused(tmp_path, capsys):
    (tmp_path / "records").mkdir()
    for main in (ablation.main, objectives.main, optuna_search.main):
        for part in ("records", "models", "checkpoints", "tables"):
            assert main(["--list", "--results", str(tmp_path / part)]) == 2
            said = capsys.readouterr().err
            assert said.endswith(f"is a part of a results folder: did you mean {tmp_path}?\n")
    (tmp_path / "records/locks").mkdir()
    assert ablation.main(["--list", "--results", str(tmp_path / "records")]) == 0


def test_what_the_system_keeps_from_a_user_is_one_line(tmp_path, capsys, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied", "/data/gta5")

    monkeypatch.setattr("studies.cli.refuse_missing_files", denied)
    assert scenarios.main(["--list", "--results", str(tmp_path / "results")]) == 2
    said = "error: /data/gta5: Permission denied; ask its owner for access, or name another"
    assert capsys.readouterr().err.startswith(said)
