"""The search: what is asked, told and continued, without Ray; then the command, killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from scipy import stats

from reports.make_tables import main as make_tables
from studies.optuna_search import build_plan, main, parser
from studies.search_report import (
    find_facts,
    refuse_other_files_of_search,
    report_trials,
    rule,
    search_study,
)
from stvm.errors import StvmError
from stvm.objectives import find_objective
from stvm.presets import find_preset
from stvm.records import Results
from stvm.search import MOST_ATTEMPTS, MOST_STRIKES, Search
from stvm.search_plan import Plan, Suggestion, best_trial
from stvm.search_plots import importances, write_plots
from stvm.search_space import default_values, find_parameters, searchable
from stvm.search_storage import (
    PRUNERS,
    SAMPLERS,
    find_name,
    make_sampler,
    only_driver,
    open_storage,
    storage_place,
)
from stvm.search_tune import SearchLines
from stvm.settings import Settings, parse_assignments
from stvm.study import Trial
from stvm.trial import images_of
from tests.test_trial import make_folder
from tests.tiny import ASSIGNMENTS, tiny

ROOT = Path(__file__).resolve().parents[1]
SCORE = "information_maximisation"


def plan(**changes: Any) -> Plan:
    base = changes.pop("base", tiny())
    names = changes.pop("parameters", ("alpha", "beta", "temperature"))
    given = {
        "preset": "demo",
        "base": base,
        "parameters": find_parameters(names, base),
        "objective": find_objective(changes.pop("objective", SCORE)),
        "sampler": "tpe",
        "sampler_seed": 0,
        "pruner": "none",
        "seed": 1000,
        "realisation": 0,
        "tuned": False,
    }
    return Plan(**(given | changes))


class Bench:
    """A search and the records that a fake executor writes for it."""

    def __init__(self, folder: Path, trials: int = 6, **changes: Any) -> None:
        self.results, self.plan = Results(folder), plan(**changes)
        self.heard: list[tuple[int, str]] = []
        self.states_heard: list[TrialState] = []
        self.trials = trials
        self.search = self.open()

    def open(self) -> Search:
        """As a new process does: nothing but the storage and the records is known."""
        return Search(self.plan, self.storage(), "here", self.results, self.trials, self.hear)

    def storage(self) -> BaseStorage:
        """A journal, which is faster than sqlite; the tests with a process use that."""
        journal = self.results.root / f"{self.plan.name}.log"
        return open_storage(str(journal), self.results.root, self.plan.name)

    def hear(self, suggestion: Suggestion, news: str, state: TrialState) -> None:
        self.heard.append((suggestion.number, news))
        self.states_heard.append(state)

    def record(self, suggestion: Suggestion, value: float | None, status: str = "done") -> None:
        failure = {"error": "loss is nan at iteration 3", "iteration": 3, "seed": 1000}
        scores = {SCORE: value, "entropy": value}
        self.results.write(
            {
                "hash": suggestion.trial.hash,
                "status": status,
                "result": {"miou": 0.5, "scores": scores} if status == "done" else None,
                "failure": None if status == "done" else failure,
            }
        )

    def run(self, search: Search, most: int = 100) -> list[Suggestion]:
        """One trial at a time; the value is best at alpha 2."""
        done: list[Suggestion] = []
        while len(done) < most and (suggestion := search.next()):
            self.record(suggestion, -abs(suggestion.values.get("alpha", 0) - 2))
            search.finish(suggestion)
            done.append(suggestion)
        return done

    def states(self) -> Counter[str]:
        study = optuna.load_study(study_name=self.plan.name, storage=self.storage())
        return Counter(t.state.name for t in study.get_trials())


def next_of(search: Search) -> Suggestion:
    suggestion = search.next()
    assert suggestion is not None
    return suggestion


def test_the_default_comes_first_and_the_best_is_found(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=5)
    done = bench.run(bench.search)
    assert [s.number for s in done] == [0, 1, 2, 3, 4]
    assert done[0].values == default_values(bench.plan.parameters, tiny())
    assert bench.states() == {"COMPLETE": 5}
    assert best_trial(bench.search.study).value == 0.0
    for suggestion in done:
        training = suggestion.trial.settings.training
        assert (training.seed, training.eval_split) == (1000, "val")
        for parameter in bench.plan.parameters:
            value = suggestion.values[parameter.name]
            assert parameter.holds(value) and float(f"{value:.3g}") == value


def test_a_default_outside_the_range_is_not_the_first_trial(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=2, parameters=("tau_mocm",))
    assert tiny().method.tau_mocm == 4.0
    assert all(s.values["tau_mocm"] <= 1.2 for s in bench.run(bench.search))
    assert bench.states() == {"COMPLETE": 2}


def test_lower_is_better_where_the_objective_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=4, objective="entropy")
    values = {s.number: -abs(s.values["alpha"] - 2) for s in bench.run(bench.search)}
    assert best_trial(bench.search.study).number == min(values, key=lambda n: values[n])


def test_a_larger_number_goes_on_and_the_default_is_not_queued_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=2)
    first = bench.run(bench.search)
    assert bench.open().next() is None
    bench.trials = 4
    more = bench.run(bench.open())
    assert [s.number for s in more] == [2, 3]
    assert len({s.trial.hash for s in first + more}) == 4


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS if s != "cmaes"])
def test_reopened_after_each_trial_it_suggests_what_one_process_would(
    sampler: str, tmp_path: Path
) -> None:
    whole = Bench(tmp_path / "whole", trials=12, sampler=sampler)
    expected = [s.values for s in whole.run(whole.search)]
    parts = Bench(tmp_path / "parts", trials=12, sampler=sampler)
    found = [s.values for _ in range(12) for s in parts.run(parts.open(), most=1)]
    assert found == expected and len({str(v) for v in found}) == 12


def test_what_a_dead_driver_left_running_is_continued_under_its_number(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=4)
    bench.run(bench.search, most=1)
    lost, recorded = next_of(bench.search), next_of(bench.search)
    bench.record(recorded, -0.25)
    assert bench.states() == {"COMPLETE": 1, "RUNNING": 2}
    search = bench.open()
    again = next_of(search)
    assert (again.number, again.values, again.trial.hash) == (1, lost.values, lost.trial.hash)
    bench.record(again, -0.5)
    search.finish(again)
    last = bench.run(search)
    assert [s.number for s in last] == [3]
    assert bench.heard == [(2, "information maximisation -0.25")]
    assert bench.states() == {"COMPLETE": 4}
    assert search.study.trials[2].value == -0.25


def test_more_running_than_wanted_are_all_finished(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=4)
    for _ in range(3):
        next_of(bench.search)
    bench.trials = 1
    search = bench.open()
    assert search.left() == 3
    bench.run(search)
    assert bench.states() == {"COMPLETE": 3}


def test_a_trial_killed_between_two_of_its_draws_is_drawn_to_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=2)
    bench.run(bench.search, most=1)
    trial = bench.search.study.ask()
    alpha = trial.suggest_float("alpha", 0.5, 8.0, log=True)
    search = bench.open()
    suggestion = next_of(search)
    assert suggestion.number == 1 and suggestion.values["alpha"] == float(f"{alpha:.3g}")
    assert set(suggestion.values) == {"alpha", "beta", "temperature"}


def test_a_recorded_suggestion_returns_its_record_and_runs_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=3)
    default = Suggestion(0, {}, bench.plan.trial(0, default_values(bench.plan.parameters, tiny())))
    bench.record(default, 1.5)
    assert next_of(bench.search).number == 1
    assert bench.heard == [(0, "information maximisation 1.5")]
    assert bench.search.study.trials[0].value == 1.5


def test_an_equal_suggestion_waits_for_the_one_that_runs(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=3)
    first = next_of(bench.search)
    bench.search.study.enqueue_trial(first.values)
    assert next_of(bench.search).number == 2
    bench.record(first, 0.75)
    bench.search.finish(first)
    told = bench.search.study.trials[:2]
    assert [(t.state, t.value) for t in told] == [(TrialState.COMPLETE, 0.75)] * 2
    assert bench.heard == [(1, "information maximisation 0.75")]


def test_a_space_of_few_points_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=20, parameters=("n_mocm",), sampler="random")
    done = bench.run(bench.search)
    assert len(done) == len({s.trial.hash for s in done}) <= 15
    assert bench.states() == {"COMPLETE": 20} and len(bench.heard) == 20 - len(done)


def test_a_diverged_trial_and_one_without_the_score_are_fail(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=2)
    diverged = next_of(bench.search)
    bench.record(diverged, None, status="failed")
    assert bench.search.finish(diverged) == "failed: loss is nan at iteration 3"
    scoreless = next_of(bench.search)
    bench.record(scoreless, None)
    assert "has no information maximisation" in bench.search.finish(scoreless)
    assert bench.states() == {"FAIL": 2}
    with pytest.raises(StvmError, match="none of 2 trials has a value.*has no information"):
        best_trial(bench.search.study)
    assert bench.open().next() is None


def test_trouble_with_the_machine_is_told_nothing_and_stops_after_some(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=10)
    for _ in range(MOST_STRIKES):
        assert bench.search.finish(next_of(bench.search)) == "no result"
    assert bench.search.next() is None
    assert bench.states() == {"RUNNING": MOST_STRIKES} and bench.search.left() == 10
    done = bench.run(bench.open())
    assert [s.number for s in done] == list(range(10)) and bench.states() == {"COMPLETE": 10}


def test_settings_that_always_crash_are_given_up_and_block_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=10)
    (tmp_path / "errors").mkdir()
    bad: set[int] = set()
    for attempt in range(1, MOST_ATTEMPTS + 1):
        search = bench.open()
        ran = []
        while suggestion := search.next():
            trace = tmp_path / "errors" / f"{suggestion.trial.hash}.txt"
            trace.write_text("Traceback:\n  File\nValueError: no such thing\n\n")
            ran.append(suggestion.number)
            news = search.finish(suggestion)
            if suggestion.number in bad and attempt == MOST_ATTEMPTS:
                assert news.endswith("no result in 3 attempts: ValueError: no such thing")
            else:
                assert news == "no result"
        bad = bad or set(ran)
        assert set(ran) >= bad == {0, 1, 2}
    assert bench.states() == {"FAIL": 3, "RUNNING": MOST_STRIKES}
    reasons = [t.user_attrs["reason"] for t in search.study.trials[:3]]
    assert all("ValueError: no such thing" in reason for reason in reasons)
    bench.run(bench.open())
    assert bench.states() == {"FAIL": 3, "COMPLETE": 7}


def test_after_too_many_strikes_nothing_that_was_left_running_starts_either(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=10)
    for _ in range(MOST_STRIKES + 2):
        next_of(bench.search)
    search = bench.open()
    for _ in range(MOST_STRIKES):
        search.finish(next_of(search))
    assert search.next() is None
    assert bench.states() == {"RUNNING": MOST_STRIKES + 2}


def test_what_failed_and_is_done_by_now_is_told_again_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=3)
    failed = next_of(bench.search)
    bench.record(failed, None, status="failed")
    bench.search.finish(failed)
    bench.run(bench.search)
    assert bench.states() == {"FAIL": 1, "COMPLETE": 2}
    assert bench.open().study.best_trial.number != 0
    bench.results.set_aside(failed.trial.hash)
    bench.record(failed, 9.0)
    for _ in range(2):
        search = bench.open()
        assert search.next() is None and search.finished() == 3 and search.left() == 0
        best = best_trial(search.study)
        assert (best.value, best.user_attrs["hash"]) == (9.0, failed.trial.hash)
        assert best.params == search.study.trials[0].params
        assert bench.states() == {"FAIL": 1, "COMPLETE": 3}
    bench.trials = 4
    assert len(bench.run(bench.open())) == 1


def test_a_known_failure_is_heard_as_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=2)
    values = default_values(bench.plan.parameters, tiny())
    bench.record(Suggestion(0, {}, bench.plan.trial(0, values)), None, status="failed")
    next_of(bench.search)
    assert bench.states_heard == [TrialState.FAIL]
    shown = SearchLines(2, 1, "trials")
    for state in (TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED):
        shown.told(Suggestion(0, values, bench.plan.trial(0, values)), "news", state)
    assert (shown.done, shown.failed) == (2, 1)


def test_pruning_compares_label_free_values_at_equal_progress(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=8, pruner="median")
    for _ in range(5):
        good = next_of(bench.search)
        for iteration in range(100, 800, 100):
            assert not bench.search.report(good, iteration, 800, 1.0)
        bench.record(good, 1.0)
        bench.search.finish(good)
    bad = next_of(bench.search)
    assert not bench.search.report(bad, 100, 800, 0.1), "the first two tenths are warm-up"
    assert not bench.search.report(bad, 300, 800, None)
    assert bench.search.report(bad, 400, 800, 0.1)
    assert bench.search.finish(bad, pruned=True) == "pruned"
    assert bench.states() == {"COMPLETE": 5, "PRUNED": 1}
    assert bench.results.read(bad.trial.hash) is None
    assert bench.search.finished() == 6
    bench.search.study.enqueue_trial(bad.values)
    assert next_of(bench.search).number == 7, "what was pruned is not tried again"
    assert bench.heard == [(6, "pruned before")]


def test_where_lower_is_better_the_pruner_still_keeps_high_intermediate_values(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, trials=7, pruner="median", objective="entropy")
    for _ in range(5):
        usual = next_of(bench.search)
        assert not bench.search.report(usual, 400, 800, 1.0)
        bench.record(usual, 1.0)
        bench.search.finish(usual)
    assert not bench.search.report(next_of(bench.search), 400, 800, 2.0)
    assert bench.search.report(next_of(bench.search), 400, 800, 0.5)


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name != "none"])
def test_every_pruner_stops_what_stays_far_behind(pruner: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=12, pruner=pruner)
    stopped = []
    while suggestion := bench.search.next():
        score = 1.0 if suggestion.number < 6 else -float(suggestion.number)
        reports = (bench.search.report(suggestion, i, 800, score) for i in range(80, 800, 80))
        stop = any(reports)
        if not stop:
            bench.record(suggestion, score)
        bench.search.finish(suggestion, pruned=stop)
        stopped += [suggestion.number] * stop
    assert stopped and min(stopped) >= 6
    assert bench.states() == {"COMPLETE": 12 - len(stopped), "PRUNED": len(stopped)}


def test_another_search_under_the_same_name_is_refused(tmp_path: Path) -> None:
    Bench(tmp_path, given_name="mine")
    for changes, message in (
        ({"objective": "miou"}, 'objective "information_maximisation", not "miou"'),
        ({"base": tiny(iterations=7)}, "started with iterations 6, not 7"),
        ({"parameters": ("alpha",)}, "started with parameters"),
        ({"seed": 1001}, "search_seed 1000, not 1001"),
    ):
        with pytest.raises(StvmError, match=message):
            Bench(tmp_path, given_name="mine", **changes)
    storage = open_storage(str(tmp_path / "theirs.log"), tmp_path, "theirs")
    study = optuna.create_study(study_name="theirs", storage=storage)
    study.ask()
    with pytest.raises(StvmError, match="was not made by this command"):
        Bench(tmp_path, given_name="theirs")


def test_a_storage_that_another_results_folder_uses_is_refused(tmp_path: Path) -> None:
    def opened(folder: Path, **changes: Any) -> Search:
        made = plan(**changes)
        storage = open_storage(str(tmp_path / "shared.log"), folder, made.name)
        return Search(made, storage, "shared", Results(folder), 3)

    next_of(opened(tmp_path / "a"))
    with pytest.raises(StvmError, match="belongs to another results folder: .*--name"):
        opened(tmp_path / "b")
    next_of(opened(tmp_path / "b", given_name="mine"))
    os.rename(tmp_path / "a", tmp_path / "moved")
    assert opened(tmp_path / "moved").left() == 3


def test_versions_are_kept(tmp_path: Path) -> None:
    versions = Bench(tmp_path).search.study.user_attrs["versions"]
    assert versions[0]["optuna"] == optuna.__version__ and set(versions[0]) > {"ray", "torch"}


def test_one_driver_at_a_time(tmp_path: Path) -> None:
    with (
        only_driver(tmp_path, "mine"),
        pytest.raises(StvmError, match="mine is being worked on by another process"),
        only_driver(tmp_path, "mine"),
    ):
        pass
    with only_driver(tmp_path, "mine"):
        pass


def test_storages(tmp_path: Path) -> None:
    for storage in (str(tmp_path / "a.log"), str(tmp_path / "b.db"), f"sqlite:///{tmp_path}/c.db"):
        search = Search(plan(), open_storage(storage, tmp_path, "x"), storage, Results(tmp_path), 2)
        assert next_of(search).number == 0
    assert {p.name for p in tmp_path.iterdir()} >= {"a.log", "b.db", "c.db"}
    for wrong in ("nonsense://x", "postgresql://me:secret@127.0.0.1:1/db"):
        with pytest.raises(StvmError, match="check --storage") as error:
            open_storage(wrong, tmp_path, "x")
        assert "secret" not in str(error.value) and "\n" not in str(error.value)
    assert storage_place("mysql://me:secret@host/db", tmp_path, "x") == "mysql://me:***@host/db"
    assert storage_place(None, tmp_path, "x") == "searches/x.db"


def test_the_space() -> None:
    assert set(searchable()) == {
        *("n_f", "temperature", "q_m", "alpha", "beta", "tau_mocm", "n_mocm")
    }
    found = {p.name: p for p in find_parameters(searchable(), Settings())}
    assert [n for n, p in found.items() if p.integer] == ["n_f", "n_mocm"]
    assert {n for n, p in found.items() if p.log} == {"temperature", "q_m", "alpha", "n_mocm"}
    assert found["alpha"].rounded(1.23456) == 1.23 and found["n_f"].rounded(77) == 77
    with pytest.raises(StvmError, match="'lr' has no search range"):
        find_parameters(["lr"], Settings())
    with pytest.raises(StvmError, match="'alpha' changes nothing"):
        find_parameters(["alpha"], tiny(mgs=False))


def test_names_of_samplers() -> None:
    with pytest.raises(StvmError, match="unknown sampler 'tpee': did you mean 'tpe'"):
        find_name("tpee", SAMPLERS, "sampler")
    for name in SAMPLERS:
        if name != "cmaes":
            assert isinstance(make_sampler(name, 0, 3), optuna.samplers.BaseSampler)


def test_cmaes_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StvmError, match="pip install cmaes"):
        find_name("cmaes", SAMPLERS, "sampler")


def test_the_grid_is_table_fives_and_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=100, sampler="grid", parameters=("alpha", "beta"))
    done = bench.run(bench.search)
    assert len({s.trial.hash for s in done}) == 16 and bench.search.left() == 0
    assert {s.values["alpha"] for s in done} == {1, 2, 4, 8}


def test_report_and_search_share_no_seed_and_the_oracles_realisation_is_marked() -> None:
    options = parser().parse_args(["--seeds", "0", "1000"])
    with pytest.raises(StvmError, match="--search-seed 1000 is one of --seeds"):
        build_plan(options, {})
    preset = find_preset("demo")
    for objective, tuned in ((SCORE, {False}), ("miou", {True, False})):
        options = parser().parse_args(["--objective", objective])
        made = build_plan(options, {})
        trials = report_trials(made, preset, {"alpha": 3.0}, options.seeds, [0, 5])
        assert Counter(t.row for t in trials) == {"default": 10, "best": 10}
        for row in ("best", "default"):
            assert {t.tuned for t in trials if t.row == row} == tuned
            looked_at = {t.realisation for t in trials if t.row == row and t.tuned}
            assert looked_at == ({made.realisation} if objective == "miou" else set())
        assert made.trial(0, {}).tuned == (objective == "miou")
        assert {t.settings.training.eval_split for t in trials} == {"test"}
        assert made.seed not in {t.settings.training.seed for t in trials}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--objective", "mio"], "did you mean 'miou'"),
        (["--sampler", "tp"], "unknown sampler 'tp'"),
        (["--pruner", "medium"], "did you mean 'median'"),
        (["--parameters", "lr"], "'lr' has no search range"),
        (["seed=3"], "'seed' is what this study varies"),
        (["--seeds", "1000"], "is one of --seeds"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--results", str(tmp_path / "r"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_search_whose_images_were_exchanged_is_refused_before_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder(tmp_path / "source", "train", 4, True, 0)
    make_folder(tmp_path / "target", "train", 4, False, 1)
    make_folder(tmp_path / "target", "test", 2, True, 2)
    given = ASSIGNMENTS + ["dataset=folder", "classes=7:road,8:sidewalk", "height=32", "width=48"]
    given += [f"{part}_root={tmp_path / part}" for part in ("source", "target")]
    options = ["--results", str(tmp_path / "r"), "--trials", "1", "--seeds", "0"]
    made = build_plan(parser().parse_args(options), parse_assignments(given))
    results = Results(tmp_path / "r")
    search = Search(made, open_storage(None, results.root, made.name), "here", results, 1)
    trial = next_of(search).trial
    results.write({"hash": trial.hash, "status": "failed", "failure": {"error": "loss is nan"}}
                  | {"run": {"images_sha256": images_of(trial.settings)}})  # fmt: skip
    search.finish(Suggestion(0, {}, trial))
    refuse_other_files_of_search(made, search.study, results)
    (tmp_path / "target" / "train" / "images" / "3.png").unlink()
    assert main(options + given) == 2
    captured = capsys.readouterr()
    assert "recorded with other files in" in captured.err and captured.err.count("\n") == 1
    assert "measured on the split of the report, test" in captured.out


def test_list_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", str(tmp_path / "r"), "--list", "--objective", "miou"]) == 0
    said = capsys.readouterr().out
    assert "oracle" in said and "no trials yet" in said
    assert not (tmp_path / "r").exists()


def listed(root: Path) -> list[dict[str, Any]]:
    (path,) = (root / "studies").glob("search-*.json")
    entries: list[dict[str, Any]] = json.loads(path.read_text())["trials"]
    return entries


def write_report(bench: Bench, seeds: list[int], realisations: list[int]) -> tuple[Trial, ...]:
    """The manifest as the command writes it; the trials of the report."""
    facts = find_facts(bench.plan, bench.search.study, "here", seeds)
    report = report_trials(bench.plan, find_preset("demo"), facts["best"], seeds, realisations)
    search_study(bench.plan, bench.search.study, facts, report).write_manifest(bench.results)
    return report


def write_record(bench: Bench, trial: Trial, miou: float) -> None:
    scores = {SCORE: 2 * miou, "entropy": 1 - miou}
    bench.results.write(
        {
            "hash": trial.hash,
            "status": "done",
            "settings": trial.settings.flat(),
            "result": {"miou": miou, "scores": scores, "split": "test"},
            "failure": None,
        }
    )


@pytest.mark.parametrize("objective", ["miou", SCORE])
def test_a_search_ends_in_a_table(objective: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=4, objective=objective)
    for number in range(4):
        suggestion = next_of(bench.search)
        write_record(bench, suggestion.trial, 0.1 * number)
        bench.search.finish(suggestion)
    report = write_report(bench, [0, 1, 2], [0])
    miou = {"default": [0.5, 0.52, 0.55], "best": [0.56, 0.57, 0.63]}
    for trial in report:
        assert trial.seed is not None
        write_record(bench, trial, miou[trial.row][trial.seed])
    oracle = objective == "miou"
    assert {entry["tuned"] for entry in listed(tmp_path)} == {oracle}
    assert make_tables(["--results", str(tmp_path), "--tables", "search"]) == 0
    with open(tmp_path / "tables/search.csv") as file:
        default, best = csv.DictReader(file)
    delta = np.subtract(miou["best"], miou["default"])
    interval = stats.ttest_1samp(delta, 0).confidence_interval(0.95)
    assert float(best["miou_mean"]) == pytest.approx(100 * np.mean(miou["best"]))
    assert float(best["delta"]) == pytest.approx(100 * delta.mean())
    ends = [float(best["delta_low"]), float(best["delta_high"])]
    assert ends == pytest.approx([100 * interval.low, 100 * interval.high])
    scale = 100 if oracle else 2
    assert float(default["objective"]) == pytest.approx(scale * np.mean(miou["default"]))
    text = (tmp_path / "tables/search.md").read_text()
    assert ("(oracle)" in text and "TUNED ON" in text) == oracle
    with open(tmp_path / "tables/search_importances.csv") as file:
        shares = {row["setting"]: float(row["importance"]) for row in csv.DictReader(file)}
    assert shares == pytest.approx(optuna.importance.get_param_importances(bench.search.study))


def test_when_the_best_changes_its_old_rows_are_gone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=1)
    bench.run(bench.search)
    write_report(bench, [0, 1, 2], [0, 5])
    old = {entry["hash"] for entry in listed(tmp_path) if entry["row"] == "best"}
    bench.trials = 4
    bench.search = bench.open()
    while suggestion := bench.search.next():
        bench.record(suggestion, 10.0 + suggestion.number)
        bench.search.finish(suggestion)
    report = write_report(bench, [0, 1], [0])
    kept = listed(tmp_path)
    assert {e["hash"] for e in kept if e["row"] == "best"} == {
        t.hash for t in report if t.row == "best"
    }
    assert Counter(e["row"].split()[0] for e in kept) == {"trial": 4, "default": 2, "best": 2}
    assert not old & {entry["hash"] for entry in kept if entry["row"] == "best"}


def test_a_search_on_the_split_of_the_report_says_so() -> None:
    for split, same in (("val", True), ("test", False)):
        made = plan(base=tiny(eval_split=split))
        assert made.same_split == same
        assert ("Search trials too are measured on the split val" in rule(made)) == same


def test_plots_and_importances(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=8)
    bench.run(bench.search, most=1)
    assert "missing" in importances(bench.search.study)
    assert "missing" in write_plots(bench.search.study, "score", tmp_path)[0]
    bench.run(bench.search)
    assert "alpha" in importances(bench.search.study)
    write_plots(bench.search.study, "score", tmp_path)
    for name in ("history", "slice", "importance", "parallel"):
        assert (tmp_path / f"{name}.png").stat().st_size > 5000


def command(folder: Path, *more: str) -> list[str]:
    script = str(ROOT / "studies" / "optuna_search.py")
    places = ["--results", str(folder / "results"), "--cache", str(folder / "cache")]
    changed = {item.split("=")[0] for item in more}
    kept = [item for item in ASSIGNMENTS if item.split("=")[0] not in changed]
    return [sys.executable, script, *places, "--objective", "miou", *more, *kept]


def study_of(folder: Path) -> optuna.Study:
    (database,) = (folder / "results" / "searches").glob("*.db")
    return optuna.load_study(study_name=database.stem, storage=f"sqlite:///{database}")


@pytest.mark.slow
def test_a_killed_search_goes_on_without_zombies_and_repeats(tmp_path: Path) -> None:
    options = ["--trials", "4", "--seeds", "0", "--cpus-per-trial", "1", "iterations=40"]
    driver = subprocess.Popen(
        command(tmp_path, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    records = tmp_path / "results" / "records"
    while driver.poll() is None and not list(records.glob("[!.]*.json")):
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = {t.number: t.params for t in study_of(tmp_path).trials if t.params}
    left = [t for t in study_of(tmp_path).trials if t.state == TrialState.RUNNING]
    assert left, "the kill came too late to test anything"
    last = subprocess.run(command(tmp_path, *options), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    trials = study_of(tmp_path).trials
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 4
    assert {n: trials[n].params for n in before} == before
    assert len({json.dumps(t.params) for t in trials}) == 4
    ended: set[str] = set()
    for line in (tmp_path / "results" / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "start":
            assert event["hash"] not in ended, "started again after it was recorded"
        else:
            ended.add(event["hash"])
    assert {t.user_attrs["hash"] for t in trials} <= ended
    assert "best of 4 (an oracle" in last.stdout and "best minus default" in last.stdout
    (manifest,) = (tmp_path / "results" / "studies").glob("search-*.json")
    rows = Counter(t["row"] for t in json.loads(manifest.read_text())["trials"])
    assert rows == {**{f"trial {n}": 1 for n in range(4)}, "best": 1, "default": 1}


@pytest.mark.slow
def test_where_every_trial_diverges_the_search_says_so(tmp_path: Path) -> None:
    options = ["--trials", "2", "--seeds", "0", "lr=1e30", "iterations=60"]
    said = subprocess.run(command(tmp_path, *options), capture_output=True, text=True)
    assert said.returncode == 1, said.stderr
    assert [t.state for t in study_of(tmp_path).trials] == [TrialState.FAIL] * 2
    assert "none of 2 trials has a value, the last one failed: loss is" in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.slow
def test_ctrl_c_says_what_is_left_and_leaves_it_to_the_next_run(tmp_path: Path) -> None:
    options = ["--trials", "3", "--seeds", "0", "iterations=200"]
    driver = subprocess.Popen(
        command(tmp_path, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    events = tmp_path / "results" / "events.jsonl"
    while driver.poll() is None and not events.exists():
        time.sleep(0.1)
    driver.send_signal(signal.SIGINT)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 130, said
    assert "of 3 trials finished" in said and "left" in said and "Traceback" not in said
    assert TrialState.RUNNING in [t.state for t in study_of(tmp_path).trials]
