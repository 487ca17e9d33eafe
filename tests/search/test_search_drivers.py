"""Two drivers of one search: no number and no setting twice, and a dead one's trials go on."""

import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stvm.files.locks import is_held
from stvm.records.results import Results
from stvm.search.drivers import DRIVER, driving
from stvm.search.search import Search
from tests.helpers.search_runs import Bench, plan

FORK = multiprocessing.get_context("fork")
NUMBER = 10


def drive(root: Path, together: Any, killed_at: int = -1) -> None:
    """What a driver with one worker does, but that nothing trains."""
    bench = Bench.__new__(Bench)
    bench.results, bench.plan = Results(root), plan()
    together.wait(60)
    with driving(bench.results, bench.plan.name) as drivers:
        search = Search(bench.plan, bench.storage(), "here", bench.results, NUMBER, drivers=drivers)
        made = 0
        while (suggestion := search.next()) or search.others():
            if suggestion is None:
                time.sleep(0.02)
                continue
            made += 1
            with bench.results.lock(suggestion.trial.hash, wait=False):
                bench.results.note("start", suggestion.trial.hash, number=suggestion.number)
                if made == killed_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(0.05)
                bench.record(suggestion, -abs(suggestion.values["alpha"] - 2))
            search.finish(suggestion)


def driven(root: Path, *kwargs: dict[str, Any]) -> tuple[list[int | None], Bench]:
    together = FORK.Barrier(len(kwargs))
    processes = [FORK.Process(target=drive, args=(root, together), kwargs=k) for k in kwargs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes], Bench(root, NUMBER)


def events(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "events.jsonl").read_text().splitlines()]


def test_two_drivers_draw_each_number_once_and_end_together(tmp_path: Path) -> None:
    codes, bench = driven(tmp_path, {}, {})
    assert codes == [0, 0] and bench.states() == {"COMPLETE": NUMBER}
    trials = bench.search.study.get_trials()
    assert [trial.number for trial in trials] == list(range(NUMBER))
    assert len({trial.user_attrs["hash"] for trial in trials}) == NUMBER
    assert sorted(event["number"] for event in events(tmp_path)) == list(range(NUMBER))
    assert len({trial.user_attrs[DRIVER] for trial in trials}) == 2, "both drew some"
    # The first setting is the default, drawn once though both began with it.
    assert trials[0].params["alpha"] == pytest.approx(2.0)
    assert not list((tmp_path / "locks").glob("driver-*.lock"))


@pytest.mark.slow
def test_what_a_killed_driver_ran_goes_on_under_its_number(tmp_path: Path) -> None:
    codes, bench = driven(tmp_path, {"killed_at": 2}, {})
    assert codes == [-signal.SIGKILL, 0] and bench.states() == {"COMPLETE": NUMBER}
    numbers = Counter(event["number"] for event in events(tmp_path))
    assert set(numbers) == set(range(NUMBER)) and sorted(numbers.values())[-2:] == [1, 2]


def test_a_trial_of_a_driver_that_lives_is_waited_for_and_not_taken(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=2)
    with driving(bench.results, bench.plan.name) as one:
        first = Search(bench.plan, bench.storage(), "here", bench.results, 2, drivers=one)
        running = first.next()
        with driving(bench.results, bench.plan.name) as other:
            assert is_held(bench.results.lock_path(f"driver-{one.me}"))
            second = Search(bench.plan, bench.storage(), "here", bench.results, 2, drivers=other)
            assert second.others() == ["trial 0"]
            done = bench.run(second)
            assert running and [s.number for s in done] == [1] and second.left() == 1
            bench.record(running, 0.5)
            first.finish(running)
            assert second.next() is None and second.others() == []
    assert bench.states() == {"COMPLETE": 2}


def test_settings_that_another_study_runs_now_are_come_back_to(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=2)
    default = bench.plan.trial(0, bench.search.study.get_trials()[0].system_attrs["fixed_params"])
    with bench.results.lock(default.hash):
        (second,) = bench.run(bench.search)
        assert second.number == 1 and bench.search.others() == ["trial 0"]
    assert [s.number for s in bench.run(bench.search)] == [0]
    assert bench.search.others() == [] and bench.states() == {"COMPLETE": 2}


def test_a_dead_drivers_lock_is_taken_away_only_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a driver that has just made its own would hold a file that has no name."""
    dead = tmp_path / "locks" / "driver-node1-7-abc.lock"
    dead.parent.mkdir()
    dead.touch()
    held: list[bool] = []
    unlink = Path.unlink

    def watched(path: Path, missing_ok: bool = False) -> None:
        if path == dead:
            held.append(is_held(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    with driving(Results(tmp_path), "x"):
        assert held == [True] and not dead.exists()


def test_the_state_of_a_pruned_trial_stays_while_another_study_runs_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, trials=3)
    suggestion = bench.search.next()
    assert suggestion
    bench.search.finish(suggestion, pruned=True)
    bench.search.study.enqueue_trial(dict(suggestion.values))
    name = suggestion.trial.hash
    state = bench.results.state_path(name)
    state.parent.mkdir()
    state.write_text("of the other study")
    with bench.results.lock(name):
        bench.run(bench.search)
        assert state.exists() and bench.search.others() == ["trial 1"]
    assert bench.search.next() is None and bench.heard == [(1, "pruned before")]
