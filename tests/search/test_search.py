"""The search: what is asked, told, continued and given up, without Ray."""

from pathlib import Path

import pytest
from optuna.trial import TrialState

from stvm.errors import StvmError
from stvm.search.plan import Suggestion, best_trial
from stvm.search.space import default_values
from stvm.search.storage import PRUNERS, SAMPLERS
from stvm.tune.run_search import SearchLines
from tests.helpers.search_runs import Bench, next_of
from tests.helpers.tiny_settings import tiny

STRIKES = ATTEMPTS = 3
"""Errors in a row after which nothing more starts, and attempts of one trial: a second time."""


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


def test_lower_is_better_where_the_score_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=4, score="entropy")
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


@pytest.mark.slow
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


def test_a_suggestion_whose_record_cannot_be_read_is_left_and_found_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=3)
    default = Suggestion(0, {}, bench.plan.trial(0, default_values(bench.plan.parameters, tiny())))
    path = bench.results.record_path(default.trial.hash)
    path.parent.mkdir(exist_ok=True)
    path.write_text("{")
    assert [s.number for s in bench.run(bench.search)] == [1, 2]
    assert bench.states() == {"RUNNING": 1, "COMPLETE": 2} and path.read_text() == "{"
    assert len(bench.search.unread) == 1 and f"{path}: " in bench.search.unread[0]
    assert bench.search.others() == [] and bench.search.left() == 1
    # One that is damaged when its trial ends is no error of the machine.
    assert bench.search.finish(default) == "its record cannot be read"
    assert bench.search.strikes == 0
    path.unlink()
    again = bench.open()
    assert [s.number for s in bench.run(again)] == [0] and again.unread == []
    assert bench.states() == {"COMPLETE": 3}


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
    for _ in range(STRIKES):
        assert bench.search.finish(next_of(bench.search)) == "no result"
    assert bench.search.next() is None
    assert bench.states() == {"RUNNING": STRIKES} and bench.search.left() == 10
    done = bench.run(bench.open())
    assert [s.number for s in done] == list(range(10)) and bench.states() == {"COMPLETE": 10}


def test_settings_that_always_crash_are_given_up_and_block_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=10)
    (tmp_path / "errors").mkdir()
    bad: set[int] = set()
    for attempt in range(1, ATTEMPTS + 1):
        search = bench.open()
        ran = []
        while suggestion := search.next():
            trace = tmp_path / "errors" / f"{suggestion.trial.hash}.txt"
            trace.write_text("Traceback:\n  File\nValueError: no such thing\n\n")
            ran.append(suggestion.number)
            news = search.finish(suggestion)
            if suggestion.number in bad and attempt == ATTEMPTS:
                assert news.endswith("no result in 3 attempts: ValueError: no such thing")
            else:
                assert news == "no result"
        bad = bad or set(ran)
        assert set(ran) >= bad == {0, 1, 2}
    assert bench.states() == {"FAIL": 3, "RUNNING": STRIKES}
    reasons = [t.user_attrs["reason"] for t in search.study.trials[:3]]
    assert all("ValueError: no such thing" in reason for reason in reasons)
    bench.run(bench.open())
    assert bench.states() == {"FAIL": 3, "COMPLETE": 7}


def test_after_too_many_strikes_nothing_that_was_left_running_starts_either(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=10)
    for _ in range(STRIKES + 2):
        next_of(bench.search)
    search = bench.open()
    for _ in range(STRIKES):
        search.finish(next_of(search))
    assert search.next() is None
    assert bench.states() == {"RUNNING": STRIKES + 2}


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
    state = bench.results.state_path(bad.trial.hash)
    labels = state.with_suffix(".labels") / "round-1" / "labels.u8"
    labels.parent.mkdir(parents=True)
    for left in (state, labels):
        left.write_bytes(b"x")
    assert bench.search.finish(bad, pruned=True) == "pruned"
    assert not list(state.parent.iterdir())
    assert bench.states() == {"COMPLETE": 5, "PRUNED": 1}
    assert bench.results.read(bad.trial.hash) is None
    assert bench.search.finished() == 6
    bench.search.study.enqueue_trial(bad.values)
    assert next_of(bench.search).number == 7, "what was pruned is not tried again"
    assert bench.heard == [(6, "pruned before")]


def test_values_are_told_once_in_each_tenth_and_not_at_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=1)
    running = next_of(bench.search)
    for iteration in range(20, 801, 20):
        assert not bench.search.report(running, iteration, 800, float(iteration))
    told = bench.search.study.trials[0].intermediate_values
    assert told == {tenth: 80.0 * tenth for tenth in range(1, 10)}


def test_where_lower_is_better_the_pruner_still_keeps_high_intermediate_values(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, trials=7, pruner="median", score="entropy")
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
