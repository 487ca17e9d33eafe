"""A search at its edges: who is waited for, which errors count, and what a plan says of itself."""

import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from stvm.errors import StvmError
from stvm.records.record import Record
from stvm.records.selection_scores import find_selection_score
from stvm.search import space
from stvm.search.plan import Suggestion, best_trial, format_value, score_value
from stvm.search.space import find_parameters, search_split
from tests.helpers.search_runs import Bench, next_of, plan
from tests.helpers.tiny_settings import tiny

DEFAULT = {"alpha": 2.0, "beta": 0.6, "temperature": 0.25}


def no_result(bench: Bench, times: int) -> None:
    for _ in range(times):
        assert bench.search.finish(next_of(bench.search)) == "no result"


@pytest.mark.parametrize("looks", [1, 2])
def test_all_settings_that_another_study_ran_are_come_back_to_in_their_order(
    looks: int, tmp_path: Path
) -> None:
    bench = Bench(tmp_path, trials=3)
    second = DEFAULT | {"alpha": 3.0}
    bench.search.study.enqueue_trial(second)
    first_name, second_name = (bench.plan.trial(0, v).hash for v in (DEFAULT, second))
    with bench.results.lock(first_name), bench.results.lock(second_name):
        assert [s.number for s in bench.run(bench.search)] == [2]
        assert [bench.search.next() for _ in range(looks)] == [None] * looks
        assert bench.search.others() == ["trial 0", "trial 1"]
    assert [s.number for s in bench.run(bench.search)] == [0, 1]
    assert bench.states() == {"COMPLETE": 3}


def test_after_three_errors_in_a_row_nobody_is_waited_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=10)
    with bench.results.lock(bench.plan.trial(0, DEFAULT).hash):
        no_result(bench, 2)
        assert bench.search.others() == ["trial 0"]
        no_result(bench, 1)
        assert bench.search.next() is None and bench.search.others() == []


@pytest.mark.parametrize("pruned", [False, True])
def test_a_trial_that_ends_begins_the_count_of_errors_anew(pruned: bool, tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=10)
    no_result(bench, 2)
    ended = next_of(bench.search)
    if not pruned:
        bench.record(ended, 1.0)
    bench.search.finish(ended, pruned)
    no_result(bench, 3)
    assert bench.search.next() is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_not_told(value: float, tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=1)
    running = next_of(bench.search)
    assert not bench.search.report(running, 400, 800, value)
    assert bench.search.study.trials[0].intermediate_values == {}


def test_fewer_trials_than_there_are_leave_none_to_finish(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=3)
    bench.run(bench.search)
    bench.trials = 1
    search = bench.open()
    assert search.left() == 0 and search.next() is None


def test_plans_suggestions_and_parameters_are_values() -> None:
    made = plan()
    other = replace(made, rename=lambda settings: settings.replace(seed=5))
    assert other == made and repr(other) == repr(made)
    suggestion = Suggestion(3, {"alpha": 1 / 3, "n_f": 64}, made.trial(3, DEFAULT))
    assert suggestion.label == "trial 3: alpha=0.333333 n_f=64"
    for value, name in ((made, "seed"), (suggestion, "number"), (made.parameters[0], "low")):
        with pytest.raises(FrozenInstanceError):
            setattr(value, name, 1)


def test_only_an_oracle_looks_at_labels_and_only_of_the_realisation_searched_on() -> None:
    oracle, blind = (plan(score=name, realisation=3) for name in ("miou", "entropy"))
    assert [oracle.looked_at(r) for r in (2, 3)] == [False, True]
    assert [blind.looked_at(r) for r in (2, 3)] == [False, False]
    marked = [p.trial(0, DEFAULT).tuned for p in (oracle, blind, plan(tuned=True))]
    assert marked == [True, False, True]


def test_a_search_looks_at_val_where_there_is_one(tmp_path: Path) -> None:
    roots = {"source_root": "a", "target_root": str(tmp_path), "classes": "road,sky"}
    folder = tiny(dataset="folder", eval_split="test", **roots)
    assert search_split(folder) == "test" and plan(base=folder).same_split
    (tmp_path / "val").mkdir()
    assert search_split(folder) == "val" and not plan(base=folder).same_split
    assert search_split(tiny(eval_split="test")) == "val"
    assert plan(base=tiny(eval_split="val")).same_split


def test_miou_is_shown_in_per_cent_and_what_is_not_finite_has_no_value() -> None:
    miou, entropy = find_selection_score("miou"), find_selection_score("entropy")
    assert (format_value(0.54321, miou), format_value(0.54321, entropy)) == ("54.3", "0.5432")
    scores = {"entropy": math.nan, "agreement": None}
    done = Record("0" * 12, "done", result={"miou": 0.25, "scores": scores})
    assert score_value(done, miou) == (0.25, "mIoU (oracle) 25.0")
    assert score_value(done, entropy) == (None, "failed: its record has no mean entropy")
    assert score_value(done, find_selection_score("agreement"))[0] is None


def test_where_no_trial_has_a_value_the_last_reason_is_named() -> None:
    study = optuna.create_study()
    for reason in ("first", "second", "third", ""):
        trial = study.ask()
        if reason:
            trial.set_user_attr("reason", reason)
        study.tell(trial, state=TrialState.FAIL)
    with pytest.raises(StvmError, match="none of 4 trials has a value, the last one third: "):
        best_trial(study)


def test_a_range_holds_its_ends() -> None:
    for parameter in find_parameters(["alpha", "n_f"], tiny()):
        low, high = parameter.low, parameter.high
        assert parameter.holds(low) and parameter.holds(high)
        assert not parameter.holds(0.99 * low) and not parameter.holds(1.01 * high)


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [(0.3, 2.99, False), (0.3, 3.0, True), (0.2, 1.9, False), (0.0, 50.0, False)],
)
def test_a_range_of_a_decade_above_zero_is_searched_by_its_logarithm(
    low: float, high: float, log: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "_extra", lambda name: {"search": (low, high)})
    (beta,) = find_parameters(["beta"], tiny())
    assert (beta.low, beta.high, beta.log, beta.grid) == (low, high, log, ())
