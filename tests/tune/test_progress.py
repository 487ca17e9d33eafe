"""What is shown while a study runs, from the calls that Tune makes."""

import io
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from rich.console import Console

import stvm.tune.progress
from stvm.tune.progress import LineProgress, TableProgress, reason_of_death, watcher
from stvm.tune.remaining_time import RemainingTime
from stvm.tune.sharing import Shared


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stvm.tune.progress, "time", clock)
    return clock


def task(name: str, *kinds: str) -> dict[str, Any]:
    return {"name": name, "label": f"label {name}", "kinds": list(kinds)}


def trial(given: dict[str, Any], error_file: str = "/nowhere") -> Any:
    return SimpleNamespace(
        trial_id=f"id-{given['name']}", config={"task": given}, error_file=error_file
    )


TASKS = [task("a", "short"), task("b", "long"), task("c", "long"), task("d", "long")]


def play(shown: LineProgress, clock: Clock) -> None:
    a, b, c, d = (trial(t) for t in TASKS)
    clock.now += 100  # Ray starts
    shown.on_trial_start(0, [], a)
    shown.on_trial_start(0, [], b)
    clock.now += 2
    shown.on_trial_result(0, [], a, {"status": "done", "miou": 0.5})
    shown.on_trial_start(0, [], c)
    clock.now += 58
    shown.on_trial_result(0, [], b, {"status": "done", "miou": 0.25})
    shown.on_trial_start(0, [], d)
    shown.on_trial_result(0, [], c, {"iteration": 30, "of": 60})


def test_lines_are_one_an_event_and_the_time_to_go_knows_long_from_short(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with LineProgress(4, 2, "trials", TASKS) as shown:
        play(shown, clock)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        # Nothing is known of long ones yet, and short ones do not stand for them.
        "[1/4] label a  mIoU 50.0  2 s  left 3",
        "[2/4] label b  mIoU 25.0  60 s  left 2, about 60 s",
    ]
    assert (shown.done, shown.failed, shown.errors) == (2, 0, [])


def test_failures_are_counted_and_a_death_is_told_with_its_reason(
    clock: Clock, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    file = tmp_path / "error.txt"
    file.write_text(
        "Failure # 1 (occurred at noon)\nfirst\nFailure # 2 (occurred at one)\n"
        "The actor is dead because its worker process has died.\n\tip: 10.0.0.7\n"
    )
    shown = LineProgress(4, 2, "trials", TASKS)
    trials = [trial(t, str(file)) for t in TASKS]
    for each in trials:
        shown.on_trial_start(0, [], each)
    shown.on_trial_recover(0, [], trials[0])
    shown.on_trial_error(0, [], trials[0])
    shown.on_trial_result(0, [], trials[1], {"status": "failed", "reason": "loss is nan"})
    shown.on_trial_result(0, [], trials[2], {"error": "disk full"})
    shown.on_trial_result(0, [], trials[3], {"status": "done"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("it will run again") and "killed or crashed on 10.0.0.7" in lines[0]
    assert lines[1].startswith("[1/4] label a  error: its process was killed")
    assert "failed: loss is nan" in lines[2] and "failed 2" in lines[2]
    assert "error: disk full" in lines[3] and lines[4].startswith("[4/4] label d")
    assert len(shown.errors) == 2 and (shown.done, shown.failed) == (1, 3)


def test_a_state_that_was_set_aside_is_told_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    given = task("a")
    with LineProgress(1, 1, "trial", [given]) as lines:
        lines.on_trial_start(1, [], trial(given))
        ended = {"status": "done", "miou": 0.5, "set_aside": "r/checkpoints/a.unusable"}
        lines.on_trial_result(1, [], trial(given), ended)
    told, end = capsys.readouterr().out.splitlines()
    assert told.startswith("        label a: began afresh") and told.endswith("a.unusable")
    assert end.startswith("[1/1] label a  mIoU 50.0")


def test_a_long_task_is_told_of_every_five_minutes_off_a_terminal(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = LineProgress(1, 1, "trial", TASKS[:1])
    one = trial(TASKS[0])
    shown.on_trial_start(0, [], one)
    # 80,000 iterations in 11 hours; a worker reports every 30 seconds.
    for seconds in range(30, 930, 30):
        clock.now = 1000.0 + seconds
        done = {"iteration": 80_000 * seconds // 39_600, "of": 80_000}
        shown.on_trial_result(0, [], one, done)
    assert capsys.readouterr().out.splitlines() == [
        "        label a: iteration 606 of 80000, 1 %, 5 min so far, about 10.9 h left",
        "        label a: iteration 1212 of 80000, 2 %, 10 min so far, about 10.8 h left",
        "        label a: iteration 1818 of 80000, 2 %, 15 min so far, about 10.8 h left",
    ]
    # Another driver had it; it comes back and its time counts from then on.
    shown.on_trial_result(0, [], one, {"status": "held"})
    assert not shown.estimate.running() and (shown.done, shown.failed) == (0, 0)
    shown.waiting([(f"label {n}", f"host:{n}") for n in "abcde"])
    shown.waiting([("label a", "host:a")])
    said = capsys.readouterr().out
    assert said == (
        "        waiting for other drivers, which run label a (host:a), label b (host:b), "
        "label c (host:c) and 2 more\n"
    )


def test_the_table_shows_what_runs_and_ends_with_its_block(clock: Clock) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100)
    with TableProgress(4, 2, "trials", TASKS, console) as shown:
        play(shown, clock)
        console.print(shown.render())
        seen = screen.getvalue()
    assert "trials: done 2, failed 0, left 2, about 60 s to go" in seen
    assert "label c" in seen and "30/60" in seen and "58 s" in seen
    assert "[1/4] label a  mIoU 50.0" in seen
    assert not shown.live.is_started
    assert "elapsed" in seen
    shown.total = 1
    shown.done = shown.failed = 0
    for given in TASKS:
        shown.estimate.drop(trial(given).trial_id)
    assert text_of(shown).startswith("trials: done 0, failed 0, left 1"), "before the first"
    shown.done = 1
    assert text_of(shown) == "trials: done 1, failed 0, left 0; Ray Tune ends\n"


def test_tune_can_keep_its_copy_of_a_table_on_a_terminal() -> None:
    """As a Tuner does with its callbacks and its searcher before anything runs."""
    console = Console(file=io.StringIO(), force_terminal=True)
    with TableProgress(1, 1, "trial", [task("a")], console) as shown:
        cloudpickle.dumps([shown, Shared([task("a")], 1, shown)])
        assert "left 1" in text_of(shown)


def test_a_pass_over_images_is_told_and_its_images_are_no_iterations(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    given, stage = task("a"), "start_bn=0.5: image 12 of 367"
    at = {"pass": "start_bn=0.5", "image": 12, "images": 367}
    lines = LineProgress(1, 1, "trial", [given])
    table = TableProgress(1, 1, "trial", [given], Console(file=io.StringIO(), width=200))
    for shown in (lines, table):
        shown.on_trial_start(0, [], trial(given))
        shown.on_trial_result(0, [], trial(given), at)
    clock.now += 301
    lines.on_trial_result(0, [], trial(given), at)
    assert capsys.readouterr().out == f"        label a: {stage}, 5 min so far\n"
    assert stage in text_of(table)
    table.on_trial_result(0, [], trial(given), {"iteration": 3, "of": 60})
    assert "3/60" in text_of(table) and stage not in text_of(table)


def text_of(table: TableProgress) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table.render())
    written: Any = console.file
    return str(written.getvalue())


def test_the_table_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(watcher(1, 1, "trial")) is LineProgress
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True, write=print))
    monkeypatch.setenv("TERM", "xterm")
    assert type(watcher(1, 1, "trial")) is TableProgress


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("The actor is dead because its node has died. Node Id: 3f", "its node died"),
        (
            "Task was killed due to the node running low on memory. Memory on the node (IP: 1.2)",
            "memory ran out",
        ),
        ("Worker unexpectedly exits with a connection error code 2.", "killed or crashed"),
        ("The actor d5 is unavailable: The actor is temporarily unavailable", "cannot be reached"),
        ("something new", "something new"),
        ("", "Ray gives no reason"),
    ],
)
def test_reasons_of_death(error: str, words: str) -> None:
    assert words in reason_of_death(error)


def test_with_equal_tasks_the_time_to_go_is_that_of_a_queue() -> None:
    """Against a simulation: tasks of 10 s on 3 slots, asked at every end."""
    tasks = [task(str(i), "k") for i in range(12)]
    estimate = RemainingTime(12, 3, tasks)
    for i in range(3):
        estimate.start(str(i), tasks[i], 5.0)
    assert estimate.seconds_left(6.0) is None
    for i in range(12):
        now = 5.0 + 10 * (i // 3 + 1)
        assert estimate.end(str(i), now) == 10
        if i + 3 < 12:
            estimate.start(str(i + 3), tasks[i + 3], now)
        if i % 3 == 2:
            assert estimate.seconds_left(now) == pytest.approx(45 - now)


def test_a_dead_task_waits_again_and_unknown_tasks_cost_the_mean_of_all() -> None:
    estimate = RemainingTime(4, 1)
    for i, took in enumerate((10, 20)):
        estimate.start(str(i), {"label": "x"}, 0.0)
        estimate.end(str(i), took)
    assert estimate.seconds_left(0.0) == 30
    estimate.start("2", {"label": "x"}, 100.0)
    assert estimate.seconds_left(105.0) == 25
    estimate.drop("2")
    assert estimate.seconds_left(105.0) == 30


def test_before_any_of_a_kind_has_ended_the_pace_of_those_that_run_counts() -> None:
    tasks = [task(str(i), f"row {i}", "adapt") for i in range(4)]
    estimate = RemainingTime(4, 2, tasks)
    for i in range(2):
        estimate.start(str(i), tasks[i], 0.0)
    assert estimate.seconds_left(30.0) is None
    estimate.advance("0", 10, 100)
    assert estimate.seconds_left(10.0) == pytest.approx((90 + 90 + 100 + 100) / 2)


def test_a_task_that_goes_on_from_a_state_is_judged_by_what_it_did_itself() -> None:
    estimate = RemainingTime(1, 1, [task("a", "long")])
    estimate.start("a", task("a", "long"), 0.0)
    estimate.advance("a", 40_060, 80_000, begun=40_000)
    # 60 iterations in 30 s: 39,940 more take 19,970 s.
    assert estimate.seconds_left(30.0) == pytest.approx(19_970)
